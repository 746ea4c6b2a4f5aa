"""Tiles: made one by one as Dask tasks, kept as files until the map is joined."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from toolkit.area.grid import Tile
from toolkit.errors import StorageError
from toolkit.learn.engines.agreement import Agreement
from toolkit.legend import Legend
from toolkit.maps.geotiff import write_layer
from toolkit.maps.layers import LAYERS, Layer
from toolkit.maps.tile_files import TileFile, read_tile_layer
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.cropland import CroplandCounts
from toolkit.scenes.failures import FailedItem


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


MadeTile = tuple[Tile, Path | xr.Dataset]
"""A tile and its file, or its layers where it could not be made."""


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
