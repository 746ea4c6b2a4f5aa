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
from toolkit.errors import NoItemsError
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
    parts = _parts(config, aoi, elsewhere=is_elsewhere(cluster))
    prepare(config.out)
    make = partial(rough_plan, tell=tell) if config.no_trial else partial(_tried, cluster=cluster, tell=tell)
    plan = joined_plans(_plans(parts, make))
    write_json(plan.to_dict(), config.out / PLAN_FILE)
    return plan


def _parts(config: PlanRequest, aoi: AOI, *, elsewhere: bool) -> dict[str, MapSetup]:
    """Return the maps that are made, by name: one, or one for each UTM zone."""
    if not spans_zones(config, aoi):
        return {"": set_up(config, aoi, elsewhere=elsewhere)}
    parts, _ = split_by_zone(aoi, resolution=config.pixel_size_m)
    asked = {part.name: zone_request(config, part) for part in parts}
    return {name: set_up(one, read_aoi(one.aoi), elsewhere=elsewhere) for name, one in asked.items()}


def _plans(parts: Mapping[str, MapSetup], make: Callable[[MapSetup], Plan]) -> list[Plan]:
    """Return the plan of each map; a zone without scenes is left out with a warning, as in the map itself.

    Raises:
        NoItemsError: no zone has any scene.
    """
    plans, nothing = [], {}
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
