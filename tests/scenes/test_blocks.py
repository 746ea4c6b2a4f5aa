"""One file on the grid: the right pixels, by whole blocks, none that is not wanted, none twice."""

import threading
from functools import partial
from http.server import ThreadingHTTPServer

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from rasterio.transform import from_origin

from tests.scenes.test_http import LOOPBACK, Ranges
from toolkit.area.grid import Lattice, tiles
from toolkit.errors import RemoteError
from toolkit.scenes.blocks import BlockCache, block_place, read_on_grid
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.kept_blocks import KeptBlocks

LEFT, TOP = 600000, 5600320
BLOCK = 16
HEIGHT, WIDTH = 40, 56  # 3 x 4 blocks, the last ones cut


def write(path, pixels, *, resolution=10, block=BLOCK, crs="EPSG:32631", origin=(LEFT, TOP)):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        dtype=pixels.dtype,
        crs=crs,
        height=pixels.shape[0],
        width=pixels.shape[1],
        transform=from_origin(*origin, resolution, resolution),
        tiled=True,
        blockxsize=block,
        blockysize=block,
        compress="deflate",
        nodata=0,
    ) as file:
        file.write(pixels, 1)
    return str(path)


def grid(row, column, height, width):
    """Output grid of 10 m whose corner lies ``row`` and ``column`` pixels from the file's."""
    left, top = LEFT + 10 * column, TOP - 10 * row
    box = BoundingBox(left, top - 10 * height, left + 10 * width, top, crs="EPSG:32631")
    return GeoBox.from_bbox(box, resolution=10)


