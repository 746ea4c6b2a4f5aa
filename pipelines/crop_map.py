"""Map workflow: area, season and catalog in, crop map out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from distributed import Client

from pipelines.config import MapRequest
from pipelines.engine_choice import chosen_engines, with_engines
from pipelines.folder import versions, write_json
from pipelines.map_files import attribution_of, write_map
from pipelines.map_job import MapJob, map_job
from pipelines.map_setup import MapSetup, set_up
from pipelines.progress import Progress
from pipelines.result import CropMap
from pipelines.run_folder import RECORD
from pipelines.tile_run import RunContext, run_all_tiles
from pipelines.zones import map_zones, spans_zones
from toolkit.area.aoi import read_aoi
from toolkit.cluster import Connectable, connect_on_demand, count_workers, is_elsewhere
from toolkit.errors import NothingMappedWarning, PartlyMappedWarning
from toolkit.learn.engines.agreement import Agreement
from toolkit.maps.coverage import MUCH, Coverage
from toolkit.maps.shared_folder import check_shared_folder
from toolkit.maps.tiles import Stopwatch, TileReport

NOTHING_MAPPED = (
    "No pixel could be mapped: none was seen clear, or none is cropland. See status.tif; check the year, the "
    "area and the mask of cropland."
)

HALF = 0.5
"""Least part of a full tile from which other tiles are reckoned."""


def run(config: MapRequest, client: Connectable = None, *, progress: bool | Progress = True) -> CropMap:
    """Make a crop map, or go on with one that was interrupted in the same folder.

    Args:
        config: the request.
        client: Dask client, cluster or scheduler address; None for local processes.
        progress: whether to tell how far the run is.

    Returns:
        Paths, areas, accuracy (if ``fields`` are given) and timings.

    Raises:
        CropglobeError: see :mod:`toolkit.errors`; nothing half-written is left, and
            tiles that are done stay for the next run.
    """
    tell = progress if isinstance(progress, Progress) else Progress(quiet=not progress)
    watch = Stopwatch()
    aoi = read_aoi(config.aoi)
    if spans_zones(config, aoi):
        return map_zones(config, aoi, partial(run, client=client, progress=tell), tell)
    cluster = client or config.scheduler
    elsewhere = is_elsewhere(cluster)
    setup = set_up(config, aoi, elsewhere=elsewhere)
    with map_job(setup, tell, elsewhere=elsewhere) as job:
        watch.lap("search")
        folder, inputs, cropland = job.folder, job.inputs, job.cropland
        for line in job.planning.before.lines():
            tell.stage(line)
        by_workers = job.work.folder is not None
        shared = partial(check_shared_folder, folder=folder.tiles, written=by_workers)
        with connect_on_demand(cluster, workers=job.workers, check=shared) as connected:
            ready = job.planning.on_cluster(connected) if elsewhere else connected
            work, for_engines = with_engines(
                job.work, job.order, config, aoi, folder, client=ready, tell=tell
            )
            tiles = run_all_tiles(
                job.order,
                work,
                job.keys(work),
                RunContext(
                    aoi=aoi,
                    folder=folder,
                    client=ready,
                    tell=tell,
                    interruption=job.interruption,
                    near=job.cut.group,
                    enough=partial(_tell_plan, job, tell, ready),
                ),
            )
        watch.lap("tiles")
        written = write_map(setup, inputs, cropland, tiles.made, work.layers, folder)
        watch.lap("join and check")
        _warn_of_gaps(written.coverage, [report.kept.mapped for report in tiles.reports])
        result = CropMap(
            folder=config.out,
            written=written,
            inputs=inputs,
            tiles=tiles,
            for_engines=for_engines,
            seconds=watch.seconds,
            attribution=attribution_of(inputs, cropland),
            cropland=cropland.of_tiles(report.kept.cropland for report in tiles.reports),
        )
        config.write(config.out / "run.yaml")
        engines = {"tried": chosen_engines(folder), "agreement": _agreement(result)}
        write_json({**_record(result, setup), "engines": engines}, config.out / RECORD)
    return result


def _warn_of_gaps(coverage: Coverage, mapped: Sequence[int]) -> None:
    """Warn of a map without classes, or with few."""
    if not any(mapped):
        warnings.warn(NOTHING_MAPPED, NothingMappedWarning, stacklevel=3)
    elif coverage.share_untold >= MUCH:
        msg = (
            f"{coverage.share_untold:.0%} of the area has no class: {', '.join(coverage.untold())}. See "
            "status.tif; check the year and that scenes cover the area."
        )
        warnings.warn(msg, PartlyMappedWarning, stacklevel=3)


def _tell_plan(job: MapJob, tell: Progress, client: Callable[[], Client], report: TileReport) -> bool:
    """Tell what the map will take as a tile shows, and stop if that does not fit on the disk.

    A tile with less than half of a full one in the area says little of others: it is passed over.
    """
    if job.planning.share(report) < HALF:
        return False
    plan = job.planning.after(report, job.folder, workers=count_workers(client()))
    job.planning.check(job.folder, plan)
    if plan.seconds is None:  # no scene shows the tile
        return False
    if len(job.order) > 1:
        tell.stage(plan.after_first())
    return True


def _agreement(result: CropMap) -> dict[str, Any]:
    """Return how far the engine was from float32 on the pixels of all tiles, as plain values."""
    agreements = [report.kept.agreement for report in result.tiles.reports]
    in_fp32 = sum(not one.close for one in agreements)
    return {**sum(agreements, Agreement()).to_dict(), "tiles_made_in_fp32_instead": in_fp32}


def _record(result: CropMap, setup: MapSetup) -> dict[str, Any]:
    """What the map was made from."""
    geobox, legend = setup.geobox, setup.legend
    return {
        "attribution": result.attribution,
        "simulated_scenes": all(one.simulated for one in result.inputs),
        "sensors": {one.sensor: one.record() for one in result.inputs},
        "cropland": result.cropland.record(),
        "grid": {
            "crs": str(geobox.crs),
            "shape": list(geobox.shape.yx),
            "transform": list(geobox.affine)[:6],
        },
        "files": [path.name for path in (*result.files.values(), *result.products)],
        "tiles": {
            "made": len(result.tiles.made) - result.tiles.n_kept - len(result.tiles.quarantined),
            "kept": result.tiles.n_kept,
            "quarantined": list(result.tiles.quarantined),
        },
        "items_failed": [asdict(one) for one in result.failed],
        "hectares": result.areas,
        "coverage": result.written.coverage.record(),
        "accuracy": None if result.accuracy is None else result.accuracy.to_dict(legend),
        "seconds": {name: round(value, 2) for name, value in result.seconds.items()},
        "reads": asdict(result.reads),
        "worker_seconds": {name: round(value, 2) for name, value in result.worker_seconds.items()},
        "versions": versions(),
    }
