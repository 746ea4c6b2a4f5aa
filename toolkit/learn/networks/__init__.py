"""The networks by name, each built for any number of bands, steps and classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import nn

from toolkit.errors import ModelError
from toolkit.learn.networks.attention import TemporalAttention
from toolkit.learn.networks.compact import COMPACT
from toolkit.learn.networks.cropnet import cropnet1d, cropnet2d
from toolkit.learn.networks.forest import RandomForest, check_trees, forest_like
from toolkit.learn.networks.mlp import MLP
from toolkit.learn.networks.tempcnn import TempCNN


class Builder(Protocol):
    """Builds a freshly initialised network."""

    def __call__(self, n_bands: int, n_steps: int, n_classes: int) -> nn.Module:
        """Return a network that maps float32 ``(n, band, step)`` to logits ``(n, crop_class)``."""


NETWORKS: Mapping[str, Builder] = {
    "cropnet2d": cropnet2d,
    "cropnet1d": cropnet1d,
    "mlp": MLP,
    "tempcnn": TempCNN,
    "attention": TemporalAttention,
    "random_forest": RandomForest,
    **COMPACT,
}
"""Name in configurations and checkpoints -> builder.

The last layer of a network trained by gradient is an ``nn.Linear`` named ``classifier``; a random
forest has no layers, and is fitted by :func:`toolkit.learn.forest.fit_forest`.
"""

NEEDS_STEPS = ("cropnet2d", "tempcnn", "attention", *COMPACT)
"""Networks for series only: they look at neighbouring steps, and a spectrum has one."""


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


def network_like(
    state: Mapping[str, torch.Tensor], name: str, shape: tuple[int, int], n_classes: int
) -> nn.Module:
    """Return a network with room for given weights; only a forest's size depends on what it learnt.

    Args:
        state: weights by name, not yet checked.
        name: as for :func:`build_network`.
        shape: as for :func:`build_network`.
        n_classes: as for :func:`build_network`.

    Raises:
        ModelError: the name is unknown.
    """
    if name == "random_forest":
        return forest_like(state, *shape, n_classes)
    return build_network(name, shape, n_classes)


def check_values(state: Mapping[str, torch.Tensor], name: str, shape: tuple[int, int]) -> None:
    """Raise where a network could not compute with weights that have the right shapes and are finite.

    Args:
        state: weights by name, with the shapes and dtypes of :func:`network_like`.
        name: as for :func:`build_network`.
        shape: as for :func:`build_network`.

    Raises:
        CheckpointError: the trees of a forest are damaged.
    """
    if name == "random_forest":
        n_bands, n_steps = shape
        check_trees(state, n_bands * n_steps)
