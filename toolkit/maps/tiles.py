"""Tiles: made one by one as Dask tasks, kept as files until the map is joined."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from distributed import Client, Future, KilledWorker, as_completed
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from toolkit.area.grid import Tile
from toolkit.errors import CropglobeError, RemoteError, StorageError, WorkerError
from toolkit.learn.engines.agreement import Agreement
from toolkit.legend import Legend
from toolkit.maps.geotiff import write_layer
from toolkit.maps.layers import LAYERS, Layer
from toolkit.maps.tile_files import TileFile, read_tile_layer
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.cropland import CroplandCounts
from toolkit.scenes.failures import FailedItem

TASKS_PER_WORKER = 4
"""Tiles handed to the cluster ahead of need; the rest wait here, so that the graph stays small."""
SCHEDULER_LOST = (CancelledError, ClosedClientError, CommClosedError, TimeoutError)
"""What a client raises when its scheduler is gone."""
LOST = (
    "The Dask scheduler was lost while tiles were made. Start it again, or leave it out to work on this "
    "machine, and run the same command again: tiles that are done stay."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept of a worker's report with the tile: what holds whoever makes it, and how fast."""

    mapped: int = 0
    """Pixels that got a class."""
    failed: tuple[FailedItem, ...] = ()
    """Scenes that could not be read and were left out."""
    cropland: CroplandCounts = field(default_factory=CroplandCounts)
    """Pixels of the area by what the mask of cropland says of them."""
    agreement: Agreement = field(default_factory=Agreement)
    """Of the engine with float32, on some of the pixels."""

    def to_json(self) -> str:
        """Return it as text; :meth:`from_json` reads it."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Kept:
        """Read what :meth:`to_json` gave; what is missing counts as nothing."""
        values = json.loads(text)
        return cls(
            mapped=values.get("mapped", 0),
            failed=tuple(FailedItem(**one) for one in values.get("failed", ())),
            cropland=CroplandCounts(**values.get("cropland", {})),
            agreement=Agreement(**values.get("agreement", {})),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TileReport:
    """What a worker tells of a finished tile."""

    name: str
    """Name of the tile."""
    seconds: dict[str, float]
    """Wall seconds of each stage; none for a tile kept from an earlier run."""
    kept: Kept
    """What is kept with the tile."""
    made: TileFile
    """Its file, as it lies on the disk or as ``content`` becomes one."""
    content: bytes | None = None
    """Bytes of the file where workers give tiles back instead of storing them."""
    reads: ReadCounts = field(default_factory=ReadCounts)
    """What was read."""


class Stopwatch:
    """Wall seconds of named stages."""

    def __init__(self) -> None:
        """Start the clock."""
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Book the time since the last lap under a stage."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


Place = TypeVar("Place")
Report = TypeVar("Report")
MadeTile = tuple[Tile, Path | xr.Dataset]
"""A tile and its file, or its layers where it could not be made."""


def run_tiles(
    tiles: Iterable[Place],
    work: Callable[[Place], Report],
    *,
    client: Client,
    instead: Callable[[Place], Report] | None = None,
    near: Callable[[Place], Hashable] | None = None,
) -> Iterator[Report]:
    """Work on tiles on a cluster and yield what each gives, as they finish.

    A tile on which a worker died is tried once more after all others, alone, so that no tile is blamed for
    what its neighbour on the same worker did.

    Args:
        tiles: tiles, or what stands for them.
        work: works on one tile; sent to the workers, so it must be picklable.
        client: Dask client.
        instead: gives the report of a tile on which workers died twice; by default that is an error.
        near: gives the same for tiles that share blocks of the files: one worker makes them, as long as no
            other is idle, so that it decodes those blocks once.

    Raises:
        WorkerError: workers died on a tile twice.
        RemoteError: the scheduler was lost.
        Exception: what ``work`` raised for the first tile that failed; tiles not yet started are cancelled.
    """
    suspects: list[Place] = []
    yield from _in_window(iter(tiles), work, client, suspects, near)
    for place in suspects:
        again: list[Place] = []
        yield from _in_window(iter([place]), work, client, again)
        if again and instead is None:
            msg = (
                "The workers died on one tile twice, most often for lack of memory. Use smaller tiles "
                "(--tile-size) or fewer workers (--workers)."
            )
            raise WorkerError(msg)
        if again and instead is not None:
            yield instead(place)


def _in_window(
    waiting: Iterator[Place],
    work: Callable[[Place], Report],
    client: Client,
    deaths: list[Place],
    near: Callable[[Place], Hashable] | None = None,
) -> Iterator[Report]:
    """Work on tiles, a few per worker in the cluster's hands; note those on which workers died."""
    workers = list(client.scheduler_info(n_workers=-1)["workers"])
    window = TASKS_PER_WORKER * max(1, len(workers))
    homes: dict[Hashable, str] = {}
    turns = cycle(workers)
    started: dict[Future[Report], Place] = {}
    finished = as_completed()

    @_lost_is_named()
    def start(place: Place) -> None:
        home = {}
        if near is not None and workers:
            block = near(place)
            if block not in homes:  # a turn for each block, not for each of its tiles
                homes[block] = next(turns)
            home = {"workers": [homes[block]], "allow_other_workers": True}
        future = client.submit(_attempt, work, place, pure=False, **home)
        started[future] = place
        finished.add(future)

    for place in islice(waiting, window):
        start(place)
    try:
        for future in finished:
            place = started.pop(future)
            with _lost_is_named():
                try:
                    reports = [future.result()]
                except KilledWorker:
                    reports = []
                    deaths.append(place)
            yield from reports
            for following in islice(waiting, 1):
                start(following)
    finally:
        with suppress(*SCHEDULER_LOST):
            client.cancel(list(started), force=True)


