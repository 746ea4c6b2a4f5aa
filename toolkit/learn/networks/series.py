"""The input of a network: series of the shape it was built for, or an error that names both."""

from __future__ import annotations

import torch

from toolkit.errors import ModelError


def check_series(x: torch.Tensor, n_bands: int, n_steps: int) -> None:
    """Raise unless a batch has the shape a network was built for.

    Args:
        x: ``(n, band, step)``.
        n_bands: bands the network takes.
        n_steps: steps the network takes.

    Raises:
        ModelError: another shape.
    """
    if x.ndim != 3 or x.shape[1:] != (n_bands, n_steps):
        msg = (
            f"The network got an input of shape {tuple(x.shape)}; allowed: (n, {n_bands}, {n_steps}), "
            "that is (n, band, step). Reshape the input, or build the network for its bands and steps."
        )
        raise ModelError(msg)
