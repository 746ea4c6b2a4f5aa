"""How much of an area a map tells, why not the rest, and how long its pixels went unseen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from shapely.geometry.base import BaseGeometry

from toolkit.legend import Status
from toolkit.maps.areas import Counts, count_pixels
from toolkit.maps.layers import GAP_NODATA

UNTOLD = (Status.NOT_OBSERVED, Status.OUT_OF_DISTRIBUTION, Status.FAILED)
"""Pixels that a class was wanted for and that have none."""
MUCH = 0.1
"""Part of the area without a class from which it is worth a warning."""
QUANTILES = (0.5, 0.9)
"""Of the longest gaps, told in a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What a map tells of its area."""

    pixels: Counts
    """Pixels by status, int64 ``(256,)``."""
    gaps: Counts
    """Pixels by longest run of steps without a clear date, int64 ``(256,)``; those of 255 have none."""
    pixel_hectares: float
    """Area of a pixel."""

    @property
    def hectares(self) -> dict[Status, float]:
        """Area of each status but outside."""
        inside = (status for status in Status if status != Status.OUTSIDE_AREA)
        return {status: float(self.pixels[status]) * self.pixel_hectares for status in inside}

    @property
    def share_untold(self) -> float:
        """Part of the pixels that a class was wanted for and that have none, 0 to 1."""
        untold = int(sum(self.pixels[status] for status in UNTOLD))
        wanted = untold + int(self.pixels[Status.MAPPED])
        return untold / wanted if wanted else 0.0

    def gap(self, quantile: float, *, n_steps: int) -> int | None:
        """Return the steps that the longest gap of a part of the pixels does not exceed; None without pixels.

        Args:
            quantile: that part, 0 to 1.
            n_steps: steps of the season; pixels that were never seen clear, whose gap that is, do not count.
        """
        counts = self.gaps[: min(n_steps, GAP_NODATA)]
        if not counts.any():
            return None
        return int(np.searchsorted(np.cumsum(counts), quantile * counts.sum()))

    def untold(self) -> list[str]:
        """Return the areas without a class that one was wanted for, each with the reason."""
        hectares = self.hectares
        return [f"{_words(status)} {_hectares(hectares[status])}" for status in UNTOLD if self.pixels[status]]

    def lines(self, steps: tuple[int, int] | None) -> list[str]:
        """Lines for a terminal.

        Args:
            steps: number of the season's steps, and their length in days; None where a map has none.
        """
        untold = self.untold()
        more = f"; without a class {', '.join(untold)}: {self.share_untold:.1%}" if untold else ""
        lines = [f"mapped: {_hectares(self.hectares[Status.MAPPED])}{more}"]
        if steps is None:
            return lines
        n_steps, step_days = steps
        middle, most = (self.gap(quantile, n_steps=n_steps) for quantile in QUANTILES)
        if middle is None or most is None:
            return lines
        where = f"at the median pixel that was seen, at most {most * step_days} days at {QUANTILES[1]:.0%}"
        return [*lines, f"longest time without a clear date: {middle * step_days} days {where}"]

    def record(self) -> dict[str, Any]:
        """Plain values for ``run.json``."""
        steps = np.flatnonzero(self.gaps[:GAP_NODATA])
        return {
            "hectares": {_words(status): round(value, 4) for status, value in self.hectares.items()},
            "share_without_class": round(self.share_untold, 6),
            "pixels_by_longest_gap_in_steps": {str(step): int(self.gaps[step]) for step in steps},
        }


def read_coverage(files: Mapping[str, Path], *, within: BaseGeometry | None = None) -> Coverage:
    """Count what the layers of a map say of its area.

    Args:
        files: layer -> file; ``status`` and ``longest_gap`` are read, a block at a time.
        within: polygons in degrees; pixels count whose centre they hold. None: all.
    """
    pixels, hectares = count_pixels(files["status"], within=within)
    gaps, _ = count_pixels(files["longest_gap"], within=within)
    return Coverage(pixels=pixels, gaps=gaps, pixel_hectares=hectares)


def _hectares(value: float) -> str:
    return f"{value:,.1f} ha" if value >= 1 else f"{value:.3g} ha"


def _words(status: Status) -> str:
    return status.name.lower().replace("_", " ")
