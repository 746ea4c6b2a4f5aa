"""How right a map is: the confusion matrix and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from toolkit.errors import LabelError
from toolkit.learn.grids import check_same_grid
from toolkit.legend import CROPGLOBE, NODATA, Legend

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Accuracy:
    """Agreement between reference and prediction. A share with nothing below the line is NaN."""

    confusion: Counts
    """int64 ``(crop_class, crop_class)``, rows = reference, columns = prediction."""
    unmapped: Counts
    """int64 ``(crop_class,)``, reference pixels of each class without a prediction."""

    @property
    def n(self) -> int:
        """Number of reference pixels, unmapped ones included."""
        return int(self.confusion.sum() + self.unmapped.sum())

    @property
    def n_unmapped(self) -> int:
        """Number of reference pixels without a prediction; each counts as an error."""
        return int(self.unmapped.sum())

    @property
    def support(self) -> Counts:
        """Reference pixels of each class, int64 ``(crop_class,)``."""
        return np.asarray(self.confusion.sum(axis=1) + self.unmapped, np.int64)

    @property
    def overall(self) -> float:
        """Overall accuracy: share of the reference pixels that are right."""
        return float(_share(np.trace(self.confusion), self.n))

    @property
    def precision(self) -> Floats:
        """User's accuracy, ``(crop_class,)``: right among those predicted as the class."""
        return _share(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> Floats:
        """Producer's accuracy, ``(crop_class,)``: right among those that are the class."""
        return _share(np.diag(self.confusion), self.support)

    @property
    def f1(self) -> Floats:
        """2 right / (reference + predicted), ``(crop_class,)``."""
        predicted = self.confusion.sum(axis=0)
        return _share(2 * np.diag(self.confusion), self.support + predicted)

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes present in the reference."""
        present = self.support > 0
        return float(self.f1[present].mean()) if present.any() else float("nan")

    @property
    def weighted_f1(self) -> float:
        """Mean F1 of the classes present in the reference, weighted by their pixels."""
        present = self.support > 0
        return float(_share(np.sum(self.f1[present] * self.support[present]), self.n))

    def to_dict(self, legend: Legend) -> dict[str, object]:
        """Plain values for JSON; None where a value is undefined."""
        columns = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {
            "n": self.n,
            "n_unmapped": self.n_unmapped,
            "overall": _plain(self.overall),
            "macro_f1": _plain(self.macro_f1),
            "weighted_f1": _plain(self.weighted_f1),
            "classes": {
                name: {
                    "n": int(self.support[k]),
                    **{key: _plain(column[k]) for key, column in columns.items()},
                }
                for k, name in enumerate(legend.names)
            },
            "confusion": self.confusion.tolist(),
        }


def _share(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    shares = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def confusion(truth: Integers, predicted: Integers, n_classes: int) -> Counts:
    """Count pairs of reference and prediction.

    Args:
        truth: class index of each pixel, any integer type, ``(n,)``.
        predicted: class index of each pixel, ``(n,)``; pixels with a negative one are left out.
        n_classes: number of classes.

    Returns:
        int64 ``(crop_class, crop_class)``, rows = reference, columns = prediction.

    Raises:
        LabelError: the lengths differ, or an index is out of range.
    """
    truth, predicted = np.asarray(truth, np.int64), np.asarray(predicted, np.int64)
    if truth.shape != predicted.shape or truth.ndim != 1:
        msg = (
            f"Reference {truth.shape} and prediction {predicted.shape} need one shape (n,). "
            "Give one value per pixel in both."
        )
        raise LabelError(msg)
    found = np.concatenate([truth, predicted[predicted >= 0]])
    if found.size and not (found.min() >= 0 and found.max() < n_classes):
        msg = (
            f"Class indices go from {found.min()} to {found.max()}; allowed: 0 to {n_classes - 1}. "
            "Use one legend for reference and prediction."
        )
        raise LabelError(msg)
    mapped = predicted >= 0
    pairs = truth[mapped] * n_classes + predicted[mapped]
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def compare(truth: Integers, predicted: Integers, n_classes: int) -> Accuracy:
    """Return the accuracy of predictions, where negative ones count as errors.

    Args:
        truth: class index of each pixel, any integer type, ``(n,)``.
        predicted: class index of each pixel, ``(n,)``; negative: not predicted.
        n_classes: number of classes.

    Raises:
        LabelError: the lengths differ, or an index is out of range.
    """
    matrix = confusion(truth, predicted, n_classes)
    missed = np.asarray(truth, np.int64)[np.asarray(predicted) < 0]
    return Accuracy(matrix, np.bincount(missed, minlength=n_classes))


def assess(
    crop_map: xr.DataArray,
    labels: xr.Dataset,
    *,
    legend: Legend = CROPGLOBE,
    within: npt.NDArray[np.bool_] | None = None,
) -> Accuracy:
    """Compare a crop map with labels, pixel by pixel, where there are labels.

    Args:
        crop_map: uint8 ``(y, x)``, class index + 1, 0 unmapped (counts as an error).
        labels: ``crop`` uint8 ``(y, x)`` on the same grid, 0 unlabelled.
        legend: classes of both.
        within: bool ``(y, x)``, True where the map was asked for; labels elsewhere do not count. None: all.

    Raises:
        GridError: map and labels lie on different grids.
        LabelError: nothing is labelled, or a value is not in the legend.
    """
    reference = labels["crop"].transpose("y", "x")
    check_same_grid(crop_map, reference)
    truth = reference.to_numpy().astype(np.int64) - 1
    predicted = crop_map.transpose("y", "x").to_numpy().astype(np.int64) - 1
    labelled = truth >= 0 if within is None else (truth >= 0) & within
    if not labelled.any():
        msg = f"No pixel is labelled: 'crop' is {NODATA} everywhere here. Give labels of this area."
        raise LabelError(msg)
    return compare(truth[labelled], predicted[labelled], len(legend.names))


def split_fields(
    fields: xr.Dataset | Integers,
    crops: Integers | None = None,
    *,
    share: float = 0.5,
    seed: int = 0,
) -> tuple[Counts, Counts]:
    """Divide fields into two groups, class by class, so that no field is in both.

    Args:
        fields: labels (``field`` and ``crop``), or the field of each pixel, any shape; 0 is none.
        crops: class of each pixel, same shape; leave out with labels. A field with several classes
            counts for its most frequent one.
        share: part of each class's fields in the second group.
        seed: of the draw; the order of the pixels does not matter.

    Returns:
        Field ids, int64, ascending, of the first (training) and the second (test) group. A class
        with two or more fields is in both; a single field is in the first.

    Raises:
        LabelError: the share is not between 0 and 1, or the shapes differ.
    """
    if not 0 < share < 1:
        msg = f"share is {share!r}; allowed: more than 0, less than 1. Use 0.5 for halves."
        raise LabelError(msg)
    ids, classes = _fields_and_classes(fields, crops)
    rng = np.random.default_rng(seed)
    first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for crop in np.unique(classes):
        of_class = rng.permutation(ids[classes == crop])
        n = len(of_class)
        n_second = min(max(round(share * n), 1), n - 1)
        second.append(of_class[:n_second])
        first.append(of_class[n_second:])
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))


def _fields_and_classes(fields: xr.Dataset | Integers, crops: Integers | None) -> tuple[Counts, Counts]:
    """Return each field's id and its most frequent class (the lowest among equals)."""
    if isinstance(fields, xr.Dataset):
        labels = fields
        fields, crops = labels["field"].to_numpy(), labels["crop"].to_numpy()
    pixels = np.asarray(fields, np.int64).ravel()
    classes = np.asarray(crops if crops is not None else [], np.int64).ravel()
    if pixels.shape != classes.shape:
        msg = f"Fields and crops need one shape, got {pixels.shape} and {classes.shape} values."
        raise LabelError(msg)
    inside = pixels != 0
    pairs, counts = np.unique(np.stack([pixels[inside], classes[inside]]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    ids, first = np.unique(pairs[0][order], return_index=True)
    return ids, pairs[1][order][first]
