"""Growth: fractions that add up, seasons at their time, hemispheres half a year apart."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from toolkit.simulate.growth import FRACTIONS, fractions, grow
from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.phenology import CALENDARS, crop_day
from toolkit.simulate.regions import REGIONS
from toolkit.simulate.sentinel2 import sample_series
from toolkit.simulate.spectra import mix
from toolkit.simulate.weather import rain_wetness

DAYS = range(1, 366, 4)


@pytest.fixture(scope="module")
def landscape():
    return make_landscape(1, shape=(192, 192))


@pytest.fixture(scope="module")
def growth(landscape):
    return grow(landscape, year=2023)


@pytest.fixture(scope="module")
def year(growth):
    """Fractions of the whole year, ``(day, fraction, y, x)``."""
    return np.stack([fractions(growth, day) for day in DAYS])


def cover(year, growth, kind, *parts):
    """Mean cover of a kind of land through the year."""
    index = [calendar.name for calendar in CALENDARS].index(kind)
    rows = [FRACTIONS.index(part) for part in parts]
    return year[:, rows][:, :, growth.kind == index].sum(axis=1).mean(axis=1)


def at(series, day):
    return series[np.argmin([abs(d - day) for d in DAYS])]


def test_fractions_are_parts_of_one(year):
    assert year.min() >= 0
    np.testing.assert_allclose(year.sum(axis=1), 1, atol=1e-12)


def test_winter_wheat_is_green_across_new_year_and_cut_by_july(year, growth):
    wheat = cover(year, growth, "wheat", "crop")
    assert at(wheat, 20) > 0.3
    assert at(wheat, 365) > 0.1
    assert at(wheat, 75) > 0.6
    assert at(wheat, 190) < 0.05


def test_summer_crops_overlap_in_june_and_part_in_september(year, growth):
    corn, soybeans, cane = (cover(year, growth, k, "crop") for k in ("corn", "soybeans", "sugarcane"))
    assert at(corn, 165) > 0.5
    assert at(soybeans, 185) > 0.4
    assert at(corn, 255) < 0.1 < at(soybeans, 235)
    assert at(cane, 260) > 0.6


def test_open_water_stands_in_rice_only(year, growth):
    water = year[:, FRACTIONS.index("water")]
    rice = [calendar.name for calendar in CALENDARS].index("rice")
    assert water[:, growth.kind == rice].max(axis=0).mean() > 0.3
    assert not water[:, growth.kind != rice].any()


def test_double_cropped_soybeans_have_two_green_seasons(year, growth):
    first = cover(year, growth, "double soybeans", "crop")
    second = cover(year, growth, "double soybeans", "second crop")
    assert at(first, 80) > 0.5
    assert at(second, 80) < 0.05
    assert at(second, 235) > 0.5
    assert at(first + second, 160) < 0.3


def test_fields_of_one_crop_differ_more_than_pixels_of_one_field(growth, landscape):
    corn = growth.kind == [calendar.name for calendar in CALENDARS].index("corn")
    numbers = np.unique(landscape.field[corn])
    fields = [growth.planting[landscape.field == n] for n in numbers]
    assert 5 < np.std([f.mean() for f in fields]) < 25
    assert 0.5 < np.mean([f.std() for f in fields]) < 4


def test_dates_differ_between_years_but_crops_do_not(landscape, growth):
    other = grow(landscape, year=2024)
    np.testing.assert_array_equal(growth.kind, other.kind)
    assert (growth.planting != other.planting).mean() > 0.99


def test_later_and_shorter_regions_move_dates_as_they_say(landscape):
    def total(**changes):
        place = replace(landscape, region=replace(landscape.region, **changes))
        return grow(place, year=2023)

    usual, late, short = total(), total(shift_days=25.0), total(season_length=0.85)
    np.testing.assert_allclose(late.planting - usual.planting, 25, atol=1e-9)
    np.testing.assert_allclose(short.maturity, 0.85 * usual.maturity)


def test_the_south_is_the_north_moved_by_36_steps(landscape):
    north, south = (
        replace(landscape, region=replace(REGIONS["reference"], hemisphere=side))
        for side in ("north", "south")
    )
    day = date(2023, 6, 10)
    later = day + timedelta(days=180)
    assert crop_day(day, "north") == crop_day(later, "south")
    growth_north, growth_south = grow(north, year=2023), grow(south, year=2023)
    np.testing.assert_array_equal(
        fractions(growth_north, crop_day(day, "north")), fractions(growth_south, crop_day(later, "south"))
    )


def test_pixels_taken_alone_have_the_series_they_have_in_the_picture(landscape, growth):
    pixels = np.array([5, 700, 20_000])
    taken = fractions(growth.take(pixels), 150)
    np.testing.assert_array_equal(taken, fractions(growth, 150).reshape(len(FRACTIONS), -1)[:, pixels])
    days = [date(2023, 5, 20), date(2023, 8, 1)]
    some = sample_series(landscape, year=2023, dates=days, pixels=pixels)
    assert some.shape == (3, 10, 2)
    np.testing.assert_array_equal(some, sample_series(landscape, year=2023, dates=days)[pixels])


def test_green_canopy_is_bright_in_the_near_infrared_and_wet_soil_is_dark(growth):
    shape = growth.kind.shape
    parts = np.zeros((len(FRACTIONS), *shape))
    parts[FRACTIONS.index("crop")] = 1
    green = mix(parts, growth, np.zeros(shape))
    ndvi = (green[6] - green[2]) / (green[6] + green[2])
    assert ndvi.min() > 0.7
    parts[:] = 0
    parts[FRACTIONS.index("soil")] = 1
    dry, wet = (mix(parts, growth, np.full(shape, wetness)) for wetness in (0.0, 0.8))
    assert (wet < dry).all()


def test_rain_wets_the_soil_more_often_where_it_rains_more():
    days = [date(2023, 5, 1) + timedelta(days=5 * k) for k in range(40)]
    dry, wet = (
        np.mean([rain_wetness(0, day, rain_probability=chance) for day in days]) for chance in (0.1, 0.5)
    )
    assert 0 < dry < wet < 1
