"""Masks of cropland: nearest neighbour of the right files, polygons by centre, unknown counts as yes."""

from __future__ import annotations

import json
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from pyproj import Transformer

from tests.servers.layer_api import serve_layer
from tests.servers.worldcover import PIXEL, worldcover_tile, write_raster
from toolkit.area.aoi import AOI
from toolkit.catalog.worldcover import search_worldcover
from toolkit.errors import AreaError, AssetError, InputError
from toolkit.scenes.cropland import CroplandCounts, read_cropland
from toolkit.scenes.cropland_sources import (
    cropland_of_file,
    cropland_of_worldcover,
    read_saved_cropland,
    write_cropland,
)

GRIDS = {
    resolution: GeoBox.from_bbox(
        BoundingBox(600_000, 5_600_000, 601_200, 5_600_960, crs="EPSG:32631"), resolution=resolution
    )
    for resolution in (10, 60)
}
GRID = GRIDS[10]
AREA = AOI(shapely.box(*GRID.geographic_extent.boundingbox.bbox))
WEST, SOUTH, EAST, NORTH = AREA.bounds
CODES = (0, 10, 30, 40, 50)


def centres(geobox):
    """Longitude and latitude of the pixels' centres."""
    height, width = geobox.shape.yx
    x = geobox.affine.c + geobox.affine.a * (np.arange(width) + 0.5)
    y = geobox.affine.f + geobox.affine.e * (np.arange(height) + 0.5)
    return Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True).transform(*np.meshgrid(x, y))


def nearest(classes, west, north, geobox):
    """Class at each pixel's centre; -1 outside the raster; and whether that is certain, not on an edge."""
    lon, lat = centres(geobox)
    column, row = (lon - west) / PIXEL, (north - lat) / PIXEL
    height, width = classes.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    found = np.full(geobox.shape.yx, -1.0)
    found[inside] = classes[row[inside].astype(int), column[inside].astype(int)]
    certain = (np.abs(column - np.round(column)) > 1e-3) & (np.abs(row - np.round(row)) > 1e-3)
    return found, certain


@pytest.fixture
def classes():
    """Classes over half of the area and a little beyond, and where they start."""
    rng = np.random.default_rng(1)
    return rng.choice(CODES, (160, 130)).astype(np.uint8), WEST - 20 * PIXEL, NORTH + 20 * PIXEL


@pytest.mark.parametrize("resolution", GRIDS)
def test_tiles_on_a_server_come_by_nearest_neighbour_joined(tmp_path, classes, resolution):
    values, west, north = classes
    geobox = GRIDS[resolution]
    right = np.random.default_rng(2).choice(CODES, (160, 60)).astype(np.uint8)
    seam = west + values.shape[1] * PIXEL
    items = [worldcover_tile(tmp_path, values, west, north), worldcover_tile(tmp_path, right, seam, north)]
    with serve_layer(tmp_path, items) as (server, _):
        source = cropland_of_worldcover(search_worldcover(server.url, AREA, 2021))
        mask = read_cropland(source, geobox)
        assert any(request.range for request in server.log)
    expected, certain = nearest(np.concatenate([values, right], axis=1), west, north, geobox)
    unknown = expected <= 0
    assert certain.mean() > 0.99
    assert 0.1 < unknown.mean() < 0.9
    np.testing.assert_array_equal(mask.known[certain], ~unknown[certain])
    np.testing.assert_array_equal(mask.cropland[certain], ((expected == 40) | unknown)[certain])
    assert mask.reads.files == 2
    assert mask.reads.bytes > 0
    counts = mask.counts(np.ones(geobox.shape.yx, bool))
    assert counts + counts == CroplandCounts(
        asked=2 * unknown.size,
        not_cropland=2 * int((~mask.cropland).sum()),
        unknown=2 * int((~mask.known).sum()),
    )


def test_only_files_that_reach_the_grid_are_opened(tmp_path, classes):
    values, west, north = classes
    items = [
        worldcover_tile(tmp_path, values, west, north),
        worldcover_tile(tmp_path, values, west + 1, north),
    ]
    whole = AOI(shapely.box(WEST, SOUTH, EAST + 1, NORTH))
    with serve_layer(tmp_path, items) as (server, _):
        source = cropland_of_worldcover(search_worldcover(server.url, whole, 2021))
        assert read_cropland(source, GRID).reads.files == 1
        assert len(source.files) == 2


def test_where_files_overlap_the_first_that_has_data_counts(tmp_path):
    shape = (300, 300)
    first = np.where(np.arange(300) < 120, 0, 40)[None, :].repeat(300, 0).astype(np.uint8)
    tiles = [(first, "a"), (np.full(shape, 10, np.uint8), "b")]
    items = [worldcover_tile(tmp_path, v, WEST - 50 * PIXEL, NORTH + 50 * PIXEL, name=n) for v, n in tiles]
    with serve_layer(tmp_path, items) as (server, _):
        mask = read_cropland(cropland_of_worldcover(search_worldcover(server.url, AREA, 2021)), GRID)
    expected, certain = nearest(first, WEST - 50 * PIXEL, NORTH + 50 * PIXEL, GRID)
    assert mask.known.all()
    np.testing.assert_array_equal(mask.cropland[certain], (expected == 40)[certain])
    assert 0 < mask.cropland.mean() < 1


