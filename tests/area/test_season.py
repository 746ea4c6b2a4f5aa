"""Seasons: the calendar of CropGlobe, north and south."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.area.season import Season, Windows, calendar_months, dates_in_windows, longest_gap, season
from toolkit.errors import InputError

FULL = {"first_step": 0, "n_steps": 73}


def test_northern_season_is_day_of_year_121_to_335():
    north = season(2019, hemisphere="north")
    assert north.start.timetuple().tm_yday == 121
    assert north.end.timetuple().tm_yday == 335
    assert len(north.windows) == 43


def test_southern_season_runs_from_28_october_to_late_may_of_the_next_year():
    south = season(2023, hemisphere="south")
    assert south.start == date(2023, 10, 28)
    assert south.end == date(2024, 5, 29)  # step 29 of a leap year ends on day 150


def test_southern_steps_are_60_to_72_then_0_to_29():
    south, months = season(2022, hemisphere="south"), []
    for first, _ in south.windows:
        months.append((first.year, (first.timetuple().tm_yday - 1) // 5))
    assert months[:13] == [(2022, step) for step in range(60, 73)]
    assert months[13:] == [(2023, step) for step in range(30)]


@pytest.mark.parametrize("year", [2019, 2020])
def test_day_366_joins_the_last_step(year):
    full = Season(year=year, **FULL)
    assert full.windows[-1] == (date(year, 12, 31) - timedelta(days=4 + (year == 2020)), date(year, 12, 31))


@given(st.integers(1985, 2090), st.sampled_from(["north", "south"]), st.sampled_from([1, 5, 7, 10, 16, 30]))
def test_windows_of_a_year_touch_without_gap_or_overlap(year, hemisphere, step_days):
    full = Season(
        year=year, hemisphere=hemisphere, first_step=0, n_steps=365 // step_days, step_days=step_days
    )
    for (_, last), (first, _) in zip(full.windows, full.windows[1:], strict=False):
        assert first - last == timedelta(days=1)


@given(st.integers(-400, 800), st.sampled_from(["north", "south"]))
def test_each_day_belongs_to_the_step_whose_window_holds_it(offset, hemisphere):
    when = season(2020, hemisphere=hemisphere)
    day = date(2020, 1, 1) + timedelta(days=offset)
    expected = [k for k, (first, last) in enumerate(when.windows) if first <= day <= last]
    starts, stops = dates_in_windows(when, np.array([np.datetime64(day) + np.timedelta64(23, "h")]))
    assert np.flatnonzero(stops > starts).tolist() == expected


def test_calendar_months_have_their_lengths_over_the_turn_of_a_leap_year():
    months = calendar_months(2019, first_month=11, n_months=5)
    assert [(last - first).days + 1 for first, last in months.windows] == [30, 31, 31, 29, 31]
    assert (months.start, months.end, months.n_steps) == (date(2019, 11, 1), date(2020, 3, 31), 5)
    assert months.year_start == date(2019, 1, 1)


def test_windows_may_overlap_or_leave_gaps_and_count_each_date_they_hold():
    days = np.array(["2021-03-01", "2021-03-05", "2021-03-05", "2021-03-20"], dtype="datetime64[ns]")
    windows = Windows(
        ((date(2021, 3, 1), date(2021, 3, 5)), (date(2021, 3, 5), date(2021, 3, 6)), (date(2021, 4, 1),) * 2)
    )
    starts, stops = dates_in_windows(windows, days)
    assert (starts.tolist(), stops.tolist()) == ([0, 1, 4], [3, 3, 4])


@pytest.mark.parametrize(
    "windows",
    [(), ((date(2021, 2, 1), date(2021, 1, 1)),), ((date(2021, 2, 1),) * 2, (date(2021, 1, 1),) * 2)],
)
def test_windows_without_order_are_refused(windows):
    with pytest.raises(InputError, match="Windows must be"):
        Windows(windows)


@pytest.mark.parametrize("options", [{"first_month": 0}, {"first_month": 13}, {"n_months": 0}])
def test_months_out_of_range_are_refused(options):
    with pytest.raises(InputError, match="first_month is"):
        calendar_months(2021, **options)


def test_the_southern_year_starts_half_a_year_later():
    assert season(2021, hemisphere="north").year_start == date(2021, 1, 1)
    assert season(2021, hemisphere="south").year_start == date(2021, 6, 30)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"year": 1066}, "year"),
        ({"year": 2020, "step_days": 0}, "step_days"),
        ({"year": 2020, "first_step": 73}, "first_step"),
        ({"year": 2020, "first_step": 60}, "n_steps"),
        ({"year": 2020, "hemisphere": "east"}, "hemisphere"),
    ],
)
def test_impossible_seasons_are_refused_by_name(options, named):
    with pytest.raises(InputError, match=f"Season: {named} is"):
        Season(**options)


def test_area_and_hemisphere_together_are_refused():
    with pytest.raises(InputError, match="Give one of aoi and hemisphere"):
        season(2020)


def test_the_longest_gap_counts_from_the_seasons_first_day_to_its_last():
    year = season(2021, hemisphere="north")  # 1 May to 1 December
    assert longest_gap(year, []) == (year.start, year.end)
    assert longest_gap(year, [date(2021, 11, 30)]) == (date(2021, 5, 1), date(2021, 11, 29))
    assert longest_gap(year, [date(2021, 5, 1)]) == (date(2021, 5, 2), date(2021, 12, 1))
    outside = [date(2021, 4, 30), date(2022, 1, 1), date(2021, 8, 1)]
    assert longest_gap(year, outside) == (date(2021, 8, 2), date(2021, 12, 1))


@given(st.sets(st.integers(0, 214)))
def test_no_day_of_the_longest_gap_has_a_scene_and_no_other_gap_is_longer(days):
    year = season(2021, hemisphere="north")
    seen = [year.start + timedelta(days=day) for day in days]
    every = [year.start + timedelta(days=day) for day in range((year.end - year.start).days + 1)]
    longest, run = 0, 0
    for day in every:
        run = 0 if day in set(seen) else run + 1
        longest = max(longest, run)
    gap = longest_gap(year, seen)
    assert (0 if gap is None else (gap[1] - gap[0]).days + 1) == longest
    assert gap is None or not any(gap[0] <= day <= gap[1] for day in seen)
