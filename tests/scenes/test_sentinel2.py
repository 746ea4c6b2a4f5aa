"""Scenes on the grid: the right pixels of the right dates, on one radiometric scale."""

import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio

from toolkit.errors import BandError, NoItemsError, RemoteError
from toolkit.scenes.clear import ClearSky
from toolkit.scenes.granules import passes
from toolkit.scenes.sentinel2 import load_scenes

WHEN = datetime(2021, 6, 1, 10, 50, tzinfo=UTC)
PLACE = np.arange(32 * 32).reshape(32, 32)  # a different value in each pixel


def test_each_pixel_comes_from_its_own_place_and_date(scene, geobox):
    days = [scene(f"d{k}", WHEN + timedelta(days=k), value=1000 + 2000 * k + PLACE) for k in range(3)]
    scenes = load_scenes(reversed(days), geobox)
    assert scenes.item.values.tolist() == ["d0", "d1", "d2"]
    for k in range(3):
        np.testing.assert_array_equal(scenes.B02[k], 1000 + 2000 * k + PLACE)


def test_20_m_pixels_are_repeated_exactly(scene, geobox):
    scenes = load_scenes([scene("a", WHEN, value=1000 + PLACE)], geobox, bands=["B11"])
    np.testing.assert_array_equal(scenes.B11[0], np.repeat(np.repeat((1000 + PLACE)[::2, ::2], 2, 0), 2, 1))


def test_pixels_equal_those_rasterio_reads(shared_data):
    from toolkit.area.aoi import read_aoi
    from toolkit.area.grid import output_geobox
    from toolkit.area.season import season
    from toolkit.catalog.search import search_items

    folder = shared_data / "flanders_2019"
    aoi = read_aoi(folder / "aoi.geojson")
    items = search_items(folder / "catalog.json", aoi, season(2019, aoi=aoi)).items[:3]
    scenes = load_scenes(items, output_geobox(aoi))
    for k, item in enumerate(items):
        for band in ("B02", "B8A"):
            with rasterio.open(item.assets[band].href) as file:
                pixels = file.read(1)
            pixels = pixels if band == "B02" else pixels.repeat(2, 0).repeat(2, 1)
            np.testing.assert_array_equal(scenes[band][k], pixels)


def test_part_of_a_grid_equals_the_part_of_the_whole(scene, geobox):
    items = [scene("a", WHEN, value=1000 + PLACE)]
    part = load_scenes(items, geobox[7:20, 3:30])
    np.testing.assert_array_equal(part.B02[0], (1000 + PLACE)[7:20, 3:30])
    whole = load_scenes(items, geobox).isel(y=slice(7, 20), x=slice(3, 30))
    np.testing.assert_array_equal(part.B11, whole.B11)


def test_offset_is_removed_once_nodata_kept_and_dark_pixels_held_at_one(scene, geobox):
    numbers = np.full((32, 32), 3000)
    numbers[0, :4] = [0, 500, 1000, 1001]
    left = scene("a", WHEN, value=numbers, properties={"earthsearch:boa_offset_applied": False})
    done = scene("b", WHEN + timedelta(days=5), value=numbers)
    scenes = load_scenes([left, done], geobox, bands=["B02"])
    assert scenes.B02.dtype == np.uint16
    assert scenes.B02[0, 0, :5].values.tolist() == [0, 1, 1, 1, 2000]
    assert scenes.B02[1, 0, :5].values.tolist() == [0, 500, 1000, 1001, 3000]


def test_pixel_clear_in_one_granule_is_not_lost_under_the_cloud_of_the_other(scene, geobox):
    cloud = np.full((32, 32), 4)
    cloud[:, :16] = 9
    first = scene("a", WHEN, value=1111, scl=cloud)
    second = scene("b", WHEN + timedelta(seconds=12), value=2222, scl=cloud[:, ::-1])
    scenes = load_scenes([first, second], geobox, bands=["B02"])
    assert scenes.sizes["time"] == 1  # one overpass counts once
    assert scenes.clear.all()
    np.testing.assert_array_equal(np.unique(scenes.B02[0, :, :16]), [2222])
    np.testing.assert_array_equal(np.unique(scenes.B02[0, :, 16:]), [1111])


