"""Features workflow: area, season and catalog in, feature cube on disk out."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from distributed import Client
from odc.geo.geobox import GeoBox

from pipelines.config import FeaturesRequest
from pipelines.folder import prepare, versions, write_json
from pipelines.progress import Progress
from pipelines.radiometry import settle
from pipelines.saved_features import SavedFeatures, WrittenTile
from pipelines.scratch import room_for_blocks, scratch
from pipelines.search import FoundScenes, find
from pipelines.tile_features import FrozenItems, features_of_tile, freeze
from pipelines.tiling import TileCut
from toolkit.area.aoi import AOI, read_aoi
from toolkit.area.grid import Tile, inside, output_geobox
from toolkit.area.season import Season
from toolkit.catalog.items import attribution, is_simulated
from toolkit.cluster import connect, cores, is_elsewhere
from toolkit.cubes import cogs, store
from toolkit.cubes.features import recipe_season
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import CropglobeWarning
from toolkit.maps.dispatch import run_tiles
from toolkit.maps.tiles import Stopwatch, publish
from toolkit.scenes.clear import ClearSky
from toolkit.scenes.failures import Failures
from toolkit.scenes.sensors import resolve_bands
from toolkit.storage import check_free, make_folder, publish_folder

STORE, FOLDER = "features.zarr", "features"
NOTHING_OBSERVED = (
    "The cube holds no value: no pixel was seen clear, or no pixel's centre lies in the area. "
    "Check the year, the area and that --items belong to it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesJob:
    """What a worker needs beside the tile; small, as it travels with every task."""

    items: FrozenItems
    """Items of the run."""
    recipe: FeatureRecipe
    """How the features are made."""
    season: Season
    """Its season."""
    aoi: AOI
    """Area of interest."""
    store: Path
    """Store to write to."""
    n_items: int
    """Items of the run."""


def run(
    config: FeaturesRequest, client: Client | str | None = None, *, progress: bool = True
) -> SavedFeatures:
    """Make the features of an area and save them as ``features.zarr``, or as GeoTIFFs in ``features/``.

    A cube is a rectangle: pixels outside the area keep their values where their tile touches it. Tiles
    without any pixel of the area are not read and hold no value.

    Args:
        config: the request.
        client: Dask client or scheduler address; None for local processes.
        progress: whether to tell how far the run is.

    Raises:
        CropglobeError: see :mod:`toolkit.errors`; nothing half-written is left, and an earlier cube stays
            until the new one is complete.
    """
    tell, watch = Progress(quiet=not progress), Stopwatch()
    recipe = _recipe(config)
    aoi = read_aoi(config.aoi)
    season = recipe_season(recipe, year=config.year, hemisphere=aoi.hemisphere)
    geobox = output_geobox(aoi, resolution=config.pixel_size_m, crs=config.crs)
    as_cogs = config.format == "cog"
    path = config.out / (FOLDER if as_cogs else STORE)
    mark, holding = (cogs.CARD, cogs.CARD_TEXT) if as_cogs else (store.MARK, store.MARK_TEXT)
    check_free(path, mark=mark, holding=holding, overwrite=True)  # before hours of work, not after
    cluster = client or config.scheduler
    with (
        scratch(prepare(config.out)) as work,
        room_for_blocks(work, elsewhere=is_elsewhere(cluster)) as room,
    ):
        found = find(config, aoi, season, folder=work, out=config.out, bands=recipe.bands)
        tell.stage(f"{len(found.items)} scenes, {season.start} to {season.end}")
        found, offsets = settle(found, geobox, aoi, config)
        job = FeaturesJob(
            items=freeze(found.path, found.items, config, grid=geobox, kept=room),
            recipe=recipe,
            season=season,
            aoi=aoi,
            store=_empty_store(work.resolve() / STORE, found, recipe, geobox, config.tile_size),
            n_items=len(found.items),
        )
        cut = TileCut(size=config.tile_size, lattice=None)
        order = tuple(cut.tiles(geobox))
        watch.lap("search")
        tasks = max(len(order), len(recipe.bands)) if as_cogs else len(order)
        workers = min(config.workers or cores(), tasks)
        with connect(cluster, workers=workers) as connected:
            written = _write_tiles(order, job, cut, connected, tell)
            finished = store.finish_store(job.store)
            watch.lap("tiles")
            if as_cogs:
                finished = _write_cogs(finished, work.resolve() / FOLDER, connected, tell)
                watch.lap("GeoTIFFs")
        publish_folder(finished, path, mark=mark, holding=holding)
        found = replace(found, path=publish({"items": found.path, **offsets.files}, config.out)["items"])
    result = SavedFeatures(
        path=path,
        recipe=recipe,
        geobox=geobox,
        found=found,
        tiles=tuple(written),
        offsets=offsets,
        seconds=watch.seconds,
        attribution=attribution(found.items),
    )
    config.write(config.out / "run.yaml")
    write_json(result.record(), config.out / "run.json")
    if not result.observed:
        warnings.warn(NOTHING_OBSERVED, CropglobeWarning, stacklevel=2)
    return result


def _recipe(config: FeaturesRequest) -> FeatureRecipe:
    """Check everything that decides what a feature means, before anything is read."""
    recipe = FeatureRecipe(
        kind=config.kind,
        bands=resolve_bands("sentinel-2", config.bands),
        first_step=config.first_step,
        n_steps=config.n_steps,
        step_days=config.step_days,
        clear=config.clear,
        dilation_m=config.dilation,
        fill=config.fill,
        order=config.order,
    )
    ClearSky(recipe.clear, recipe.dilation_m)  # refuses unknown presets
    return recipe


def _empty_store(
    path: Path, found: FoundScenes, recipe: FeatureRecipe, geobox: GeoBox, tile_size: int
) -> Path:
    return store.create_store(
        path,
        recipe,
        found.season,
        geobox,
        tile_size=tile_size,
        simulated=any(is_simulated(item) for item in found.items),
        attributes={
            "attribution": attribution(found.items),
            "versions": json.dumps(versions(), sort_keys=True),
        },
    )


def _write_tiles(
    order: tuple[Tile, ...], job: FeaturesJob, cut: TileCut, client: Client, tell: Progress
) -> list[WrittenTile]:
    written: list[WrittenTile] = []
    failures = Failures(job.items.most_failed, job.n_items)
    start = time.perf_counter()
    for tile in run_tiles(order, partial(make_tile, job=job), client=client, near=cut.group):
        failures.add(tile.failed)
        written.append(tile)
        tell.count("tiles", len(written), len(order), since=start)
    return written


def make_tile(tile: Tile, job: FeaturesJob) -> WrittenTile:
    """Make and store the features of one tile (runs on a worker)."""
    watch = Stopwatch()
    if not inside(job.aoi, tile.geobox).any():
        return WrittenTile(seconds={}, values=0, observed=0)
    made = features_of_tile(tile, job.items, job.recipe, job.season)
    watch.lap("read and composite")
    store.write_region(job.store, made.features, job.recipe, tile)
    watch.lap("write")
    return WrittenTile(
        seconds=watch.seconds,
        values=made.features.size,
        observed=int(np.isfinite(made.features.to_numpy()).sum()),
        reads=made.reads,
        failed=made.failed,
    )


def _write_cogs(cube: Path, folder: Path, client: Client, tell: Progress) -> Path:
    """Copy a finished store to GeoTIFFs, one task per band."""
    make_folder(folder)
    layers = cogs.cog_layers(cube)
    start = time.perf_counter()
    work = partial(cogs.write_cog, store=cube, folder=folder)
    for done, _ in enumerate(run_tiles(layers, work, client=client), start=1):
        tell.count("GeoTIFFs", done, len(layers), since=start)
    cogs.write_card(cube, folder)
    return folder
