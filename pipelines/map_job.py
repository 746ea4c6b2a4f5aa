"""The work of a map: scenes settled, tiles cut, and what workers need for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import pystac

from pipelines.content_keys import TileKeys
from pipelines.folder import write_json
from pipelines.frozen_inputs import frozen_inputs
from pipelines.interruption import Interruption, interruptible
from pipelines.map_cropland import MapCropland
from pipelines.map_inputs import SensorInput
from pipelines.map_setup import MapSetup
from pipelines.map_tile import SensorJob, TileJob
from pipelines.planning import Planning, planning_of
from pipelines.progress import Progress
from pipelines.run_folder import RunFolder, read_json, run_folder
from pipelines.scratch import room_for_blocks
from pipelines.tile_features import freeze
from pipelines.tiling import TileCut, choose_cut, need_of, workers_of
from toolkit.area.grid import Lattice, Tile, tiles_touching
from toolkit.maps.geotiff import small_cache
from toolkit.maps.memory import MemoryNeed


@dataclass(frozen=True, slots=True, kw_only=True)
class MapJob:
    """All that is decided before the first tile of a map."""

    setup: MapSetup
    """What was asked for."""
    folder: RunFolder
    """Folder of the run, locked."""
    interruption: Interruption
    """Keeps signals back while a tile is committed."""
    inputs: tuple[SensorInput, ...]
    """What each sensor gave."""
    cropland: MapCropland
    """What tells cropland."""
    cut: TileCut
    """How the grid is cut."""
    order: tuple[Tile, ...]
    """Tiles to make."""
    workers: int
    """Local processes, where no cluster is given."""
    planning: Planning
    """Says what the map will take."""
    work: TileJob
    """What workers need."""

    def keys(self, work: TileJob) -> TileKeys:
        """Return what gives the tiles their content keys, once engines are chosen."""
        items: list[pystac.Item] = [item for one in self.inputs for item in one.found.items]
        return TileKeys(_shared(work, self.inputs), self.setup.aoi, items)


@contextmanager
def map_job(setup: MapSetup, tell: Progress, *, elsewhere: bool) -> Iterator[MapJob]:
    """Give the work of a map, its folder locked and its inputs frozen, after it was seen to fit.

    Args:
        setup: what is asked for.
        tell: tells how far the run is.
        elsewhere: whether a cluster works, whose memory is not this machine's.

    Raises:
        MemoryBudgetError: tiles do not fit into memory.
        StorageError: the map does not fit on the disk, or the folder cannot be written.
        CropglobeError: see :mod:`toolkit.errors`.
    """
    config = setup.config
    with run_folder(config.out) as folder, interruptible() as interruption, small_cache():
        inputs, cropland = frozen_inputs(setup, folder, tell=tell)
        recipes = [one.checkpoint.recipe for one in inputs]
        need = need_of([one.found.items for one in inputs], recipes, setup.aoi)
        cut = _cut(inputs, setup, folder, need)
        order = tuple(tiles_touching(setup.aoi, cut.tiles(setup.geobox)))
        workers = workers_of(config, need, order, elsewhere=elsewhere)
        planning = planning_of(setup, inputs, order, need, workers=None if elsewhere else workers)
        planning.check(folder)
        kept_bytes = planning.kept_bytes(folder, workers)
        with room_for_blocks(folder.state, elsewhere=elsewhere) as room:
            yield MapJob(
                setup=setup,
                folder=folder,
                interruption=interruption,
                inputs=inputs,
                cropland=cropland,
                cut=cut,
                order=order,
                workers=workers,
                planning=planning,
                work=TileJob(
                    sensors=tuple(_sensor_job(one, setup, room, kept_bytes) for one in inputs),
                    folder=folder.tiles if config.results == "stored" else None,
                    cropland=cropland.source,
                ),
            )


def _sensor_job(one: SensorInput, setup: MapSetup, room: Path | None, kept_bytes: int) -> SensorJob:
    own = setup.config.of_sensor(one.sensor)
    return SensorJob(
        items=freeze(
            one.found.path, one.found.items, own, grid=setup.geobox, kept=room, kept_bytes=kept_bytes
        ),
        n_items=len(one.found.items),
        model=one.model,
        model_hash=one.checkpoint.content_hash,
        season=one.season,
    )


def _cut(inputs: tuple[SensorInput, ...], setup: MapSetup, folder: RunFolder, need: MemoryNeed) -> TileCut:
    """Return how the tiles are cut: as the folder says, else as the sensor with the smallest ones wants them.

    It is frozen: another machine, with other memory, goes on with the same tiles.
    """
    config, known = setup.config, read_json(folder.choices)
    grid = [str(setup.geobox.crs), *setup.geobox.affine[:6], *setup.geobox.shape.yx]
    if known is not None and known["grid"] == grid and config.tile_size in (None, known["tile_size"]):
        lattice = known["lattice"]
        return TileCut(size=known["size"], lattice=None if lattice is None else Lattice(*lattice))
    cuts = [choose_cut(one.found.items, setup.geobox, one.checkpoint.recipe, config, need) for one in inputs]
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
