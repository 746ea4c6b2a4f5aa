"""Batches of samples for training, drawn and varied anew in each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from toolkit.learn.augment import Window, augment
from toolkit.learn.augmentations import Augmentation

Series = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Batches:
    """Samples in random order, varied and normalised batch by batch.

    What an epoch draws depends on its number and the seed alone, so that a training that was interrupted
    goes on as if it had not been.
    """

    series: Series
    """float32 ``(sample, band, step)``, reflectance: the year if the window moves, else the season."""
    crop: npt.NDArray[np.uint8]
    """uint8 ``(sample,)``, class index."""
    mean: tuple[float, ...]
    """Per band, see :func:`toolkit.learn.checkpoint.normalise`."""
    std: tuple[float, ...]
    """Per band."""
    size: int
    """Samples in a batch; the last one of an epoch may be smaller."""
    seed: int = 0
    """Of every draw."""
    observed: npt.NDArray[np.bool_] | None = None
    """bool ``(sample, step)``, see :func:`toolkit.learn.augment.augment`."""
    window: Window | None = None
    """The season in the series; needed to vary them."""
    augmentation: Augmentation | None = None
    """How each series is varied; None: not at all, the series are the season."""

    def epoch(
        self, number: int, device: torch.device | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield every sample once, in random order.

        Args:
            number: of the epoch.
            device: where the batches are wanted and computed; None: the CPU.

        Yields:
            float32 ``(n, band, step)`` and int64 ``(n,)``.
        """
        order, draws = np.random.SeedSequence([self.seed, number]).spawn(2)
        generator = torch.Generator().manual_seed(int(draws.generate_state(1, np.uint64)[0]) >> 1)
        mean, std = (
            torch.tensor(v, dtype=torch.float32, device=device)[:, None] for v in (self.mean, self.std)
        )
        series = torch.from_numpy(self.series)
        crops = torch.from_numpy(self.crop.astype(np.int64))
        for index in _divide(np.random.default_rng(order).permutation(len(self.series)), self.size):
            chosen = torch.from_numpy(index)
            batch = series[chosen].to(device)
            if self.augmentation is not None and self.window is not None:
                seen = None if self.observed is None else torch.from_numpy(self.observed[index]).to(device)
                batch = augment(batch, self.window, self.augmentation, generator, observed=seen)
            yield (batch - mean) / std, crops[chosen].to(device)


def _divide(order: npt.NDArray[np.int64], size: int) -> list[npt.NDArray[np.int64]]:
    """Cut into batches; a single sample left over joins the last one.

    Batch normalisation cannot learn from one sample.
    """
    parts = [order[first : first + size] for first in range(0, len(order), size)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts
