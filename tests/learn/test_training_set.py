"""What is trained on: the season as maps have it, the year around it, and what cannot be moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from toolkit.cubes.recipe import FeatureRecipe, emit_recipe
from toolkit.errors import LabelError, SeasonOnlyWarning
from toolkit.learn.augmentations import Augmentation
from toolkit.learn.samples import Samples
from toolkit.learn.seasons import cut_season
from toolkit.learn.training_set import training_set

MakeSamples = Callable[..., Samples]


def with_gaps(samples: Samples) -> Samples:
    """The same samples as scenes give them: gaps stay open."""
    series = samples.series.copy()
    series[:, :, [0, 5, 11]] = np.nan
    return replace(samples, series=series, recipe=replace(samples.recipe, fill="none"))


def test_the_year_is_filled_around_its_turn_and_the_season_held_at_its_ends(
    make_samples: MakeSamples, recipe: FeatureRecipe
) -> None:
    gappy = with_gaps(make_samples(12))
    season = replace(recipe, first_step=4, n_steps=8)
    given = training_set(gappy, season, Augmentation())
    np.testing.assert_array_equal(given.season, cut_season(gappy.series, gappy.recipe, season))
    np.testing.assert_array_equal(given.season[:, :, 7], gappy.series[:, :, 10])  # held
    turn = (2 * gappy.series[:, :, 10] + gappy.series[:, :, 1]) / 3
    np.testing.assert_allclose(given.year[:, :, 11], turn, rtol=1e-5)
    assert given.year.shape == (12, 4, 12)
    assert (given.window.first_step, given.window.n_steps, given.window.moves) == (4, 8, True)


def test_without_augmentation_the_year_is_not_needed(
    make_samples: MakeSamples, recipe: FeatureRecipe
) -> None:
    given = training_set(make_samples(12), recipe)
    assert given.year is given.season
    assert not given.window.moves
    still = training_set(make_samples(12), recipe, Augmentation(shift_days=0, scale_days=0))
    assert still.year is still.season
    assert still.augmentation is not None


def test_samples_of_the_season_alone_train_without_shifts_and_say_so(
    make_samples: MakeSamples, recipe: FeatureRecipe
) -> None:
    year = make_samples(12)
    season = replace(year, series=year.series[:, :, 2:10].copy(), recipe=recipe)
    with pytest.warns(SeasonOnlyWarning, match="hold steps 2 to 9 of 12 in the year"):
        given = training_set(season, recipe, Augmentation())
    assert given.augmentation == Augmentation(shift_days=0, scale_days=0)
    assert not given.window.moves


def test_a_year_of_another_sensor_may_end_with_a_short_step() -> None:
    modis = FeatureRecipe(sensor="modis", bands=("ndvi",), first_step=0, n_steps=23, step_days=16)
    assert modis.covers_year
    assert not replace(modis, n_steps=21).covers_year
    samples = Samples(
        series=np.random.default_rng(0).random((6, 1, 23), np.float32),
        crop=np.zeros(6, np.uint8),
        field=np.arange(1, 7, dtype=np.int32),
        lon=np.zeros(6),
        lat=np.zeros(6),
        recipe=modis,
        simulated=True,
    )
    assert training_set(samples, modis, Augmentation()).window.moves


def test_of_spectra_only_noise_is_left() -> None:
    recipe = emit_recipe(bands=("865.1", "1603.1"))
    samples = Samples(
        series=np.full((4, 2, 1), 0.3, np.float32),
        crop=np.zeros(4, np.uint8),
        field=np.ones(4, np.int32),
        lon=np.zeros(4),
        lat=np.zeros(4),
        recipe=recipe,
        simulated=True,
    )
    assert training_set(samples, recipe, Augmentation()).augmentation is None
    noisy = training_set(samples, recipe, Augmentation(noise=0.01, gap_probability=0.5)).augmentation
    assert noisy is not None
    assert (noisy.noise, noisy.moves, noisy.warp_probability, noisy.gap_probability) == (0.01, False, 0, 0)


def test_pixels_never_seen_in_the_season_are_left_out_and_holes_are_refused(
    make_samples: MakeSamples, recipe: FeatureRecipe
) -> None:
    gappy = with_gaps(make_samples(12))
    gappy.series[3, :, 2:10] = np.nan
    assert len(training_set(gappy, recipe).samples) == 11
    bad = make_samples(12)
    bad.series[2, 1, 4] = np.inf
    with pytest.raises(LabelError, match="1 of 12 samples hold NaN or infinity"):
        training_set(bad, recipe)
