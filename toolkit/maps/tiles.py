"""Tiles: made one by one as Dask tasks, kept as files until the map is joined."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from distributed import Client, Future, KilledWorker, as_completed
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from toolkit.area.grid import Tile
from toolkit.errors import CropglobeError, StorageError, WorkerError
from toolkit.legend import Legend
from toolkit.maps.geotiff import write_layer
from toolkit.maps.layers import LAYERS, Layer
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.cropland import CroplandCounts
from toolkit.scenes.failures import FailedItem
from toolkit.storage import replacing

TASKS_PER_WORKER = 4
"""Tiles handed to the cluster ahead of need; the rest wait here, so that the graph stays small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileReport:
    """What a worker tells of a finished tile."""

    name: str
    """Name of the tile."""
    seconds: dict[str, float]
    """Wall seconds of each stage."""
    mapped: int
    """Pixels that got a class."""
    reads: ReadCounts = field(default_factory=ReadCounts)
    """What was read."""
    failed: tuple[FailedItem, ...] = ()
    """Scenes that could not be read and were left out."""
    cropland: CroplandCounts = field(default_factory=CroplandCounts)
    """Pixels that are not cropland."""


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


def run_tiles(tiles: Iterable[Place], work: Callable[[Place], Report], *, client: Client) -> Iterator[Report]:
    """Work on tiles on a cluster and yield what each gives, as they finish.

    Args:
        tiles: tiles, or what stands for them.
        work: works on one tile; sent to the workers, so it must be picklable.
        client: Dask client.

    Raises:
        Exception: what ``work`` raised for the first tile that failed; tiles not yet started are cancelled.
    """
    waiting = iter(tiles)
    window = TASKS_PER_WORKER * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    started = [
        client.submit(_attempt, work, tile, pure=False)
        for _, tile in zip(range(window), waiting, strict=False)
    ]
    finished = as_completed(started)
    try:
        for future in finished:
            yield _result(future)
            started.remove(future)
            if (tile := next(waiting, None)) is not None:
                following = client.submit(_attempt, work, tile, pure=False)
                started.append(following)
                finished.add(following)
    finally:
        client.cancel(started, force=True)


def _result(future: Future[Report]) -> Report:
    try:
        return future.result()
    except KilledWorker as error:
        msg = (
            f"The workers died on one tile again and again, most often for lack of memory ({error}). "
            "Use smaller tiles (--tile-size) or fewer workers (--workers)."
        )
        raise WorkerError(msg) from error


def _attempt(work: Callable[[Place], Report], tile: Place) -> Report:
    """Work on a tile; our own errors travel without their cause, which GDAL's errors make unpicklable."""
    try:
        return work(tile)
    except CropglobeError as error:
        failure = copy(error)
    raise failure


def tile_path(folder: Path, name: str) -> Path:
    """Return where a tile is kept."""
    return folder / f"{name}.tif"


def write_tile(labels: xr.Dataset, folder: Path, tile: Tile, layers: Sequence[Layer] = LAYERS) -> Path:
    """Store the layers of a tile as one GeoTIFF.

    Args:
        labels: uint8 ``(y, x)``, a variable for each layer.
        folder: existing folder.
        tile: place and name.
        layers: layers of the map.
    """
    stack = np.stack([labels[layer.name].to_numpy() for layer in layers]).astype(np.uint8)
    path = tile_path(folder, tile.name)
    with (
        replacing(path) as temporary,
        rasterio.open(
            temporary,
            "w",
            driver="GTiff",
            dtype="uint8",
            count=len(stack),
            height=stack.shape[1],
            width=stack.shape[2],
            crs=str(tile.geobox.crs),
            transform=tile.geobox.affine,
            compress="deflate",
        ) as file,
    ):
        file.write(stack)
    return path


def join_tiles(
    tiles: Iterable[Tile],
    folder: Path,
    geobox: GeoBox,
    out: Path,
    *,
    legend: Legend,
    tags: dict[str, str],
    layers: Sequence[Layer] = LAYERS,
) -> dict[str, Path]:
    """Join stored tiles to the layers of the map, one tile in memory at a time.

    Args:
        tiles: tiles of the map.
        folder: where they are stored.
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
    order = tuple(tiles)
    return {
        layer.name: write_layer(_blocks(order, folder, band), geobox, layer, out / layer.file, legend, tags)
        for band, layer in enumerate(layers, start=1)
    }


def _blocks(tiles: Iterable[Tile], folder: Path, band: int) -> Iterator[tuple[Window, npt.NDArray[np.uint8]]]:
    for tile in tiles:
        with rasterio.open(tile_path(folder, tile.name)) as file:
            values: npt.NDArray[np.uint8] = file.read(band)
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
