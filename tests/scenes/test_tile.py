"""Scenes of a tile: quality first, nothing read that is not clear, one granule per place and date."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio

from toolkit.errors import NoItemsError, RemoteError
from toolkit.scenes.clear import ClearSky, clear_from_scl
from toolkit.scenes.sensors import SENTINEL2_BANDS
from toolkit.scenes.sentinel2 import load_scenes
from toolkit.scenes.tile import block_lattice, choose, open_tile

WHEN = datetime(2021, 6, 1, 10, 50, tzinfo=UTC)
PLACE = np.arange(32 * 32).reshape(32, 32)


def days(scene, scls, **options):
    return [
        scene(f"d{k}", WHEN + timedelta(days=5 * k), value=1000 + 1000 * k + PLACE, scl=scl, **options)
        for k, scl in enumerate(scls)
    ]


def test_dates_with_nothing_clear_are_left_out_and_their_bands_never_opened(scene, geobox):
    items = days(scene, [4, 9, 4])
    for asset in (items[1].assets[band] for band in SENTINEL2_BANDS):
        Path(asset.href).unlink()
    tile = open_tile(items, geobox)
    assert tile.names == ["d0", "d2"]
    assert tile.read("B02").shape == (2, 32, 32)
    counts = tile.log.counts
    assert (counts.scenes, counts.cloudy_scenes) == (3, 1)
    assert counts.files == 3 + 2  # quality layers, and one band of two dates


def test_clear_pixels_are_those_of_load_scenes(scene, geobox):
    rng = np.random.default_rng(0)
    items = days(scene, [rng.choice([4, 5, 9], (32, 32)) for _ in range(4)], block=16)
    tile, scenes = open_tile(items, geobox[3:30, 5:31]), load_scenes(items, geobox[3:30, 5:31])
    np.testing.assert_array_equal(tile.clear, scenes.clear)
    np.testing.assert_array_equal(tile.time, scenes.time)
    for band in ("B02", "B11"):
        found = tile.read(band)
        np.testing.assert_array_equal(found[tile.clear], scenes[band].to_numpy()[tile.clear])


def test_blocks_without_a_clear_pixel_are_not_read(scene, geobox):
    scl = np.full((32, 32), 9)
    scl[:2, 20:22] = 4
    tile = open_tile(days(scene, [scl], block=16), geobox)
    before = tile.log.counts.blocks
    tile.read("B02")
    assert tile.log.counts.blocks - before == 1  # of four
    tile.read("B11")
    assert tile.log.counts.blocks - before == 2  # the only one at 20 m


def test_what_is_not_wanted_is_not_clear_and_not_read(scene, geobox):
    rng = np.random.default_rng(0)
    items = days(scene, [rng.choice([4, 9], (32, 32)), np.where(PLACE < 16 * 32, 4, 9)], block=16)
    wanted = np.zeros((32, 32), bool)
    wanted[20:25, 3:9] = True
    whole, part = open_tile(items, geobox), open_tile(items, geobox, wanted=wanted)
    assert part.names == ["d0"]  # the other is clear elsewhere alone
    np.testing.assert_array_equal(part.clear[0], whole.clear[0] & wanted)
    before = part.log.counts.blocks
    found = part.read("B02")
    assert part.log.counts.blocks - before == 1  # of four
    np.testing.assert_array_equal(found[0][part.clear[0]], whole.read("B02")[0][part.clear[0]])


def test_blocks_read_of_real_scenes_equal_an_oracle(shared_data):
    from toolkit.area.aoi import read_aoi
    from toolkit.area.grid import output_geobox
    from toolkit.area.season import Windows
    from toolkit.catalog.search import search_items

    folder = shared_data / "flanders_2019"
    aoi = read_aoi(folder / "aoi.geojson")
    year = Windows(((date(2018, 8, 1), date(2019, 12, 31)),))
    items = list(search_items(folder / "catalog.json", aoi, year).items)
    assert len(items) == 72
    tile = open_tile(items, output_geobox(aoi))
    quality_blocks = tile.log.counts.blocks
    assert (tile.log.counts.scenes, tile.log.counts.cloudy_scenes) == (72, 20)
    for band in SENTINEL2_BANDS:
        tile.read(band)
    expected = 0
    for item in items:
        with rasterio.open(item.assets["SCL"].href) as file:
            clear = clear_from_scl(file.read(1), ClearSky(), resolution=20)
        for band in SENTINEL2_BANDS:
            with rasterio.open(item.assets[band].href) as file:
                (height, width), repeat = file.block_shapes[0], 20 // round(file.res[0])
                seen = clear.repeat(repeat, 0).repeat(repeat, 1)
                for top in range(0, file.height, height):
                    for left in range(0, file.width, width):
                        expected += bool(seen[top : top + height, left : left + width].any())
    assert tile.log.counts.blocks - quality_blocks == expected


def test_where_granules_overlap_each_place_is_read_from_one(scene, geobox):
    left, right = np.full((32, 32), 4), np.full((32, 32), 4)
    left[:, 20:] = 0  # two granules of one overpass, both with data in columns 10 to 19
    right[:, :10] = 0
    first = scene("a", WHEN, value=1111, scl=left, block=16)
    second = scene("b", WHEN + timedelta(seconds=12), value=2222, scl=right, block=16)
    tile = open_tile([first, second], geobox)
    assert tile.names == ["a+b"]
    pixels = tile.read("B02")[0]
    assert (np.unique(pixels[:, :20]).tolist(), np.unique(pixels[:, 20:]).tolist()) == ([1111], [2222])
    whole_first = open_tile([first, second], geobox[:, :16])
    before = whole_first.log.counts.files
    whole_first.read("B02")
    assert whole_first.log.counts.files - before == 1  # the second granule is not opened there


def test_granules_far_from_the_tile_are_not_opened(scene, geobox):
    items = days(scene, [4, 4])
    items[1].bbox = [20.0, 10.0, 21.0, 11.0]
    Path(items[1].assets["SCL"].href).unlink()
    assert open_tile(items, geobox).names == ["d0"]


def test_tile_without_any_clear_date_has_no_dates(scene, geobox):
    tile = open_tile(days(scene, [9, 8]), geobox)
    assert tile.clear.shape == (0, 32, 32)
    assert tile.read("B02").shape == (0, 32, 32)


def test_a_pixel_is_taken_where_clear_else_where_there_is_data():
    clear = [np.array([True, False, False, False]), np.array([True, True, False, False])]
    valid = [np.array([True, True, False, False]), np.array([True, True, True, False])]
    assert choose(clear, valid).tolist() == [0, 1, 1, 0]


def test_lattice_is_that_of_the_largest_blocks(scene, geobox):
    items = days(scene, [4], block=16)
    place = block_lattice(items, geobox[2:, 4:], ["B02", "B11"])
    assert (place.y, place.x, place.height, place.width) == (-2, -4, 32, 32)


def test_missing_items_and_files_are_named(scene, geobox):
    with pytest.raises(NoItemsError, match="No items to load"):
        open_tile([], geobox)
    items = days(scene, [4])
    Path(items[0].assets["SCL"].href).unlink()
    with pytest.raises(RemoteError, match=r"SCL\.tif' could not be read"):
        open_tile(items, geobox)
