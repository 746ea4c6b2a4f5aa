"""Scenes on disk: valid COGs and items, the same bytes, known pixels, never half a catalog."""

import hashlib
import json
from datetime import date

import numpy as np
import pystac
import pytest
import rasterio
from rio_cogeo import cog_validate

from toolkit.area.season import dates_in_windows, season
from toolkit.errors import InputError
from toolkit.simulate import scenes as scenes_module
from toolkit.simulate.growth import grow
from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.scenes import digital_numbers, season_dates, simulate_scenes
from toolkit.simulate.sentinel2 import render_scene
from toolkit.simulate.stac_items import ASSETS, Radiometry

DAYS = (date(2023, 5, 1), date(2023, 6, 30), date(2023, 8, 29))
SHAPE = (64, 96)


def request(**changes):
    return {"landscape": make_landscape(7, shape=SHAPE), "year": 2023, "dates": DAYS, **changes}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate_scenes(tmp_path_factory.mktemp("simulated") / "scenes", **request()).parent


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def items_of(folder):
    return [read(path) for path in sorted(folder.glob("S2*/*.json"))]


def hashes(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_same_request_gives_the_same_bytes_whatever_the_number_of_threads(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(scenes_module, "WORKERS", 1)
    again = simulate_scenes(tmp_path / "again", **request()).parent
    assert hashes(again) == hashes(folder)
    assert len(hashes(folder)) == len(DAYS) * 12 + 4


def test_another_seed_gives_other_pixels(folder, tmp_path):
    other = simulate_scenes(tmp_path / "other", **request(landscape=make_landscape(8, shape=SHAPE))).parent
    ours, theirs = hashes(folder), hashes(other)
    assert all(ours[name] != theirs[name] for name in ours if name.endswith("B04.tif"))


def test_every_file_is_a_valid_cog_that_says_it_is_simulated(folder):
    paths = sorted(folder.rglob("*.tif"))
    assert len(paths) == len(DAYS) * 11
    for path in paths:
        assert cog_validate(path)[0], path
        with rasterio.open(path) as src:
            fine = path.stem in ("B02", "B03", "B04", "B08")
            assert src.res == ((10, 10) if fine else (20, 20))
            assert src.dtypes == (("uint8",) if path.stem == "SCL" else ("uint16",))
            assert src.nodata == 0
            assert src.tags()["simulated"] == "true"
            assert "simulated" in src.tags()["TIFFTAG_IMAGEDESCRIPTION"]
            assert src.profile["compress"] == "deflate"
            assert src.overviews(1) == [2]


def test_items_are_read_by_pystac_with_the_keys_of_earth_search(folder):
    for content in items_of(folder):
        item = pystac.Item.from_dict(content, preserve_dict=True)
        assert set(item.assets) == {*ASSETS, "scl"}
        assert item.collection_id == "sentinel-2-l2a"
        properties = content["properties"]
        assert properties["cropglobe:simulated"] is True
        assert "Simulated" in properties["title"]
        assert properties["proj:epsg"] == 32615
        assert properties["grid:code"] == "MGRS-15RXQ"
        assert properties["earthsearch:boa_offset_applied"] is True
        assert content["assets"]["red"]["raster:bands"][0]["offset"] == -0.1
        assert content["assets"]["rededge1"]["proj:shape"] == [32, 48]
        assert content["id"].split("_")[2] == properties["datetime"][:10].replace("-", "")


def test_the_catalog_leads_to_items_and_files_by_relative_references(folder):
    catalog = pystac.Catalog.from_file(str(folder / "catalog.json"))
    assert "imulated" in catalog.description
    items = list(catalog.get_items())
    assert [item.datetime.date() for item in items] == list(DAYS)
    for item in items:
        assert not any(asset.href.startswith("/") for asset in item.assets.values())
        for asset in item.assets.values():
            with rasterio.open(asset.get_absolute_href()) as src:
                assert list(src.transform)[:6] == asset.extra_fields["proj:transform"]
                assert list(src.shape) == asset.extra_fields["proj:shape"]


def test_cloud_cover_of_an_item_is_that_of_its_classification(folder):
    for content in items_of(folder):
        with rasterio.open(folder / content["id"] / "SCL.tif") as src:
            scl = src.read(1)
        cloudy = np.isin(scl, (8, 9, 10)).sum() / (scl > 0).sum()
        assert content["properties"]["eo:cloud_cover"] == pytest.approx(100 * cloudy, abs=1e-4)


def test_the_files_hold_what_was_rendered(folder):
    landscape = make_landscape(7, shape=SHAPE)
    amounts = scenes_module.cloud_amounts(3, 0.37, scenes_module.stream(7, "cloud amounts", 2023))
    scene = render_scene(landscape, grow(landscape, year=2023), DAYS[1], cloud_amount=float(amounts[1]))
    place = next(folder.glob(f"S2*_{DAYS[1]:%Y%m%d}_*"))
    for band, numbers in digital_numbers(scene, Radiometry()).items():
        with rasterio.open(place / f"{band}.tif") as src:
            np.testing.assert_array_equal(src.read(1), numbers)


@pytest.mark.parametrize(
    ("radiometry", "listed", "applied"),
    [
        (Radiometry(offset_applied=False), -0.1, False),
        (Radiometry(baseline="02.14", offset_applied=False), 0, False),
    ],
)
def test_items_tell_the_radiometry_of_their_files(tmp_path, folder, radiometry, listed, applied):
    catalog = simulate_scenes(tmp_path / "r", **request(radiometry=radiometry, dates=DAYS[:1]))
    (content,) = items_of(catalog.parent)
    assert content["properties"]["earthsearch:boa_offset_applied"] is applied
    assert content["properties"]["s2:processing_baseline"] == radiometry.baseline
    assert content["assets"]["nir"]["raster:bands"][0]["offset"] == listed


def test_the_same_request_again_does_no_work(folder, monkeypatch):
    def never(*_args, **_options):
        pytest.fail("scenes were made again")

    monkeypatch.setattr(scenes_module, "_write_all", never)
    assert simulate_scenes(folder, **request()) == folder / "catalog.json"


def test_another_request_in_the_same_folder_is_refused_by_name(folder):
    with pytest.raises(InputError, match=r"other values of: cloud_cover, year.*Give another folder"):
        simulate_scenes(folder, **request(year=2022, cloud_cover=0.1))


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not a simulation"):
        simulate_scenes(tmp_path, **request())
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    assert simulate_scenes(tmp_path / "empty", **request(dates=DAYS[:1])).exists()


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_generation_leaves_nothing_behind(tmp_path, monkeypatch, fault):
    def broken(*_args):
        raise fault

    monkeypatch.setattr(scenes_module, "make_catalog", broken)
    with pytest.raises(fault):
        simulate_scenes(tmp_path / "scenes", **request(dates=DAYS[:1]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changes", [{"dates": ()}, {"dates": DAYS[:1] * 2}, {"cloud_cover": 1.5}])
def test_dates_and_clouds_that_make_no_sense_are_refused(tmp_path, changes):
    with pytest.raises(InputError, match="one date or more"):
        simulate_scenes(tmp_path / "scenes", **request(**changes))


@pytest.mark.parametrize("hemisphere", ["north", "south"])
def test_the_usual_dates_cover_the_season_and_a_step_on_each_side(hemisphere):
    days, window = season_dates(2023, hemisphere=hemisphere), season(2023, hemisphere=hemisphere)
    assert days[0] < window.start
    assert days[-1] >= window.end
    starts, stops = dates_in_windows(window, np.array(days, dtype="datetime64[D]"))
    assert (stops > starts).all()


def test_southern_scenes_lie_in_the_south(tmp_path):
    landscape = make_landscape(1, region="southern", shape=(64, 64))
    catalog = simulate_scenes(tmp_path / "south", landscape=landscape, year=2023, dates=[date(2023, 12, 5)])
    (content,) = items_of(catalog.parent)
    assert content["properties"]["grid:code"] == "MGRS-21JTJ"
    assert content["bbox"][3] < 0
