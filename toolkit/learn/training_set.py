"""What a model is trained on: the season of each sample, and the year around it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import LabelError, SeasonOnlyWarning
from toolkit.learn.augment import Window
from toolkit.learn.augmentations import Augmentation
from toolkit.learn.samples import Samples
from toolkit.learn.seasons import cut_season, filled

Series = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrainingSet:
    """Samples that can be trained on."""

    samples: Samples
    """Those that are observed in the season."""
    season: Series
    """float32 ``(sample, band, step)``, features as a map has them; no NaN."""
    year: Series
    """float32 ``(sample, band, step)``, no NaN: what windows are cut from; the season if it does not move."""
    observed: npt.NDArray[np.bool_] | None
    """bool ``(sample, step)``, True where the year is not filled; None: everywhere, or nothing moves."""
    window: Window
    """The season in the year."""
    augmentation: Augmentation | None
    """As far as the samples allow it."""


def training_set(
    samples: Samples, recipe: FeatureRecipe, augmentation: Augmentation | None = None
) -> TrainingSet:
    """Return the season of the samples, and the year if the season's window is to move.

    Args:
        samples: labelled series, full year or the recipe's season.
        recipe: features of the maps to be made.
        augmentation: how series will be varied.

    Raises:
        RecipeMismatchError: the samples cannot give the recipe's features.
        LabelError: series with NaN or infinity.
    """
    season = cut_season(samples.series, samples.recipe, recipe)
    # A year's series may hold nothing in the season; a map calls such a pixel not observed.
    empty = np.isnan(season).all(axis=2)
    seen = np.logical_not(np.any(empty, axis=1))
    if not seen.all():  # hundreds of thousands of series are gigabytes: they are not copied for nothing
        samples, season = samples.select(seen), season[seen]
    _check_complete(season)
    augmentation = _possible(augmentation, samples.recipe, recipe)
    moves = augmentation is not None and augmentation.moves
    year, observed = season, None
    if moves:
        year = samples.series
        if np.isnan(year.min()):
            observed = np.asarray(np.isfinite(year).all(axis=1), np.bool_)
            year = filled(year, periodic=True)
    window = Window(
        first_step=recipe.first_step if moves else 0,
        n_steps=recipe.shape[1],
        step_days=recipe.step_days,
        moves=moves,
    )
    return TrainingSet(
        samples=samples,
        season=season,
        year=year,
        observed=observed,
        window=window,
        augmentation=augmentation,
    )


def _possible(
    augmentation: Augmentation | None, have: FeatureRecipe, want: FeatureRecipe
) -> Augmentation | None:
    """Return what can be done to series of a recipe."""
    if augmentation is None:
        return None
    still = replace(augmentation, shift_days=0.0, scale_days=0.0)
    if want.kind == "emit":  # one step: nothing to move, to bend or to lose
        noise_only = replace(still, warp_probability=0.0, gap_probability=0.0)
        return noise_only if augmentation.noise > 0 else None
    if augmentation.moves and not have.covers_year:
        warnings.warn(
            f"The samples hold steps {have.first_step} to {have.first_step + have.n_steps - 1} of "
            f"{have.steps_per_year} in the year: the season cannot be moved in them, and the model learns no "
            "other region's dates. Make samples of the full year: cropglobe samples.",
            SeasonOnlyWarning,
            stacklevel=4,
        )
        return still
    return augmentation


def _check_complete(series: Series) -> None:
    bad = ~np.isfinite(series).all(axis=(1, 2))
    if bad.any():
        msg = (
            f"{int(bad.sum())} of {len(series)} samples hold NaN or infinity; needed: numbers in "
            "every step. Extract them from features with filled gaps (recipe.fill='linear')."
        )
        raise LabelError(msg)
