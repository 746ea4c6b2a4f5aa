"""Gradient descent: epochs over batches, the best weights kept."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from toolkit.errors import BatchHalvedWarning, ModelError
from toolkit.learn.accuracy import compare
from toolkit.learn.batches import Batches
from toolkit.learn.best import Best
from toolkit.learn.device import seed_device, uses_bf16
from toolkit.learn.resume import Journal, Saved, Tensors
from toolkit.learn.train_config import Epoch, TrainConfig

logger = logging.getLogger(__name__)

HeldOut = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]

OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "bad_alloc",
    "bad allocation",
    # oneDNN, which does not say why: seen where memory was short.
    "could not create a memory",
    "could not create a primitive",
    "could not execute a primitive",
)
"""What a RuntimeError of torch says when memory does not suffice; CUDA has a class of its own."""


class Loss(Protocol):
    """What a network is to make small."""

    def __call__(self, logits: torch.Tensor, series: torch.Tensor, crop: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch: float32 logits, normalised series, and int64 class indices."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Training:
    """A network that learns, and how."""

    network: nn.Module
    """The network, on its device, in training mode while it learns."""
    adam: torch.optim.Optimizer
    """Moves its weights."""
    loss_of: Loss
    """What it is to make small."""
    bf16: bool
    """Whether products are computed in bfloat16."""
    device: torch.device
    """Where."""


def fit(  # noqa: PLR0913  # the one loop of training and distillation; all but three are named
    network: nn.Module,
    batches: Batches,
    held_out: HeldOut,
    config: TrainConfig,
    *,
    n_classes: int,
    loss_of: Loss | None = None,
    progress: Callable[[Epoch], None] | None = None,
    journal: Journal | None = None,
    meaning: Mapping[str, Any] | None = None,
) -> tuple[Best, int]:
    """Train a network in place; return its best epoch and the size of the batches in the end.

    Args:
        network: freshly initialised, on the device to use.
        batches: training samples.
        held_out: validation samples: normalised float32 ``(sample, band, step)`` and class indices.
        config: how to train.
        n_classes: outputs of the network.
        loss_of: what to make small; None: cross-entropy with balanced class weights.
        progress: called after each epoch.
        journal: where the state is kept after each epoch, and taken up from.
        meaning: plain values that say which training the journal is of.

    Raises:
        ModelError: a loss is no longer a number, or memory does not suffice for batches of two.
    """
    device = next(network.parameters()).device
    training = _training(network, config, loss_of or label_loss(batches.crop, n_classes, device))
    saved = journal.read(meaning or {}) if journal else None
    best, first = None, 1
    if saved is not None:
        _take_up(training, saved.network, saved.adam)
        batches, best, first = replace(batches, size=saved.batch_size), saved.best, saved.epoch + 1
        logger.info("training goes on after epoch %d", saved.epoch)
    for number in range(first, config.epochs + 1):
        if best is not None and config.patience is not None and number - 1 - best.epoch >= config.patience:
            break
        started = time.monotonic()
        loss, batches = _epoch_in_memory(training, batches, config, number)
        this = _validate(training, held_out, batches.size, number=number, n_classes=n_classes)
        if best is None or this.rank > best.rank:
            best = this
        if journal is not None:
            weights, moments = _state(training)
            now = Saved(epoch=number, batch_size=batches.size, network=weights, adam=moments, best=best)
            journal.write(now, meaning or {})
        macro_f1 = this.accuracy.macro_f1
        logger.info("epoch %d: loss %.4f, macro F1 %.4f", number, loss, macro_f1)
        if progress is not None:
            progress(Epoch(number, config.epochs, loss, macro_f1, time.monotonic() - started))
    if best is None:
        msg = f"No epoch was run; epochs is {config.epochs}, allowed: 1 or more."
        raise ModelError(msg)
    return best, batches.size


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


def label_loss(crop: npt.NDArray[np.uint8], n_classes: int, device: torch.device) -> Loss:
    """Return cross-entropy with the classes of the samples, weighted by :func:`class_weights`."""
    cross_entropy = nn.CrossEntropyLoss(class_weights(crop, n_classes).to(device))

    def loss(logits: torch.Tensor, series: torch.Tensor, crop: torch.Tensor) -> torch.Tensor:  # noqa: ARG001  # see Loss
        return torch.as_tensor(cross_entropy(logits, crop))

    return loss


def _training(network: nn.Module, config: TrainConfig, loss_of: Loss) -> Training:
    device = next(network.parameters()).device
    if any(isinstance(module, nn.Conv2d) for module in network.modules()):
        # An epoch takes 0.79 of the time (fp32) and 0.94 (bf16) on two cores with AVX-512.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    return Training(
        network=network,
        adam=torch.optim.Adam(network.parameters(), lr=config.learning_rate),
        loss_of=loss_of,
        bf16=uses_bf16(config.precision, device),
        device=device,
    )


def _take_up(training: Training, network: Tensors, adam: Tensors) -> None:
    """Set network and optimiser to what :func:`_state` returned."""
    training.network.load_state_dict(network)
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in adam.items():
        number, key = name.split(".", 1)
        moments.setdefault(int(number), {})[key] = tensor
    groups = training.adam.state_dict()["param_groups"]
    training.adam.load_state_dict({"state": moments, "param_groups": groups})


def _state(training: Training) -> tuple[Tensors, Tensors]:
    """Return copies of the weights, and of the optimiser's moments as ``number.name`` of each parameter."""
    moments = training.adam.state_dict()["state"]
    return (
        {name: _copy(tensor) for name, tensor in training.network.state_dict().items()},
        {f"{k}.{name}": _copy(tensor) for k, values in moments.items() for name, tensor in values.items()},
    )


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().clone()


