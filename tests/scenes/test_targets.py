"""Files on other grids: the pixel under each centre, exactly, however the output is cut."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from tests.scenes.test_blocks import write
from tests.scenes.test_nearest import ACCESS
from tests.servers.ranges import serve
from toolkit.area.grid import tiles
from toolkit.errors import AssetError
from toolkit.scenes import blocks
from toolkit.scenes.blocks import BlockCache, read_on_grid
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.kept_blocks import KeptBlocks

BLOCK = 64
SIZE = 700
TO_32 = Transformer.from_crs("EPSG:32631", "EPSG:32632", always_xy=True)
WEST, NORTH = 715_000, 5_545_000
"""A place at 6 degrees east in zone 31."""


def grid(row=0, column=0, height=512, width=512, step=10):
    """Pixels of zone 31, counted from the place."""
    return GeoBox(
        (height, width), Affine(step, 0, WEST + 10 * column, 0, -step, NORTH - 10 * row), "EPSG:32631"
    )


def expected(path, geobox):
    """Value of the file's pixel that holds each centre, 0 outside; no centre may lie on an edge."""
    with rasterio.open(path) as file:
        pixels, there = file.read(1), file.transform
    rows, columns = np.indices(geobox.shape.yx) + 0.5
    x, y = TO_32.transform(*(geobox.affine * (columns, rows)))
    column, row = ~there * (x, y)
    assert min(np.abs(place - np.round(place)).min() for place in (row, column)) > 1e-9
    column, row = (np.floor(place).astype(int) for place in (column, row))
    inner = (row >= 0) & (row < pixels.shape[0]) & (column >= 0) & (column < pixels.shape[1])
    out = np.zeros(geobox.shape.yx, pixels.dtype)
    out[inner] = pixels[row[inner], column[inner]]
    return out


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Random pixels of zone 32 around the place, 10, 20 and 60 m, and 10 m turned by ten degrees."""
    folder = tmp_path_factory.mktemp("zone32")
    x, y = TO_32.transform(WEST + 2_000, NORTH - 2_000)
    made = {}
    for step in (10, 20, 60):
        pixels = np.random.default_rng(step).integers(1, 60_000, (SIZE, SIZE)).astype(np.uint16)
        origin = step * round(x / step) - step * SIZE // 2, step * round(y / step) + step * SIZE // 2
        made[step] = write(
            folder / f"{step}.tif", pixels, resolution=step, block=BLOCK, crs="EPSG:32632", origin=origin
        )
    made["turned"] = str(folder / "turned.tif")
    with rasterio.open(made[10]) as file:
        profile = file.profile | {"transform": file.transform * Affine.rotation(10, (350, 350))}
        with rasterio.open(made["turned"], "w", **profile) as turned:
            turned.write(file.read())
    return made


@settings(max_examples=25)
@given(
    name=st.sampled_from([10, 20, 60, "turned"]),
    row=st.integers(-500, 500),
    column=st.integers(-500, 500),
    shape=st.tuples(st.integers(1, 140), st.integers(1, 140)),
    step=st.sampled_from([10, 30]),
)
def test_each_pixel_is_that_under_its_centre(files, name, row, column, shape, step):
    geobox = grid(row, column, *shape, step)
    found, counts = read_on_grid(files[name], geobox)
    np.testing.assert_array_equal(found, expected(files[name], geobox))
    assert (counts.files, counts.resampled) == (1, 1)


@pytest.mark.parametrize("name", [10, 20, "turned"])
def test_a_large_tile_is_made_of_small_ones_each_block_decoded_once(files, name, tmp_path):
    geobox = grid()
    whole, counts = read_on_grid(files[name], geobox)
    np.testing.assert_array_equal(whole, expected(files[name], geobox))
    cache, total = BlockCache(KeptBlocks(tmp_path)), ReadCounts()
    for tile in tiles(geobox, size=100):
        part, read = read_on_grid(files[name], tile.geobox, cache=cache)
        np.testing.assert_array_equal(part, whole[tile.y, tile.x])
        total += read
    assert total.blocks == counts.blocks
    assert total.kept_blocks > 0


def test_an_output_coarser_than_the_file_is_read_piece_by_piece(files, monkeypatch):
    whole, counts = read_on_grid(files[10], grid(step=60))
    monkeypatch.setattr(blocks, "RUN_BYTES", 3 * 8192)  # three blocks
    parts, pieces = read_on_grid(files[10], grid(step=60))
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(whole, expected(files[10], grid(step=60)))
    assert pieces.blocks == counts.blocks
    assert pieces.requests > counts.requests


def test_only_blocks_with_a_wanted_pixel_are_read(files):
    geobox, wanted = grid(), np.zeros((512, 512), bool)
    wanted[100:140, 200:230] = wanted[400, 7] = True
    found, counts = read_on_grid(files[10], geobox, wanted=wanted)
    np.testing.assert_array_equal(found[wanted], expected(files[10], geobox)[wanted])
    assert 3 <= counts.blocks <= 5
    none, counts = read_on_grid(files[10], geobox, wanted=np.zeros((512, 512), bool))
    assert (none == 0).all()
    assert (counts.blocks, counts.requests) == (0, 1)


def test_a_server_is_asked_for_the_blocks_under_the_grid_together(files):
    geobox = grid(100, 100, 60, 60)
    with serve(Path(files[10]).parent) as server:
        found, counts = read_on_grid(f"{server.url}/10.tif", geobox, access=ACCESS)
        np.testing.assert_array_equal(found, expected(files[10], geobox))
        assert counts.requests == len(server.log) <= 3  # the header, and two rectangles of blocks
        assert counts.bytes == server.bytes_sent


def test_a_grid_beyond_the_file_reads_nothing(files):
    found, counts = read_on_grid(files[10], grid(row=-4_000, height=30, width=30))
    assert (found == 0).all()
    assert (counts.blocks, counts.requests) == (0, 1)


def test_a_centre_on_an_edge_belongs_to_the_pixel_right_and_below(tmp_path):
    """Half a pixel off, and pixels twice as wide as the file's: every centre lies on edges."""
    pixels = np.arange(1, 1601, dtype=np.uint16).reshape(40, 40)
    path = write(tmp_path / "a.tif", pixels, crs="EPSG:32631", origin=(WEST + 5, NORTH + 5))
    for step in (10, 20):
        found, _ = read_on_grid(path, grid(height=15, width=15, step=step))
        # The centre of the first pixel lies 0 (or 5) m right of the file's left edge, and 10 (or 15) m below.
        np.testing.assert_array_equal(found, pixels[1 :: step // 10, :: step // 10][:15, :15])


@pytest.mark.parametrize(
    ("crs", "saying"),
    [(None, "it has no CRS"), ('LOCAL_CS["floor",UNIT["metre",1]]', "its CRS cannot be projected")],
)
def test_a_file_that_lies_nowhere_is_named(tmp_path, crs, saying):
    path = write(tmp_path / "nowhere.tif", np.ones((40, 40), np.uint16), crs=crs)
    with pytest.raises(AssetError, match=rf"nowhere\.tif' could not be read \({saying}"):
        read_on_grid(path, grid(height=9, width=9))