def test_cloudy_pixels_are_still_preferred_to_no_pixels(scene, geobox):
    edge, cloudy = np.full((32, 32), 0), np.full((32, 32), 9)
    first = scene("a", WHEN, value=0, scl=edge)
    second = scene("b", WHEN + timedelta(seconds=12), value=7000, scl=cloudy)
    scenes = load_scenes([first, second], geobox, bands=["B02"])
    assert (scenes.B02 == 7000).all()
    assert not scenes.clear.any()


def test_overpasses_of_two_satellites_or_days_stay_apart(scene):
    items = [
        scene("a", WHEN),
        scene("b", WHEN + timedelta(minutes=2)),
        scene("c", WHEN + timedelta(minutes=3), properties={"platform": "sentinel-2b"}),
        scene("d", WHEN + timedelta(minutes=100)),
        scene("e", WHEN + timedelta(days=5)),
    ]
    assert passes(items) == [[0, 1], [2], [3], [4]]


def test_an_overpass_processed_in_two_baselines_is_one(scene):
    take = "GS2A_20210601T105031_030600"
    items = [
        scene("a", WHEN, properties={"s2:datatake_id": f"{take}_N02.14"}),
        scene("b", WHEN + timedelta(seconds=5), properties={"s2:datatake_id": f"{take}_N05.00"}),
    ]
    assert passes(items) == [[0, 1]]


def test_lazy_loading_computes_nothing_and_equals_eager(scene, geobox):
    items = [
        scene(f"d{k}", WHEN + timedelta(days=5 * k), value=1000 + k + PLACE, scl=4 + k) for k in range(3)
    ]

    def refuse(*_, **__):
        pytest.fail("something was computed")

    with dask.config.set(scheduler=refuse):
        lazy = load_scenes(items, geobox, chunks={"x": 16, "y": 16})
    eager = load_scenes(items, geobox)
    for name in eager:
        np.testing.assert_array_equal(lazy[name].compute(), eager[name])


@pytest.mark.parametrize("dilation", [10, 45])
def test_dilation_does_not_depend_on_tiles_or_chunks(scene, geobox, dilation):
    rng = np.random.default_rng(0)
    scl = np.where(rng.random((32, 32)) < 0.02, 9, 4).repeat(2, 0).repeat(2, 1)[:32, :32]
    item = scene("a", WHEN, scl=scl)
    sky = ClearSky("default", dilation)
    whole = load_scenes([item], geobox, bands=["B02"], clear=sky).clear
    lazy = load_scenes([item], geobox, bands=["B02"], clear=sky, chunks={"x": 10, "y": 7}).clear
    np.testing.assert_array_equal(lazy.compute(), whole)
    tile = load_scenes([item], geobox[8:20, 6:25], bands=["B02"], clear=sky).clear
    np.testing.assert_array_equal(tile, whole[:, 8:20, 6:25])


def test_simulated_scenes_say_so(scene, geobox):
    real = load_scenes([scene("a", WHEN)], geobox, bands=["B02"])
    made = load_scenes([scene("b", WHEN, properties={"cropglobe:simulated": True})], geobox, bands=["B02"])
    assert (real.attrs["simulated"], made.attrs["simulated"]) == (0, 1)


def test_bad_requests_are_named(scene, geobox):
    item = scene("a", WHEN)
    with pytest.raises(NoItemsError, match="No items to load"):
        load_scenes([], geobox)
    with pytest.raises(BandError, match="B99"):
        load_scenes([item], geobox, bands=["B99"])
    del item.assets["B8A"]
    with pytest.raises(BandError, match=r"Item 'a' lacks \['B8A'\]"):
        load_scenes([item], geobox)


def test_a_file_that_is_missing_or_cut_is_an_error_not_nodata(scene, geobox):
    item = scene("a", WHEN)
    path = item.assets["B04"].href
    with Path(path).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(RemoteError, match="could not be read"):
        load_scenes([item], geobox)


def test_lazy_reading_names_the_file_too_and_travels_to_workers(scene, geobox):
    item = scene("a", WHEN)
    lazy = load_scenes([item], geobox, chunks={"x": 16})
    again = pickle.loads(pickle.dumps(lazy))  # noqa: S301  # our own graph, as dask sends it
    assert (again.B02.compute() == 1000).all()
    Path(item.assets["B04"].href).unlink()
    with pytest.raises(RemoteError, match=r"B04\.tif' could not be read"):
        lazy.B04.compute()