def test_a_file_that_cannot_be_read_is_named(tmp_path, classes):
    values, west, north = classes
    item = worldcover_tile(tmp_path, values, west, north)
    with serve_layer(tmp_path, [item]) as (server, _):
        source = cropland_of_worldcover(search_worldcover(server.url, AREA, 2021))
        (tmp_path / f"{item['id']}_Map.tif").unlink()
        patience = replace(source.access.patience, attempts=1)
        with pytest.raises(AssetError, match=f"{item['id']} cropland: .*404"):
            read_cropland(replace(source, access=replace(source.access, patience=patience)), GRID)


@pytest.mark.parametrize(
    ("dtype", "nodata", "wanted", "yes", "unknown"),
    [
        ("uint8", None, (), (10, 30, 40, 50), ()),
        ("uint8", 0, (), (10, 30, 40, 50), ()),  # 0 says no also where it is declared to be no data
        ("uint8", 0, (40,), (40,), (0,)),
        ("uint8", None, (40,), (40,), ()),
        ("int16", 50, (10, 40), (10, 40), (50,)),
        ("float32", np.nan, (), (10, 30, 40, 50), ("nan",)),
    ],
)
def test_values_of_a_raster_mean_what_is_said(tmp_path, dtype, nodata, wanted, yes, unknown):
    values = np.random.default_rng(3).choice(CODES, (240, 300)).astype(dtype)
    if unknown == ("nan",):
        values[::3] = np.nan
    west, north = WEST - 30 * PIXEL, NORTH + 30 * PIXEL
    path = write_raster(tmp_path / "mask.tif", values, west, north, nodata=nodata)
    mask = read_cropland(cropland_of_file(path, AREA, wanted), GRID)
    taken, certain = nearest(values, west, north, GRID)
    no_data = np.isnan(taken) if unknown == ("nan",) else np.isin(taken, unknown)
    assert (taken != -1).all()
    np.testing.assert_array_equal(mask.known[certain], ~no_data[certain])
    np.testing.assert_array_equal(mask.cropland[certain], (np.isin(taken, yes) | no_data)[certain])


def test_zeros_are_told_from_where_the_raster_ends(tmp_path, classes):
    values, west, north = classes
    path = write_raster(tmp_path / "mask.tif", np.zeros_like(values), west, north, nodata=0)
    mask = read_cropland(cropland_of_file(path, AREA), GRID)
    found, certain = nearest(values, west, north, GRID)
    np.testing.assert_array_equal(mask.cropland[certain], (found == -1)[certain])
    np.testing.assert_array_equal(mask.known, ~mask.cropland)
    assert 0.1 < mask.known.mean() < 0.9


def test_a_raster_in_another_projection_is_read_too(tmp_path):
    """Pixels of 30 m in Europe's equal-area projection, compared with pyproj."""
    to_laea = Transformer.from_crs("EPSG:32631", "EPSG:3035", always_xy=True)
    lon, lat = centres(GRID)
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:3035", always_xy=True).transform(lon, lat)
    west, north = to_laea.transform(599_800, 5_601_200)
    values = np.random.default_rng(4).integers(0, 2, (80, 80)).astype(np.uint8)
    place = rasterio.Affine(30, 0, west, 0, -30, north)
    path = write_raster(tmp_path / "m.tif", values, 0, 0, nodata=None, crs="EPSG:3035", transform=place)
    mask = read_cropland(cropland_of_file(path, AREA), GRID)
    column, row = (x - west) / 30, (north - y) / 30
    certain = (np.abs(column - np.round(column)) > 1e-3) & (np.abs(row - np.round(row)) > 1e-3)
    expected = values[row.astype(int), column.astype(int)] > 0
    assert mask.known.all()
    np.testing.assert_array_equal(mask.cropland[certain], expected[certain])


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg", ".parquet"])
def test_a_pixel_is_cropland_if_its_centre_lies_in_a_polygon(tmp_path, suffix):
    fields = [
        shapely.Polygon([(WEST, SOUTH), (WEST + 0.006, SOUTH + 0.001), (WEST + 0.003, SOUTH + 0.005)]),
        shapely.box(WEST + 0.008, SOUTH + 0.002, WEST + 0.012, SOUTH + 0.004),
    ]
    frame = gpd.GeoDataFrame(geometry=fields, crs="EPSG:4326").to_crs("EPSG:3035")
    path = tmp_path / f"fields{suffix}"
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_file(path)
    mask = read_cropland(cropland_of_file(path, AREA), GRID)
    lon, lat = centres(GRID)
    inside = shapely.contains_xy(shapely.union_all(fields), lon, lat)
    near_edge = shapely.distance(
        shapely.union_all([one.boundary for one in fields]), shapely.points(lon, lat)
    )
    certain = near_edge > 2e-7  # GeoJSON rounds degrees
    assert mask.known.all()
    assert 0.1 < inside.mean() < 0.6
    np.testing.assert_array_equal(mask.cropland[certain], inside[certain])
    beside = GeoBox.from_bbox(
        BoundingBox(700_000, 5_600_000, 700_100, 5_600_100, crs="EPSG:32631"), resolution=10
    )
    assert not read_cropland(cropland_of_file(path, AREA), beside).cropland.any()


