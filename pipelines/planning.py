"""What a map will take, told before its tiles are made and again after the first of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import shapely
from distributed import Client
from odc.geo.geobox import GeoBox

from pipelines.map_inputs import SensorInput
from pipelines.map_setup import MapSetup
from pipelines.run_folder import RunFolder
from pipelines.scratch import SCRATCH
from pipelines.tiling import most_pixels, worker_bytes
from toolkit.area.aoi import AOI
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
    reckon_from,
)
from toolkit.maps.tiles import TileReport
from toolkit.scenes.granules import degrees
from toolkit.scenes.kept_blocks import KEPT_BYTES

PIXEL_M2 = 100.0
"""Area of the pixels for which bytes are known, square metres."""
SMALL_FILES_BYTES = 400_000
"""Ledger, records, styles, tables and tags of a map, whatever its size."""
Footprints = tuple[shapely.Geometry | None, ...]
"""Of the scenes of a sensor, in degrees; None shows all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """What is known of a map before it is made."""

    aoi: AOI
    """Area of interest."""
    footprints: tuple[Footprints, ...]
    """Of each sensor's scenes."""
    tiles: Mapping[str, Tile]
    """Tiles to make, by name."""
    largest: int
    """Pixels of the largest of them."""
    sparse: float
    """Pixels of the grid over those of its tiles that are made."""
    before: Plan
    """What the map will take as far as is known before any tile."""

    def share(self, report: TileReport) -> float:
        """Return the pixels of a tile in the area over those of the largest tile, 0 to 1."""
        return int(inside(self.aoi, self.tiles[report.name].geobox).sum()) / self.largest

    def after(self, report: TileReport, folder: RunFolder, *, workers: int) -> Plan:
        """Return what the map will take, as a tile that was made shows.

        Args:
            report: of the worker that made it.
            folder: where the tile is kept.
            workers: those there are.
        """
        tile = self.tiles[report.name]
        extent, n_scenes = self._shown(tile)
        tried = TriedTile(
            extent=extent,
            seconds=report.seconds,
            scenes=n_scenes,
            reads=report.reads,
            sparse=self.sparse,
            bytes_stored=report.made.path(folder.tiles).stat().st_size,
        )
        return reckon_from(tried, self.before, workers=workers)

    def scene_pixels(self, tile: Tile) -> float:
        """Return the pixels of a tile in the area, counted once for each scene that shows them."""
        return self._shown(tile)[0].scene_pixels

    def _shown(self, tile: Tile) -> tuple[Extent, int]:
        """Return pixels and scenes of a tile, and how many scenes touch it."""
        n_pixels = int(inside(self.aoi, tile.geobox).sum())
        area = degrees(tile.geobox)
        place = self.aoi.geometry if area is None else shapely.box(*area)
        shares = [footprints_over(some, place) for some in self.footprints]
        shown = sum(float(one.sum()) for one in shares)
        n_scenes = sum(int((one > 0).sum()) for one in shares)
        return Extent(pixels=n_pixels, scene_pixels=shown * n_pixels), n_scenes

    def check(self, folder: RunFolder, plan: Plan | None = None) -> None:
        """Raise unless the map fits on the disk.

        Args:
            folder: folder of the run.
            plan: what the map will take; default as known before any tile.

        Raises:
            StorageError: it does not; tells the bytes needed.
        """
        stored = bytes_of(folder.tiles.iterdir())
        check_disk(plan or self.before, free=free_bytes(folder), stored=stored)

    def kept_bytes(self, folder: RunFolder, workers: int) -> int:
        """Return how much each local worker may keep of decoded blocks: of what the map leaves free, half.

        Args:
            folder: folder of the run.
            workers: those that share the disk.
        """
        spare = free_bytes(folder) - self.before.disk_bytes
        return min(KEPT_BYTES, max(0, spare) // (2 * workers))

    def on_cluster(self, connected: Callable[[], Client]) -> Callable[[], Client]:
        """Return what connects to a cluster, and raises unless its workers have the memory that tiles need.

        Args:
            connected: connects when it is called.
        """

        @cache
        def checked() -> Client:
            client, needed = connected(), self.before.worker_bytes
            least = least_memory(client)
            if least is not None and least < needed:
                msg = (
                    f"Tiles need {gib(needed)} in each worker, and a worker of the cluster has {gib(least)}. "
                    f"Give --memory {least / GIB:.1f} and another --out, or larger workers."
                )
                raise MemoryBudgetError(msg)
            return client

        return checked


def planning_of(
    setup: MapSetup,
    inputs: Sequence[SensorInput],
    order: Sequence[Tile],
    need: MemoryNeed,
    *,
    workers: int | None,
) -> Planning:
    """Return what is known of a map before it is made.

    Args:
        setup: what was asked for.
        inputs: what each sensor gave.
        order: tiles to make.
        need: what workers need for a tile.
        workers: local processes; None for a cluster, which is not connected yet.
    """
    aoi, geobox = setup.aoi, setup.geobox
    places = tuple(tuple(footprint(item) for item in one.found.items) for one in inputs)
    n_pixels = pixels_inside(aoi, geobox)
    shown = [float(footprints_over(some, aoi.geometry).sum()) * n_pixels for some in places]
    enlarged = abs(geobox.resolution.x) ** 2 / PIXEL_M2
    bytes_each = [SCENE_PIXEL_BYTES[one.sensor] * enlarged for one in inputs]
    before = reckon(
        Extent(pixels=n_pixels, scene_pixels=sum(shown)),
        scenes=sum(map(len, places)),
        tiles=len(order),
        tile_size=max((max(tile.geobox.shape.yx) for tile in order), default=0),
        workers=workers,
        worker_bytes=worker_bytes(need, order),
        bytes_to_read=sum(each * n for each, n in zip(bytes_each, shown, strict=True)),
        # Frozen files lie in the folder of the run, too.
        beside_bytes=SMALL_FILES_BYTES + 2 * bytes_of(path for one in inputs for path in one.files.values()),
    )
    made = sum(n_pixels_of(tile.geobox) for tile in order)
    return Planning(
        aoi=aoi,
        footprints=places,
        tiles={tile.name: tile for tile in order},
        largest=most_pixels(order),
        sparse=n_pixels_of(geobox) / max(made, 1),
        before=before,
    )


def n_pixels_of(geobox: GeoBox) -> int:
    """Return the pixels of a grid."""
    return int(geobox.shape.x * geobox.shape.y)


def free_bytes(folder: RunFolder) -> int:
    """Return the free bytes of a run's disk; what is kept there while it lasts counts as free."""
    kept = bytes_of(folder.state.glob(f"{SCRATCH}*/*"))
    return shutil.disk_usage(folder.out).free + kept


def bytes_of(paths: Iterable[Path]) -> int:
    """Return the size of files together; workers may rename or remove some meanwhile."""
    total = 0
    for path in paths:
        with suppress(OSError):
            total += path.stat().st_size
    return total
