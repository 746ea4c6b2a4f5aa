"""Map workflow: area, season and catalog in, crop map out."""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import xarray as xr
from distributed import Client
from odc.geo.geobox import GeoBox

from pipelines.config import MapRequest
from pipelines.folder import prepare, scratch, versions, write_json
from pipelines.progress import Progress
from pipelines.radiometry import as_record, settle
from pipelines.result import CropMap
from pipelines.search import FoundScenes, find
from pipelines.tile_features import FrozenItems, features_of_tile, freeze
from pipelines.tiling import cut_tiles
from toolkit.area.aoi import AOI, read_aoi
from toolkit.area.grid import Tile, inside, output_geobox
from toolkit.area.season import Season
from toolkit.catalog.items import attribution, is_simulated
from toolkit.cluster import connect, cores
from toolkit.cubes.composite import observation_layers
from toolkit.cubes.features import recipe_season
from toolkit.cubes.recipe import check_same_recipe
from toolkit.errors import ModelError, NothingMappedWarning, SimulatedModelError
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
    publish,
    run_tiles,
    write_tile,
)
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.failures import Failures
from toolkit.scenes.sensors import resolve_bands

NOTHING_MAPPED = (
    "No pixel could be mapped: none was seen clear, or no pixel's centre lies in the area. See status.tif; "
    "check the year, the area and that --items belong to it."
)
NO_MODEL = (
    "No model is given. Train one ('cropglobe samples', then 'cropglobe train') and name its folder with "
    "--model DIR; 'cropglobe demo' shows the whole road with a model trained on simulated fields."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileJob:
    """What a worker needs beside the tile; small, as it travels with every task."""

    items: FrozenItems
    """Items of the run."""
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
    n_items: int
    """Items of the run."""


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
    season = recipe_season(checkpoint.recipe, year=config.year, hemisphere=aoi.hemisphere)
    geobox = output_geobox(aoi, resolution=config.resolution, crs=config.crs)
    truth = _truth(config, geobox, checkpoint)
    with scratch(prepare(config.out)) as work:
        found = find(config, aoi, season, folder=work, bands=checkpoint.recipe.bands)
        _check_simulated(checkpoint, found.items, allowed=config.allow_simulated_model)
        tell.stage(f"{len(found.items)} scenes, {season.start} to {season.end}")
        found, offsets = settle(found, geobox, aoi, config)
        watch.lap("search")
        job = TileJob(
            items=freeze(found.path, found.items, config),
            model=Path(config.model or "").resolve(),
            model_hash=checkpoint.content_hash,
            aoi=aoi,
            season=season,
            folder=work.resolve(),
            n_items=len(found.items),
        )
        order = cut_tiles(found.items, geobox, checkpoint.recipe, config)
        reports = _make_tiles(order, job, config, client, tell)
        watch.lap("tiles")
        tags = _tags(checkpoint, found.items)
        staged = join_tiles(order, work, geobox, work, legend=checkpoint.legend, tags=tags)
        accuracy = None if truth is None else _accuracy(staged["crop"], truth, aoi, checkpoint)
        areas = area_by_crop(staged["crop"], checkpoint.legend)
        files = publish({**staged, "items": found.path, **offsets.files}, config.out)
    for name in ("items", "offset_checks"):
        files.pop(name, None)
    watch.lap("join and check")
    if not any(report.mapped for report in reports):
        warnings.warn(NOTHING_MAPPED, NothingMappedWarning, stacklevel=2)
    failed = tuple({one.item: one for report in reports for one in report.failed}.values())
    result = CropMap(
        folder=config.out,
        files=files,
        areas=areas,
        accuracy=accuracy,
        seconds=watch.seconds,
        worker_seconds=_total(reports),
        reads=sum((report.reads for report in reports), ReadCounts()),
        n_scenes=len(found.items),
        left_out=found.skipped,
        failed=failed,
        offsets=offsets,
        complete=found.complete and not failed,
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
    failures = Failures(job.items.most_failed, job.n_items)
    workers = min(config.workers or cores(), len(order))
    with connect(client or config.scheduler, workers=workers) as connected:
        start = time.perf_counter()
        for report in run_tiles(order, partial(make_tile, job=job), client=connected):
            failures.add(report.failed)
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
    checkpoint = _checkpoint(job.model, job.model_hash)
    made = features_of_tile(tile, job.items, checkpoint.recipe, job.season)
    features = made.features
    seen = observation_layers(features.step_observations)
    features.to_numpy()[~within] = np.nan  # in place: a tile's features are the largest thing in memory
    watch.lap("read and composite")
    labels = assemble(predict(features, checkpoint), seen, within)
    watch.lap("predict")
    write_tile(labels, job.folder, tile)
    watch.lap("write")
    return TileReport(
        name=tile.name,
        seconds=watch.seconds,
        mapped=int((labels.crop > 0).sum()),
        reads=made.reads,
        failed=made.failed,
    )


@lru_cache(maxsize=1)
def _checkpoint(model: Path, model_hash: str) -> Checkpoint:
    """Model, read once per worker and run."""
    checkpoint = read_checkpoint(model)
    if checkpoint.content_hash != model_hash:
        msg = f"The model {str(model)!r} changed during the run. Run again."
        raise ModelError(msg)
    return checkpoint


def _truth(config: MapRequest, geobox: GeoBox, checkpoint: Checkpoint) -> xr.Dataset | None:
    """Read the true fields before any work: a wrong file must not cost a map."""
    if config.fields is None:
        return None
    return rasterize_fields(config.fields, geobox, legend=checkpoint.legend)


def _accuracy(crop_map: Path, truth: xr.Dataset, aoi: AOI, checkpoint: Checkpoint) -> Accuracy:
    mapped = read_layer(crop_map)
    return assess(mapped, truth, legend=checkpoint.legend, within=inside(aoi, mapped.odc.geobox))


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
        "items_found": found.items.extra_fields.get("found"),
        "items_left_out": found.items.extra_fields.get("skipped", {}),
        "offsets": as_record(result.offsets),
        "items_failed": [asdict(one) for one in result.failed],
        "hectares": result.areas,
        "accuracy": None if result.accuracy is None else result.accuracy.to_dict(checkpoint.legend),
        "seconds": {name: round(value, 2) for name, value in result.seconds.items()},
        "reads": asdict(result.reads),
        "worker_seconds": {name: round(value, 2) for name, value in result.worker_seconds.items()},
        "versions": versions(),
    }
