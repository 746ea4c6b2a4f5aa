"""Pixels of a feature cube as rows of a table, and the checks before that."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import LabelError, RecipeMismatchError

DIMS = ("band", "step", "y", "x")
"""Dimensions of a feature cube."""


def check_features(features: xr.DataArray, recipe: FeatureRecipe) -> xr.DataArray:
    """Return the features in the order :data:`DIMS`, or raise if they do not fit a recipe.

    Args:
        features: reflectance, dims band, step, y, x in any order, with band names as coordinate.
        recipe: what the model was trained on, or the samples shall hold.

    Raises:
        RecipeMismatchError: dimensions, band names or number of steps differ; names both.
    """
    advice = "Build the features with this recipe, or use a model trained on these features."
    if set(features.dims) != set(DIMS):
        msg = f"Features have the dimensions {features.dims}; needed: {DIMS}. {advice}"
        raise RecipeMismatchError(msg)
    if "band" not in features.coords:
        msg = f"Features carry no band names; needed: {list(recipe.bands)}. {advice}"
        raise RecipeMismatchError(msg)
    names = [str(name) for name in features["band"].values]
    if names != list(recipe.bands):
        msg = f"Features have the bands {names}, the recipe has {list(recipe.bands)}. {advice}"
        raise RecipeMismatchError(msg)
    if features.sizes["step"] != recipe.shape[1]:
        msg = (
            f"Features have {features.sizes['step']} steps, the recipe has {recipe.shape[1]} "
            f"(from step {recipe.first_step}, {recipe.step_days} days each). {advice}"
        )
        raise RecipeMismatchError(msg)
    return features.transpose(*DIMS)


def observed(values: npt.NDArray[np.float32], *, gaps: bool = False) -> npt.NDArray[np.bool_]:
    """Return which pixels have all their features.

    Args:
        values: ``(band, step, y, x)``.
        gaps: whether steps may be missing, as long as each band has one.

    Returns:
        bool ``(y, x)``, True where no value is NaN or infinite (with gaps: none infinite, one a number).
    """
    complete = np.ones(values.shape[2:], dtype=bool)
    for band in values:  # band by band, so that the intermediate stays small
        if gaps:
            complete &= np.isfinite(band).any(axis=0) & ~np.isinf(band).any(axis=0)
        else:
            complete &= np.isfinite(band).all(axis=0)
    return complete


def take_pixels(values: npt.NDArray[np.float32], index: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return chosen pixels as rows.

    Args:
        values: ``(band, step, y, x)``.
        index: int64 ``(pixel,)``, position in the flattened ``(y, x)``.

    Returns:
        float32 ``(pixel, band, step)``, contiguous.
    """
    row, column = np.divmod(index, values.shape[3])
    table = values.transpose(2, 3, 0, 1)[row, column]  # no reshape: that copies all of a transposed cube
    return np.ascontiguousarray(table, dtype=np.float32)


def draw_per_field(fields: npt.NDArray[np.integer], cap: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Draw at most so many pixels of each field.

    Args:
        fields: field of each pixel, ``(pixel,)``.
        cap: most pixels of a field; None takes all.
        seed: of the draw.

    Returns:
        int64 ``(pixel,)``, positions drawn, ascending.

    Raises:
        LabelError: the cap is below 1.
    """
    if cap is None:
        return np.arange(len(fields))
    if cap < 1:
        msg = f"cap_per_field is {cap!r}; allowed: 1 or more, or None for all pixels. Use None."
        raise LabelError(msg)
    return np.flatnonzero(_place_in_field(fields, np.random.default_rng(seed)) < cap)


def draw_per_class(
    crops: npt.NDArray[np.integer], fields: npt.NDArray[np.integer], most: int | None, seed: int
) -> npt.NDArray[np.int64]:
    """Draw at most so many pixels of each class, from its fields as evenly as possible.

    The fields of a class give one pixel each in turn until there are enough, so that small fields give all
    they have before large ones give more; which fields give the last ones is drawn too.

    Args:
        crops: class of each pixel, ``(pixel,)``.
        fields: field of each pixel, ``(pixel,)``.
        most: most pixels of a class; None takes all.
        seed: of the draw.

    Returns:
        int64 ``(pixel,)``, positions drawn, ascending.

    Raises:
        LabelError: the number is below 1.
    """
    if most is None:
        return np.arange(len(fields))
    if most < 1:
        msg = f"balance is {most!r}; allowed: 1 sample per class or more, or None for all. Use None."
        raise LabelError(msg)
    rng = np.random.default_rng(seed)
    turn = _place_in_field(fields, rng)
    drawn = []
    for crop in np.unique(crops):
        own = np.flatnonzero(crops == crop)
        order = np.lexsort((rng.random(len(own)), turn[own]))
        drawn.append(own[order[:most]])
    return np.sort(np.concatenate(drawn)) if drawn else np.arange(0)


def _place_in_field(fields: npt.NDArray[np.integer], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Shuffle the pixels of each field and return the place of each among them, counted from 0."""
    positions = np.arange(len(fields))
    order = np.lexsort((rng.random(len(fields)), fields))
    starts = np.r_[True, np.diff(fields[order]) != 0][: len(order)]
    place = np.empty(len(fields), np.int64)
    place[order] = positions - np.maximum.accumulate(np.where(starts, positions, 0))
    return place