@contextmanager
def _lost_is_named() -> Iterator[None]:
    try:
        yield
    except SCHEDULER_LOST as error:
        raise RemoteError(LOST) from error


def _attempt(work: Callable[[Place], Report], tile: Place) -> Report:
    """Work on a tile; our own errors travel without their cause, which GDAL's errors make unpicklable."""
    try:
        return work(tile)
    except CropglobeError as error:
        failure = copy(error)
    raise failure


def join_tiles(
    tiles: Sequence[MadeTile],
    geobox: GeoBox,
    out: Path,
    *,
    legend: Legend,
    tags: dict[str, str],
    layers: Sequence[Layer] = LAYERS,
) -> dict[str, Path]:
    """Join stored tiles to the layers of the map, one tile in memory at a time.

    Args:
        tiles: tiles of the map, each with its file or layers.
        geobox: grid of the map.
        out: existing output folder.
        legend: classes of the map.
        tags: TIFF tags of every layer.
        layers: layers of the map, as the tiles were written with.

    Returns:
        Layer name -> file written.

    Raises:
        StorageError: a file cannot be written.
    """
    return {
        layer.name: write_layer(_blocks(tiles, layers, band), geobox, layer, out / layer.file, legend, tags)
        for band, layer in enumerate(layers, start=1)
    }


def _blocks(
    tiles: Iterable[MadeTile], layers: Sequence[Layer], band: int
) -> Iterator[tuple[Window, npt.NDArray[np.uint8]]]:
    for tile, made in tiles:
        if isinstance(made, Path):
            values = read_tile_layer(made, band)
        else:
            values = made[layers[band - 1].name].to_numpy()
        height, width = values.shape
        yield Window(tile.x.start, tile.y.start, width, height), values


def publish(files: dict[str, Path], out: Path) -> dict[str, Path]:
    """Move finished layers, and the tables of names beside them, to the output folder.

    Args:
        files: layer name -> file, as :func:`join_tiles` gives them.
        out: existing output folder on the same disk.

    Returns:
        Layer name -> file in the output folder.

    Raises:
        StorageError: a file cannot be moved.
    """
    try:
        for file in files.values():
            for part in sorted(file.parent.glob(f"{file.name}*")):
                part.replace(out / part.name)
    except OSError as error:
        msg = f"The map cannot be moved to {str(out)!r} ({error}). Check permissions, then run again."
        raise StorageError(msg) from error
    return {name: out / file.name for name, file in files.items()}
