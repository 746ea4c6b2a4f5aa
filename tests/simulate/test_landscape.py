"""Landscapes: many fields, one crop each, roads between, the same from the same seed."""

import itertools

import numpy as np
import pytest
import shapely
from scipy import ndimage

from toolkit.errors import InputError
from toolkit.legend import CROPGLOBE
from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.regions import REGIONS


@pytest.fixture(scope="module")
def landscape():
    return make_landscape(0)


def test_the_default_landscape_has_at_least_150_fields_on_256_pixels(landscape):
    assert landscape.n_fields >= 150
    assert landscape.field.shape == landscape.crop.shape == (256, 256)
    assert landscape.field.max() == landscape.n_fields


def test_every_field_has_one_crop_and_margins_have_none(landscape):
    for number in range(1, landscape.n_fields + 1):
        values = np.unique(landscape.crop[landscape.field == number])
        assert list(values) == [CROPGLOBE.index(landscape.crop_of(number)) + 1]
    assert not landscape.crop[landscape.field == 0].any()


def test_classes_have_equal_numbers_of_fields(landscape):
    names = [landscape.crop_of(number) for number in range(1, landscape.n_fields + 1)]
    counts = [names.count(name) for name in CROPGLOBE.names]
    assert max(counts) - min(counts) <= 1


def test_fields_do_not_touch_and_roads_are_narrow(landscape):
    polygons = list(landscape.polygons)
    tree = shapely.STRtree(polygons)
    left, right = tree.query(polygons, predicate="dwithin", distance=9.5)
    assert all(a == b for a, b in zip(left, right, strict=True))
    margin = landscape.field == 0
    assert 0.05 < margin.mean() < 0.25
    inside = ndimage.binary_erosion(margin, iterations=3)
    assert inside.mean() < 0.03


def test_field_numbers_are_burnt_at_pixel_centres(landscape):
    points = [landscape.geobox.affine @ (c + 0.5, r + 0.5) for r, c in ((3, 7), (100, 200), (255, 13))]
    for (row, column), point in zip(((3, 7), (100, 200), (255, 13)), points, strict=True):
        holders = [n for n, p in enumerate(landscape.polygons, 1) if p.contains(shapely.Point(point))]
        assert holders == [n for n in [int(landscape.field[row, column])] if n]


def test_the_same_seed_gives_the_same_landscape_and_another_seed_another():
    one, two, other = make_landscape(3), make_landscape(3), make_landscape(4)
    np.testing.assert_array_equal(one.field, two.field)
    assert one.kinds == two.kinds
    assert one.polygons == two.polygons
    assert (one.crop != other.crop).any()


@pytest.mark.parametrize("name", sorted(REGIONS))
def test_every_region_lies_on_the_grid_of_sentinel2_in_its_own_hemisphere(name):
    region = REGIONS[name]
    landscape = make_landscape(0, region=name, shape=(64, 64))
    bounds = landscape.geobox.boundingbox
    assert all(v % 20 == 0 for v in (bounds.left, bounds.top))
    assert landscape.geobox.crs.epsg == region.epsg
    north = landscape.geobox.geographic_extent.boundingbox.bottom > 0
    assert north == (region.hemisphere == "north")
    assert region.epsg // 100 == (326 if north else 327)


def test_the_answer_cannot_be_changed_by_accident(landscape):
    with pytest.raises(ValueError, match="read-only"):
        landscape.crop[0, 0] = 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (63, 64)}, "even numbers"),
        ({"shape": (64, 64), "n_fields": 0}, "n_fields is 0"),
        ({"region": "nowhere"}, "Known regions"),
    ],
)
def test_what_cannot_be_made_is_refused_with_a_way_out(arguments, message):
    with pytest.raises(InputError, match=message):
        make_landscape(0, **arguments)


def test_landscapes_of_neighbouring_seeds_share_no_ground():
    places = [make_landscape(seed, shape=(64, 64)).geobox.boundingbox for seed in range(1, 12)]
    assert len({place.top for place in places}) == len(places)
    assert all(north.bottom >= south.top for south, north in itertools.pairwise(places))
