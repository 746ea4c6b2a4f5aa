"""Folders of EMIT granules: items from names and global attributes, masks beside, bad files by name."""

import json
from datetime import UTC, datetime

import h5netcdf
import numpy as np
import pytest
import shapely
from shapely.geometry import box, mapping

from pipelines.cli import main
from pipelines.config import SearchRequest
from pipelines.search import find
from toolkit.area.aoi import AOI
from toolkit.area.season import season
from toolkit.catalog.items import attribution, is_simulated
from toolkit.catalog.search import search_items
from toolkit.errors import CredentialsError, InputError, NoItemsError

AREA = AOI(box(-62.2, -40.2, -61.8, -39.8))
SEASON = season(2022, hemisphere="south")
V1 = "EMIT_L2A_{}_001_20221203T163129_2233711_012"
V2 = "EMIT_L2A_{}_{}_20221205T163129"
CELL = 0.000542232520256367
SIDES = {
    "westernmost_longitude": -62.5,
    "southernmost_latitude": -40.4,
    "easternmost_longitude": -61.2,
    "northernmost_latitude": -39.3,
}


def granule(folder, name, *, shape=(4, 5), variable="reflectance", **attributes):
    """A file with the dimensions and attributes of a granule and hardly a pixel."""
    path = folder / f"{name}.nc"
    told = {
        "geotransform": np.array([-62.5, CELL, 0, -39.3, 0, -CELL]),
        "spatial_ref": 'GEOGCS["WGS 84"]',
        "time_coverage_start": "2022-12-03T16:31:29+0000",
        "product_version": "V001",
        **SIDES,
        **attributes,
    }
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {
            "downtrack": 2,
            "crosstrack": 3,
            "bands": 1,
            "ortho_y": shape[0],
            "ortho_x": shape[1],
        }
        pixels = np.zeros((2, 3, 1), np.float32)
        file.create_variable(variable, ("downtrack", "crosstrack", "bands"), data=pixels)
        for key, value in told.items():
            if value is not None:
                file.attrs[key] = value
    return path


def search(folder, area=AREA, **options):
    return search_items(folder, area, SEASON, sensor="emit", **options)


def without_sides(**attributes):
    return {**dict.fromkeys(SIDES), **attributes}


def test_a_granule_becomes_an_item_with_its_mask(tmp_path):
    spectra = granule(tmp_path, V1.format("RFL"), software_build_version="010603")
    granule(tmp_path, V1.format("RFLUNCERT"))
    mask = granule(tmp_path, V1.format("MASK"), variable="mask")
    items = search(tmp_path)
    (one,) = items
    assert one.id == V1.format("RFL")
    assert one.datetime == datetime(2022, 12, 3, 16, 31, 29, tzinfo=UTC)
    assert one.bbox == [-62.5, -40.4, -61.2, -39.3]
    assert {name: asset.href for name, asset in one.assets.items()} == {
        "reflectance": str(spectra),
        "mask": str(mask),
    }
    assert one.properties["emit:product_version"] == one.properties["emit:mask_version"] == "001"
    assert one.properties["emit:software_build_version"] == "010603"
    assert not is_simulated(one)
    assert items.extra_fields["skipped"] == {}
    assert items.extra_fields["without_mask"] == []


def test_masks_beside_are_of_the_same_acquisition_and_of_a_version_made_for_it(tmp_path):
    granule(tmp_path, V2.format("RFL", "002"), time_coverage_start="2022-12-05T16:31:29+0000")
    granule(tmp_path, V1.format("MASK"), variable="mask")
    granule(tmp_path, V2.format("MASK", "001") + "_2233911_012", variable="mask")
    assert search(tmp_path).extra_fields["without_mask"] == [V2.format("RFL", "002")]
    for version in ("002", "003"):
        granule(tmp_path, V2.format("MASK", version), variable="mask")
        assert search(tmp_path).items[0].properties["emit:mask_version"] == version


def test_without_the_sides_the_footprint_follows_from_the_geotransform(tmp_path):
    granule(tmp_path, V1.format("RFL"), shape=(2000, 2400), **without_sides())
    expected = [-62.5, -39.3 - 2000 * CELL, -62.5 + 2400 * CELL, -39.3]
    assert search(tmp_path).items[0].bbox == pytest.approx(expected)


@pytest.mark.parametrize(
    "place",
    [
        {"westernmost_longitude": 179.5, "easternmost_longitude": -179.5},
        without_sides(geotransform=np.array([179.5, 0.001, 0, -39.3, 0, -0.001])),
    ],
    ids=["sides", "geotransform"],
)
def test_a_granule_across_the_antimeridian_lies_on_both_of_its_sides(tmp_path, place):
    granule(tmp_path, V1.format("RFL"), shape=(1100, 1000), **place)
    for west in (179.6, -179.9):
        (one,) = search(tmp_path, AOI(box(west, -40, west + 0.1, -39.9)))
        assert shapely.geometry.shape(one.geometry).geom_type == "MultiPolygon"
    with pytest.raises(NoItemsError, match="1 outside_area"):
        search(tmp_path)


def test_a_granule_without_a_time_has_that_of_its_name(tmp_path):
    granule(tmp_path, V1.format("RFL"), time_coverage_start=None)
    assert search(tmp_path).items[0].datetime == datetime(2022, 12, 3, 16, 31, 29, tzinfo=UTC)


