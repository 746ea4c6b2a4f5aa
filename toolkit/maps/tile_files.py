"""Files of finished tiles: written whole, named after content key and checksum."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from rasterio.io import MemoryFile

from toolkit.area.grid import Tile
from toolkit.errors import StorageError
from toolkit.maps.layers import LAYERS, Layer

DIGITS = 20
"""Hexadecimal digits of a content key, and of a checksum in a file's name: 80 bits."""
NAME = re.compile(rf"(?P<name>r\d+_c\d+)\.(?P<key>[0-9a-f]{{{DIGITS}}})\.(?P<sha>[0-9a-f]{{{DIGITS}}})\.tif")
REPORT_TAG = "CROPGLOBE_REPORT"
"""TIFF tag with what the worker told, so that a lost ledger can be made anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileFile:
    """A tile on a disk, or on its way there."""

    name: str
    """Name of the tile."""
    content_key: str
    """Digest of all that its pixels depend on."""
    sha256: str
    """Of its bytes."""

    def path(self, folder: Path) -> Path:
        """Return where it is kept."""
        return folder / f"{self.name}.{self.content_key}.{self.sha256[:DIGITS]}.tif"

    def intact(self, folder: Path) -> bool:
        """Return whether its bytes are those that were written."""
        try:
            return digest(self.path(folder)) == self.sha256
        except OSError:
            return False


def digest(path: Path) -> str:
    """Return the sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encode_tile(
    labels: xr.Dataset, tile: Tile, layers: Sequence[Layer] = LAYERS, *, report: str = "{}"
) -> bytes:
    """Return the layers of a tile as one GeoTIFF; the same pixels give the same bytes.

    Args:
        labels: uint8 ``(y, x)``, a variable for each layer.
        tile: place and name.
        layers: layers of the map.
        report: what the worker tells, JSON.
    """
    stack = np.stack([labels[layer.name].to_numpy() for layer in layers]).astype(np.uint8)
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": len(stack),
        "height": stack.shape[1],
        "width": stack.shape[2],
        "crs": str(tile.geobox.crs),
        "transform": tile.geobox.affine,
        "compress": "deflate",
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(stack)
            file.update_tags(**{REPORT_TAG: report})
        content: bytes = memory.read()
    return content


def store_tile(content: bytes, made: TileFile, folder: Path) -> None:
    """Write a tile under its final name in one step; afterwards it survives a loss of power.

    Temporary name, flush to the disk, rename, flush of the folder: a file under a final name is whole.

    Args:
        content: bytes of the file.
        made: its names.
        folder: existing folder.

    Raises:
        StorageError: it cannot be written; tells the bytes needed.
    """
    temporary = folder / f".{made.name}.{secrets.token_hex(8)}.part"
    try:
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(made.path(folder))
            _flush_folder(folder)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        msg = (
            f"Tile {made.name} ({len(content):,} bytes) cannot be written to {str(folder)!r} on "
            f"{socket.gethostname()} ({error.strerror}). Free space or check permissions, then run again: "
            "tiles that are done stay."
        )
        raise StorageError(msg) from error


def read_tile_layer(path: Path, band: int) -> npt.NDArray[np.uint8]:
    """Return one layer of a stored tile, uint8 ``(y, x)``.

    Args:
        path: its file.
        band: number of the layer, from 1.
    """
    with rasterio.open(path) as file:
        values: npt.NDArray[np.uint8] = file.read(band)
    return values


def rebuilt_rows(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a ledger that is lost, from the tiles whose bytes are as their names say."""
    for path in sorted(folder.glob("r*.tif")) if folder.is_dir() else ():
        named = NAME.fullmatch(path.name)
        if named is None or not (sha256 := digest(path)).startswith(named["sha"]):
            continue
        with rasterio.open(path) as file:
            report = file.tags().get(REPORT_TAG, "{}")
        yield {"name": named["name"], "content_key": named["key"], "sha256": sha256, "report": report}


def remove_unused(folder: Path, kept: set[str]) -> None:
    """Remove files of tiles that no row names: parts of an interrupted run, tiles of an earlier request.

    Args:
        folder: where tiles are kept.
        kept: names of files that stay.
    """
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Bring a rename to the disk; without this it can be lost with the power."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
