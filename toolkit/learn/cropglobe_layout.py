"""The .npz layout of CropGlobe: names, shapes, classes, and the scale of its values.

Layout: Tong & Wang 2025 (arXiv 2509.03497) and the loader published with it (MIT, x-ytong/CropNet,
data/loading.py): arrays ``fea`` (samples, 10 bands, 73 or 43 steps) and ``lbl`` (class indices).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import LabelError
from toolkit.learn.equal_series import group_equal
from toolkit.learn.npz_arrays import Header
from toolkit.legend import CROPGLOBE

Series = npt.NDArray[np.float32]

COUNTRIES = ("ARG", "AUS", "BEL", "CHN", "FRA", "GBR", "NLD", "USA")
"""Countries of CropGlobe."""
FEATURES, LABELS = "fea", "lbl"
"""Names of the arrays."""
SEASON = FeatureRecipe()
YEAR = SEASON.full_year()
RECIPES = {YEAR.n_steps: YEAR, SEASON.n_steps: SEASON}
"""Steps of a file -> what they mean: the year, or May to November (of the hemisphere's year)."""
MONTHS = {(1, 12): YEAR.n_steps, (5, 11): SEASON.n_steps}
"""First and last month in a file's name -> its steps; the best to have first."""
PATTERN = re.compile(r"median_S2_([A-Z]{3})_month(\d{1,2})-(\d{1,2})_day5\.npz")
"""Name of a file: country, first and last month."""
DIGITAL_NUMBERS = 10_000.0
"""Digital number of reflectance 1 in Sentinel-2 products."""
REFLECTANCE_RANGE = 0.02, 2.0
"""95th percentile of series in reflectance: fields reach 0.2 to 0.5, snow and cloud 1.5."""
NUMBERS_RANGE = 200.0, 20_000.0
"""The same in digital numbers."""
LOOKED_AT = 20_000
"""Samples whose values tell the scale."""
ORDER_FACTOR = 2.0
"""A vector is refused if read step by step it is so many times smoother than read band by band."""


def check_layout(headers: dict[str, Header], path: Path) -> int:
    """Return the number of steps of a file in the layout of CropGlobe.

    Args:
        headers: type and shape of its two arrays.
        path: the file, for messages.

    Raises:
        LabelError: any other layout.
    """
    features, labels = headers[FEATURES], headers[LABELS]
    n_bands = len(SEASON.bands)
    by_shape: dict[tuple[int, ...], int] = {
        shape: n_steps for n_steps in RECIPES for shape in ((n_bands, n_steps), (n_bands * n_steps,))
    }
    fine = (
        features.dtype.kind in "fiu"
        and labels.dtype.kind in "fiu"
        and features.shape[1:] in by_shape
        and labels.shape == features.shape[:1] != (0,)
    )
    if not fine:
        msg = (
            f"{str(path)!r}: {FEATURES} is {features}, {LABELS} is {labels}; needed: {FEATURES} of numbers "
            f"(n, {n_bands}, {YEAR.n_steps}) or (n, {n_bands}, {SEASON.n_steps}), or both as vectors band "
            f"after band, and {LABELS} of whole numbers (n,). Files of harmonics and embeddings are others."
        )
        raise LabelError(msg)
    return by_shape[features.shape[1:]]


def named(path: Path, n_steps: int) -> dict[str, Any]:
    """Return country and months of a file's name, if it follows the pattern.

    Args:
        path: the file.
        n_steps: steps that it holds.

    Raises:
        LabelError: months and steps contradict each other, or the season is another.
    """
    match = PATTERN.fullmatch(path.name)
    if match is None:
        return {}
    months = int(match[2]), int(match[3])
    if MONTHS.get(months) != n_steps:
        msg = (
            f"{path.name!r} holds {n_steps} steps of months {months[0]} to {months[1]}; known: 73 of months "
            "1 to 12 and 43 of 5 to 11. Rename it if the name is wrong; other seasons cannot be read."
        )
        raise LabelError(msg)
    return {"country": match[1], "months": list(months)}


def classes(labels: npt.NDArray[Any], path: Path) -> npt.NDArray[np.uint8]:
    """Return class indices of CropGlobe, uint8 ``(sample,)``.

    Args:
        labels: numbers ``(sample,)``.
        path: the file, for messages.

    Raises:
        LabelError: some are no class.
    """
    n_classes = len(CROPGLOBE.names)
    with np.errstate(invalid="ignore"):
        fine = (labels >= 0) & (labels < n_classes) & (labels == np.floor(labels))
    if not fine.all():
        found = ", ".join(str(value) for value in np.unique(labels[~fine])[:5])
        msg = (
            f"{str(path)!r}: {LABELS} holds {found}; allowed: whole numbers 0 to {n_classes - 1} "
            f"({', '.join(CROPGLOBE.names)}). Give labels in that order."
        )
        raise LabelError(msg)
    return labels.astype(np.uint8)


def _some(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return samples spread over the whole file, enough to tell what the values are."""
    return values[:: 1 + len(values) // LOOKED_AT].astype(np.float64)


def check_band_after_band(vectors: npt.NDArray[Any], n_steps: int, path: Path) -> None:
    """Raise for vectors that are step after step: read so, each band changes much less in time.

    Args:
        vectors: ``(sample, value)``.
        n_steps: steps of a series.
        path: the file, for messages.

    Raises:
        LabelError: they are.
    """
    some, n_bands = _some(vectors), len(SEASON.bands)
    by_band = np.diff(some.reshape(-1, n_bands, n_steps), axis=2)
    by_step = np.diff(some.reshape(-1, n_steps, n_bands), axis=1)
    jumps = _typical(by_band), _typical(by_step)
    if jumps[1] * ORDER_FACTOR < jumps[0]:
        msg = (
            f"{str(path)!r}: the vectors of {FEATURES} seem to run step after step (typical change in time "
            f"{jumps[1]:.3g}, against {jumps[0]:.3g} band after band); needed: band after band. Save them as "
            f"(n, {n_bands}, {n_steps})."
        )
        raise LabelError(msg)


def _typical(change: npt.NDArray[np.float64]) -> float:
    """Mean absolute change from step to step; 0 where nothing is known."""
    known = np.abs(change[np.isfinite(change)])
    return float(known.mean()) if known.size else 0.0


def scale_of(values: npt.NDArray[Any], path: Path) -> float:
    """Tell reflectance from digital numbers; the 95th percentiles of both are far apart.

    Args:
        values: ``(sample, band, step)``, NaN in gaps.
        path: the file, for messages.

    Returns:
        The number that stands for reflectance 1.

    Raises:
        LabelError: it is neither.
    """
    some = _some(values)
    known = some[np.isfinite(some)]
    high = float(np.quantile(np.abs(known), 0.95)) if known.size else 0.0
    for scale, (low, most) in {1.0: REFLECTANCE_RANGE, DIGITAL_NUMBERS: NUMBERS_RANGE}.items():
        if low <= high <= most:
            return scale
    msg = (
        f"{str(path)!r}: the scale of {FEATURES} cannot be told: 95 % of the values are up to {high:.4g}; "
        f"reflectance has {REFLECTANCE_RANGE[0]} to {REFLECTANCE_RANGE[1]} there, digital numbers "
        f"{NUMBERS_RANGE[0]:.0f} to {NUMBERS_RANGE[1]:.0f}. Give scale=, the number that stands for "
        "reflectance 1."
    )
    raise LabelError(msg)


def checked_scale(scale: float, path: Path) -> float:
    """Return a scale that was given, if it can be one.

    Args:
        scale: number that stands for reflectance 1.
        path: the file, for messages.

    Raises:
        LabelError: it is not above 0.
    """
    if not (np.isfinite(scale) and scale > 0):
        msg = f"scale is {scale!r} for {str(path)!r}; allowed: a number above 0, such as 1 or 10000."
        raise LabelError(msg)
    return float(scale)


def distinct(series: Series, crop: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.intp], dict[str, int]]:
    """Tell samples of different series: of equal ones the first, and none if their classes differ.

    Args:
        series: float32 ``(sample, band, step)``.
        crop: uint8 ``(sample,)``.

    Returns:
        Positions of the samples to keep, in their order; counts of those read and left out.
    """
    first, group = group_equal(series)
    low, high = np.full(len(first), 255, np.uint8), np.zeros(len(first), np.uint8)
    np.minimum.at(low, group, crop)
    np.maximum.at(high, group, crop)
    kept = np.sort(first[low == high])
    n_conflicting = int((low != high)[group].sum())
    return kept, {
        "n_read": len(crop),
        "n_duplicate": len(crop) - n_conflicting - len(kept),
        "n_conflicting": n_conflicting,
    }
