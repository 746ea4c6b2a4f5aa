"""How transferred predictions are counted: plainly, or as the published code does."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from toolkit.errors import LabelError
from toolkit.learn.accuracy import Accuracy
from toolkit.legend import Legend

Counts = npt.NDArray[np.int64]

Protocol = Literal["plain", "published"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
OTHER = "other"
"""Class that takes the predictions of absent classes in the published protocol."""


def accuracy_of(matrix: Counts, protocol: Protocol, legend: Legend) -> Accuracy:
    """Return the accuracy that a confusion matrix means in a protocol.

    Args:
        matrix: int64 ``(crop_class, crop_class)``, rows = reference, columns = prediction.
        protocol: ``plain``: as counted; ``published``: see :func:`fold_absent_classes`.
        legend: classes of the matrix.

    Raises:
        LabelError: the legend has no class ``other`` to fold into.
    """
    if protocol == "published":
        matrix = fold_absent_classes(matrix, legend)
    return Accuracy(matrix, np.zeros(len(matrix), np.int64))


def fold_absent_classes(matrix: Counts, legend: Legend) -> Counts:
    """Move predictions of classes that the reference does not hold to ``other``.

    The published code of Tong & Wang 2025 counts so. It knows of the target what a map maker does not: which
    classes are absent.

    Args:
        matrix: int64 ``(crop_class, crop_class)``, rows = reference, columns = prediction.
        legend: classes of the matrix.

    Raises:
        LabelError: the legend has no class ``other``.
    """
    if OTHER not in legend.names:
        msg = f"The legend has the classes {', '.join(legend.names)}; the published protocol needs {OTHER!r}."
        raise LabelError(msg)
    other = legend.index(OTHER)
    absent = matrix.sum(axis=1) == 0
    absent[other] = False
    folded = matrix.copy()
    folded[:, other] += matrix[:, absent].sum(axis=1)
    folded[:, absent] = 0
    return folded
