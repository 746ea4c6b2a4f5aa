"""Items and grid squares: radiometry told as the live catalog tells it, names as ESA gives them."""

from datetime import date

import pytest
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox

from toolkit.errors import RadiometryError
from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.stac_items import Radiometry, item_id, mgrs_tile, platform


def square(epsg, x, y):
    box = BoundingBox(x - 500, y - 500, x + 500, y + 500, crs=f"EPSG:{epsg}")
    return mgrs_tile(GeoBox.from_bbox(box, resolution=10)).name


@pytest.mark.parametrize(
    ("epsg", "x", "y", "name"),
    [
        # Names by the package mgrs 1.6.0 (GEOTRANS), not a dependency here.
        (32615, 640_000, 3_419_000, "15RXQ"),
        (32721, 260_000, 6_840_000, "21JTJ"),
        (32631, 574_680, 5_621_800, "31UES"),
        (32637, 420_000, 7_660_000, "37WDS"),
        (32741, 360_000, 8_700_000, "41LLH"),
        (32756, 500_500, 6_900_500, "56JNQ"),
        (32613, 480_000, 4_400_500, "13SDE"),
    ],
)
def test_grid_squares_are_those_of_the_military_grid(epsg, x, y, name):
    assert square(epsg, x, y) == name


def test_the_reference_region_lies_in_tile_15rxq():
    assert mgrs_tile(make_landscape(1, shape=(64, 64)).geobox).name == "15RXQ"


def test_the_two_satellites_take_turns_and_name_the_items():
    days = [date(2023, 5, 1), date(2023, 5, 6), date(2023, 5, 11)]
    assert len({platform(day) for day in days}) == 2
    assert platform(days[0]) == platform(days[2])
    tile = mgrs_tile(make_landscape(1, shape=(64, 64)).geobox)
    letter = platform(days[0])[-1].upper()
    assert item_id(days[0], tile) == f"S2{letter}_15RXQ_20230501_0_L2A"


@pytest.mark.parametrize(
    ("radiometry", "listed", "added"),
    [
        (Radiometry(), -0.1, 0),
        (Radiometry(baseline="04.00", offset_applied=False), -0.1, 1000),
        (Radiometry(baseline="03.01", offset_applied=False), 0, 0),
    ],
)
def test_the_listed_offset_and_the_numbers_follow_earth_search(radiometry, listed, added):
    assert radiometry.listed_offset == listed
    assert radiometry.added_dn == added


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"baseline": "5.9"}, "two digits"),
        ({"baseline": "02.14"}, "no offset that could be applied"),
    ],
)
def test_radiometry_that_cannot_be_is_refused(values, message):
    with pytest.raises(RadiometryError, match=message):
        Radiometry(**values)
