"""The season out of full-year series, its gaps filled as maps fill them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from toolkit.cubes.recipe import FeatureRecipe, check_same_recipe
from toolkit.errors import RecipeMismatchError
from toolkit.kernels.fill import fill_linear

Series = npt.NDArray[np.float32]

CHUNK = 16_384
"""Samples filled at once: 48 MB of ten bands and a year, so that turning them around costs no copy of all."""


def cut_season(series: Series, have: FeatureRecipe, want: FeatureRecipe) -> Series:
    """Return the steps of a season out of full-year series.

    Series that keep their gaps (``fill`` is ``none``) are cut first and filled then: a map fills the
    season alone, so that beyond its first and last observation nothing is known there either.

    Args:
        series: float32 ``(sample, band, step)``, NaN in gaps if ``have.fill`` is ``none``.
        have: recipe of the series: the full year, or already the season wanted.
        want: recipe with the season to cut.

    Returns:
        float32 ``(sample, band, step)``; NaN where a pixel is not observed in the whole season.

    Raises:
        RecipeMismatchError: the series hold another season, the season passes the year's end, or
            the recipes differ in more than the season.
    """
    # The 2D and the 1D form hold the same values; gaps that were kept can still be filled.
    as_wanted = replace(have, kind=want.kind, fill=want.fill if have.fill == "none" else have.fill)
    if as_wanted != want:
        season = {"first_step": want.first_step, "n_steps": want.n_steps}
        check_same_recipe(replace(as_wanted, first_step=want.first_step, n_steps=want.n_steps), want)
        last = want.first_step + want.n_steps
        if not have.covers_year or last > have.n_steps:
            msg = (
                f"Samples hold steps {have.first_step} to {have.first_step + have.n_steps - 1} of "
                f"{have.steps_per_year} in the year; wanted: {season}. "
                "Extract the samples over the full year, or use their season."
            )
            raise RecipeMismatchError(msg)
        series = series[:, :, want.first_step : last]
    return filled(series, periodic=want.fill == "periodic") if want.fill != have.fill else series


def filled(series: Series, *, periodic: bool) -> Series:
    """Return series with gaps filled linearly in time, each band of each sample for itself.

    Args:
        series: float32 ``(sample, band, step)``, NaN in gaps.
        periodic: fill the ends across the turn of the year; otherwise the nearest value is held.
    """
    out = np.empty_like(series)
    for first in range(0, len(series), CHUNK):
        part = series[first : first + CHUNK]
        rows = np.ascontiguousarray(part.reshape(-1, part.shape[2]).T)
        out[first : first + CHUNK] = fill_linear(rows, periodic=periodic).T.reshape(part.shape)
    return out
