"""What a map will take, roughly: from the catalog alone, a month of scenes at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pystac

from pipelines.map_inputs import check_simulated, season_of
from pipelines.map_setup import MapSetup
from pipelines.planning import PIXEL_M2
from pipelines.progress import Progress
from pipelines.search import found_items
from pipelines.tiling import TileCut, budget_of, worker_bytes, workers_of
from toolkit.area.grid import pixels_inside, tiles_touching
from toolkit.area.season import Season
from toolkit.catalog.items import footprint
from toolkit.cluster import is_elsewhere
from toolkit.errors import NoItemsError
from toolkit.maps.memory import fitting_size, memory_need
from toolkit.maps.plan import SCENE_PIXEL_BYTES, Extent, Plan, footprints_over, most_scenes, reckon

STEPS_AT_ONCE = 6
"""Steps of the season that are searched at a time: a month, so that a country's scenes fit into memory."""


def rough_plan(setup: MapSetup, *, tell: Progress) -> Plan:
    """Return what a map will take, without reading a pixel.

    Args:
        setup: what is asked for.
        tell: tells how far the run is.

    Raises:
        NoItemsError: no scene is found.
        SimulatedModelError: a model trained on simulated data would map real scenes.
        MemoryBudgetError: tiles do not fit into memory.
    """
    config, geobox, area = setup.config, setup.geobox, setup.aoi.geometry
    n_pixels = pixels_inside(setup.aoi, geobox)
    scenes, shown, most = dict.fromkeys(setup.models, 0), dict.fromkeys(setup.models, 0.0), {}
    for sensor in setup.models:
        most[sensor] = 0
        for items in _by_month(setup, sensor):
            check_simulated(setup.models[sensor], items, allowed=config.allow_simulated_model)
            places = [footprint(item) for item in items]
            scenes[sensor] += len(items)
            shown[sensor] += float(footprints_over(places, area).sum()) * n_pixels
            most[sensor] += most_scenes(places, area)
        tell.stage(f"{scenes[sensor]} scenes of {sensor}")
    if not any(scenes.values()):
        msg = "No scene of the season covers the area. Check year, area and catalog."
        raise NoItemsError(msg)
    need = memory_need([model.recipe for model in setup.models.values()], list(most.values()))
    size = config.tile_size or fitting_size(need, budget_of(config))
    order = tuple(tiles_touching(setup.aoi, TileCut(size=size, lattice=None).tiles(geobox)))
    elsewhere = is_elsewhere(config.scheduler)
    workers = workers_of(config, need, order, elsewhere=elsewhere)  # or raises: it does not fit
    enlarged = abs(geobox.resolution.x) ** 2 / PIXEL_M2
    return reckon(
        Extent(pixels=n_pixels, scene_pixels=sum(shown.values())),
        scenes=sum(scenes.values()),
        tiles=len(order),
        tile_size=size,
        workers=None if elsewhere else workers,
        worker_bytes=worker_bytes(need, order),
        bytes_to_read=sum(SCENE_PIXEL_BYTES[sensor] * enlarged * n for sensor, n in shown.items()),
    )


def _by_month(setup: MapSetup, sensor: str) -> Iterator[pystac.ItemCollection]:
    """Yield the scenes of a sensor, a month at a time; saved ones all at once."""
    own, model = setup.config.of_sensor(sensor), setup.models[sensor]
    bands = None if sensor == "emit" else model.recipe.bands
    season = season_of(model, own, setup.aoi)
    for part in [season] if own.items else _months(season):
        try:
            yield found_items(own, setup.aoi, part, sensor=sensor, bands=bands)
        except NoItemsError:
            continue


def _months(season: Season) -> list[Season]:
    """Return a season cut into parts."""
    at_once = max(1, STEPS_AT_ONCE * 5 // season.step_days)
    starts = range(season.first_step, season.first_step + season.n_steps, at_once)
    stop = season.first_step + season.n_steps
    return [replace(season, first_step=first, n_steps=min(at_once, stop - first)) for first in starts]
