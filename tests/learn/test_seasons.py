"""Seasons out of full-year series, gaps filled as maps fill them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import RecipeMismatchError
from toolkit.learn import seasons
from toolkit.learn.samples import Samples
from toolkit.learn.seasons import cut_season, filled

MakeSamples = Callable[..., Samples]


def test_the_season_is_cut_from_the_year(make_samples: MakeSamples, recipe: FeatureRecipe) -> None:
    year = make_samples(6)
    season = cut_season(year.series, year.recipe, recipe)
    np.testing.assert_array_equal(season, year.series[:, :, 2:10])
    assert cut_season(season, recipe, recipe) is season
    vector = replace(recipe, kind="median1d")  # the same values
    np.testing.assert_array_equal(cut_season(year.series, year.recipe, vector), season)


def test_a_season_that_the_samples_do_not_hold_is_refused(
    make_samples: MakeSamples, recipe: FeatureRecipe
) -> None:
    year = make_samples(6)
    season = cut_season(year.series, year.recipe, recipe)
    for want in (replace(recipe, first_step=3), replace(recipe, n_steps=7)):
        with pytest.raises(RecipeMismatchError, match="hold steps 2 to 9 of 12"):
            cut_season(season, recipe, want)
    with pytest.raises(RecipeMismatchError, match=r"wanted: .*first_step.: 6"):
        cut_season(year.series, year.recipe, replace(recipe, first_step=6))
    with pytest.raises(RecipeMismatchError, match="bands"):
        cut_season(year.series, year.recipe, replace(recipe, bands=("B02", "B04", "B08", "B12")))


def test_gaps_are_filled_from_inside_the_season_only(recipe: FeatureRecipe) -> None:
    open_year = replace(recipe.full_year(), fill="none")
    series = np.full((2, 4, 12), np.nan, np.float32)
    series[0, :, [1, 4, 6, 11]] = np.array([0.9, 0.2, 0.4, 0.8], np.float32)[:, None]
    series[1, :, 0] = 0.5  # never observed in the season
    season = cut_season(series, open_year, recipe)  # steps 2 to 9
    np.testing.assert_allclose(season[0, 0], [0.2, 0.2, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4], rtol=1e-6)
    assert np.isnan(season[1]).all()


def test_cut_and_filled_series_equal_the_features_of_a_map(recipe: FeatureRecipe) -> None:
    """Training and mapping see the same numbers, also where clouds lie at the season's edge."""
    from datetime import date, timedelta

    from tests.cubes.test_composite import stack
    from toolkit.cubes.features import build_features, recipe_season

    rng = np.random.default_rng(0)
    days = [date(2021, 1, 3) + timedelta(days=9 * k) for k in range(40)]
    values = rng.integers(1, 5000, (40, 3, 5))
    scenes = stack(days, values, rng.random(values.shape) < 0.3, bands=recipe.bands)
    year = replace(recipe.full_year(), fill="none")
    whole = build_features(scenes, year, recipe_season(year, year=2021, hemisphere="north"))
    mapped = build_features(scenes, recipe, recipe_season(recipe, year=2021, hemisphere="north"))
    series = whole.values.reshape(4, 12, -1).transpose(2, 0, 1)
    expected = mapped.values.reshape(4, 8, -1).transpose(2, 0, 1)
    np.testing.assert_array_equal(cut_season(series, year, recipe), expected)


def test_filling_by_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    series = rng.random((10, 3, 20), np.float32)
    series[rng.random(series.shape) < 0.4] = np.nan
    whole = filled(series, periodic=True)
    monkeypatch.setattr(seasons, "CHUNK", 3)
    np.testing.assert_array_equal(filled(series, periodic=True), whole)
    assert not np.isnan(whole).any()
