"""Plan workflow: what a map will take, by its catalog and one tile that is made and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from pipelines.config import PlanRequest
from pipelines.engine_choice import with_engines
from pipelines.folder import prepare, write_json
from pipelines.map_job import map_job
from pipelines.map_setup import MapSetup, set_up
from pipelines.progress import Progress
from pipelines.rough_plan import rough_plan
from pipelines.tile_run import RunContext, make_one
from pipelines.zones import spans_zones, warn_of_missing_zones, zone_request
from toolkit.area.aoi import AOI, read_aoi
from toolkit.area.zones import split_by_zone
from toolkit.cluster import Connectable, connect_on_demand, count_workers, is_elsewhere
from toolkit.errors import CropglobeError, NoItemsError, NoPixelError
from toolkit.maps.plan import Plan, joined_plans

PLAN_FILE = "plan.json"


def run(config: PlanRequest, client: Connectable = None, *, progress: bool | Progress = True) -> Plan:
    """Reckon what a map will take, and write it as ``plan.json``.

    Unless told otherwise one tile of the map is made, in each UTM zone; it is kept, with the scenes found, in
    the output folder, from which :func:`pipelines.crop_map.run` goes on.

    Args:
        config: the request: that of the map.
        client: Dask client, cluster or scheduler address; None for local processes.
        progress: whether to tell how far the run is.

    Raises:
        MemoryBudgetError: tiles do not fit into memory; tells what would.
        StorageError: the map does not fit on the disk; tells the bytes needed.
        CropglobeError: see :mod:`toolkit.errors`.
    """
    tell = progress if isinstance(progress, Progress) else Progress(quiet=not progress)
    aoi = read_aoi(config.aoi)
    cluster = client or config.scheduler
    parts, nothing = _parts(config, aoi, elsewhere=is_elsewhere(cluster))
    prepare(config.out)
    make = partial(rough_plan, tell=tell) if config.no_trial else partial(_tried, cluster=cluster, tell=tell)
    plan = joined_plans(_plans(parts, nothing, make))
    write_json(plan.to_dict(), config.out / PLAN_FILE)
    return plan


def _parts(
    config: PlanRequest, aoi: AOI, *, elsewhere: bool
) -> tuple[dict[str, MapSetup], dict[str, CropglobeError]]:
    """Return the maps that are made, by name: one, or one for each UTM zone; and zones without a pixel."""
    if not spans_zones(config, aoi):
        return {"": set_up(config, aoi, elsewhere=elsewhere)}, {}
    parts, nothing = dict[str, MapSetup](), dict[str, CropglobeError]()
    for part in split_by_zone(aoi, resolution=config.pixel_size_m)[0]:
        own = zone_request(config, part)
        try:
            parts[part.name] = set_up(own, read_aoi(own.aoi), elsewhere=elsewhere)
        except NoPixelError as error:
            nothing[part.name] = error
    return parts, nothing


def _plans(
    parts: Mapping[str, MapSetup], nothing: Mapping[str, CropglobeError], make: Callable[[MapSetup], Plan]
) -> list[Plan]:
    """Return the plan of each map; a zone without scenes is left out with a warning, as in the map itself.

    Args:
        parts: the maps.
        nothing: zones that have none, and why.
        make: reckons one.

    Raises:
        CropglobeError: no zone has any scene, or any pixel.
    """
    plans, nothing = list[Plan](), dict(nothing)
    for name, part in parts.items():
        try:
            plans.append(make(part))
        except NoItemsError as error:
            nothing[name] = error
    if not plans:
        raise next(iter(nothing.values()))
    warn_of_missing_zones(nothing)
    return plans


def _tried(setup: MapSetup, *, cluster: Connectable, tell: Progress) -> Plan:
    """Reckon from one tile."""
    with map_job(setup, tell, elsewhere=is_elsewhere(cluster)) as job:
        with connect_on_demand(cluster, workers=job.workers) as connected:
            ready = job.planning.on_cluster(connected) if is_elsewhere(cluster) else connected
            work, _ = with_engines(
                job.work, job.order, setup.config, setup.aoi, job.folder, client=ready, tell=tell
            )
            tell.stage("making one tile")
            context = RunContext(
                aoi=setup.aoi, folder=job.folder, client=ready, tell=tell, interruption=job.interruption
            )
            report = make_one(
                job.order, work, job.keys(work), context, scene_pixels=job.planning.scene_pixels
            )
            workers = count_workers(ready())
        if report is None:
            tell.stage("all tiles are made already")
            return replace(job.planning.before, seconds=0.0, bytes_to_read=0)
        return job.planning.after(report, job.folder, workers=workers)
