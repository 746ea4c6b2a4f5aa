"""How far a fast engine's answers are from those in float32."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_DIFFERENT = 0.005
"""Largest share of pixels that may get another class than in float32."""
WIDE_MARGIN = 0.1
"""No pixel may get another class whose two best probabilities differ by more in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Pixels compared; sums with ``+``."""

    pixels: int = 0
    """Pixels compared."""
    different: int = 0
    """Of these, with another class than in float32."""
    widest_margin: float = 0.0
    """Largest difference of the two best probabilities in float32 among the different ones, 0 to 1."""

    def __add__(self, other: Agreement) -> Agreement:
        """Add two comparisons."""
        return Agreement(
            pixels=self.pixels + other.pixels,
            different=self.different + other.different,
            widest_margin=max(self.widest_margin, other.widest_margin),
        )

    @property
    def close(self) -> bool:
        """Whether the engine may be used; no allowance is made for chance in few pixels."""
        few = self.pixels == 0 or self.different / self.pixels <= MOST_DIFFERENT
        return few and not self.wide

    @property
    def wide(self) -> bool:
        """Whether a pixel got another class of which float32 is sure: however many more are compared."""
        return self.widest_margin > WIDE_MARGIN

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare(logits: npt.NDArray[np.float32], exact: npt.NDArray[np.float32]) -> Agreement:
    """Return how far logits are from those in float32.

    Args:
        logits: float32 ``(pixel, crop_class)``.
        exact: the same pixels in float32.
    """
    if exact.shape[1] < 2:
        return Agreement(pixels=len(exact))
    other = logits.argmax(axis=1) != exact.argmax(axis=1)
    scores = np.exp(exact - exact.max(axis=1, keepdims=True))
    best = np.sort(scores / scores.sum(axis=1, keepdims=True), axis=1)[:, -2:]
    margins = (best[:, 1] - best[:, 0])[other]
    return Agreement(
        pixels=len(exact), different=int(other.sum()), widest_margin=float(margins.max(initial=0.0))
    )
