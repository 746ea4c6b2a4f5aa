"""Memory that a worker takes for a tile, and the largest tile that a budget allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import MemoryBudgetError
from toolkit.scenes.blocks import HEADERS_BYTES

GIB = 2**30
SIZES = (1024, 512, 256, 128)
"""Edges a tile may have by itself, pixels: whole blocks of the usual files, or parts of one."""
DEFAULT_BUDGET = int(1.5 * GIB)
"""Memory of a worker where the user names none, bytes."""
LIBRARIES = 950_000_000
"""What a worker takes beside a tile's pixels and headers, bytes: libraries, engines, blocks being read.

Peaks of workers that mapped a season of 43 scenes, blocks of 1024 pixels, from a server: 1,497 and 1,486 MB
with tiles of 512 pixels and CropNet in int8 by OpenVINO (planned 1,549); with a small network in torch 1,393,
and 984 with tiles of 256 (planned 1,148).
"""
RESULT_BYTES = 150
"""Bytes of a pixel while its classes are computed: probabilities in double precision and the layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """What a worker needs, in bytes, for tiles of any size."""

    base: int
    """Whatever the tile."""
    pixel: int
    """For each pixel of the tile."""

    def of(self, n_pixels: int) -> int:
        """Return the bytes for a tile of so many pixels."""
        return self.base + n_pixels * self.pixel


def memory_need(recipes: Sequence[FeatureRecipe], n_scenes: Sequence[int]) -> MemoryNeed:
    """Return what a worker needs for the tiles of a map.

    Sensors are read one after the other, so the larger one counts.

    Args:
        recipes: how features are made, for each sensor.
        n_scenes: most scenes over one place, for each sensor.
    """
    pixel = max(_pixel_bytes(recipe, n) for recipe, n in zip(recipes, n_scenes, strict=True))
    return MemoryNeed(base=LIBRARIES + HEADERS_BYTES, pixel=pixel + RESULT_BYTES)


def _pixel_bytes(recipe: FeatureRecipe, n_scenes: int) -> int:
    """Bytes that the features of a pixel take while they are made."""
    bands, steps = recipe.shape
    if recipe.sensor == "emit":
        # Spectra of every granule, the same stacked for their median, and the result.
        return 4 * bands * (2 * n_scenes + 1)
    # A pixel's features, and of every scene its clear sky (twice, while stacked) and one band.
    return 4 * bands * steps + n_scenes * (2 + 2)


def fitting_size(need: MemoryNeed, budget: int) -> int:
    """Return the edge of the largest tile for which a worker's memory suffices, pixels.

    Args:
        need: what tiles need.
        budget: memory of a worker, bytes.

    Raises:
        MemoryBudgetError: not even the smallest tile fits; tells what would.
    """
    for size in SIZES:
        if need.of(size**2) <= budget:
            return size
    least = need.of(SIZES[-1] ** 2)
    msg = (
        f"A worker has {gib(budget)}, and tiles of {SIZES[-1]} pixels, the smallest, need {gib(least)}. "
        f"Give --memory {least / GIB + 0.05:.1f} or more."
    )
    raise MemoryBudgetError(msg)


def check_memory(
    need: MemoryNeed, *, needed: int, size: int, budget: int, machine: int | None, workers: int
) -> None:
    """Raise unless the tiles of a map fit into the memory there is.

    Args:
        need: what tiles need.
        needed: bytes for the largest tile.
        size: its edge, pixels.
        budget: memory that a worker may take, bytes.
        machine: memory that all workers share, bytes; None if it is not known.
        workers: number of workers.

    Raises:
        MemoryBudgetError: they do not fit; tells what would.
    """
    if needed > budget:
        msg = (
            f"Tiles of {size} pixels need {gib(needed)} in each worker, and it may take {gib(budget)}. Give "
            f"--tile-size {fitting_size(need, budget)} (with another --out, if tiles are made already), or "
            f"--memory {needed / GIB + 0.05:.1f}."
        )
        raise MemoryBudgetError(msg)
    if machine is not None and workers * needed > machine:
        fewer = machine // needed
        advice = f"--workers {fewer}" if fewer else "smaller tiles (--tile-size) or another machine"
        msg = (
            f"{workers} workers with tiles of {size} pixels need {gib(needed)} each, and there are "
            f"{gib(machine)} for them. Give {advice}."
        )
        raise MemoryBudgetError(msg)


def gib(n_bytes: float) -> str:
    """Return bytes as text: ``1.5 GiB``."""
    return f"{n_bytes / GIB:.1f} GiB"
