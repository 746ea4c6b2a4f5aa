"""Outlines of grids in degrees: as a map library gives them, and none across the antimeridian."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from toolkit.scenes.granules import degrees

PLACES = [
    ("EPSG:32631", 500_000, 5_600_000),
    ("EPSG:32631", 166_000, 6_900_000),  # at the edge of its zone, where meridians lean
    ("EPSG:32733", 700_000, 7_000_000),
    ("EPSG:3035", 4_000_000, 3_000_000),
    ("EPSG:4326", 10, 50),
]


@pytest.mark.parametrize(("crs", "x", "y"), PLACES)
def test_outlines_are_those_of_odc(crs, x, y):
    pixel = 0.0001 if crs == "EPSG:4326" else 10
    geobox = GeoBox((700, 1024), Affine(pixel, 0, x, 0, -pixel, y), crs)
    expected = geobox.geographic_extent.boundingbox.bbox
    np.testing.assert_allclose(degrees(geobox), expected, atol=2e-6)  # odc puts fewer points on edges


@pytest.mark.parametrize(("crs", "x"), [("EPSG:32601", 168_000), ("EPSG:32660", 832_000)])
def test_across_the_antimeridian_there_is_none(crs, x):
    assert degrees(GeoBox((100, 4000), Affine(10, 0, x - 20_000, 0, -10, 100_000), crs)) is None
