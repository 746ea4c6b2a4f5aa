"""The season: dates, steps of fixed length, the hemisphere's year; other windows of days.

Steps follow CropGlobe (Tong & Wang 2025): step ``k`` covers day of year ``5k + 1 .. 5k + 5``, day
366 joins the last step, and south of the equator everything is moved by half a year.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from toolkit.area.aoi import AOI
from toolkit.errors import InputError

Hemisphere = Literal["north", "south"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """Steps of a growing season, in the calendar of its hemisphere."""

    year: int
    """Calendar year in which the hemisphere's year starts (south: about 30 June)."""
    hemisphere: Hemisphere = "north"
    """``south`` moves every step by half a year."""
    first_step: int = 24
    """First step, counted from the start of the hemisphere's year; 24 is day of year 121."""
    n_steps: int = 43
    """Number of steps; 24 and 43 are May to November in the north."""
    step_days: int = 5
    """Length of a step in days; days left over at the year's end join its last step."""

    def __post_init__(self) -> None:
        """Refuse seasons that do not fit into one year."""
        checks = {
            "year": (1972 <= self.year <= 2200, "1972 to 2200"),
            "hemisphere": (self.hemisphere in get_args(Hemisphere), "north, south"),
            "step_days": (1 <= self.step_days <= 365, "1 to 365 days"),
            "first_step": (
                0 <= self.first_step < self.steps_per_year,
                f"0 to {self.steps_per_year - 1}",
            ),
            "n_steps": (
                1 <= self.n_steps <= self.steps_per_year - self.first_step,
                f"1 to {self.steps_per_year - self.first_step}, so that the season ends with the year",
            ),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                msg = f"Season: {name} is {getattr(self, name)!r}; allowed: {allowed}."
                raise InputError(msg)

    @property
    def steps_per_year(self) -> int:
        """Whole steps in a year (73 of five days)."""
        return 365 // max(self.step_days, 1)

    @property
    def windows(self) -> tuple[tuple[date, date], ...]:
        """First and last day (both inside) of each step, in order."""
        shift = self.steps_per_year // 2 if self.hemisphere == "south" else 0
        return tuple(self._window(self.first_step + shift + step) for step in range(self.n_steps))

    def _window(self, step: int) -> tuple[date, date]:
        """Days of a step counted from 1 January of ``year``, past the year's end too."""
        years, step = divmod(step, self.steps_per_year)
        new_year = date(self.year + years, 1, 1)
        first = new_year + timedelta(days=step * self.step_days)
        if step == self.steps_per_year - 1:
            return first, date(self.year + years, 12, 31)
        return first, first + timedelta(days=self.step_days - 1)

    @property
    def start(self) -> date:
        """First day of the season."""
        return self.windows[0][0]

    @property
    def end(self) -> date:
        """Last day of the season."""
        return self.windows[-1][1]

    @property
    def year_start(self) -> date:
        """First day of the hemisphere's year, from which harmonics count time."""
        shift = self.steps_per_year // 2 if self.hemisphere == "south" else 0
        return self._window(shift)[0]


@dataclass(frozen=True, slots=True)
class Windows:
    """Any windows of days, such as calendar months; they may overlap or leave gaps."""

    windows: tuple[tuple[date, date], ...]
    """First and last day (both inside) of each window, ordered by first day."""

    def __post_init__(self) -> None:
        """Refuse windows that end before they start or are not in order."""
        backwards = [window for window in self.windows if window[0] > window[1]]
        firsts = [first for first, _ in self.windows]
        if not self.windows or backwards or firsts != sorted(firsts):
            msg = (
                "Windows must be one or more pairs of first and last day, ordered by first day; got "
                f"{[(str(a), str(b)) for a, b in (backwards or self.windows)[:3]]}."
            )
            raise InputError(msg)

    @property
    def n_steps(self) -> int:
        """Number of windows."""
        return len(self.windows)

    @property
    def start(self) -> date:
        """First day of all."""
        return self.windows[0][0]

    @property
    def end(self) -> date:
        """Last day of all."""
        return max(last for _, last in self.windows)

    @property
    def year_start(self) -> date:
        """First of January of the first window's year, from which harmonics count time."""
        return date(self.start.year, 1, 1)


Steps = Season | Windows
"""What a cube's steps may be."""


def calendar_months(year: int, *, first_month: int = 1, n_months: int = 12) -> Windows:
    """Return calendar months as windows.

    Args:
        year: year of the first month.
        first_month: 1 (January) to 12.
        n_months: number of months, 1 or more; they may go on into later years.

    Raises:
        InputError: a number is out of range.
    """
    if not 1 <= first_month <= 12 or not 1 <= n_months <= 1200:
        msg = (
            f"first_month is {first_month!r} (allowed: 1 to 12), n_months {n_months!r} (allowed: 1 to 1200)."
        )
        raise InputError(msg)
    months = [divmod(first_month - 1 + k, 12) for k in range(n_months + 1)]
    starts = [date(year + years, month + 1, 1) for years, month in months]
    return Windows(tuple((first, following - timedelta(days=1)) for first, following in pairwise(starts)))


def longest_gap(season: Steps, days: Iterable[date]) -> tuple[date, date] | None:
    """Return the first and last day of the longest time in a season without any of some days, or None.

    Args:
        season: first and last day.
        days: days that scenes are of, in any order; those outside the season do not count.
    """
    known = {day for day in days if season.start <= day <= season.end}
    marks = [season.start - timedelta(days=1), *sorted(known), season.end + timedelta(days=1)]
    gaps = [(a + timedelta(days=1), b - timedelta(days=1)) for a, b in pairwise(marks)]
    first, last = max(gaps, key=lambda gap: gap[1] - gap[0])
    return (first, last) if first <= last else None


def dates_in_windows(
    steps: Steps, times: npt.NDArray[np.datetime64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which dates lie in each window.

    Args:
        steps: season or windows.
        times: datetime64 in UTC, ascending, shape ``(time,)``.

    Returns:
        int64 ``(step,)`` twice: position of the first date of each window, and one past its last.
    """
    days = np.asarray(times).astype("datetime64[D]")
    firsts = np.array([first for first, _ in steps.windows], dtype="datetime64[D]")
    lasts = np.array([last for _, last in steps.windows], dtype="datetime64[D]")
    starts, stops = np.searchsorted(days, firsts, "left"), np.searchsorted(days, lasts, "right")
    return starts.astype(np.int64), stops.astype(np.int64)


def season(  # six plain numbers say a season; a wrapper object would hide them
    year: int,
    *,
    aoi: AOI | None = None,
    hemisphere: Hemisphere | None = None,
    first_step: int = 24,
    n_steps: int = 43,
    step_days: int = 5,
) -> Season:
    """Return the season of a year for an area or a hemisphere.

    Args:
        year: calendar year in which the season's (hemisphere's) year starts.
        aoi: area whose centre decides the hemisphere.
        hemisphere: ``north`` or ``south``, instead of ``aoi``.
        first_step: first step from the start of the hemisphere's year.
        n_steps: number of steps.
        step_days: days in a step.

    Raises:
        InputError: both or none of ``aoi`` and ``hemisphere`` given, or a number out of range.
    """
    if (aoi is None) == (hemisphere is None):
        msg = f"Give one of aoi and hemisphere, got: aoi={aoi!r}, hemisphere={hemisphere!r}."
        raise InputError(msg)
    return Season(
        year=year,
        hemisphere=aoi.hemisphere if aoi is not None else hemisphere or "north",
        first_step=first_step,
        n_steps=n_steps,
        step_days=step_days,
    )
