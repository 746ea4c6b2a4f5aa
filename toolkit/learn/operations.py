"""How many operations a network needs for a pixel."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from toolkit.errors import ModelError
from toolkit.learn.networks import build_network

NO_PRODUCTS = ("random_forest",)
"""Networks that compare instead of multiplying."""


def operations(network: str, shape: tuple[int, int], n_classes: int) -> int:
    """Return the floating-point operations for one series: two for each multiply-add.

    Counted are the products of convolutions, linear layers and attention, zeros at padded edges included,
    as is usual; not normalisation, which folds away, nor what is done once per value.

    Args:
        network: key of :data:`toolkit.learn.networks.NETWORKS`.
        shape: number of bands and of steps.
        n_classes: number of output classes.

    Raises:
        ModelError: the name is unknown, or the model has no products.
    """
    if network in NO_PRODUCTS:
        msg = f"Operations of {network!r} cannot be counted: trees compare. Ask for a network of layers."
        raise ModelError(msg)
    with torch.device("meta"):  # shapes alone: nothing is computed, and no random state is touched
        built = build_network(network, shape, n_classes).eval()
        series = torch.empty(1, *shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        built(series)
    return int(counter.get_total_flops())


def parameters(network: str, shape: tuple[int, int], n_classes: int) -> int:
    """Return the number of weights that a network learns; arguments as for :func:`operations`."""
    with torch.device("meta"):
        built = build_network(network, shape, n_classes)
    return sum(weight.numel() for weight in built.parameters())
