"""Multilayer perceptron over all values of a series: a baseline of CropNet.

Width, depth, GELU and dropout are those of Tong & Wang (arXiv 2509.03497).
"""

from __future__ import annotations

import torch
from torch import nn

from toolkit.learn.networks.series import check_series

HIDDEN_LAYERS, WIDTH = 8, 128
"""Hidden layers, and neurons in each."""

DROPOUT = 0.3
"""Share of neurons dropped after each hidden layer in training."""


class MLP(nn.Module):
    """Eight times linear, batch normalisation, GELU and dropout; then one linear layer."""

    def __init__(self, n_bands: int, n_steps: int, n_classes: int) -> None:
        """Build the network with Kaiming initialisation.

        Args:
            n_bands: bands of a series.
            n_steps: steps of a series.
            n_classes: number of output classes.
        """
        super().__init__()
        self.n_bands, self.n_steps = n_bands, n_steps
        layers: list[nn.Module] = []
        for k in range(HIDDEN_LAYERS):
            layers += [
                # No bias: the normalisation that follows subtracts it again.
                nn.Linear(WIDTH if k else n_bands * n_steps, WIDTH, bias=False),
                nn.BatchNorm1d(WIDTH),
                nn.GELU(),
                nn.Dropout(DROPOUT),
            ]
        self.hidden = nn.Sequential(*layers)
        self.classifier = nn.Linear(WIDTH, n_classes)
        self.apply(_initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits.

        Args:
            x: float32 ``(n, band, step)``, read band after band.

        Returns:
            float32 ``(n, crop_class)``.

        Raises:
            ModelError: the input has another shape.
        """
        check_series(x, self.n_bands, self.n_steps)
        return torch.as_tensor(self.classifier(self.hidden(x.flatten(1))))


def _initialise(module: nn.Module) -> None:
    """Kaiming normal by fan-in, biases zero, as the linear layer of CropNet."""
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