def test_without_a_mask_all_is_cropland():
    mask = read_cropland(None, GRID)
    assert mask.cropland.all()
    assert mask.known.all()
    assert mask.reads.files == 0


def test_a_saved_mask_reads_the_same_and_knows_its_content(tmp_path, classes):
    values, west, north = classes
    item = worldcover_tile(tmp_path, values, west, north)
    with serve_layer(tmp_path, [item]) as (server, _):
        source = cropland_of_worldcover(search_worldcover(server.url, AREA, 2021), (30, 40))
        again = read_saved_cropland(write_cropland(source, tmp_path / "c.json"), allow_hosts=["127.0.0.1"])
        assert again == source
        np.testing.assert_array_equal(
            read_cropland(again, GRID).cropland, read_cropland(source, GRID).cropland
        )
        unnamed = read_saved_cropland(tmp_path / "c.json")
        assert unnamed.access.guard.named_hosts == frozenset()
    saved = (tmp_path / "c.json").read_text()
    assert "access" not in json.loads(saved)
    assert replace(source, values=(40,)).content_hash != source.content_hash == again.content_hash
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(InputError, match="holds no saved mask"):
        read_saved_cropland(tmp_path / "c.json")


def test_content_counts_and_not_the_place_of_a_file(tmp_path):
    values = np.ones((300, 300), np.uint8)
    (tmp_path / "other").mkdir()
    place = WEST - 30 * PIXEL, NORTH + 30 * PIXEL
    one = cropland_of_file(write_raster(tmp_path / "a.tif", values, *place, nodata=None), AREA)
    two = cropland_of_file(write_raster(tmp_path / "other" / "b.tif", values, *place, nodata=None), AREA)
    assert one.content_hash == two.content_hash
    values[0, 0] = 0
    write_raster(tmp_path / "a.tif", values, *place, nodata=None)
    assert cropland_of_file(tmp_path / "a.tif", AREA).content_hash != one.content_hash
    with pytest.raises(InputError, match=r"a\.tif' changed during the run\. Run again"):
        read_cropland(one, GRID)


def test_files_that_cannot_be_a_mask_are_refused(tmp_path):
    values, place = np.ones((300, 300), np.uint8), (WEST - 30 * PIXEL, NORTH + 30 * PIXEL)
    raster = write_raster(tmp_path / "far.tif", values, WEST + 30, NORTH, nodata=None)
    (tmp_path / "text.tif").write_text("no raster")
    (tmp_path / "mask.png").write_text("")
    write_raster(tmp_path / "no_crs.tif", values, *place, nodata=None, crs=None)
    with rasterio.open(
        tmp_path / "two.tif",
        "w",
        driver="GTiff",
        height=9,
        width=9,
        count=2,
        dtype="uint8",
        crs="EPSG:4326",
        transform=rasterio.Affine(PIXEL, 0, WEST, 0, -PIXEL, NORTH),
    ):
        pass
    fields = gpd.GeoDataFrame(geometry=[shapely.box(40, 10, 41, 11)], crs="EPSG:4326")
    fields.to_file(tmp_path / "far.geojson")
    fields.set_geometry([shapely.Point(4, 50)], crs="EPSG:4326").to_file(tmp_path / "points.geojson")
    cases = {
        "none.tif": "There is no cropland file",
        "mask.png": r"kind that is not read.*\.tif, \.tiff.*\.geojson",
        "text.tif": "cannot be read as a GeoTIFF",
        "no_crs.tif": "has no CRS.*Assign it",
        "two.tif": "has 2 bands of uint8; read is one band",
        "far.tif": r"does not meet the area: it lies in 34\..*, the area in 4\..*Check the CRS",
        "far.geojson": r"does not meet the area: it lies in 40\.0000, 10\.0000, 41\.0000, 11\.0000, the",
    }
    for name, saying in cases.items():
        with pytest.raises(InputError, match=saying):
            cropland_of_file(tmp_path / name, AREA)
    with pytest.raises(AreaError, match="holds no polygon"):
        cropland_of_file(tmp_path / "points.geojson", AREA)
    with pytest.raises(InputError, match=r"Values \[40\] are given for the polygons.*--cropland-values"):
        cropland_of_file(tmp_path / "far.geojson", AREA, (40,))
    assert raster.is_file()
