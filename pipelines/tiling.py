"""Tiles of a run: their size and their edges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pystac
from odc.geo.geobox import GeoBox

from pipelines.config import EmitRequest
from toolkit.area.aoi import AOI
from toolkit.area.grid import Lattice, Tile, tiles
from toolkit.catalog.items import footprint
from toolkit.cluster import cores, memory_bytes
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.maps.memory import DEFAULT_BUDGET, GIB, MemoryNeed, check_memory, fitting_size, memory_need
from toolkit.maps.plan import most_scenes
from toolkit.scenes.tile import block_lattice

ACROSS = 4
"""Tiles across a group of neighbours, rounded up to whole blocks: with tiles of 512 pixels and the files of
live catalogs four blocks of 10 m, or one of 20 m. Workers keep them until the group is done."""
OURS = 0.9
"""Share of the machine's memory that workers may take: the starting process and the system need some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCut:
    """How a grid is cut into tiles: chosen once for a run, whatever machine goes on with it."""

    size: int
    """Largest edge of a tile, pixels."""
    lattice: Lattice | None
    """Blocks of the files, at whose edges tiles are cut."""

    def tiles(self, geobox: GeoBox) -> Iterator[Tile]:
        """Yield the tiles of a grid, those of one group after another, and in it those of one block."""
        cut = tiles(geobox, size=self.size, lattice=self.lattice)
        return iter(sorted(cut, key=lambda tile: (self.group(tile), self.block(tile))))

    def group(self, tile: Tile) -> tuple[int, int]:
        """Return which square of neighbours a tile belongs to: row and column.

        A square is some tiles wide and whole blocks of the files. Scenes that overlap have blocks of their
        own, which reach over the edges of tiles; within a square they are decoded once. On two granules
        side by side, 14 % more blocks were decoded when neighbours went to two workers in turn.
        """
        row, column = self.block(tile)
        edges = (1, 1) if self.lattice is None else (self.lattice.height, self.lattice.width)
        down, across = (-(-ACROSS * self.size // edge) for edge in edges)
        return row // down, column // across

    def block(self, tile: Tile) -> tuple[int, int]:
        """Return which block of the files a tile lies in, or begins in: row and column."""
        if self.lattice is None:
            return tile.y.start, tile.x.start
        rows, columns = tile.y.start - self.lattice.y, tile.x.start - self.lattice.x
        return rows // self.lattice.height, columns // self.lattice.width


def need_of(items: Sequence[pystac.ItemCollection], recipes: Sequence[FeatureRecipe], aoi: AOI) -> MemoryNeed:
    """Return what workers need for the tiles of a run.

    Args:
        items: of each sensor.
        recipes: of each sensor.
        aoi: area of interest.
    """
    most = [most_scenes([footprint(item) for item in some], aoi.geometry) for some in items]
    return memory_need(recipes, most)


def choose_cut(
    items: pystac.ItemCollection,
    geobox: GeoBox,
    recipe: FeatureRecipe,
    config: EmitRequest,
    need: MemoryNeed,
) -> TileCut:
    """Return how a grid is cut: at the edges of the blocks of the files, as large as memory allows.

    EMIT has no blocks on the grid: its tiles are cut by size alone.

    Raises:
        MemoryBudgetError: not even the smallest tile fits.
        RemoteError: the file that shows its blocks cannot be read; names it.
    """
    size = config.tile_size or fitting_size(need, budget_of(config))
    lattice = None if recipe.sensor == "emit" else block_lattice(items, geobox, recipe.bands)
    return TileCut(size=size, lattice=lattice)


def budget_of(config: EmitRequest) -> int:
    """Return the memory that a worker may take, bytes."""
    if config.memory is not None:
        return int(config.memory * GIB)
    if config.tile_size is None:
        return DEFAULT_BUDGET
    return int(OURS * memory_bytes() / (config.workers or 1))  # what the user wants, as far as it goes


def workers_of(
    config: EmitRequest, need: MemoryNeed, order: Sequence[Tile], *, elsewhere: bool = False
) -> int:
    """Return how many local workers a run has: one per core, not more than tiles nor than memory holds.

    Args:
        config: the request.
        need: what tiles need.
        order: tiles of the run.
        elsewhere: whether a cluster works, whose memory is not this machine's.

    Raises:
        MemoryBudgetError: tiles are too large for the budget, or workers for the machine.
    """
    needed = worker_bytes(need, order)
    edge = max((max(tile.geobox.shape.yx) for tile in order), default=0)
    machine = int(OURS * memory_bytes())
    workers = max(1, min(config.workers or min(cores(), max(1, machine // needed)), len(order)))
    check_memory(
        need,
        needed=needed,
        size=edge,
        budget=budget_of(config),
        machine=None if elsewhere else machine,
        workers=workers,
    )
    return workers


def worker_bytes(need: MemoryNeed, order: Sequence[Tile]) -> int:
    """Return the most memory that a worker takes for the tiles of a run, bytes."""
    return need.of(most_pixels(order))


def most_pixels(order: Sequence[Tile]) -> int:
    """Return the pixels of the largest tile of a run."""
    return max((int(tile.geobox.shape.y * tile.geobox.shape.x) for tile in order), default=0)
