"""Lightweight temporal attention (L-TAE) over the steps of one pixel, a peer of CropNet.

After Garnot & Landrieu, "Lightweight Temporal Self-Attention for Classifying Satellite Image Time
Series" (arXiv 2007.00586): one learned query per head instead of a query per step, and each head
sees its own group of channels. One linear layer over the bands stands where the authors encode the
pixels of a parcel. Group normalisation with a group per head is that of their later code
(github.com/VSainteuf/utae-paps, arXiv 2107.07933).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from toolkit.learn.networks.series import check_series

WIDTH, HEADS, KEY = 128, 16, 8
"""Channels of a step, heads (each has WIDTH / HEADS channels), and length of keys and queries."""

PERIOD = 1000.0
"""Of the slowest sinusoid of the positions, in steps over 2 pi."""

DROPOUT_ATTENTION, DROPOUT = 0.1, 0.2
"""Share of attention, and of channels before the last normalisation, dropped in training."""


class TemporalAttention(nn.Module):
    """Embedding of each step, attention over the steps, one hidden layer, one linear layer."""

    def __init__(self, n_bands: int, n_steps: int, n_classes: int) -> None:
        """Build the network.

        Args:
            n_bands: bands of a series.
            n_steps: steps of a series.
            n_classes: number of output classes.
        """
        super().__init__()
        self.n_bands, self.n_steps = n_bands, n_steps
        self.embedding = nn.Linear(n_bands, WIDTH)
        self.norm_in = nn.GroupNorm(HEADS, WIDTH)
        self.query = nn.Parameter(torch.empty(HEADS, KEY))
        # No bias: it would move the scores of all steps alike, which softmax does not see.
        self.key = nn.Linear(WIDTH, HEADS * KEY, bias=False)
        self.drop_attention = nn.Dropout(DROPOUT_ATTENTION)
        self.hidden = nn.Sequential(
            nn.Linear(WIDTH, WIDTH, bias=False),  # the normalisation that follows would subtract a bias
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(inplace=True),
            nn.Dropout(DROPOUT),
        )
        self.norm_out = nn.GroupNorm(HEADS, WIDTH)
        self.classifier = nn.Linear(WIDTH, n_classes)
        for weight in (self.query, self.key.weight):  # as the authors do
            nn.init.normal_(weight, std=math.sqrt(2 / KEY))

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
        steps = self.norm_in(self.embedding(x.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
        # Positions are computed, not stored: a buffer outside the state would stay empty when loaded.
        steps = steps + positions(self.n_steps, x.device).repeat(1, HEADS)
        keys = self.key(steps).unflatten(2, (HEADS, KEY))
        scores = torch.einsum("nthk,hk->nht", keys, self.query) / math.sqrt(KEY)
        attention = self.drop_attention(scores.softmax(dim=2))
        channels = steps.unflatten(2, (HEADS, WIDTH // HEADS))
        season = torch.einsum("nht,nthc->nhc", attention.to(channels.dtype), channels).flatten(1)
        return torch.as_tensor(self.classifier(self.norm_out(self.hidden(season))))


def positions(n_steps: int, device: torch.device) -> torch.Tensor:
    """Return sines and cosines that tell the steps apart, for the channels of one head.

    Channels 2 k and 2 k + 1 are sine and cosine of ``step / PERIOD ** (2 k / channels)``, as in
    Vaswani et al. (arXiv 1706.03762) with another period; steps count from 0.

    Args:
        n_steps: steps of a series.
        device: where to make it.

    Returns:
        float32 ``(step, channel of a head)``.
    """
    n_channels = WIDTH // HEADS
    step = torch.arange(n_steps, dtype=torch.float32, device=device)[:, None]
    power = torch.arange(0, n_channels, 2, dtype=torch.float32, device=device) / n_channels
    angle = step / PERIOD**power
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)
