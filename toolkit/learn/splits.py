"""Which samples train and which validate: never two pixels of one field, or of one place."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from toolkit.errors import LabelError
from toolkit.learn.accuracy import split_fields
from toolkit.learn.equal_series import group_equal
from toolkit.learn.samples import Samples

Flags = npt.NDArray[np.bool_]
SplitBy = Literal["auto", "field", "block", "series"]
SPLITS: tuple[str, ...] = get_args(SplitBy)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Split:
    """Samples in two parts."""

    training: Flags
    """bool ``(sample,)``."""
    validation: Flags
    """bool ``(sample,)``; no group is in both."""
    by: str
    """What the groups are: ``field``, ``block`` or ``series``."""
    groups: npt.NDArray[np.int64]
    """Group of each sample."""

    def counts(self) -> dict[str, int]:
        """Groups in each part."""
        return {
            "training": len(np.unique(self.groups[self.training])),
            "validation": len(np.unique(self.groups[self.validation])),
        }


def split_samples(samples: Samples, *, share: float, seed: int, by: SplitBy = "auto") -> Split:
    """Divide samples into training and validation, class by class.

    Args:
        samples: what to divide.
        share: part of the groups that validates.
        seed: of the draw.
        by: ``field``; ``block``: cells of half a degree, stricter, as neighbouring fields look alike;
            ``series``: only equal series stay together, so that neighbours may stand on both sides and the
            accuracy is optimistic; ``auto``: fields where they are known, else blocks, else series.

    Raises:
        LabelError: fields or places are not known, or there are too few groups or classes.
    """
    unit = _known(samples) if by == "auto" else by
    groups = groups_of(samples, unit, singles=by == "auto")
    if unit == "block":
        training, validation = _blocks_apart(groups, samples.crop, share, seed)
    else:
        ids, held_out = split_fields(groups, samples.crop, share=share, seed=seed)
        training, validation = np.isin(groups, ids), np.isin(groups, held_out)
    split = Split(training=training, validation=validation, by=unit, groups=groups)
    _check(samples, split)
    return split


def groups_of(samples: Samples, by: str, *, singles: bool = False) -> npt.NDArray[np.int64]:
    """Return the group of each sample, int64 ``(sample,)``, 1 and up.

    Args:
        samples: the samples.
        by: ``field``, ``block`` or ``series``.
        singles: whether samples without a known field (block) are groups of their own, equal series together;
            otherwise all must be known.

    Raises:
        LabelError: fields or places are not known.
    """
    if by == "series":
        return group_equal(samples.series)[1].astype(np.int64) + 1
    groups = samples.field.astype(np.int64) if by == "field" else samples.block + 1
    unknown = groups <= 0
    if unknown.any() and not singles:
        what = "field" if by == "field" else "place (longitude and latitude)"
        msg = (
            f"{int(unknown.sum())} of {len(samples)} samples have no known {what}, so they cannot be split "
            f"by {by}. Split by another of {', '.join(SPLITS)}."
        )
        raise LabelError(msg)
    if unknown.any():
        groups[unknown] = groups.max() + 1 + group_equal(samples.series[unknown])[1]
    return groups


def _known(samples: Samples) -> str:
    if not len(samples) or (samples.field > 0).any():
        return "field"
    return "block" if (samples.block >= 0).any() else "series"


def _blocks_apart(
    blocks: npt.NDArray[np.int64], crop: npt.NDArray[np.uint8], share: float, seed: int
) -> tuple[Flags, Flags]:
    """Hold out whole blocks, with the classes about as frequent as in all."""
    n_parts = min(max(2, round(1 / min(share, 1 - share))), len(np.unique(blocks)))
    training = np.ones(len(crop), bool)
    if n_parts > 1:
        folds = StratifiedGroupKFold(n_parts)  # its own draw hardly changes the parts: the seed picks one
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class may be in few blocks
            parts = list(folds.split(np.zeros(len(crop)), crop, blocks))
        training[parts[seed % n_parts][1]] = False
        if share > 0.5:  # one part trains, the others validate
            training = ~training
    return training, ~training


def _check(samples: Samples, split: Split) -> None:
    """Raise unless both parts can serve."""
    per_class = {
        name: len(np.unique(split.groups[samples.crop == k])) for k, name in enumerate(samples.legend.names)
    }
    plural = split.by if split.by == "series" else f"{split.by}s"
    listed = ", ".join(f"{name} {n}" for name, n in per_class.items() if n) or "none"
    if len(np.unique(samples.crop[split.training])) < 2:
        msg = (
            f"Training needs {plural} of two classes or more; got {plural}: {listed}. "
            "Add some of other crops, or of 'other'."
        )
        raise LabelError(msg)
    if not split.validation.any():
        needed = "two blocks" if split.by == "block" else f"a class with two {plural} or more"
        msg = (
            f"Validation needs {needed}; got {plural}: {listed}. "
            f"Add {plural}, as pixels of one may not stand on both sides."
        )
        raise LabelError(msg)
