"""A random forest fitted by scikit-learn and kept as tensors, with no pickle."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import RandomForestClassifier

from toolkit.errors import InputError, LabelError
from toolkit.learn.networks.forest import MAX_DEPTH

Floats = npt.NDArray[np.float64]


def fit_forest(
    series: npt.NDArray[np.float32],
    crop: npt.NDArray[np.uint8],
    *,
    n_classes: int,
    n_trees: int = 500,
    seed: int = 0,
    n_jobs: int | None = None,
) -> dict[str, torch.Tensor]:
    """Fit a forest with balanced class weights: 500 trees is the baseline of Tong & Wang 2025.

    The same samples and seed give the same trees, whatever the number of jobs.

    Args:
        series: float32 ``(sample, band, step)``, numbers.
        crop: class indices, ``(sample,)``.
        n_classes: classes of the output; those without a sample have share 0.
        n_trees: trees to grow.
        seed: of the samples and features drawn for each tree; scikit-learn takes it modulo 2**32.
        n_jobs: threads; None: one, -1: one per core.

    Returns:
        State of :class:`toolkit.learn.networks.forest.RandomForest`: ``feature`` int32 and
        ``threshold`` float32 ``(node,)``, ``child`` int32 ``(node, 2)``, ``root`` int32 ``(tree,)``,
        ``share`` float64 ``(row, crop_class)``.

    Raises:
        LabelError: no samples, series with NaN or infinity, or classes beyond ``n_classes``.
        InputError: fewer than one tree.
    """
    _check(series, crop, n_classes, n_trees)
    forest = RandomForestClassifier(
        n_trees,
        class_weight="balanced",
        max_depth=MAX_DEPTH,  # never met by trees of pixels; a model deeper than that is refused
        random_state=seed % 2**32,
        n_jobs=n_jobs,
    )
    forest.fit(series.reshape(len(series), -1), crop)
    return forest_state(forest, n_classes)


def forest_state(forest: RandomForestClassifier, n_classes: int) -> dict[str, torch.Tensor]:
    """Return a fitted forest as tensors, see :func:`fit_forest`.

    Args:
        forest: fitted on class indices.
        n_classes: classes of the output.
    """
    trees = [estimator.tree_ for estimator in forest.estimators_]
    n_inner = [int((tree.children_left >= 0).sum()) for tree in trees]
    starts = np.cumsum([0, *n_inner[:-1]])
    leaves = np.concatenate([tree.value[tree.children_left < 0, 0] for tree in trees])
    shares, row = np.unique(leaves, axis=0, return_inverse=True)
    rows = np.split(row.ravel(), np.cumsum([tree.n_leaves for tree in trees])[:-1])
    codes = [_codes(tree, start, own) for tree, start, own in zip(trees, starts, rows, strict=True)]
    inner = [tree.children_left >= 0 for tree in trees]
    children = [
        np.stack([code[tree.children_left[here]], code[tree.children_right[here]]], axis=1)
        for tree, code, here in zip(trees, codes, inner, strict=True)
    ]
    share = np.zeros((len(shares), n_classes))
    share[:, forest.classes_.astype(np.int64)] = shares
    pairs = list(zip(trees, inner, strict=True))
    arrays = {
        "feature": np.concatenate([tree.feature[here] for tree, here in pairs]).astype(np.int32),
        "threshold": round_down(np.concatenate([tree.threshold[here] for tree, here in pairs])),
        "child": np.concatenate(children).astype(np.int32),
        "root": np.array([code[0] for code in codes], np.int32),
        "share": share,
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def round_down(threshold: Floats) -> npt.NDArray[np.float32]:
    """Return the largest float32 that is not above each threshold.

    scikit-learn compares a float32 value with a float64 threshold; ``value <= threshold`` is the same
    with the threshold rounded down, as no float32 lies between.

    Args:
        threshold: float64, finite.
    """
    nearest = threshold.astype(np.float32)
    return np.where(nearest > threshold, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _codes(tree: Any, start: int, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return what each node of a tree is called in the forest: its place, or ``~row`` of a leaf."""
    is_inner = tree.children_left >= 0
    codes = np.empty(tree.node_count, np.int64)
    codes[is_inner] = start + np.arange(is_inner.sum())
    codes[~is_inner] = ~rows
    return codes


def _check(
    series: npt.NDArray[np.float32], crop: npt.NDArray[np.uint8], n_classes: int, n_trees: int
) -> None:
    if n_trees < 1:
        msg = f"n_trees is {n_trees!r}; allowed: 1 or more. Use 500."
        raise InputError(msg)
    if series.ndim != 3 or series.dtype != np.float32 or crop.shape != series.shape[:1] or not series.size:
        msg = (
            f"A forest got series {series.dtype} {series.shape} and classes {crop.shape}; needed: float32 "
            "(sample, band, step), at least one sample, and a class for each. Give those of Samples."
        )
        raise LabelError(msg)
    if n_bad := int((~np.isfinite(series).all(axis=(1, 2))).sum()):
        msg = f"{n_bad} of {len(series)} series hold NaN or infinity; needed: numbers. Fill gaps first."
        raise LabelError(msg)
    if int(crop.min()) < 0 or int(crop.max()) >= n_classes:
        msg = (
            f"Class indices are {crop.min()} to {crop.max()}; allowed: 0 to {n_classes - 1}. "
            "Give the number of classes of the legend."
        )
        raise LabelError(msg)
