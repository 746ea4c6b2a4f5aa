"""A checkpoint made fast: series in, logits out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.device import reproducible

Series = npt.NDArray[np.float32]

Classifier = Callable[[Series], Series]
"""Normalised float32 ``(n, band, step)`` -> logits float32 ``(n, crop_class)``."""

_NORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Linear: nn.BatchNorm1d,
}


class Engine(Protocol):
    """Prepares a checkpoint for a device."""

    def __call__(self, checkpoint: Checkpoint, device: torch.device) -> Classifier:
        """Return the function that gives logits."""


def torch_engine(checkpoint: Checkpoint, device: torch.device) -> Classifier:
    """Return float32 PyTorch, with batch normalisation folded and channels last.

    Args:
        checkpoint: the model.
        device: where to compute.
    """
    network = fold_batch_norm(checkpoint.build()).to(device)
    if any(isinstance(module, nn.Conv2d) for module in network.modules()):
        # 1.4 times as fast as the network as trained, in the trials of BENCH.md, with the folding.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs

    def logits_of(series: Series) -> Series:
        with torch.inference_mode(), reproducible(device):
            logits = network(torch.from_numpy(series).to(device))
            return np.asarray(logits.cpu().numpy(), np.float32)

    return logits_of


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Fold each batch normalisation that follows a convolution or linear layer into it, in place.

    Args:
        network: in evaluation mode; only neighbours within one ``nn.Sequential`` are folded. Linear
            layers with a normalisation take ``(n, channel)``, as in all of our networks.

    Returns:
        The network; its output is the same up to rounding.
    """
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for k in range(len(module) - 1):
            layer, norm = module[k], module[k + 1]
            if type(norm) is _NORMS.get(type(layer)):
                fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
                module[k] = fuse(layer, norm)  # type: ignore[type-var, arg-type]  # types checked two lines above
                module[k + 1] = nn.Identity()
    return network