def _epoch_in_memory(
    training: Training, batches: Batches, config: TrainConfig, number: int
) -> tuple[float, Batches]:
    """Learn from each batch once; if memory does not suffice, from the start again with half the batch.

    Returns:
        The mean loss per sample, and the batches as they are now.
    """
    if config.schedule == "cosine":
        for group in training.adam.param_groups:
            share = (1 + math.cos(math.pi * (number - 1) / config.epochs)) / 2
            group["lr"] = config.learning_rate * share
    before = _state(training)
    while True:
        seed_device(_epoch_seed(config.seed, number), training.device)
        try:
            return _run_epoch(training, batches.epoch(number, training.device)), batches
        except (MemoryError, RuntimeError) as error:  # CUDA's error is a RuntimeError too
            if not _is_out_of_memory(error):
                raise
            if batches.size < 4:
                msg = (
                    f"Memory does not suffice to train on batches of {batches.size} ({error}). "
                    "Use a smaller network, or a machine with more memory."
                )
                raise ModelError(msg) from error
        batches = replace(batches, size=batches.size // 2)
        warnings.warn(
            f"Memory does not suffice: batches are halved to {batches.size} samples, and the epoch starts "
            f"again. Ask for batch_size={batches.size} to train like this from the start.",
            BatchHalvedWarning,
            stacklevel=2,
        )
        training.adam.zero_grad()
        _take_up(training, *before)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(text in str(error).lower() for text in OUT_OF_MEMORY)


def _epoch_seed(seed: int, number: int) -> int:
    """Return the seed of an epoch's dropout."""
    return int(np.random.SeedSequence([seed, number, 2]).generate_state(1, np.uint64)[0] >> 1)


def _run_epoch(training: Training, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Learn from each batch once; return the mean loss per sample."""
    training.network.train()
    total, n = 0.0, 0
    for series, crop in batches:
        training.adam.zero_grad()
        with torch.autocast(training.device.type, torch.bfloat16, enabled=training.bf16):
            logits = training.network(series)
        loss = training.loss_of(logits.float(), series, crop)
        loss.backward()  # type: ignore[no-untyped-call]  # missing in torch's stubs
        training.adam.step()
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


def _validate(training: Training, held_out: HeldOut, batch_size: int, *, number: int, n_classes: int) -> Best:
    """Return what this epoch's weights are worth in float32, as maps are made, with a copy of them."""
    series, crop = held_out
    network = training.network.eval()
    with torch.inference_mode():
        logits = torch.cat(
            [
                network(torch.from_numpy(series[k : k + batch_size]).to(training.device)).cpu()
                for k in range(0, len(series), batch_size)
            ]
        )
        truth = torch.from_numpy(crop.astype(np.int64))
        loss = float(nn.functional.cross_entropy(logits, truth))
    _check_loss(loss, "validation")
    predicted = logits.numpy().argmax(axis=1)
    state = {name: _copy(tensor) for name, tensor in network.state_dict().items()}
    return Best(number, state, compare(crop, predicted, n_classes), loss)
