"""Map workflow: area, season and catalog in, crop map out."""

from __future__ import annotations

import warnings
from dataclasses import asdict, astuple
from functools import partial
from typing import Any

from pipelines.config import MapRequest
from pipelines.content_keys import TileKeys
from pipelines.engine_choice import chosen_engines, with_engines
from pipelines.folder import versions, write_json
from pipelines.frozen_inputs import frozen_inputs
from pipelines.interruption import interruptible
from pipelines.map_files import RECORD, attribution_of, write_map
from pipelines.map_inputs import SensorInput
from pipelines.map_setup import MapSetup, set_up
from pipelines.map_tile import SensorJob, TileJob
from pipelines.progress import Progress
from pipelines.result import CropMap
from pipelines.run_folder import RunFolder, read_json, run_folder
from pipelines.tile_features import freeze
from pipelines.tile_run import run_all_tiles
from pipelines.tiling import TileCut, choose_cut
from pipelines.zones import map_zones, spans_zones
from toolkit.area.aoi import read_aoi
from toolkit.area.grid import Lattice
from toolkit.cluster import Connectable, connect_on_demand, cores
from toolkit.errors import NothingMappedWarning
from toolkit.learn.engines.agreement import Agreement
from toolkit.maps.shared_folder import check_shared_folder
from toolkit.maps.tiles import Stopwatch

NOTHING_MAPPED = (
    "No pixel could be mapped: none was seen clear, none is cropland, or no pixel's centre lies in the area. "
    "See status.tif; check the year, the area, the mask of cropland, and that --items belong to the area."
)


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
    setup = set_up(config, aoi)
    with run_folder(config.out) as folder, interruptible() as interruption:
        inputs, cropland = frozen_inputs(setup, folder, tell=tell)
        watch.lap("search")
        job = TileJob(
            sensors=tuple(_sensor_job(one, config) for one in inputs),
            aoi=setup.aoi,
            folder=folder.tiles if config.results == "stored" else None,
            cropland=cropland.source,
        )
        items = [item for one in inputs for item in one.found.items]
        order = tuple(_cut(inputs, setup, folder).tiles(setup.geobox))
        workers = min(config.workers or cores(), len(order))
        shared = partial(check_shared_folder, folder=folder.tiles, written=job.folder is not None)
        with connect_on_demand(client or config.scheduler, workers=workers, check=shared) as connected:
            job = with_engines(job, order, config, folder, client=connected, tell=tell)
            tiles = run_all_tiles(
                order,
                job,
                TileKeys(_shared(job, inputs), setup.aoi, items),
                folder,
                client=connected,
                tell=tell,
                interruption=interruption,
            )
        watch.lap("tiles")
        written = write_map(setup, inputs, cropland, tiles.made, job.layers, folder)
        watch.lap("join and check")
        if not any(report.kept.mapped for report in tiles.reports):
            warnings.warn(NOTHING_MAPPED, NothingMappedWarning, stacklevel=2)
        result = CropMap(
            folder=config.out,
            written=written,
            inputs=inputs,
            tiles=tiles,
            seconds=watch.seconds,
            attribution=attribution_of(inputs, cropland),
            cropland=cropland.of_tiles(report.kept.cropland for report in tiles.reports),
        )
        config.write(config.out / "run.yaml")
        engines = {"tried": chosen_engines(folder), "agreement": _agreement(result)}
        write_json({**_record(result, setup), "engines": engines}, config.out / RECORD)
    return result


def _sensor_job(one: SensorInput, config: MapRequest) -> SensorJob:
    return SensorJob(
        items=freeze(one.found.path, one.found.items, config.of_sensor(one.sensor)),
        n_items=len(one.found.items),
        model=one.model,
        model_hash=one.checkpoint.content_hash,
        season=one.season,
    )


def _cut(inputs: tuple[SensorInput, ...], setup: MapSetup, folder: RunFolder) -> TileCut:
    """Return how the tiles are cut: as the folder says, else as the sensor with the smallest ones wants them.

    It is frozen: another machine, with other memory, goes on with the same tiles.
    """
    config, known = setup.config, read_json(folder.choices)
    grid = [str(setup.geobox.crs), *setup.geobox.affine[:6], *setup.geobox.shape.yx]
    if known is not None and known["grid"] == grid and config.tile_size in (None, known["tile_size"]):
        lattice = known["lattice"]
        return TileCut(size=known["size"], lattice=None if lattice is None else Lattice(*lattice))
    cuts = [choose_cut(one.found.items, setup.geobox, one.checkpoint.recipe, config) for one in inputs]
    # Of equally small ones, the first: Sentinel-2's lie on the blocks of its files.
    cut = min(cuts, key=lambda one: one.size)
    lattice = None if cut.lattice is None else list(astuple(cut.lattice))
    chosen = {"grid": grid, "tile_size": config.tile_size, "size": cut.size, "lattice": lattice}
    write_json(chosen, folder.choices)
    return cut


def _shared(job: TileJob, inputs: tuple[SensorInput, ...]) -> dict[str, Any]:
    """Return what all tiles depend on beside their scenes, as plain values."""
    return {
        "layers": [layer.name for layer in job.layers],
        "cropland": None if job.cropland is None else job.cropland.content_hash,
        "sensors": [
            {
                "model": one.model_hash,
                "engine": one.setting.to_dict(),
                "recipe": asked.checkpoint.recipe.to_dict(),
                "first_day": str(one.season.start),
                "last_day": str(one.season.end),
                "first_step": one.season.first_step,
            }
            for one, asked in zip(job.sensors, inputs, strict=True)
        ],
    }


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
        "accuracy": None if result.accuracy is None else result.accuracy.to_dict(legend),
        "seconds": {name: round(value, 2) for name, value in result.seconds.items()},
        "reads": asdict(result.reads),
        "worker_seconds": {name: round(value, 2) for name, value in result.worker_seconds.items()},
        "versions": versions(),
    }
