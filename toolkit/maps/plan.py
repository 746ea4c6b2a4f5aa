"""What a map will take: scenes, tiles, bytes to read, disk, memory and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from toolkit.errors import StorageError
from toolkit.maps.memory import gib
from toolkit.maps.units import counted, duration, size
from toolkit.scenes.counts import ReadCounts

SCENE_PIXEL_BYTES = {"sentinel-2": 23.0, "emit": 1140 / 36}
"""Bytes to read for one output pixel of 10 m of one scene, before any is read.

Of Sentinel-2 the ten bands and the classification, compressed; of simulated scenes, 47 % cloud, seen: 23
from a server with tiles of 256 pixels, 17 with 512, when each tile read the headers of its files; 18 with 256
where workers keep them, as of files with ETags; 8 from a disk.
Of EMIT 285 bands in float32 for a pixel of 60 m.
"""
DISK_PIXEL_BYTES = 5.0
"""Bytes on the disk for a pixel of the area, at most, while the map is joined: tiles and layers; 3.3 seen."""
FILES_PER_TILE_BYTE = 3.0
"""The same for each byte of a tile: itself, the layers with overviews, one of them twice; 2.1 seen."""
READING, PREPARING = "read and composite", "prepare the engine"
"""Stages: one takes as long as it has scenes, one each worker does once, others as it has pixels."""
GRID_POINTS = 24
"""Places along each axis of the area at which scenes are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much of everything a map, or a tile of it, has."""

    pixels: int
    """In the area."""
    scene_pixels: float
    """The same, counted once for each scene that shows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedTile:
    """A tile that was made, to reckon the others from."""

    extent: Extent
    """Its pixels and scenes."""
    seconds: Mapping[str, float]
    """Of each stage."""
    scenes: int
    """Scenes that touch it."""
    reads: ReadCounts
    """What was read for it."""
    sparse: float
    """Pixels of the grid over those of its tiles that are made."""
    bytes_stored: int
    """Size of its file."""

    @property
    def telling(self) -> bool:
        """Whether others can be reckoned from it: it has pixels in the area, and scenes that show them."""
        return self.extent.pixels > 0 and self.extent.scene_pixels > 0

    @property
    def own_bytes(self) -> float:
        """Bytes of the blocks it needed, each by its share; where the format tells none, of those it read.

        Shares are those of the whole grid: where few of its tiles are made, each has more.
        """
        if not self.reads.needed_bytes:
            return self.reads.bytes - self.reads.header_bytes
        return min(self.reads.own_bytes * self.sparse, self.reads.needed_bytes)

    @property
    def own_reading(self) -> float:
        """What a tile takes to read, on average, over what this one took.

        The first tile over some blocks decodes them for its neighbours too.
        """
        if not self.reads.needed_bytes or not self.reads.thread_s:
            return 1.0
        decoding = self.reads.decoding_s / self.reads.thread_s
        return 1 - decoding + decoding * self.own_bytes / self.reads.needed_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a map will take."""

    scenes: int
    """Scenes of the season; one that serves two UTM zones counts in both, as both read it."""
    tiles: int
    """Tiles to make."""
    tile_size: int
    """Largest edge of a tile, pixels."""
    extent: Extent
    """Pixels and scenes."""
    workers: int | None
    """Processes that work on it; None if those of a cluster were not asked yet."""
    bytes_to_read: int
    """Bytes from servers or disks."""
    disk_bytes: int
    """Bytes in the output folder, at most."""
    beside_bytes: int
    """Of these, what is written beside the layers."""
    worker_bytes: int
    """Memory of each worker, at most, bytes."""
    seconds: float | None
    """Wall seconds of all tiles; None if none was tried."""

    def lines(self) -> list[str]:
        """Lines for a terminal."""
        reckoned = "as the tile tried takes" if self.seconds is not None else "roughly, no tile was tried"
        time = [] if self.seconds is None else [f"time: about {duration(self.seconds)}"]
        among = "worker" if self.workers is None else f"of {counted(self.workers, 'worker')}"
        return [
            f"{self.scenes} scenes, {counted(self.tiles, 'tile')} of {self.tile_size} pixels at most",
            f"pixels: {self.extent.pixels:,}",
            f"to read: {size(self.bytes_to_read)} ({reckoned})",
            f"disk: {size(self.disk_bytes)} at most",
            f"memory: {gib(self.worker_bytes)} at most in each {among}",
            *time,
        ]

    def after_first(self) -> str:
        """One line, once a tile of the map was made."""
        time = "" if self.seconds is None else f", about {duration(self.seconds)} for all tiles"
        read, disk = size(self.bytes_to_read), size(self.disk_bytes)
        return f"as a tile took: {read} to read, {disk} of disk{time}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def footprints_over(
    footprints: Sequence[shapely.Geometry | None], area: shapely.Geometry
) -> npt.NDArray[np.float64]:
    """Return which share of an area each scene shows, by its footprint.

    Args:
        footprints: in degrees; None shows all.
        area: in degrees. Shares are those of degrees: within an area of 5 degrees of latitude at 50 north
            they are off by a tenth at most.

    Returns:
        float64 ``(scene,)``, 0 to 1.
    """
    shapes = np.array([area if one is None else one for one in footprints], dtype=object)
    shapely.prepare(area)
    covering = shapely.covers(shapes, area)
    shares = covering.astype(np.float64)
    parts = np.flatnonzero(~covering)
    shares[parts] = shapely.area(shapely.intersection(shapes[parts], area)) / shapely.area(area)
    return shares


def most_scenes(footprints: Sequence[shapely.Geometry | None], area: shapely.Geometry) -> int:
    """Return how many scenes show a place of an area, at the place where most do.

    Args:
        footprints: in degrees; None shows all.
        area: in degrees.
    """
    west, south, east, north = shapely.bounds(area)
    xs, ys = (np.linspace(a, b, GRID_POINTS) for a, b in ((west, east), (south, north)))
    everywhere = sum(one is None for one in footprints)
    tree = shapely.STRtree([one for one in footprints if one is not None])
    places = shapely.points(*(part.ravel() for part in np.meshgrid(xs, ys)))
    place, _ = tree.query(places, predicate="intersects")
    counted = np.bincount(place, minlength=GRID_POINTS**2)
    return int(counted.max(initial=0)) + everywhere


def reckon(
    extent: Extent,
    *,
    scenes: int,
    tiles: int,
    tile_size: int,
    workers: int | None,
    worker_bytes: int,
    bytes_to_read: float,
    beside_bytes: int = 0,
) -> Plan:
    """Return what a map will take, as far as is known before any tile.

    Args:
        extent: pixels and scenes of the map.
        scenes: scenes of the season.
        tiles: tiles to make.
        tile_size: largest edge of a tile, pixels.
        workers: processes that work on it; None if they are not known.
        worker_bytes: memory of each, bytes.
        bytes_to_read: as the scenes let guess.
        beside_bytes: of what is written beside the layers: scenes found, styles, tables.
    """
    return Plan(
        scenes=scenes,
        tiles=tiles,
        tile_size=tile_size,
        extent=extent,
        workers=workers,
        bytes_to_read=round(bytes_to_read),
        disk_bytes=round(DISK_PIXEL_BYTES * extent.pixels) + beside_bytes,
        beside_bytes=beside_bytes,
        worker_bytes=worker_bytes,
        seconds=None,
    )


def reckon_from(tried: TriedTile, before: Plan, *, workers: int) -> Plan:
    """Return what a map will take, as a tile of it shows; where that shows nothing, as before.

    Bytes and reading follow the scenes, prediction the pixels, as they were in the tile tried; of blocks that
    neighbours need too the tile counts its share, and headers that are kept each worker reads once.

    Args:
        tried: a tile that was made.
        before: what was known of the map.
        workers: processes that work on it; if all are gone for the moment, one is taken for granted.
    """
    workers = max(1, workers)
    if not tried.telling:
        return replace(before, workers=workers)
    by_scenes = before.extent.scene_pixels / tried.extent.scene_pixels
    by_pixels = before.extent.pixels / tried.extent.pixels
    headers = min(by_scenes, workers * before.scenes / max(tried.scenes, 1))
    told = tried.seconds
    reading, once = told.get(READING, 0.0), told.get(PREPARING, 0.0)
    others = sum(told.values()) - reading - once
    work = reading * tried.own_reading * by_scenes + others * by_pixels
    return replace(
        before,
        workers=workers,
        bytes_to_read=round(tried.own_bytes * by_scenes + tried.reads.header_bytes * headers),
        disk_bytes=round(FILES_PER_TILE_BYTE * tried.bytes_stored * by_pixels) + before.beside_bytes,
        seconds=once + max(work / workers, reading + others),
    )


def joined_plans(plans: Sequence[Plan]) -> Plan:
    """Return what maps of several UTM zones take together, made one after the other and joined."""
    if len(plans) == 1:
        return plans[0]
    seconds = [plan.seconds for plan in plans]
    return Plan(
        scenes=sum(plan.scenes for plan in plans),
        tiles=sum(plan.tiles for plan in plans),
        tile_size=max(plan.tile_size for plan in plans),
        extent=Extent(
            pixels=sum(plan.extent.pixels for plan in plans),
            scene_pixels=sum(plan.extent.scene_pixels for plan in plans),
        ),
        workers=max((plan.workers for plan in plans if plan.workers is not None), default=None),
        bytes_to_read=sum(plan.bytes_to_read for plan in plans),
        disk_bytes=2 * sum(plan.disk_bytes for plan in plans),  # the joined map beside those of the zones
        beside_bytes=2 * sum(plan.beside_bytes for plan in plans),
        worker_bytes=max(plan.worker_bytes for plan in plans),
        seconds=None if None in seconds else sum(one for one in seconds if one is not None),
    )


def check_disk(plan: Plan, *, free: int, stored: int = 0) -> None:
    """Raise unless a map fits on the disk.

    Args:
        plan: what it takes.
        free: free bytes where it is written.
        stored: bytes of its tiles that lie there already.

    Raises:
        StorageError: it does not fit; tells the bytes needed.
    """
    needed = plan.disk_bytes - stored
    if needed > free:
        msg = (
            f"The map needs about {size(needed)} of disk, and {size(free)} are free in its folder. Free "
            f"{size(needed - free)}, give another --out, or map a part of the area."
        )
        raise StorageError(msg)