def test_simulated_granules_say_so(tmp_path):
    granule(tmp_path, V1.format("RFL"), simulated="true")
    items = search(tmp_path)
    assert is_simulated(items.items[0])
    assert attribution(items).startswith("Simulated")


def bad_files(folder):
    """A truncated granule, one without reflectance, one nowhere on Earth, and a file of another name."""
    whole = granule(folder, V2.format("RFL", "002")).read_bytes()
    (folder / f"{V2.format('RFL', '002')}.nc").write_bytes(whole[: len(whole) // 2])
    granule(folder, "EMIT_L2A_RFL_002_20221207T163129", variable="radiance")
    metres = np.array([600_000.0, 60, 0, 5_600_000.0, 0, -60])
    granule(folder, "EMIT_L2A_RFL_002_20221209T163129", **without_sides(geotransform=metres))
    granule(folder, "EMIT_L2A_RFL_002_20221211T163129", time_coverage_start="yesterday")
    (folder / "other.nc").write_bytes(b"CDF")
    return [f"EMIT_L2A_RFL_002_202212{day}T163129.nc" for day in ("05", "07", "09", "11")] + ["other.nc"]


def test_files_that_cannot_be_used_are_left_out_by_name_and_stop_nothing(tmp_path):
    granule(tmp_path, V1.format("RFL"))
    bad = bad_files(tmp_path)
    items = search(tmp_path)
    assert [one.id for one in items] == [V1.format("RFL")]
    assert items.extra_fields["skipped"] == {"item_invalid": bad}


def test_if_no_file_can_be_used_the_error_names_some(tmp_path):
    bad = bad_files(tmp_path)
    with pytest.raises(NoItemsError, match=rf"5 item_invalid \({bad[0]}, .*, \.\.\.\)"):
        search(tmp_path)


def test_a_folder_without_granules_is_told_what_is_expected(tmp_path):
    (tmp_path / "other.nc").write_bytes(b"CDF")
    with pytest.raises(
        InputError, match=r"no EMIT granule among 1 \.nc files\. .*EMIT_L2A_RFL_001_.*catalog"
    ):
        search(tmp_path)


def test_a_folder_is_no_catalog_of_sentinel_2(tmp_path):
    granule(tmp_path, V1.format("RFL"))
    with pytest.raises(InputError, match="There is no catalog"):
        search_items(tmp_path, AREA, SEASON)


def test_a_file_that_leads_out_of_the_folder_is_not_read(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").mkdir()
    name = V1.format("RFL")
    (tmp_path / "inside" / f"{name}.nc").symlink_to(granule(tmp_path / "outside", name))
    with pytest.raises(InputError, match="lies outside the catalog's folder"):
        search(tmp_path / "inside")


@pytest.fixture
def place(tmp_path):
    """An area, and a folder with granules of two versions, one bad file and one mask."""
    feature = {"type": "Feature", "properties": {}, "geometry": mapping(AREA.geometry)}
    (tmp_path / "aoi.geojson").write_text(json.dumps(feature))
    (tmp_path / "granules").mkdir()
    granule(tmp_path / "granules", V1.format("RFL"))
    granule(tmp_path / "granules", V2.format("RFL", "002"), time_coverage_start="2022-12-05T16:31:29+0000")
    granule(tmp_path / "granules", V2.format("MASK", "003"), variable="mask")
    (tmp_path / "granules" / "other.nc").write_bytes(b"CDF")
    return tmp_path


def command(place, *more):
    options = ["--aoi", place / "aoi.geojson", "--year", 2022, "--out", place / "out", "--sensor", "emit"]
    main(["search", *(str(part) for part in (*options, *more))])


def test_the_command_searches_a_folder_and_counts_versions_and_masks(place, capsys):
    command(place, "--catalog", place / "granules", "--mix-versions")
    told = capsys.readouterr().out
    assert "3 items found" in told
    assert "2 scenes used, left out: 1 item_invalid" in told
    assert "product versions: 001 1, 002 1; without mask: 1" in told
    assert "not usable: other.nc" in told
    command(place, "--catalog", place / "granules")
    assert "product versions: 002 1; without mask: 0" in capsys.readouterr().out


def test_saved_items_of_one_sensor_do_not_serve_another(place):
    command(place, "--catalog", place / "granules")
    options = {"aoi": place / "aoi.geojson", "year": 2022, "out": place}
    saved = SearchRequest.make({**options, "items": place / "out" / "items.json"})
    assert len(find(saved, AREA, SEASON, folder=place, sensor="emit").items) == 1
    with pytest.raises(InputError, match="holds items of emit, not of sentinel-2"):
        find(saved, AREA, SEASON, folder=place)


def test_pixels_of_emit_need_a_token_and_the_error_says_where_it_is_to_be_had(place, monkeypatch):
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    asked = SearchRequest.make({"aoi": place / "aoi.geojson", "year": 2022, "out": place})
    expected = r"'lpcloud'.*EARTHDATA_TOKEN is not set.*https://urs.earthdata.nasa.gov, 'Generate Token'"
    with pytest.raises(CredentialsError, match=expected):
        find(asked, AREA, SEASON, folder=place, sensor="emit")
