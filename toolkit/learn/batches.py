"""Batches of samples for training, drawn anew in each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from toolkit.learn.checkpoint import normalise


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Batches:
    """Samples in random order, normalised batch by batch.

    What imitates other regions' phenology belongs between the two steps of :meth:`epoch`: on
    reflectance, before it is normalised.
    """

    series: npt.NDArray[np.float32]
    """float32 ``(sample, band, step)``, reflectance."""
    crop: npt.NDArray[np.uint8]
    """uint8 ``(sample,)``, class index."""
    mean: tuple[float, ...]
    """Per band, see :func:`toolkit.learn.checkpoint.normalise`."""
    std: tuple[float, ...]
    """Per band."""
    size: int
    """Samples in a batch; the last one of an epoch may be smaller."""

    def epoch(self, rng: np.random.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield every sample once, in random order.

        Args:
            rng: source of the order.

        Yields:
            float32 ``(n, band, step)`` and int64 ``(n,)``, on the CPU.
        """
        for index in _divide(rng.permutation(len(self.series)), self.size):
            series = normalise(self.series[index], self.mean, self.std)
            yield torch.from_numpy(series), torch.from_numpy(self.crop[index].astype(np.int64))


def _divide(order: npt.NDArray[np.int64], size: int) -> list[npt.NDArray[np.int64]]:
    """Cut into batches; a single sample left over joins the last one.

    Batch normalisation cannot learn from one sample.
    """
    parts = [order[first : first + size] for first in range(0, len(order), size)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts
