"""Accuracy of a file, window by window, is that of the whole grid in memory."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from odc.geo.xr import xr_coords

from toolkit.area.aoi import read_aoi
from toolkit.area.grid import inside
from toolkit.errors import LabelError
from toolkit.learn import map_accuracy
from toolkit.learn.accuracy import assess
from toolkit.learn.fields import read_fields
from toolkit.learn.labels import rasterize_fields
from toolkit.learn.map_accuracy import assess_file, check_fields, sum_accuracies
from toolkit.legend import CROPGLOBE
from toolkit.maps.geotiff import read_layer, write_crop_map

GRID = GeoBox.from_bbox(BoundingBox(600000, 5600000, 601600, 5601200, crs="EPSG:32631"), resolution=10)
AREA = read_aoi(
    gpd.GeoSeries([shapely.Polygon([(600003, 5600003), (601597, 5600003), (600703, 5601197)])], crs=32631)
    .to_crs(4326)
    .iloc[0]
)


def fields(seed, *, points):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(599900, 601700, 60), rng.uniform(5599900, 5601300, 60)
    crops = rng.choice(CROPGLOBE.names, 60)
    if points:
        shapes = [shapely.Point(*place) for place in zip(x, y, strict=True)]
    else:
        shapes = [shapely.Point(*place).buffer(rng.uniform(15, 150)) for place in zip(x, y, strict=True)]
    return gpd.GeoDataFrame({"crop": crops}, geometry=shapes, crs="EPSG:32631")


def write_map(folder):
    values = np.random.default_rng(0).integers(0, 8, GRID.shape.yx).astype(np.uint8)
    labels = xr.Dataset({"crop": (("y", "x"), values)}, coords=xr_coords(GRID))
    return write_crop_map(labels, folder / "crop_map.tif", CROPGLOBE)


@pytest.fixture(scope="module")
def crop_map(tmp_path_factory):
    return write_map(tmp_path_factory.mktemp("map"))


@given(seed=st.integers(0, 10_000), points=st.booleans(), size=st.integers(40, 100))
@settings(max_examples=6)
def test_windows_give_the_accuracy_of_the_whole(crop_map, seed, points, size):
    frame = fields(seed, points=points)
    labels = rasterize_fields(frame, GRID)
    whole = assess(read_layer(crop_map), labels, within=inside(AREA, GRID))
    read = read_fields(frame, GRID)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_accuracy, "WINDOW", size)
        parts = assess_file(crop_map, read, legend=CROPGLOBE, within=AREA)
    np.testing.assert_array_equal(parts.confusion, whole.confusion)
    np.testing.assert_array_equal(parts.unmapped, whole.unmapped)
    part = np.s_[7 : 7 + size, 11 : 11 + size]
    crop, field = read.on(GRID[part])
    np.testing.assert_array_equal(crop, labels.crop.to_numpy()[part])
    np.testing.assert_array_equal(field * (crop > 0), labels.field.to_numpy()[part])


def test_fields_that_label_nothing_in_the_area_are_refused_before_and_after(crop_map):
    corner = gpd.GeoDataFrame(
        {"crop": ["corn"]}, geometry=[shapely.box(600000, 5601100, 600090, 5601190)], crs="EPSG:32631"
    )
    read = read_fields(corner, GRID)
    with pytest.raises(LabelError, match="No pixel centre lies in exactly one field"):
        check_fields(read, GRID, AREA)
    with pytest.raises(LabelError, match="No pixel centre lies in exactly one field"):
        assess_file(crop_map, read, legend=CROPGLOBE, within=AREA)
    check_fields(read_fields(fields(0, points=False), GRID), GRID, AREA)


def test_nothing_summed_is_none():
    assert sum_accuracies([]) is None
