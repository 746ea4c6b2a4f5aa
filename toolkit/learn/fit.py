"""Gradient descent: epochs over batches, the best weights kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from toolkit.errors import ModelError
from toolkit.learn.accuracy import Accuracy, compare
from toolkit.learn.batches import Batches
from toolkit.learn.train_config import Epoch, TrainConfig

logger = logging.getLogger(__name__)


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


def fit(
    network: nn.Module,
    batches: Batches,
    held_out: tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]],
    config: TrainConfig,
    *,
    n_classes: int,
    progress: Callable[[Epoch], None] | None,
) -> Best:
    """Train a network in place and return its best epoch.

    Args:
        network: freshly initialised, on the device to use.
        batches: training samples.
        held_out: validation samples: normalised float32 ``(sample, band, step)`` and class indices.
        config: how to train.
        n_classes: outputs of the network.
        progress: called after each epoch.

    Raises:
        ModelError: a loss is no longer a number.
    """
    device = next(network.parameters()).device
    loss_of = nn.CrossEntropyLoss(class_weights(batches.crop, n_classes).to(device))
    adam = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    cosine = config.schedule == "cosine"
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, config.epochs) if cosine else None
    rng = np.random.default_rng(config.seed)
    best: Best | None = None
    for number in range(1, config.epochs + 1):
        started = time.monotonic()
        loss = _run_epoch(network, batches.epoch(rng), loss_of, adam)
        if schedule is not None:
            schedule.step()
        this = _validate(network, held_out, config, number=number, n_classes=n_classes)
        if best is None or this.rank > best.rank:
            best = this
        seconds = time.monotonic() - started
        macro_f1 = this.accuracy.macro_f1
        logger.info("epoch %d: loss %.4f, macro F1 %.4f", number, loss, macro_f1)
        if progress is not None:
            progress(Epoch(number, config.epochs, loss, macro_f1, seconds))
        if config.patience is not None and number - best.epoch >= config.patience:
            break
    if best is None:
        msg = f"No epoch was run; epochs is {config.epochs}, allowed: 1 or more."
        raise ModelError(msg)
    return best


def class_weights(crop: npt.NDArray[np.uint8], n_classes: int) -> torch.Tensor:
    """Return balanced weights: n / (classes present * n of the class), 0 for absent classes.

    Args:
        crop: class indices of the training samples.
        n_classes: outputs of the network.

    Returns:
        float32 ``(crop_class,)``.
    """
    counts = np.bincount(crop, minlength=n_classes)
    present = counts > 0
    weights = np.zeros(n_classes, np.float32)
    weights[present] = len(crop) / (present.sum() * counts[present])
    return torch.from_numpy(weights)


def _run_epoch(
    network: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    loss_of: nn.Module,
    adam: torch.optim.Optimizer,
) -> float:
    """Learn from each batch once; return the mean loss per sample."""
    device = next(network.parameters()).device
    network.train()
    total, n = 0.0, 0
    for series, crop in batches:
        adam.zero_grad()
        loss = loss_of(network(series.to(device)), crop.to(device))
        loss.backward()
        adam.step()
        total += loss.item() * len(crop)
        n += len(crop)
    _check_loss(total / n, "training")
    return total / n


def _check_loss(loss: float, part: str) -> None:
    if not np.isfinite(loss):
        msg = (
            f"Training diverged: the loss on {part} samples is {loss}, needed: a number. "
            "Use a lower learning_rate, and check that the series are reflectance (0 to 1)."
        )
        raise ModelError(msg)


def _validate(
    network: nn.Module,
    held_out: tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]],
    config: TrainConfig,
    *,
    number: int,
    n_classes: int,
) -> Best:
    """Return what this epoch's weights are worth, with a copy of them."""
    series, crop = held_out
    device = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        logits = torch.cat(
            [
                network(torch.from_numpy(series[k : k + config.batch_size]).to(device)).cpu()
                for k in range(0, len(series), config.batch_size)
            ]
        )
        truth = torch.from_numpy(crop.astype(np.int64))
        loss = float(nn.functional.cross_entropy(logits, truth))
    _check_loss(loss, "validation")
    predicted = logits.numpy().argmax(axis=1)
    state = {name: t.detach().cpu().clone() for name, t in network.state_dict().items()}
    return Best(number, state, compare(crop, predicted, n_classes), loss)
