"""Harmonic coefficients of samples: a curve that is known is found, and numpy agrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import RecipeMismatchError
from toolkit.learn.sample_harmonics import harmonic_samples
from toolkit.learn.samples import Samples

MakeSamples = Callable[..., Samples]

SEASON = FeatureRecipe(bands=("B04", "B08"))
YEAR = replace(SEASON, fill="none").full_year()


def samples_of(series: np.ndarray, recipe: FeatureRecipe = YEAR) -> Samples:
    n = len(series)
    ones = np.ones(n)
    return Samples(
        series=series.astype(np.float32),
        crop=np.zeros(n, np.uint8),
        field=np.arange(1, n + 1, dtype=np.int32),
        lon=ones,
        lat=ones,
        recipe=recipe,
        simulated=True,
    )


def basis() -> np.ndarray:
    """Written out: steps 24 to 66, their middle days, order 2."""
    t = np.array([5 * k + 2 for k in range(24, 67)]) / 365
    waves = [np.ones_like(t)]
    for k in (1, 2):
        waves += [np.cos(2 * np.pi * k * t), np.sin(2 * np.pi * k * t)]
    return np.stack(waves, axis=1)


def test_a_known_curve_is_found_whatever_steps_are_missing() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0.2, 0.1, (30, 2, 5))
    series = np.full((30, 2, 73), 9.0)  # outside the season: must not count
    series[:, :, 24:67] = true @ basis().T
    series[rng.random(series.shape) < 0.4] = np.nan
    found = harmonic_samples(samples_of(series), SEASON)
    assert found.series.shape == (30, 10, 1)
    np.testing.assert_allclose(found.series.reshape(30, 2, 5), true, atol=2e-4)


def test_noisy_steps_give_the_least_squares_of_numpy() -> None:
    rng = np.random.default_rng(1)
    series = rng.normal(0.3, 0.1, (5, 2, 73))
    series[rng.random(series.shape) < 0.5] = np.nan
    found = harmonic_samples(samples_of(series), SEASON).series.reshape(5, 2, 5)
    for i, j in np.ndindex(5, 2):
        y = series[i, j, 24:67].astype(np.float32).astype(np.float64)
        seen = np.isfinite(y)
        expected = np.linalg.lstsq(basis()[seen], y[seen], rcond=None)[0]
        np.testing.assert_allclose(found[i, j], expected, rtol=1e-5, atol=1e-6)


def test_a_band_with_too_few_steps_has_no_coefficients() -> None:
    series = np.full((2, 2, 73), 0.2)
    series[0, 1] = np.nan
    series[0, 1, 30:34] = 0.2
    found = harmonic_samples(samples_of(series), SEASON).series.reshape(2, 2, 5)
    assert np.isnan(found[0, 1]).all()
    assert np.isfinite(found[0, 0]).all()
    np.testing.assert_allclose(found[1, :, 0], 0.2, atol=1e-6)


def test_the_names_say_what_the_values_are_and_the_season_alone_will_do() -> None:
    series = np.random.default_rng(2).normal(0.3, 0.1, (4, 2, 73))
    year = harmonic_samples(samples_of(series), SEASON, order=1)
    assert year.recipe.bands == (
        "B04 constant",
        "B04 cos1",
        "B04 sin1",
        "B08 constant",
        "B08 cos1",
        "B08 sin1",
    )
    season = harmonic_samples(samples_of(series[:, :, 24:67], SEASON), SEASON, order=1)
    np.testing.assert_array_equal(year.series, season.series)
    assert year.recipe == season.recipe
    with pytest.raises(RecipeMismatchError, match="hold steps 24 to 66"):
        harmonic_samples(samples_of(series[:, :, 24:67], SEASON), replace(SEASON, first_step=20))
