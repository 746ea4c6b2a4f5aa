"""How series are varied in training, by name: what each augmentation draws, and how far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What may happen to a series; defaults are the amounts of Tong & Wang 2025.

    Shift and scale need series of a whole year: what moves into the season is real, not made up.
    """

    shift_days: float = 50.0
    """The season's window is moved by up to so many days, uniformly, either way."""
    scale_days: float = 50.0
    """Start and end of the window are moved by up to so many days, each for itself."""
    scale_probability: float = 0.5
    """Share of the series whose window is scaled."""
    warp_deviation: float = 0.10
    """Standard deviation (unit 1) of the factors at the knots of a cubic spline, around 1, by band."""
    warp_knots: int = 5
    """Knots of that spline, evenly over the season."""
    warp_probability: float = 0.25
    """Share of the series that are multiplied by it."""
    gap_probability: float = 0.0
    """Share of the series that lose steps to clouds, filled again as maps fill them."""
    gap_share: float = 0.4
    """Expected share of the steps that such a series loses."""
    gap_steps: float = 3.0
    """Expected length of a gap, steps."""
    noise: float = 0.0
    """Standard deviation of what is added to each value, reflectance (unit 1)."""
    published: bool = False
    """Do as the published code does, for comparison: two copies are drawn once and trained on beside the
    originals, a scaled window forgets its shift, and windows are clamped to the year instead of going
    around it, which stretches the season."""

    def __post_init__(self) -> None:
        """Refuse amounts that no series can take."""
        shares = ("scale_probability", "warp_probability", "gap_probability")
        checks = {
            **{name: (0 <= getattr(self, name) <= 1, "0 to 1") for name in shares},
            "shift_days": (0 <= self.shift_days <= 182, "0 to 182 days, half a year"),
            "scale_days": (0 <= self.scale_days <= 100, "0 to 100 days"),
            "warp_deviation": (0 <= self.warp_deviation <= 0.5, "0 to 0.5"),
            "warp_knots": (4 <= self.warp_knots <= 20, "4 to 20, as the spline is cubic"),
            "gap_steps": (1 <= self.gap_steps <= 30, "1 to 30 steps"),
            # Beyond it clear steps would have to be shorter than one.
            "gap_share": (
                0 < self.gap_share <= self.gap_steps / (self.gap_steps + 1),
                "above 0, up to gap_steps / (gap_steps + 1)",
            ),
            "noise": (0 <= self.noise <= 0.1, "0 to 0.1 reflectance"),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                msg = f"Augmentation: {name} is {getattr(self, name)!r}; allowed: {allowed}. Change it."
                raise InputError(msg)

    @property
    def moves(self) -> bool:
        """Whether windows move, so that series of a whole year are needed."""
        return self.shift_days > 0 or (self.scale_days > 0 and self.scale_probability > 0)


COPIES = 2
"""Augmented copies beside the originals, drawn once (Tong & Wang's code)."""

AUGMENTATIONS: Mapping[str, Augmentation | None] = {
    "none": None,
    "phenology": Augmentation(),
    # A third of the shift and scale, for maps of the region that the samples are from.
    "mild": Augmentation(shift_days=16.0, scale_days=16.0, warp_probability=0.5),
    # Amounts of ours: half of the series lose 40 % of their steps, values move by half a percent.
    "clouds": Augmentation(gap_probability=0.5, noise=0.005),
    "published": Augmentation(published=True),
}
"""Name in requests and configurations -> augmentation; None trains on the series as they are."""
