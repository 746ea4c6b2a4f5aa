"""One calendar for both hemispheres, and for regions whose seasons come early or late."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from toolkit.area.season import Hemisphere, Season
from toolkit.errors import InputError

Series = npt.NDArray[np.float32]


def hemisphere_year(series: Series, hemisphere: Hemisphere, *, step_days: int = 5) -> Series:
    """Return series of calendar years as the year of a hemisphere, so that one model serves both.

    South of the equator the year starts half a year later (36 steps of five days, Tong & Wang 2025): the
    same index is the same season.

    Args:
        series: ``(sample, band, step)`` of one or two whole calendar years from 1 January. Of one year the
            first half is taken for that of the next year, as if both were alike.
        hemisphere: where the samples lie.
        step_days: length of a step, days.

    Returns:
        ``(sample, band, steps of a year)``, a new array.

    Raises:
        InputError: the series are not of one or two years.
    """
    steps = Season(year=2001, first_step=0, n_steps=1, step_days=step_days).steps_per_year
    years, rest = divmod(series.shape[2], steps)
    if rest or years not in (1, 2):
        msg = (
            f"Series have {series.shape[2]} steps; needed: {steps} or {2 * steps}, one or two calendar years "
            f"in steps of {step_days} days. Cut them at 1 January."
        )
        raise InputError(msg)
    shift = steps // 2 if hemisphere == "south" else 0
    return np.ascontiguousarray(np.take(series, np.arange(shift, shift + steps) % series.shape[2], axis=2))


def moved(season: Season, days: float) -> Season:
    """Return a season that starts and ends later, where crops grow later than where a model was trained.

    Args:
        season: the model's season.
        days: by how much, rounded to whole steps; negative for earlier.

    Raises:
        InputError: the season would begin before its year, or end after it.
    """
    first = season.first_step + round(days / season.step_days)
    last_first = season.steps_per_year - season.n_steps
    if not 0 <= first <= last_first:
        days_allowed = tuple((k - season.first_step) * season.step_days for k in (0, last_first))
        msg = (
            f"A season cannot be moved by {days:g} days: it would leave its year. "
            f"Allowed: {days_allowed[0]} to {days_allowed[1]} days."
        )
        raise InputError(msg)
    return replace(season, first_step=first)
