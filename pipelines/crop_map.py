"""Map workflow: area, season and catalog in, crop map out."""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict
from functools import partial
from typing import Any

from distributed import Client
from odc.geo.geobox import GeoBox

from pipelines.config import MapRequest
from pipelines.folder import prepare, scratch, versions, write_json
from pipelines.map_inputs import SensorInput, collect, read_models
from pipelines.map_tile import SensorJob, TileJob, make_tile
from pipelines.products import make_products, remove_stale
from pipelines.progress import Progress
from pipelines.result import CropMap
from pipelines.tile_features import freeze
from pipelines.tiling import cut_tiles
from pipelines.zones import map_zones, spans_zones
from toolkit.area.aoi import AOI, read_aoi, read_polygons
from toolkit.area.grid import Tile, output_geobox
from toolkit.catalog.items import attribution
from toolkit.cluster import connect, cores
from toolkit.errors import NothingMappedWarning
from toolkit.learn.fields import Fields, read_fields
from toolkit.learn.map_accuracy import assess_file, check_fields
from toolkit.legend import Legend
from toolkit.maps.areas import areas_by_zone, class_areas, hectares_by_crop
from toolkit.maps.tiles import (
    Stopwatch,
    TileReport,
    join_tiles,
    publish,
    run_tiles,
)
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.failures import FailedItem, Failures

NOTHING_MAPPED = (
    "No pixel could be mapped: none was seen clear, or no pixel's centre lies in the area. See status.tif; "
    "check the year, the area and that --items belong to it."
)


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
    if spans_zones(config, aoi):
        return map_zones(config, aoi, partial(run, client=client, progress=tell), tell)
    models = read_models(config)
    legend = next(iter(models.values())).legend
    geobox = output_geobox(aoi, resolution=config.pixel_size_m, crs=config.crs)
    truth = _truth(config, geobox, aoi, legend)
    polygons = None if config.zones is None else read_polygons(config.zones)
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
        accuracy = None if truth is None else assess_file(staged["crop"], truth, legend=legend, within=aoi)
        areas = class_areas(staged["crop"], legend)
        notice = _attribution(inputs)
        zones = None if polygons is None else areas_by_zone(staged["crop"], polygons, legend)
        products = make_products(
            staged, areas, inputs, aoi, geobox, legend=legend, zones=zones, notice=notice
        )
        beside = {name: path for one in inputs for name, path in one.files.items()}
        files = publish({**staged, **beside, **products}, config.out)
        remove_stale(config.out, files.values())
    watch.lap("join and check")
    if not any(report.mapped for report in reports):
        warnings.warn(NOTHING_MAPPED, NothingMappedWarning, stacklevel=2)
    failed = _failed(reports)
    result = CropMap(
        folder=config.out,
        files={name: files[name] for name in staged},
        products=tuple(files[name] for name in products),
        areas=hectares_by_crop(areas),
        accuracy=accuracy,
        seconds=watch.seconds,
        worker_seconds=_total(reports),
        reads=sum((report.reads for report in reports), ReadCounts()),
        inputs=inputs,
        failed=failed,
        complete=all(one.found.complete for one in inputs) and not failed,
        attribution=notice,
    )
    config.write(config.out / "run.yaml")
    write_json(_record(result, legend, geobox), config.out / "run.json")
    return result


def _sensor_job(one: SensorInput, config: MapRequest) -> SensorJob:
    return SensorJob(
        items=freeze(one.found.path, one.found.items, config.of_sensor(one.sensor)),
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


def _truth(config: MapRequest, geobox: GeoBox, aoi: AOI, legend: Legend) -> Fields | None:
    """Read the true fields before any work: a wrong file must not cost a map."""
    if config.fields is None:
        return None
    fields = read_fields(config.fields, geobox, legend=legend)
    check_fields(fields, geobox, aoi)
    return fields


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
        "files": [path.name for path in (*result.files.values(), *result.products)],
        "items_failed": [asdict(one) for one in result.failed],
        "hectares": result.areas,
        "accuracy": None if result.accuracy is None else result.accuracy.to_dict(legend),
        "seconds": {name: round(value, 2) for name, value in result.seconds.items()},
        "reads": asdict(result.reads),
        "worker_seconds": {name: round(value, 2) for name, value in result.worker_seconds.items()},
        "versions": versions(),
    }
