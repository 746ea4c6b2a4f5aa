"""Map workflow: area, season and catalog in, crop map out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pystac
from distributed import Client
from odc.geo.geobox import GeoBox

from pipelines.config import MapRequest
from pipelines.folder import prepare, versions, write_json
from pipelines.progress import Progress
from pipelines.result import CropMap
from pipelines.search import FoundScenes, find
from toolkit.area.aoi import AOI, read_aoi
from toolkit.area.grid import Tile, inside, output_geobox, tiles
from toolkit.area.season import Season
from toolkit.catalog.items import is_simulated, read_items
from toolkit.cluster import connect
from toolkit.cubes.composite import observation_layers
from toolkit.cubes.features import build_features, recipe_season
from toolkit.cubes.recipe import FeatureRecipe, check_same_recipe
from toolkit.errors import ModelError, SimulatedModelError
from toolkit.learn.accuracy import Accuracy, assess
from toolkit.learn.checkpoint import Checkpoint, read_checkpoint
from toolkit.learn.labels import rasterize_fields
from toolkit.learn.predict import predict
from toolkit.maps.areas import area_by_crop
from toolkit.maps.geotiff import read_layer
from toolkit.maps.layers import assemble, outside
from toolkit.maps.tiles import (
    Stopwatch,
    TileReport,
    join_tiles,
    remove_tiles,
    run_tiles,
    write_tile,
)
from toolkit.scenes.clear import ClearSky
from toolkit.scenes.sensors import resolve_bands
from toolkit.scenes.sentinel2 import load_scenes

TILES_FOLDER = ".tiles"
NO_MODEL = (
    "No model is given. Train one ('cropglobe samples', then 'cropglobe train') and name its folder with "
    "--model DIR; 'cropglobe demo' shows the whole road with a model trained on simulated fields."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileJob:
    """What a worker needs beside the tile; small, as it travels with every task."""

    items: Path
    """Frozen items of the run."""
    model: Path
    """Folder of the checkpoint."""
    model_hash: str
    """Content hash of the checkpoint, so that a worker never uses an older one it still holds."""
    aoi: AOI
    """Area of interest."""
    season: Season
    """Steps of the features."""
    folder: Path
    """Where tiles are stored."""


def run(
    config: MapRequest, client: Client | str | None = None, *, progress: bool | Progress = True
) -> CropMap:
    """Make a crop map.

    Args:
        config: the request.
        client: Dask client or scheduler address; None for local processes.
        progress: whether to tell how far the run is.

    Returns:
        Paths, areas, accuracy (if ``fields`` are given) and timings.

    Raises:
        CropglobeError: see :mod:`toolkit.errors`; nothing half-written is left.
    """
    tell = progress if isinstance(progress, Progress) else Progress(quiet=not progress)
    watch = Stopwatch()
    aoi = read_aoi(config.aoi)
    checkpoint = _model(config)
    prepare(config.out)
    season = recipe_season(checkpoint.recipe, year=config.year, hemisphere=aoi.hemisphere)
    geobox = output_geobox(aoi, resolution=config.resolution, crs=config.crs)
    found = find(config, aoi, season, bands=checkpoint.recipe.bands)
    _check_simulated(checkpoint, found.items, allowed=config.allow_simulated_model)
    tell.stage(f"{len(found.items)} scenes, {season.start} to {season.end}")
    watch.lap("search")
    folder = config.out / TILES_FOLDER
    job = TileJob(
        items=found.path.resolve(),
        model=Path(config.model or "").resolve(),
        model_hash=checkpoint.content_hash,
        aoi=aoi,
        season=season,
        folder=prepare(folder).resolve(),
    )
    order = tuple(tiles(geobox, size=config.tile_size))
    try:
        reports = _make_tiles(order, job, config, client, tell)
        watch.lap("tiles")
        files = join_tiles(
            order,
            folder,
            geobox,
            config.out,
            legend=checkpoint.legend,
            tags=_tags(checkpoint, found.items),
        )
    finally:
        remove_tiles(order, folder)
    accuracy = _accuracy(config, aoi, files["crop"], checkpoint)
    watch.lap("join and check")
    result = CropMap(
        folder=config.out,
        files=files,
        areas=area_by_crop(files["crop"], checkpoint.legend),
        accuracy=accuracy,
        seconds=watch.seconds,
        worker_seconds=_total(reports),
        n_scenes=len(found.items),
        left_out=found.skipped,
        attribution=attribution(found.items),
    )
    config.write(config.out / "run.yaml")
    write_json(_record(result, found, checkpoint, geobox), config.out / "run.json")
    return result


def _model(config: MapRequest) -> Checkpoint:
    """Read the model and check that it serves the request."""
    if config.bands is not None:
        resolve_bands("sentinel-2", config.bands)
    if config.model is None:
        raise ModelError(NO_MODEL)
    checkpoint = read_checkpoint(config.model)
    asked = {
        "bands": config.bands,
        "clear": config.clear,
        "dilation_m": config.dilation,
        "first_step": config.first_step,
        "n_steps": config.n_steps,
    }
    changes: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    check_same_recipe(replace(checkpoint.recipe, **changes), checkpoint.recipe)
    return checkpoint


def _check_simulated(checkpoint: Checkpoint, items: pystac.ItemCollection, *, allowed: bool) -> None:
    real = [item.id for item in items if not is_simulated(item)]
    if checkpoint.simulated and real and not allowed:
        msg = (
            f"The model was trained on simulated data, but {len(real)} scenes are real (e.g. {real[0]}). "
            "Such a map would mean nothing. Train on labels of real fields, or insist with "
            "--allow-simulated-model."
        )
        raise SimulatedModelError(msg)


def _make_tiles(
    order: tuple[Tile, ...],
    job: TileJob,
    config: MapRequest,
    client: Client | str | None,
    tell: Progress,
) -> list[TileReport]:
    reports: list[TileReport] = []
    with connect(client or config.scheduler, workers=config.workers) as connected:
        start = time.perf_counter()
        for report in run_tiles(order, partial(make_tile, job=job), client=connected):
            reports.append(report)
            tell.count("tiles", len(reports), len(order), since=start)
    return reports


def make_tile(tile: Tile, job: TileJob) -> TileReport:
    """Make and store one tile: read, composite, predict (runs on a worker)."""
    watch = Stopwatch()
    within = inside(job.aoi, tile.geobox)
    if not within.any():
        write_tile(outside(within.shape), job.folder, tile)
        return TileReport(name=tile.name, seconds=watch.seconds, mapped=0)
    items, checkpoint = _inputs(job.items, job.model, job.model_hash)
    recipe: FeatureRecipe = checkpoint.recipe
    sky = ClearSky(recipe.clear, recipe.dilation_m)
    scenes = load_scenes(items, tile.geobox, bands=recipe.bands, clear=sky)
    watch.lap("read")
    features = build_features(scenes, recipe, job.season)
    seen = observation_layers(features.step_observations)
    watch.lap("composite")
    labels = assemble(predict(features.where(within), checkpoint), seen, within)
    watch.lap("predict")
    write_tile(labels, job.folder, tile)
    watch.lap("write")
    return TileReport(name=tile.name, seconds=watch.seconds, mapped=int((labels.crop > 0).sum()))


@lru_cache(maxsize=2)
def _inputs(items: Path, model: Path, model_hash: str) -> tuple[pystac.ItemCollection, Checkpoint]:
    """Items and model, read once per worker."""
    checkpoint = read_checkpoint(model)
    if checkpoint.content_hash != model_hash:
        msg = f"The model {str(model)!r} changed during the run. Run again."
        raise ModelError(msg)
    return read_items(items), checkpoint


def _accuracy(config: MapRequest, aoi: AOI, crop_map: Path, checkpoint: Checkpoint) -> Accuracy | None:
    if config.fields is None:
        return None
    mapped = read_layer(crop_map)
    labels = rasterize_fields(config.fields, mapped.odc.geobox, legend=checkpoint.legend)
    within = inside(aoi, mapped.odc.geobox)
    return assess(mapped, labels, legend=checkpoint.legend, within=within)


def attribution(items: pystac.ItemCollection) -> str:
    """Return the notice that users of the map must keep."""
    if all(is_simulated(item) for item in items):
        return "Simulated scenes made by cropglobe; contains no Copernicus data"
    years = sorted({item.datetime.year for item in items if item.datetime})
    span = str(years[0]) if len(years) == 1 else f"{years[0]}-{years[-1]}"
    return f"Contains modified Copernicus Sentinel data {span}"


def _tags(checkpoint: Checkpoint, items: pystac.ItemCollection) -> dict[str, str]:
    tags = {
        "TIFFTAG_COPYRIGHT": attribution(items),
        "TIFFTAG_SOFTWARE": f"cropglobe {versions()['cropglobe']}",
    }
    if checkpoint.simulated:
        tags["MODEL_NOTE"] = "The model was trained on simulated data"
    return tags


def _total(reports: list[TileReport]) -> dict[str, float]:
    """Seconds of each stage, added over tiles."""
    stages = {stage: 0.0 for report in reports for stage in report.seconds}
    return {stage: sum(report.seconds.get(stage, 0.0) for report in reports) for stage in stages}


def _record(result: CropMap, found: FoundScenes, checkpoint: Checkpoint, geobox: GeoBox) -> dict[str, Any]:
    """What the map was made from."""
    return {
        "attribution": result.attribution,
        "simulated_scenes": all(is_simulated(item) for item in found.items),
        "model": {
            "sha256": checkpoint.content_hash,
            "network": checkpoint.network,
            "simulated": checkpoint.simulated,
            "recipe": checkpoint.recipe.to_dict(),
            "legend": checkpoint.legend.to_list(),
        },
        "season": {"first_day": str(found.season.start), "last_day": str(found.season.end)},
        "grid": {
            "crs": str(geobox.crs),
            "shape": list(geobox.shape.yx),
            "transform": list(geobox.affine)[:6],
        },
        "catalog": found.items.extra_fields.get("catalog"),
        "items": [{"id": item.id, "datetime": str(item.datetime)} for item in found.items],
        "items_left_out": found.items.extra_fields.get("skipped", {}),
        "hectares": result.areas,
        "accuracy": None if result.accuracy is None else result.accuracy.to_dict(checkpoint.legend),
        "seconds": {name: round(value, 2) for name, value in result.seconds.items()},
        "worker_seconds": {name: round(value, 2) for name, value in result.worker_seconds.items()},
        "versions": versions(),
    }