def numbers(seed=0, shape=(HEIGHT, WIDTH)):
    return np.random.default_rng(seed).integers(1, 60_000, shape).astype(np.uint16)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of 10, 20 and 60 m with the same corner, and their pixels repeated to 10 m."""
    folder = tmp_path_factory.mktemp("files")
    made = {}
    for resolution in (10, 20, 60):
        pixels = numbers(resolution)
        path = write(folder / f"{resolution}.tif", pixels, resolution=resolution)
        factor = resolution // 10
        made[resolution] = path, pixels.repeat(factor, 0).repeat(factor, 1)
    return made


def expected_window(pixels, row, column, height, width):
    """Window of an array, 0 beyond its edges."""
    reach = 400
    padded = np.pad(pixels, reach)
    return padded[row + reach : row + reach + height, column + reach : column + reach + width]


@given(
    st.sampled_from([10, 20, 60]),
    st.integers(-30, 300),
    st.integers(-30, 300),
    st.integers(1, 60),
    st.integers(1, 60),
)
@settings(max_examples=60)
def test_pixels_equal_those_of_the_whole_file_repeated(files, resolution, row, column, height, width):
    path, pixels = files[resolution]
    found, counts = read_on_grid(path, grid(row, column, height, width))
    np.testing.assert_array_equal(found, expected_window(pixels, row, column, height, width))
    assert counts.files == 1


@given(st.integers(0, 1000), st.sampled_from([10, 20]), st.integers(-9, 30), st.integers(-9, 30))
@settings(max_examples=40)
def test_blocks_read_are_those_that_hold_a_wanted_pixel(files, seed, resolution, row, column):
    path, pixels = files[resolution]
    height, width = 37, 41
    rng = np.random.default_rng(seed)
    wanted = np.zeros((height, width), bool)
    wanted[rng.integers(0, height, 3), rng.integers(0, width, 3)] = True
    found, counts = read_on_grid(path, grid(row, column, height, width), wanted=wanted)
    expected = expected_window(pixels, row, column, height, width)
    np.testing.assert_array_equal(found[wanted], expected[wanted])
    ys, xs = np.nonzero(wanted)
    ys, xs = (ys + row) * 10 // resolution, (xs + column) * 10 // resolution
    there = (ys >= 0) & (xs >= 0) & (ys < HEIGHT) & (xs < WIDTH)
    oracle = {(y // BLOCK, x // BLOCK) for y, x in zip(ys[there], xs[there], strict=True)}
    assert counts.blocks == len(oracle)
    assert 1 <= counts.requests <= 1 + len(oracle)


def test_tiles_cut_at_blocks_decode_each_block_once(files):
    geobox = grid(-5, 7, 60, 70)
    for resolution in (10, 20):
        path, pixels = files[resolution]
        lattice = block_place(path, geobox)
        total = ReadCounts()
        for tile in tiles(geobox, size=32, lattice=lattice):
            found, counts = read_on_grid(path, tile.geobox)
            expected = expected_window(pixels, -5 + tile.y.start, 7 + tile.x.start, *found.shape)
            np.testing.assert_array_equal(found, expected)
            total += counts
        _, whole = read_on_grid(path, geobox)
        assert total.blocks == whole.blocks
        assert total.bytes == whole.bytes


def test_lattice_of_20_m_blocks_is_twice_as_wide(files):
    geobox = grid(4, 6, 30, 30)
    assert block_place(files[10][0], geobox) == Lattice(-4, -6, 16, 16)
    assert block_place(files[20][0], geobox) == Lattice(-4, -6, 32, 32)


def test_a_cache_keeps_blocks_for_neighbours_whatever_the_tiles(files, tmp_path):
    path, pixels = files[20]
    geobox = grid(3, 3, 70, 90)
    cache, total = BlockCache(KeptBlocks(tmp_path)), ReadCounts()
    for tile in tiles(geobox, size=17):
        found, counts = read_on_grid(path, tile.geobox, cache=cache)
        expected = expected_window(pixels, 3 + tile.y.start, 3 + tile.x.start, *found.shape)
        np.testing.assert_array_equal(found, expected)
        total += counts
    assert total.blocks == read_on_grid(path, geobox)[1].blocks
    assert total.kept_blocks > 0


def test_over_http_no_byte_of_a_block_is_fetched_twice(tmp_path):
    """The server's log is the witness: what it sent is the blocks asked for, and headers."""
    pixels = numbers(1, (1024, 1024))
    write(tmp_path / "a.tif", pixels, block=256)
    sent = []

    class Logged(Ranges):
        def do_GET(self):  # noqa: N802  # the name the server calls
            sent.append(self.headers.get("Range"))
            super().do_GET()

    wanted = np.zeros((1024, 1024), bool)
    wanted[:256, :512] = wanted[700, 700] = True  # a run of two blocks, and another
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Logged, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/a.tif"
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            found, counts = read_on_grid(url, grid(0, 0, 1024, 1024), wanted=wanted, access=LOOPBACK)
        server.shutdown()
    np.testing.assert_array_equal(found[wanted], pixels[wanted])
    assert (counts.blocks, counts.requests) == (3, 3)
    ranges = [tuple(map(int, one.removeprefix("bytes=").split("-"))) for one in sent if one]
    fetched = sum(last - first + 1 for first, last in ranges)
    headers = 16_384
    assert counts.bytes <= fetched <= counts.bytes + (len(ranges) + 1) * headers
    assert len(ranges) <= counts.requests + 1


def test_a_file_on_another_grid_is_resampled_and_counted(tmp_path):
    path = write(
        tmp_path / "a.tif", np.full((400, 400), 777, np.uint16), crs="EPSG:32632", origin=(173500, 5611000)
    )
    found, counts = read_on_grid(path, grid(0, 0, 20, 20))
    assert (found == 777).all()
    assert counts.resampled == 1


def test_a_grid_that_misses_by_half_a_pixel_is_resampled(tmp_path):
    path = write(tmp_path / "a.tif", numbers(), origin=(LEFT + 5, TOP))
    assert read_on_grid(path, grid(0, 0, 20, 20))[1].resampled == 1


def test_a_virtual_raster_under_the_name_of_a_tif_is_refused(tmp_path):
    real = write(tmp_path / "a.tif", numbers())
    disguise = tmp_path / "b.tif"
    disguise.write_text(
        f'<VRTDataset rasterXSize="{WIDTH}" rasterYSize="{HEIGHT}"><VRTRasterBand dataType="UInt16" band="1">'
        f"<SimpleSource><SourceFilename>{real}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(RemoteError, match=r"b\.tif' could not be read"):
        read_on_grid(str(disguise), grid(0, 0, 5, 5))
