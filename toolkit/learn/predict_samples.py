"""What a model says of samples: probabilities, and the features in front of its classifier."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from toolkit.errors import LabelError, ModelError, RecipeMismatchError
from toolkit.learn.checkpoint import Checkpoint, normalise
from toolkit.learn.device import reproducible, resolve_device
from toolkit.learn.samples import Samples
from toolkit.learn.seasons import cut_season

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Series = npt.NDArray[np.float32]

CLASSIFIER = "classifier"
"""Name of the last linear layer of every network; its input are the penultimate features."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SampleOutputs:
    """What a model says of the samples that have all their features."""

    probability: Floats
    """float64 ``(seen, crop_class)``, softmax."""
    features: Series | None
    """float32 ``(seen, feature)``, input of the layer ``classifier``; None for a model without one."""
    seen: Flags
    """bool ``(sample,)``: which samples were predicted; the others lack a feature in the season."""

    @property
    def n_not_observed(self) -> int:
        """Samples left out, as a map leaves out such pixels."""
        return int(np.count_nonzero(~self.seen))


def run_samples(
    samples: Samples | Series, checkpoint: Checkpoint, *, device: str = "auto", batch_size: int = 256
) -> SampleOutputs:
    """Return probabilities and penultimate features of samples, in one pass.

    Args:
        samples: samples of the full year or the model's season; or series of that season alone, float32
            reflectance ``(sample, band, step)``, of which no class is known.
        checkpoint: the model.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        batch_size: samples computed at once.

    Raises:
        RecipeMismatchError: the series are not those the model was trained on.
        LabelError: the samples have another legend than the model.
        ModelError: unknown device.
    """
    series = _season(samples, checkpoint)
    seen = np.asarray(np.isfinite(series).all(axis=(1, 2)))
    values = normalise(series[seen], checkpoint.mean, checkpoint.std)
    place = resolve_device(device)
    network = checkpoint.build().to(place)
    logits: list[torch.Tensor] = []
    with torch.inference_mode(), reproducible(place), _remembered(network) as features:
        for first in range(0, len(values), batch_size):
            batch = torch.from_numpy(values[first : first + batch_size]).to(place)
            logits.append(network(batch).double().cpu())
    n_classes = len(checkpoint.legend.names)
    joined = torch.cat(logits) if logits else torch.empty(0, n_classes, dtype=torch.float64)
    return SampleOutputs(
        probability=torch.softmax(joined, dim=1).numpy(),
        features=torch.cat(features).numpy() if features else None,
        seen=seen,
    )


def sample_features(
    samples: Samples | Series, checkpoint: Checkpoint, *, device: str = "auto", batch_size: int = 256
) -> Series:
    """Return the penultimate features of the samples that have all their features.

    Args:
        samples: as for :func:`run_samples`.
        checkpoint: a network; trees have no such features.
        device: as for :func:`run_samples`.
        batch_size: as for :func:`run_samples`.

    Returns:
        float32 ``(seen, feature)``.

    Raises:
        ModelError: the model has none, or nothing is observed; otherwise as :func:`run_samples`.
    """
    outputs = run_samples(samples, checkpoint, device=device, batch_size=batch_size)
    if outputs.features is None:
        msg = (
            f"{checkpoint.network!r} gave no features in front of a classifier for {len(samples)} samples; "
            f"needed: a network with a linear layer {CLASSIFIER!r} and one observed sample. Use a network."
        )
        raise ModelError(msg)
    return outputs.features


def sample_probabilities(
    samples: Samples | Series, checkpoint: Checkpoint, *, device: str = "auto", batch_size: int = 256
) -> Floats:
    """Return the probability of each class for the samples that have all their features.

    Args:
        samples: as for :func:`run_samples`.
        checkpoint: the model.
        device: as for :func:`run_samples`.
        batch_size: as for :func:`run_samples`.

    Returns:
        float64 ``(seen, crop_class)``.

    Raises:
        RecipeMismatchError, LabelError, ModelError: as :func:`run_samples`.
    """
    return run_samples(samples, checkpoint, device=device, batch_size=batch_size).probability


def _season(samples: Samples | Series, checkpoint: Checkpoint) -> Series:
    if isinstance(samples, Samples):
        if samples.legend != checkpoint.legend:
            msg = (
                f"The samples have the classes {', '.join(samples.legend.names)}; the model knows "
                f"{', '.join(checkpoint.legend.names)}. Use samples and model of one legend."
            )
            raise LabelError(msg)
        return cut_season(samples.series, samples.recipe, checkpoint.recipe)
    series = np.asarray(samples, np.float32)
    if series.ndim != 3 or series.shape[1:] != checkpoint.recipe.shape:
        bands, steps = checkpoint.recipe.shape
        msg = (
            f"Series have the shape {series.shape}; the model takes (sample, {bands} bands, {steps} steps). "
            "Cut the model's season out of them."
        )
        raise RecipeMismatchError(msg)
    return series


@contextmanager
def _remembered(network: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Give the list to which each forward pass adds the classifier's input, on the CPU."""
    kept: list[torch.Tensor] = []
    layer = dict(network.named_children()).get(CLASSIFIER)
    if not isinstance(layer, nn.Linear):
        yield kept
        return

    def keep(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        kept.append(inputs[0].detach().float().cpu())

    handle = layer.register_forward_pre_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()
