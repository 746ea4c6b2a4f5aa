"""Map workflow: area, season and catalog in, crop map out."""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client
from odc.geo.geobox import GeoBox

from pipelines.config import MapRequest
from pipelines.folder import prepare, scratch, versions, write_json
from pipelines.map_inputs import SensorInput, collect, read_models
from pipelines.progress import Progress
from pipelines.result import CropMap
from pipelines.tile_features import FrozenItems, features_of_tile, freeze
from pipelines.tiling import cut_tiles
from toolkit.area.aoi import AOI, read_aoi
from toolkit.area.grid import Tile, inside, output_geobox
from toolkit.area.season import Season
from toolkit.catalog.items import attribution
from toolkit.cluster import connect, cores
from toolkit.cubes.composite import observation_layers
from toolkit.errors import ModelError, NothingMappedWarning
from toolkit.learn.accuracy import Accuracy, assess
from toolkit.learn.checkpoint import Checkpoint, read_checkpoint
from toolkit.learn.combine import combine_sensors
from toolkit.learn.labels import rasterize_fields
from toolkit.learn.predict import class_probabilities, label
from toolkit.legend import Legend
from toolkit.maps.areas import area_by_crop
from toolkit.maps.geotiff import read_layer
from toolkit.maps.layers import LAYERS, SENSOR_LAYER, Layer, assemble, outside
from toolkit.maps.tiles import (
    Stopwatch,
    TileReport,
    join_tiles,
    publish,
    run_tiles,
    write_tile,
)
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.failures import FailedItem, Failures

