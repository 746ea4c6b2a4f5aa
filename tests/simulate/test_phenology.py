"""Calendars: one for each crop, shares that add up, days that wrap around the year."""

from datetime import date

import pytest

from toolkit.area.season import season
from toolkit.legend import CROPGLOBE
from toolkit.simulate.phenology import CALENDARS, CROP_VALUE, MARGIN, crop_day, kinds_of
from toolkit.simulate.spectra import GREEN, SENESCENT


@pytest.mark.parametrize("name", CROPGLOBE.names)
def test_every_class_of_the_legend_has_kinds_whose_shares_add_up_to_one(name):
    assert sum(CALENDARS[k].share for k in kinds_of(name)) == pytest.approx(1)


def test_raster_values_follow_the_legend_and_margins_have_none():
    names = [calendar.name for calendar in CALENDARS]
    assert CROP_VALUE[names.index("corn")] == 1
    assert CROP_VALUE[names.index("woodland")] == 7
    assert CROP_VALUE[names.index(MARGIN)] == 0
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("calendar", CALENDARS, ids=lambda calendar: calendar.name)
def test_every_calendar_fits_into_a_year_and_names_known_spectra(calendar):
    assert 1 <= calendar.planting <= 365
    assert sum(calendar.stages) + (calendar.harvest_delay or 0) < 305
    assert 0 < calendar.peak <= 1
    assert 8 <= calendar.spread_days <= 14
    assert calendar.green in GREEN
    assert calendar.senescent in SENESCENT


def harvest_day(name):
    calendar = next(c for c in CALENDARS if c.name == name)
    return (calendar.planting + sum(calendar.stages) + calendar.harvest_delay - 1) % 365 + 1


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("corn", 206, 258),  # end of July to mid September
        ("soybeans", 227, 304),
        ("rice", 196, 258),
        ("wheat", 130, 171),  # mid May to mid June
        ("sugarcane", 268, 365),
        ("cotton", 253, 309),
    ],
)
def test_the_usual_harvest_falls_into_the_window_of_louisiana(name, first, last):
    assert first <= harvest_day(name) <= last


def test_the_south_lives_half_a_year_later():
    assert crop_day(date(2023, 5, 1), "north") == 121
    assert crop_day(date(2023, 10, 28), "south") == 121
    assert crop_day(date(2024, 12, 31), "north") == 365


@pytest.mark.parametrize("hemisphere", ["north", "south"])
def test_a_season_has_the_same_crop_days_in_both_hemispheres(hemisphere):
    window = season(2022, hemisphere=hemisphere)
    assert [crop_day(first, hemisphere) for first, _ in window.windows] == list(range(121, 336, 5))
