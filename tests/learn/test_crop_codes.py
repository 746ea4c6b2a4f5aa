"""Codes of a layer's tiles on a grid, read from a server by ranges."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
import shapely
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from pyproj import Transformer

from tests.servers.layer_api import layer_tile, serve_layer
from toolkit.area.aoi import AOI
from toolkit.catalog.layer_search import search_layer
from toolkit.catalog.layers import LABEL_LAYERS
from toolkit.errors import AssetError, LabelError
from toolkit.learn.crop_codes import read_layer_codes

CDL = LABEL_LAYERS["usda-cdl"]
GRID = GeoBox.from_bbox(BoundingBox(660_000, 4_340_000, 661_500, 4_341_200, crs="EPSG:32614"), resolution=10)
AREA = AOI(shapely.box(*GRID.geographic_extent.boundingbox.bbox))
TO_ALBERS = Transformer.from_crs("EPSG:32614", "EPSG:5070", always_xy=True)


def albers() -> tuple[np.ndarray, np.ndarray]:
    """Centres of the grid's pixels in the projection of the layer."""
    height, width = GRID.shape.yx
    x = 660_000 + 10 * (np.arange(width) + 0.5)
    y = 4_341_200 - 10 * (np.arange(height) + 0.5)
    return TO_ALBERS.transform(*np.meshgrid(x, y))


def test_pixels_of_two_tiles_come_by_nearest_neighbour(tmp_path):
    x, y = albers()
    seam = 30 * round(float(x.mean()) / 30)  # two tiles meet within the grid
    top = 30 * round(float(y.max()) / 30) + 300
    rng = np.random.default_rng(0)
    codes = rng.integers(1, 200, (120, 200))
    left, right = codes[:, :100], codes[:, 100:]
    items = [layer_tile(tmp_path, left, seam - 3000, top), layer_tile(tmp_path, right, seam, top)]
    with serve_layer(tmp_path, items) as (server, _):
        found = search_layer(CDL, AREA, 2021, catalog=server.url)
        read = read_layer_codes(found, GRID)
        assert any(request.range for request in server.log)
    column, row = np.floor((x - (seam - 3000)) / 30), np.floor((top - y) / 30)
    expected = codes[row.astype(int), column.astype(int)]
    assert read.dtype == np.int64
    near = np.abs((x / 30) % 1 - 0.5) < 0.49  # half a pixel's centre may fall on either side of an edge
    near &= np.abs((y / 30) % 1 - 0.5) < 0.49
    np.testing.assert_array_equal(read[near], expected[near])
    assert near.mean() > 0.95


def test_a_tile_that_cannot_be_read_is_named(tmp_path):
    x, y = albers()
    item = layer_tile(tmp_path, np.ones((120, 200)), float(x.min()) - 300, float(y.max()) + 300)
    with serve_layer(tmp_path, [item]) as (server, _):
        found = search_layer(CDL, AREA, 2021, catalog=server.url)
        (tmp_path / f"{item['id']}.tif").unlink()
        access = replace(found.access, patience=replace(found.access.patience, attempts=1))
        with pytest.raises(AssetError, match=f"{item['id']} labels: .*404"):
            read_layer_codes(replace(found, access=access), GRID)


def test_tiles_beside_the_grid_are_no_labels(tmp_path):
    item = layer_tile(tmp_path, np.ones((10, 10)), -2_000_000, 1_000_000)
    with serve_layer(tmp_path, [item]) as (server, _):
        west, south, east, north = item["bbox"]
        found = search_layer(CDL, AOI(shapely.box(west, south, east, north)), 2021, catalog=server.url)
        files = MappingProxyType(dict(found.files))
        with pytest.raises(LabelError, match="do not overlap"):
            read_layer_codes(replace(found, files=files), GRID)
