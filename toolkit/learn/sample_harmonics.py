"""Harmonic coefficients of samples, fitted on the steps that are observed in the season."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.kernels.harmonic import harmonic_basis
from toolkit.learn.samples import Samples
from toolkit.learn.seasons import cut_season

Floats = npt.NDArray[np.float64]
Series = npt.NDArray[np.float32]

DAYS_PER_YEAR = 365
"""As in :mod:`toolkit.cubes.harmonics`: time is days since the start of the (hemisphere's) year over 365."""
CHUNK = 4096
"""Samples fitted at once."""


def harmonic_samples(samples: Samples, season: FeatureRecipe, *, order: int = 2) -> Samples:
    """Return samples whose values are the harmonic coefficients of their season.

    Samples hold medians of steps, not single dates: the curve goes through the observed steps of the season,
    each at its middle day. :func:`toolkit.cubes.harmonics.fit_harmonics` uses every clear date; the
    two differ where a step holds several dates, or one away from its middle.

    Each coefficient stands as a "band" of its own with a single step, so that networks normalise every
    coefficient by itself: ``B04 cos1``. No scene has such bands, so that no map is made with them by mistake.

    Args:
        samples: series of the full year or the season; observed steps are those that are not NaN.
        season: recipe with the season to fit.
        order: of the harmonics, 0 to 6; above 2, seven months leave the curve free in the others.

    Returns:
        Samples of shape ``(sample, band * (2 order + 1), 1)``; NaN where a band has fewer observed steps than
        coefficients.

    Raises:
        RecipeMismatchError: the samples do not hold the season.
    """
    as_stored = replace(season, fill=samples.recipe.fill)  # gaps that were kept stay gaps
    series = cut_season(samples.series, samples.recipe, as_stored)
    middle = np.arange(season.first_step, season.first_step + season.n_steps) + 0.5
    years = (middle * season.step_days - 0.5) / DAYS_PER_YEAR
    basis = harmonic_basis(years, order)
    fitted = [_fit(series[first : first + CHUNK], basis) for first in range(0, len(series), CHUNK)]
    values = np.concatenate(fitted) if fitted else np.empty((0, *season.shape[:1], basis.shape[1]))
    recipe = harmonic_vector(season, order=order)
    return replace(samples, series=values.reshape(len(series), -1, 1).astype(np.float32), recipe=recipe)


def harmonic_vector(season: FeatureRecipe, *, order: int = 2) -> FeatureRecipe:
    """Return the recipe of the samples that :func:`harmonic_samples` makes: one step, a band per coefficient.

    Args:
        season: recipe with the season fitted.
        order: of the harmonics.
    """
    waves = [f"{wave}{k}" for k in range(1, order + 1) for wave in ("cos", "sin")]
    names = tuple(f"{band} {wave}" for band in season.bands for wave in ("constant", *waves))
    days = season.n_steps * season.step_days
    return replace(season, bands=names, first_step=0, n_steps=1, step_days=days, fill="none", order=order)


def _fit(series: Series, basis: Floats) -> Floats:
    """Least squares in float64; returns ``(sample, band, coefficient)``.

    The fit is made in an orthonormal basis of the season and carried back, as the cosines and sines of
    seven months look alike.
    """
    even, change = np.linalg.qr(basis)
    seen = np.isfinite(series)
    known = seen.astype(np.float64)
    products = even[:, :, None] * even[:, None, :]
    gram = np.tensordot(known, products, axes=(2, 0))
    right = np.where(seen, series, 0).astype(np.float64) @ even
    enough = seen.sum(axis=2) >= basis.shape[1]
    gram[~enough] = np.eye(basis.shape[1])
    solved = np.linalg.solve(gram, right[..., None])[..., 0]
    solved[~enough] = np.nan
    return np.asarray(np.linalg.solve(change, solved[..., None])[..., 0])
