"""The networks by name, each built for any number of bands, steps and classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import nn

from toolkit.errors import ModelError
from toolkit.learn.networks.cropnet import cropnet1d, cropnet2d


class Builder(Protocol):
    """Builds a freshly initialised network."""

    def __call__(self, n_bands: int, n_steps: int, n_classes: int) -> nn.Module:
        """Return a network that maps float32 ``(n, band, step)`` to logits ``(n, crop_class)``."""


NETWORKS: Mapping[str, Builder] = {
    "cropnet2d": cropnet2d,
    "cropnet1d": cropnet1d,
}
"""Name in configurations and checkpoints -> builder."""


def build_network(name: str, shape: tuple[int, int], n_classes: int) -> nn.Module:
    """Return a freshly initialised network.

    Args:
        name: key of :data:`NETWORKS`.
        shape: number of bands and of steps.
        n_classes: number of output classes.

    Raises:
        ModelError: the name is unknown.
    """
    if name not in NETWORKS:
        msg = f"Network {name!r} is unknown. Known: {', '.join(NETWORKS)}. Choose one of them."
        raise ModelError(msg)
    n_bands, n_steps = shape
    return NETWORKS[name](n_bands, n_steps, n_classes)
