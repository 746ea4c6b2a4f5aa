"""Tiles: every one made once, joined to the whole, failures reported."""

import hashlib
from functools import partial
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import xarray as xr
from distributed import Client, LocalCluster
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox

from toolkit.area.grid import tiles
from toolkit.legend import CROPGLOBE, Status
from toolkit.maps.dispatch import run_tiles
from toolkit.maps.layers import LAYERS, SENSOR_LAYER, outside
from toolkit.maps.tile_files import TileFile, encode_tile, store_tile
from toolkit.maps.tiles import Kept, Stopwatch, TileReport, join_tiles, publish

GRID = GeoBox.from_bbox(BoundingBox(600000, 5600000, 601000, 5600700, crs="EPSG:32631"), resolution=10)


@pytest.fixture(scope="module")
def client():
    """Two threads in this process: the protocol is the same, the start is fast."""
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            dashboard_address="127.0.0.1:0",
            protocol="tcp",
            host="127.0.0.1",
        ) as cluster,
        Client(cluster) as connected,
    ):
        yield connected


def pixels(tile):
    """A different value in each pixel of the grid, modulo 251."""
    rows, columns = np.mgrid[tile.y, tile.x]
    return ((rows * 1000 + columns) % 251).astype(np.uint8)


def make(tile, folder):
    values = pixels(tile)
    content = encode_tile(xr.Dataset({layer.name: (("y", "x"), values) for layer in LAYERS}), tile)
    made = TileFile(name=tile.name, content_key="0" * 20, sha256=hashlib.sha256(content).hexdigest())
    store_tile(content, made, folder)
    return TileReport(name=tile.name, seconds={}, kept=Kept(mapped=values.size), made=made)


def test_joined_tiles_hold_every_pixel_in_its_place(client, tmp_path):
    order = tuple(tiles(GRID, size=32))
    reports = list(run_tiles(order, partial(make, folder=tmp_path), client=client))
    assert sorted(report.name for report in reports) == sorted(tile.name for tile in order)
    files_of = {report.name: report.made.path(tmp_path) for report in reports}
    made = [(tile, files_of[tile.name]) for tile in order]
    files = join_tiles(made, GRID, tmp_path, legend=CROPGLOBE, tags={})
    rows, columns = np.indices(GRID.shape.yx)
    with rasterio.open(files["observations"]) as file:
        np.testing.assert_array_equal(file.read(1), (rows * 1000 + columns) % 251)
    (tmp_path / "out").mkdir()
    moved = publish(files, tmp_path / "out")
    assert all(path.is_file() for path in moved.values())
    assert (tmp_path / "out" / "crop_map.tif.aux.xml").is_file()
    assert not files["crop"].exists()


def test_where_no_tile_lies_the_layers_are_as_outside_the_area(tmp_path):
    """As if those tiles were there, byte for byte, and counted in the tables of names."""
    order = tuple(tiles(GRID, size=32))
    some = [tile for tile in order if (tile.row + tile.column) % 3 == 0]
    empty = [tile for tile in order if tile not in some]

    def joined(made, name):
        (tmp_path / name).mkdir()
        join_tiles(made, GRID, tmp_path / name, legend=CROPGLOBE, tags={}, layers=(*LAYERS, SENSOR_LAYER))
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    filled = [(tile, xr.Dataset({one.name: (("y", "x"), pixels(tile)) for one in LAYERS})) for tile in some]
    filled = [(tile, layers.assign(sensor=layers.crop % 4)) for tile, layers in filled]
    outer = [(tile, outside(tile.geobox.shape.yx, (*LAYERS, SENSOR_LAYER))) for tile in empty]
    found = joined(filled, "some")
    assert found == joined([*filled, *outer], "all")
    assert len(found) == 9  # six layers, three tables of names
    table = ET.fromstring(found["status.tif.aux.xml"])
    counted = {row[0].text: int(row[6].text) for row in table.iter("Row")}
    with rasterio.open(tmp_path / "some" / "status.tif") as file:
        assert counted[str(int(Status.OUTSIDE_AREA))] == (file.read(1) == Status.OUTSIDE_AREA).sum()


def test_stopwatch_books_time_under_stages():
    watch = Stopwatch()
    watch.lap("read")
    watch.lap("read")
    watch.lap("write")
    assert set(watch.seconds) == {"read", "write"}
    assert all(seconds >= 0 for seconds in watch.seconds.values())
