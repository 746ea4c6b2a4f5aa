"""Features of a tile on a worker: frozen items in, scenes that fail left out and reported."""

from __future__ import annotations

import shutil
import socket
import tempfile
import weakref
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import pystac
import xarray as xr
from distributed import get_worker
from odc.geo.geobox import GeoBox

from pipelines.config import ScenesRequest
from pipelines.folder import digest
from toolkit.area.grid import Tile
from toolkit.area.season import Season
from toolkit.catalog.saved_items import read_items
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.cubes.spectra import tile_spectra
from toolkit.cubes.tile import tile_features
from toolkit.errors import AssetError, InputError, StorageError
from toolkit.scenes.blocks import BlockCache
from toolkit.scenes.clear import ClearSky
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.failures import FailedItem, Failures
from toolkit.scenes.kept_blocks import KEPT_BYTES, KeptBlocks
from toolkit.scenes.targets import Mask
from toolkit.scenes.tile import open_tile


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenItems:
    """The items of a run as workers get them."""

    path: Path
    """Where they are saved."""
    sha256: str
    """Of that file, so that a worker never uses a list it read for an earlier run."""
    allow_hosts: tuple[str, ...]
    """Hosts that the user named."""
    most_failed: int
    """Items that may fail before the run stops."""
    grid: GeoBox
    """Grid of the run, of which tiles are parts."""
    kept: Path | None
    """Where workers keep decoded blocks for one another; None if each keeps its own, on its own machine."""
    kept_bytes: int = KEPT_BYTES
    """Most that each of them keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileFeatures:
    """What became of a tile's scenes."""

    features: xr.DataArray
    """As :func:`toolkit.cubes.tile.tile_features` gives them."""
    reads: ReadCounts
    """What was read."""
    failed: tuple[FailedItem, ...]
    """Items left out of this tile."""


def freeze(
    path: Path,
    items: pystac.ItemCollection,
    config: ScenesRequest,
    *,
    grid: GeoBox,
    kept: Path | None,
    kept_bytes: int = KEPT_BYTES,
) -> FrozenItems:
    """Return the saved items of a run as workers get them.

    Args:
        path: where they are saved.
        items: the items.
        config: the request.
        grid: grid of the run.
        kept: folder of this machine that all workers can write to; None for workers on others.
        kept_bytes: most that each of them keeps there.
    """
    share = config.max_failed / 100 if config.on_error == "skip" else 0.0
    return FrozenItems(
        path=path.resolve(),
        sha256=digest(path),
        allow_hosts=config.named_hosts,
        most_failed=int(share * len(items)),
        grid=grid,
        kept=kept,
        kept_bytes=kept_bytes,
    )


def features_of_tile(
    tile: Tile, items: FrozenItems, recipe: FeatureRecipe, season: Season, *, wanted: Mask | None = None
) -> TileFeatures:
    """Make the features of a tile (runs on a worker).

    A scene with a file that cannot be read is left out of the tile with all its bands: a date must not
    count in some bands and not in others.

    Args:
        tile: place.
        items: frozen items of the run.
        recipe: how features are made.
        season: the recipe's season.
        wanted: bool ``(y, x)``, True where features are needed; those of other pixels may be NaN.

    Raises:
        InputError: the items changed during the run.
        AssetError: more scenes cannot be read than may be left out; names the last.
    """
    found, blocks = _inputs(items)
    failures = Failures(items.most_failed, len(found))
    make = _spectra if recipe.sensor == "emit" else partial(_series, wanted=wanted)
    while True:
        rest = [item for item in found if item.id not in failures.items]
        try:
            features, counts = make(rest, tile, recipe, season, blocks)
        except AssetError as error:
            failures.note(error)
        else:
            failed = tuple(failures.items.values())
            return TileFeatures(features=features, reads=counts, failed=failed)


def _series(
    items: list[pystac.Item],
    tile: Tile,
    recipe: FeatureRecipe,
    season: Season,
    blocks: BlockCache,
    *,
    wanted: Mask | None = None,
) -> tuple[xr.DataArray, ReadCounts]:
    """Features of Sentinel-2."""
    sky = ClearSky(recipe.clear, recipe.dilation_m)
    scenes = open_tile(items, tile.geobox, bands=recipe.bands, clear=sky, wanted=wanted, cache=blocks)
    return tile_features(scenes, recipe, season), scenes.log.counts


def _spectra(
    items: list[pystac.Item], tile: Tile, recipe: FeatureRecipe, season: Season, blocks: BlockCache
) -> tuple[xr.DataArray, ReadCounts]:
    """Features of EMIT, which is read by lines, not by blocks."""
    del blocks
    return tile_spectra(items, tile.geobox, recipe, season)


@lru_cache(maxsize=2)
def _inputs(items: FrozenItems) -> tuple[pystac.ItemCollection, BlockCache]:
    """Items of a sensor, read once per worker and run, and the blocks it keeps for neighbouring tiles."""
    try:
        found = digest(items.path)
    except OSError as error:
        msg = (
            f"The worker on {socket.gethostname()} cannot read {str(items.path)!r} ({error.strerror}). Give "
            "an --out on a disk that all machines share under one name."
        )
        raise StorageError(msg) from error
    if found != items.sha256:
        msg = f"The items {str(items.path)!r} changed during the run. Run again."
        raise InputError(msg)
    return read_items(items.path, allow_hosts=items.allow_hosts), _block_cache(items)


def _block_cache(items: FrozenItems) -> BlockCache:
    """Return what a worker keeps for neighbouring tiles: in the folder of the run, or in one of its own."""
    if items.kept is not None:
        return BlockCache(KeptBlocks(items.kept, items.kept_bytes), grid=items.grid)
    own = Path(tempfile.mkdtemp(prefix="cropglobe-", dir=get_worker().local_directory))
    cache = BlockCache(KeptBlocks(own), grid=items.grid)
    weakref.finalize(cache, shutil.rmtree, own, ignore_errors=True)
    return cache