NOTHING_MAPPED = (
    "No pixel could be mapped: none was seen clear, or no pixel's centre lies in the area. See status.tif; "
    "check the year, the area and that --items belong to it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorJob:
    """What a worker needs of one sensor."""

    items: FrozenItems
    """Items of the run."""
    n_items: int
    """How many."""
    model: Path
    """Folder of the checkpoint."""
    model_hash: str
    """Content hash of the checkpoint, so that a worker never uses an older one it still holds."""
    season: Season
    """Days of the features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileJob:
    """What a worker needs beside the tile; small, as it travels with every task."""

    sensors: tuple[SensorJob, ...]
    """Sensors of the map."""
    aoi: AOI
    """Area of interest."""
    folder: Path
    """Where tiles are stored."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers of the map; with several sensors one more says which of them a class comes from."""
        return (*LAYERS, SENSOR_LAYER) if len(self.sensors) > 1 else LAYERS


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
    models = read_models(config)
    legend = next(iter(models.values())).legend
    geobox = output_geobox(aoi, resolution=config.pixel_size_m, crs=config.crs)
    truth = _truth(config, geobox, legend)
    with scratch(prepare(config.out)) as work:
        inputs = collect(config, models, geobox, aoi, folder=work, tell=tell)
        watch.lap("search")
        job = TileJob(
            sensors=tuple(_sensor_job(one, config) for one in inputs), aoi=aoi, folder=work.resolve()
        )
        order = _cut(inputs, geobox, config)
        reports = _make_tiles(order, job, config, client, tell)
        watch.lap("tiles")
        staged = join_tiles(order, work, geobox, work, legend=legend, tags=_tags(inputs), layers=job.layers)
        accuracy = None if truth is None else _accuracy(staged["crop"], truth, aoi, legend)
        areas = area_by_crop(staged["crop"], legend)
        beside = {name: path for one in inputs for name, path in one.files.items()}
        files = publish({**staged, **beside}, config.out)
    watch.lap("join and check")
    if not any(report.mapped for report in reports):
        warnings.warn(NOTHING_MAPPED, NothingMappedWarning, stacklevel=2)
    failed = _failed(reports)
    result = CropMap(
        folder=config.out,
        files={name: path for name, path in files.items() if name not in beside},
        areas=areas,
        accuracy=accuracy,
        seconds=watch.seconds,
        worker_seconds=_total(reports),
        reads=sum((report.reads for report in reports), ReadCounts()),
        inputs=inputs,
        failed=failed,
        complete=all(one.found.complete for one in inputs) and not failed,
        attribution=_attribution(inputs),
    )
    config.write(config.out / "run.yaml")
    write_json(_record(result, legend, geobox), config.out / "run.json")
    return result


def _sensor_job(one: SensorInput, config: MapRequest) -> SensorJob:
    return SensorJob(
        items=freeze(one.found.path, one.found.items, config),
        n_items=len(one.found.items),
        model=one.model,
        model_hash=one.checkpoint.content_hash,
        season=one.season,
    )


def _cut(inputs: tuple[SensorInput, ...], geobox: GeoBox, config: MapRequest) -> tuple[Tile, ...]:
    """Cut the tiles as the sensor with the smallest ones wants them."""
    cuts = [cut_tiles(one.found.items, geobox, one.checkpoint.recipe, config) for one in inputs]
    # Of equally many, the first: Sentinel-2's lie on the blocks of its files.
    return max(cuts, key=len)


def _make_tiles(
    order: tuple[Tile, ...],
    job: TileJob,
    config: MapRequest,
    client: Client | str | None,
    tell: Progress,
) -> list[TileReport]:
    reports: list[TileReport] = []
    failures = Failures(
        sum(one.items.most_failed for one in job.sensors), sum(one.n_items for one in job.sensors)
    )
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
        write_tile(outside(within.shape, job.layers), job.folder, tile, job.layers)
        return TileReport(name=tile.name, seconds=watch.seconds, mapped=0)
    parts: dict[str, xr.Dataset] = {}
    seen: list[xr.Dataset] = []
    reads = ReadCounts()
    failed: list[FailedItem] = []
    for one in job.sensors:
        checkpoint = _checkpoint(one.model, one.model_hash)
        made = features_of_tile(tile, one.items, checkpoint.recipe, one.season)
        seen.append(observation_layers(made.features.step_observations))
        made.features.to_numpy()[~within] = np.nan  # in place: features are the largest thing in memory
        reads += made.reads
        failed += made.failed
        watch.lap("read and composite")
        parts[checkpoint.recipe.sensor] = class_probabilities(made.features, checkpoint)
        watch.lap("predict")
    labels = assemble(label_of(parts), observed_by_all(seen), within, job.layers)
    write_tile(labels, job.folder, tile, job.layers)
    watch.lap("write")
    return TileReport(
        name=tile.name,
        seconds=watch.seconds,
        mapped=int((labels.crop > 0).sum()),
        reads=reads,
        failed=tuple(failed),
    )


def label_of(parts: dict[str, xr.Dataset]) -> xr.Dataset:
    """Return the layers of a map from what the sensors say, the sensor of each pixel among them."""
    joined = combine_sensors(parts)
    return label(joined).assign(sensor=joined["sensor"])


def observed_by_all(seen: list[xr.Dataset]) -> xr.Dataset:
    """Return the clear dates of all sensors together; gaps are those of the first, which sees a season."""
    total = sum(part["observations"].to_numpy().astype(np.uint16) for part in seen)
    observations = np.minimum(total, 255).astype(np.uint8)
    return seen[0].assign(observations=seen[0]["observations"].copy(data=observations))


@lru_cache(maxsize=2)
def _checkpoint(model: Path, model_hash: str) -> Checkpoint:
    """Model of a sensor, read once per worker and run."""
    checkpoint = read_checkpoint(model)
    if checkpoint.content_hash != model_hash:
        msg = f"The model {str(model)!r} changed during the run. Run again."
        raise ModelError(msg)
    return checkpoint


def _truth(config: MapRequest, geobox: GeoBox, legend: Legend) -> xr.Dataset | None:
    """Read the true fields before any work: a wrong file must not cost a map."""
    if config.fields is None:
        return None
    return rasterize_fields(config.fields, geobox, legend=legend)


def _accuracy(crop_map: Path, truth: xr.Dataset, aoi: AOI, legend: Legend) -> Accuracy:
    mapped = read_layer(crop_map)
    return assess(mapped, truth, legend=legend, within=inside(aoi, mapped.odc.geobox))


def _attribution(inputs: tuple[SensorInput, ...]) -> str:
    return "; ".join(dict.fromkeys(attribution(one.found.items) for one in inputs))


def _tags(inputs: tuple[SensorInput, ...]) -> dict[str, str]:
    tags = {
        "TIFFTAG_COPYRIGHT": _attribution(inputs),
        "TIFFTAG_SOFTWARE": f"cropglobe {versions()['cropglobe']}",
    }
    if any(one.checkpoint.simulated for one in inputs):
        tags["MODEL_NOTE"] = "The model was trained on simulated data"
    return tags


def _failed(reports: list[TileReport]) -> tuple[FailedItem, ...]:
    return tuple({one.item: one for report in reports for one in report.failed}.values())


def _total(reports: list[TileReport]) -> dict[str, float]:
    """Seconds of each stage, added over tiles."""
    stages = {stage: 0.0 for report in reports for stage in report.seconds}
    return {stage: sum(report.seconds.get(stage, 0.0) for report in reports) for stage in stages}


def _record(result: CropMap, legend: Legend, geobox: GeoBox) -> dict[str, Any]:
    """What the map was made from."""
    return {
        "attribution": result.attribution,
        "simulated_scenes": all(one.simulated for one in result.inputs),
        "sensors": {one.sensor: one.record() for one in result.inputs},
        "grid": {
            "crs": str(geobox.crs),
            "shape": list(geobox.shape.yx),
            "transform": list(geobox.affine)[:6],
        },
        "items_failed": [asdict(one) for one in result.failed],
        "hectares": result.areas,
        "accuracy": None if result.accuracy is None else result.accuracy.to_dict(legend),
        "seconds": {name: round(value, 2) for name, value in result.seconds.items()},
        "reads": asdict(result.reads),
        "worker_seconds": {name: round(value, 2) for name, value in result.worker_seconds.items()},
        "versions": versions(),
    }
