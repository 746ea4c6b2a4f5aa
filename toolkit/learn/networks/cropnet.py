"""CropNet: convolution over band and time of one pixel's season.

Architecture and names of the weights follow Tong & Wang, "Invariant Features for Global Crop Type
Classification" (arXiv 2509.03497), so that weights trained with the published code load unchanged.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from toolkit.errors import ModelError

CHANNELS = 128
"""Channels of every convolution."""

DROPOUT = (0.2, 0.3, 0.3, 0.4)
"""Share of channels dropped after each block in training."""

_PARTS: dict[int, tuple[type[nn.Module], type[nn.Module], type[nn.Module]]] = {
    1: (nn.Conv1d, nn.BatchNorm1d, nn.Dropout1d),
    2: (nn.Conv2d, nn.BatchNorm2d, nn.Dropout2d),
}


class ConvBlock(nn.Module):
    """Two times convolution, batch normalisation and ReLU; then dropout of whole channels."""

    def __init__(self, in_channels: int, *, stride: int, dropout: float, dimensions: Literal[1, 2]) -> None:
        """Build the block.

        Args:
            in_channels: channels of the input; the output has :data:`CHANNELS`.
            stride: step of the first convolution.
            dropout: share of channels dropped in training.
            dimensions: 1 for vectors, 2 for band x time.
        """
        super().__init__()
        conv, norm, drop = _PARTS[dimensions]
        self.block = nn.Sequential(
            conv(in_channels, CHANNELS, kernel_size=3, stride=stride, padding=1, bias=False),
            norm(CHANNELS),
            nn.ReLU(inplace=True),
            conv(CHANNELS, CHANNELS, kernel_size=3, padding=1, bias=False),
            norm(CHANNELS),
            nn.ReLU(inplace=True),
            drop(dropout),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block to ``(n, channel, ...)``."""
        return torch.as_tensor(self.block(x))


class CropNet(nn.Module):
    """Four blocks, global average pool, one linear layer (Tong & Wang 2025)."""

    def __init__(self, n_classes: int, *, dimensions: Literal[1, 2] = 2) -> None:
        """Build the network with Kaiming initialisation.

        Args:
            n_classes: number of output classes.
            dimensions: 2 convolves over band and time together, 1 over one vector of all values.
        """
        super().__init__()
        self.dimensions = dimensions
        for k, dropout in enumerate(DROPOUT):
            block = ConvBlock(
                1 if k == 0 else CHANNELS,
                stride=2 if k == 0 else 1,
                dropout=dropout,
                dimensions=dimensions,
            )
            self.add_module(f"layer{k + 1}", block)
        self.classifier = nn.Linear(CHANNELS, n_classes)
        self.apply(_initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits.

        Args:
            x: float32. 2D: ``(n, band, step)`` or ``(n, 1, band, step)``. 1D: the same, or vectors
                ``(n, value)``; arrays are read band after band.

        Returns:
            float32 ``(n, crop_class)``.

        Raises:
            ModelError: the input has another number of dimensions.
        """
        x = self._with_channel(x)
        for k in range(len(DROPOUT)):
            x = self.get_submodule(f"layer{k + 1}")(x)
        # mean instead of AdaptiveAvgPool: the same value, and deterministic backwards on a GPU.
        return torch.as_tensor(self.classifier(x.flatten(2).mean(dim=2)))

    def _with_channel(self, x: torch.Tensor) -> torch.Tensor:
        allowed = (2, 3, 4) if self.dimensions == 1 else (3, 4)
        if x.ndim not in allowed or (x.ndim == 4 and x.shape[1] != 1):
            msg = (
                f"CropNet {self.dimensions}D got an input of shape {tuple(x.shape)}; allowed: "
                "(n, band, step) or (n, 1, band, step), and (n, value) for 1D. Reshape the input."
            )
            raise ModelError(msg)
        if self.dimensions == 1:
            return x.flatten(1).unsqueeze(1)
        return x.unsqueeze(1) if x.ndim == 3 else x


def _initialise(module: nn.Module) -> None:
    """Kaiming normal: fan-out for convolutions, fan-in for the linear layer, biases zero."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(module.bias)


def cropnet2d(n_bands: int, n_steps: int, n_classes: int) -> CropNet:  # noqa: ARG001  # one signature for all networks; convolutions fit any size
    """Return CropNet over band x time."""
    return CropNet(n_classes, dimensions=2)


def cropnet1d(n_bands: int, n_steps: int, n_classes: int) -> CropNet:  # noqa: ARG001  # as above
    """Return CropNet over one vector of all values, band after band."""
    return CropNet(n_classes, dimensions=1)
