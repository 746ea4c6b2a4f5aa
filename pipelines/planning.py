"""What a map will take, told before its tiles are made and again after the first of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import shapely
from distributed import Client

from pipelines.map_inputs import SensorInput
from pipelines.map_setup import MapSetup
from pipelines.run_folder import RunFolder
from pipelines.scratch import SCRATCH
from pipelines.tiling import most_pixels, worker_bytes
from toolkit.area.grid import Tile, inside, pixels_inside
from toolkit.catalog.items import footprint
from toolkit.cluster import least_memory
from toolkit.errors import MemoryBudgetError
from toolkit.maps.memory import GIB, MemoryNeed, gib
from toolkit.maps.plan import (
    SCENE_PIXEL_BYTES,
    Extent,
    Plan,
    TriedTile,
    check_disk,
    footprints_over,
    reckon,
)
from toolkit.maps.tiles import TileReport
from toolkit.scenes.granules import degrees
from toolkit.scenes.kept_blocks import KEPT_BYTES

PIXEL_M2 = 100.0
"""Area of the pixels for which bytes are known, square metres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """What is known of a map before it is made."""

    setup: MapSetup
    """What was asked for."""
    inputs: tuple[SensorInput, ...]
    """What each sensor gave."""
    order: tuple[Tile, ...]
    """Tiles to make."""
    need: MemoryNeed
    """What workers need for a tile."""
    workers: int
    """Local processes, where no cluster is given."""

    def plan(self, tried: TriedTile | None = None, *, workers: int | None = None) -> Plan:
        """Return what the map will take.

        Args:
            tried: a tile that was made.
            workers: those of a cluster.
        """
        setup = self.setup
        n_pixels = pixels_inside(setup.aoi, setup.geobox)
        shown = {one.sensor: self._scene_pixels(one, setup.aoi.geometry, n_pixels) for one in self.inputs}
        enlarged = abs(setup.geobox.resolution.x) ** 2 / PIXEL_M2
        return reckon(
            Extent(pixels=n_pixels, scene_pixels=sum(shown.values())),
            scenes=sum(len(one.found.items) for one in self.inputs),
            tiles=len(self.order),
            tile_size=max((max(tile.geobox.shape.yx) for tile in self.order), default=0),
            workers=workers or self.workers,
            worker_bytes=worker_bytes(self.need, self.order),
            bytes_to_read=sum(SCENE_PIXEL_BYTES[sensor] * enlarged * n for sensor, n in shown.items()),
            tried=tried,
        )

    def tried(self, report: TileReport, folder: RunFolder) -> TriedTile:
        """Return what a tile that was made took.

        Args:
            report: of the worker.
            folder: where it is kept.
        """
        tile = next(one for one in self.order if one.name == report.name)
        n_pixels = int(inside(self.setup.aoi, tile.geobox).sum())
        area = degrees(tile.geobox)
        place = self.setup.aoi.geometry if area is None else shapely.box(*area)
        return TriedTile(
            share=n_pixels / most_pixels(self.order),
            extent=Extent(
                pixels=n_pixels,
                scene_pixels=sum(self._scene_pixels(one, place, n_pixels) for one in self.inputs),
            ),
            seconds=report.seconds,
            scenes=sum(self._scenes(one, place) for one in self.inputs),
            reads=report.reads,
            sparse=self.setup.geobox.shape.x * self.setup.geobox.shape.y / sum(map(n_pixels_of, self.order)),
            bytes_stored=report.made.path(folder.tiles).stat().st_size,
        )

    def check(self, folder: RunFolder, plan: Plan | None = None) -> None:
        """Raise unless the map fits on the disk.

        Args:
            folder: folder of the run.
            plan: what the map will take; default as known before any tile.

        Raises:
            StorageError: it does not; tells the bytes needed.
        """
        stored = sum(path.stat().st_size for path in folder.tiles.iterdir())
        check_disk(plan or self.plan(), free=free_bytes(folder), stored=stored)

    def kept_bytes(self, folder: RunFolder) -> int:
        """Return how much each local worker may keep of decoded blocks: of what the map leaves free, half.

        Args:
            folder: folder of the run.
        """
        spare = free_bytes(folder) - self.plan().disk_bytes
        return min(KEPT_BYTES, max(0, spare) // (2 * self.workers))

    def on_cluster(self, connected: Callable[[], Client]) -> Callable[[], Client]:
        """Return what connects to a cluster, and raises unless its workers have the memory that tiles need.

        Args:
            connected: connects when it is called.
        """

        @cache
        def checked() -> Client:
            client, needed = connected(), worker_bytes(self.need, self.order)
            least = least_memory(client)
            if least is not None and least < needed:
                msg = (
                    f"Tiles need {gib(needed)} in each worker, and a worker of the cluster has {gib(least)}. "
                    f"Give --memory {least / GIB:.1f} and another --out, or larger workers."
                )
                raise MemoryBudgetError(msg)
            return client

        return checked

    @staticmethod
    def _scenes(one: SensorInput, area: shapely.Geometry) -> int:
        """Return the number of scenes that show some of an area."""
        places = [footprint(item) for item in one.found.items]
        return int((footprints_over(places, area) > 0).sum())

    @staticmethod
    def _scene_pixels(one: SensorInput, area: shapely.Geometry, n_pixels: int) -> float:
        """Return the pixels of an area, counted once for each scene that shows them."""
        places = [footprint(item) for item in one.found.items]
        return float(footprints_over(places, area).sum()) * n_pixels


def n_pixels_of(tile: Tile) -> int:
    """Return the pixels of a tile."""
    return int(tile.geobox.shape.x * tile.geobox.shape.y)


def free_bytes(folder: RunFolder) -> int:
    """Return the free bytes of a run's disk; what is kept there while it lasts counts as free."""
    kept = 0
    for path in folder.state.glob(f"{SCRATCH}*/*"):
        with suppress(OSError):  # a worker has just removed it
            kept += path.stat().st_size
    return shutil.disk_usage(folder.out).free + kept
