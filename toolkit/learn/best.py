"""The epoch that a training keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from toolkit.learn.accuracy import Accuracy


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """The epoch with the best validation macro F1; among equals that of the lowest loss.

    Where fields are easy to tell apart, F1 is 1 long before the model is sure of anything.
    """

    epoch: int
    """Counts from 1."""
    state: Mapping[str, torch.Tensor]
    """Weights and batch statistics, on the CPU."""
    accuracy: Accuracy
    """On the validation samples."""
    loss: float
    """Mean cross-entropy on the validation samples."""

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better."""
        return self.accuracy.macro_f1, -self.loss
