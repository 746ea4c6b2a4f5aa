"""Outlines: areas of the size asked for, fields that match the raster."""

import numpy as np
import pytest
import rasterio.features
from pyproj import Transformer
from shapely import transform
from shapely.geometry import shape

from toolkit.errors import InputError
from toolkit.legend import CROPGLOBE
from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.outlines import area_of_interest, field_features, valid_outline


@pytest.fixture(scope="module")
def landscape():
    return make_landscape(0)


def in_metres(geometry, landscape):
    to_utm = Transformer.from_crs("EPSG:4326", landscape.region.epsg, always_xy=True)
    return transform(shape(geometry), to_utm.transform, interleaved=False)


def test_fields_in_degrees_burn_to_the_raster_they_came_from(landscape):
    features = field_features(landscape)["features"]
    assert len(features) == landscape.n_fields
    burnt = rasterio.features.rasterize(
        [
            (in_metres(f["geometry"], landscape), CROPGLOBE.index(f["properties"]["crop"]) + 1)
            for f in features
        ],
        out_shape=landscape.geobox.shape.yx,
        transform=landscape.geobox.affine,
        dtype="uint8",
    )
    assert np.mean(burnt == landscape.crop) > 0.999


@pytest.mark.parametrize("seed", range(4))
def test_an_irregular_area_covers_the_share_asked_for(seed):
    landscape = make_landscape(seed)
    area = area_of_interest(landscape, share=0.5)
    assert area.is_valid
    assert area.area / (2560**2) == pytest.approx(0.5, abs=0.005)
    assert not area.equals(area.convex_hull) or len(area.exterior.coords) > 5
    assert area_of_interest(landscape, share=None).contains(area.buffer(-1))


def test_a_share_that_does_not_fit_is_refused(landscape):
    with pytest.raises(InputError, match=r"0\.01 to 0\.7"):
        area_of_interest(landscape, share=0.9)


def test_the_outline_of_a_swath_follows_its_slanted_edge(landscape):
    rows, columns = np.mgrid[0:256, 0:256]
    valid = columns + rows // 5 > 120
    outline = valid_outline(valid, landscape.geobox)
    assert outline.is_valid
    assert outline.area == pytest.approx(valid.sum() * 100, rel=0.02)
