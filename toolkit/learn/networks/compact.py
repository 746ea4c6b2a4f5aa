"""Compact networks: a few narrow convolutions, for maps of whole regions on a laptop.

Students of CropNet, see :mod:`toolkit.learn.distill`. Convolution, normalisation and ReLU stand in one
``nn.Sequential``, so that normalisations fold away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import torch
from torch import nn

from toolkit.learn.networks.series import check_series

GROUPS = 4
"""Groups of a grouped convolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a compact network is made of."""

    over: Literal["time", "band and time"]
    """``time``: bands are the channels of the first convolution; ``band and time``: as CropNet 2D."""
    channels: tuple[int, ...]
    """Channels of each convolution."""
    strides: tuple[int, ...]
    """Step of each convolution, the same over band and time."""
    length: int
    """Edge of the filters, odd, in steps (and bands)."""
    convolution: Literal["plain", "grouped", "separable"] = "plain"
    """Kind of all convolutions but the first, which has few channels to divide."""


class CompactNetwork(nn.Module):
    """Convolutions with batch normalisation and ReLU, global mean, one linear layer."""

    def __init__(self, n_bands: int, n_steps: int, n_classes: int, *, shape: Shape) -> None:
        """Build the network with Kaiming initialisation.

        Args:
            n_bands: bands of a series.
            n_steps: steps of a series.
            n_classes: number of output classes.
            shape: what it is made of.
        """
        super().__init__()
        self.n_bands, self.n_steps = n_bands, n_steps
        self.over_time = shape.over == "time"
        first = n_bands if self.over_time else 1
        layers = [
            layer
            for k, (channels, stride) in enumerate(
                zip(pairwise((first, *shape.channels)), shape.strides, strict=True)
            )
            for layer in _convolution(channels, stride, shape, kind=shape.convolution if k else "plain")
        ]
        self.convolutions = nn.Sequential(*layers)
        self.classifier = nn.Linear(shape.channels[-1], n_classes)
        self.apply(_initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits.

        Args:
            x: float32 ``(n, band, step)``.

        Returns:
            float32 ``(n, crop_class)``.

        Raises:
            ModelError: the input has another shape.
        """
        check_series(x, self.n_bands, self.n_steps)
        # A picture of one line, not Conv1d: channels last is for pictures.
        picture = x.unsqueeze(2) if self.over_time else x.unsqueeze(1)
        return torch.as_tensor(self.classifier(self.convolutions(picture).flatten(2).mean(dim=2)))


def _convolution(
    channels: tuple[int, int], stride: int, shape: Shape, *, kind: Literal["plain", "grouped", "separable"]
) -> Iterator[nn.Module]:
    """Yield the layers of one convolution; a separable one filters each channel, then mixes them.

    As MobileNet's (Howard et al., arXiv 1704.04861), with a normalisation and ReLU in between.
    """
    inner, outer = channels
    only_time = shape.over == "time"
    size = (1, shape.length) if only_time else (shape.length, shape.length)
    step = (1, stride) if only_time else (stride, stride)
    around = (size[0] // 2, size[1] // 2)
    if kind == "separable":
        yield nn.Conv2d(inner, inner, size, stride=step, padding=around, groups=inner, bias=False)
        yield nn.BatchNorm2d(inner)
        yield nn.ReLU(inplace=True)
        size, step, around = (1, 1), (1, 1), (0, 0)
    groups = GROUPS if kind == "grouped" else 1
    # No bias: the normalisation that follows subtracts it again.
    yield nn.Conv2d(inner, outer, size, stride=step, padding=around, groups=groups, bias=False)
    yield nn.BatchNorm2d(outer)
    yield nn.ReLU(inplace=True)


def _initialise(module: nn.Module) -> None:
    """Kaiming normal, as CropNet: fan-out for convolutions, fan-in for the linear layer, biases zero."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(module.bias)


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "compact_time": Shape(over="time", channels=(64, 64, 128, 128), strides=(2, 1, 2, 1), length=5),
        "compact_time_wide": Shape(over="time", channels=(128,) * 4, strides=(2, 1, 2, 1), length=5),
        "compact_time_small": Shape(over="time", channels=(64,) * 4, strides=(2, 1, 2, 1), length=5),
        "compact_time_grouped": Shape(
            over="time", channels=(128,) * 4, strides=(2, 1, 2, 1), length=5, convolution="grouped"
        ),
        "compact2d": Shape(over="band and time", channels=(32, 32, 64, 64), strides=(2, 1, 2, 1), length=3),
        "compact2d_deep": Shape(
            over="band and time", channels=(32, 64, 64, 64, 64, 64), strides=(2, 2, 1, 1, 1, 1), length=3
        ),
        "compact2d_separable": Shape(
            over="band and time",
            channels=(32, 64, 64, 64),
            strides=(2, 1, 2, 1),
            length=3,
            convolution="separable",
        ),
    }
)
"""Name of a network -> its shape; what each costs and loses: ``tests/benchmarks/DISTILLATION.md``."""

COMPACT = {name: partial(CompactNetwork, shape=shape) for name, shape in SHAPES.items()}
"""Name -> builder."""
