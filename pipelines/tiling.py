"""Tiles of a run: their size and their edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pystac
from odc.geo.geobox import GeoBox

from pipelines.config import ScenesRequest
from toolkit.area.grid import Lattice, Tile, tiles
from toolkit.cluster import cores, memory_bytes
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.scenes.tile import block_lattice

SIZES = (1024, 512, 256, 128)
"""Edges a tile may have by itself: whole blocks of the usual files, or parts of one."""
WORKER_BYTES = 700_000_000
"""What a worker takes before its first tile: libraries, model, kept blocks (0.7 GB seen in the demo)."""
REMOTE_SIZE = 512
"""Edge of a tile where the workers' memory is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCut:
    """How a grid is cut into tiles: chosen once for a run, whatever machine goes on with it."""

    size: int
    """Largest edge of a tile, pixels."""
    lattice: Lattice | None
    """Blocks of the files, at whose edges tiles are cut."""

    def tiles(self, geobox: GeoBox) -> Iterator[Tile]:
        """Yield the tiles of a grid."""
        return tiles(geobox, size=self.size, lattice=self.lattice)


def choose_cut(
    items: pystac.ItemCollection, geobox: GeoBox, recipe: FeatureRecipe, config: ScenesRequest
) -> TileCut:
    """Return how a grid is cut: at the edges of the blocks of the files, as large as memory allows.

    EMIT has no blocks on the grid: its tiles are cut by size alone.

    Raises:
        RemoteError: the file that shows its blocks cannot be read; names it.
    """
    size = config.tile_size or _fitting_size(len(items), recipe, config)
    lattice = None if recipe.sensor == "emit" else block_lattice(items, geobox, recipe.bands)
    return TileCut(size=size, lattice=lattice)


def _fitting_size(n_scenes: int, recipe: FeatureRecipe, config: ScenesRequest) -> int:
    """Largest tile with which every worker stays within its memory."""
    if config.scheduler:
        return REMOTE_SIZE
    room = memory_bytes() / (config.workers or cores()) * 0.7 - WORKER_BYTES
    return next((size for size in SIZES if size**2 * _pixel_bytes(n_scenes, recipe) <= room), SIZES[-1])


def _pixel_bytes(n_scenes: int, recipe: FeatureRecipe) -> int:
    """Bytes that a pixel of a tile takes."""
    bands, steps = recipe.shape
    if recipe.sensor == "emit":
        # Spectra of every granule, the same stacked for their median, and the result.
        return 4 * bands * (2 * n_scenes + 1)
    # A pixel's features, and of every scene its clear sky (twice, while stacked) and one band.
    return 4 * bands * steps + n_scenes * (2 + 2)
