"""TempCNN: convolution over time with bands as channels, a peer of CropNet.

Architecture and initialisation follow Pelletier, Webb & Petitjean, "Temporal Convolutional Neural
Network for the Classification of Satellite Image Time Series", Remote Sensing 11(5):523, 2019, and
the authors' code (github.com/charlotte-pel/temporalCNN). Their weight decay of 1e-6 on all weights
belongs to the training.
"""

from __future__ import annotations

import torch
from torch import nn

from toolkit.learn.networks.series import check_series

CONVOLUTIONS, FILTERS, FILTER_STEPS = 3, 64, 5
"""Convolutions over time, filters of each, and length of a filter in steps."""

DENSE = 256
"""Neurons of the dense layer."""

DROPOUT = 0.5
"""Share of values dropped after each layer in training."""


class TempCNN(nn.Module):
    """Three times convolution, batch normalisation, ReLU and dropout; then the same dense, and linear."""

    def __init__(self, n_bands: int, n_steps: int, n_classes: int) -> None:
        """Build the network.

        Args:
            n_bands: bands of a series, the channels of the first convolution.
            n_steps: steps of a series; all of them reach the dense layer, as nothing is pooled.
            n_classes: number of output classes.
        """
        super().__init__()
        self.n_bands, self.n_steps = n_bands, n_steps
        layers: list[nn.Module] = []
        for k in range(CONVOLUTIONS):
            layers += [
                # No bias, here and below: the normalisation that follows subtracts it again.
                nn.Conv1d(FILTERS if k else n_bands, FILTERS, FILTER_STEPS, padding="same", bias=False),
                nn.BatchNorm1d(FILTERS),
                nn.ReLU(inplace=True),
                nn.Dropout(DROPOUT),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            nn.Linear(FILTERS * n_steps, DENSE, bias=False),
            nn.BatchNorm1d(DENSE),
            nn.ReLU(inplace=True),
            nn.Dropout(DROPOUT),
        )
        self.classifier = nn.Linear(DENSE, n_classes)
        self.apply(_initialise)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

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
        return torch.as_tensor(self.classifier(self.dense(self.convolutions(x).flatten(1))))


def _initialise(module: nn.Module) -> None:
    """Kaiming normal by fan-in."""
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
