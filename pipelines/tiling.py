"""Tiles of a run: their size, their edges, their features."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pystac
import xarray as xr
from odc.geo.geobox import GeoBox

from pipelines.config import ScenesRequest
from pipelines.folder import digest
from toolkit.area.grid import Tile, tiles
from toolkit.area.season import Season
from toolkit.catalog.items import read_items
from toolkit.cluster import cores, memory_bytes
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.cubes.tile import tile_features
from toolkit.errors import InputError
from toolkit.scenes.blocks import BlockCache
from toolkit.scenes.clear import ClearSky
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.tile import block_lattice, open_tile

SIZES = (1024, 512, 256, 128)
"""Edges a tile may have by itself: whole blocks of the usual files, or parts of one."""
WORKER_BYTES = 700_000_000
"""What a worker takes before its first tile: libraries, model, kept blocks (0.7 GB seen in the demo)."""
REMOTE_SIZE = 512
"""Edge of a tile where the workers' memory is not known."""


def cut_tiles(
    items: pystac.ItemCollection, geobox: GeoBox, recipe: FeatureRecipe, config: ScenesRequest
) -> tuple[Tile, ...]:
    """Return the tiles of a run, cut at the edges of the blocks of its files.

    Raises:
        RemoteError: the file that shows its blocks cannot be read; names it.
    """
    size = config.tile_size or _fitting_size(len(items), recipe, config)
    return tuple(tiles(geobox, size=size, lattice=block_lattice(items, geobox, recipe.bands)))


def _fitting_size(n_scenes: int, recipe: FeatureRecipe, config: ScenesRequest) -> int:
    """Largest tile with which every worker stays within its memory."""
    if config.scheduler:
        return REMOTE_SIZE
    bands, steps = recipe.shape
    # A pixel's features, and of every scene its clear sky (twice, while stacked) and one band.
    pixel_bytes = 4 * bands * steps + n_scenes * (2 + 2)
    room = memory_bytes() / (config.workers or cores()) * 0.7 - WORKER_BYTES
    return next((size for size in SIZES if size**2 * pixel_bytes <= room), SIZES[-1])


def features_of_tile(
    tile: Tile, items: Path, items_hash: str, recipe: FeatureRecipe, season: Season
) -> tuple[xr.DataArray, ReadCounts]:
    """Make the features of a tile (runs on a worker).

    Args:
        tile: place.
        items: frozen items of the run.
        items_hash: sha256 of that file.
        recipe: how features are made.
        season: the recipe's season.

    Returns:
        Features as :func:`toolkit.cubes.tile.tile_features` gives them, and what was read.

    Raises:
        InputError: the items changed during the run.
        RemoteError: a scene cannot be read; names the file.
    """
    found, blocks = _inputs(items, items_hash)
    sky = ClearSky(recipe.clear, recipe.dilation_m)
    scenes = open_tile(found, tile.geobox, bands=recipe.bands, clear=sky, cache=blocks)
    return tile_features(scenes, recipe, season), scenes.log.counts


@lru_cache(maxsize=1)
def _inputs(items: Path, items_hash: str) -> tuple[pystac.ItemCollection, BlockCache]:
    """Items, read once per worker and run, and the blocks it keeps for neighbouring tiles."""
    if digest(items) != items_hash:
        msg = f"The items {str(items)!r} changed during the run. Run again."
        raise InputError(msg)
    return read_items(items), BlockCache()
