"""Opening a scene's file, on a disk or a server: in the format it must have, or by name."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from toolkit.catalog.access import LOCAL, Access
from toolkit.catalog.guard import GDAL_OPTIONS
from toolkit.catalog.redaction import redact
from toolkit.errors import AssetError, CropglobeError
from toolkit.scenes.headers import Header
from toolkit.scenes.limited_cache import LimitedCache
from toolkit.scenes.ranges import AHEAD_BYTES, RangeFile
from toolkit.scenes.threads import LOCAL_THREADS
from toolkit.scenes.virtual_files import named, without_prefix

JPEG2000 = "JP2OpenJPEG"
JPEG2000_AHEAD = 1_000_000
"""Bytes read at a time of JPEG 2000, whose parts lie where only its decoder knows."""
LARGEST_BLOCK_BYTES = 64 * 2**20
"""A block is decoded whole: a file of 458 KB with one block of 20000 x 20000 pixels took 1.2 GB."""
DECODING = threading.BoundedSemaphore(LOCAL_THREADS)
"""Held by threads that decode blocks and put them into place."""
LARGEST_SIDE = 200_000
"""Pixels; a Sentinel-2 tile has 10,980."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that is open."""

    pixels: Any
    """rasterio dataset."""
    remote: RangeFile | None
    """Where its bytes come from, if not from a disk."""
    version: str | None
    """What it is called with what changes when it is replaced; None if that could not be seen."""

    @contextmanager
    def read(self, window: Window, spans: Sequence[tuple[int, int]]) -> Iterator[Any]:
        """Read a window of the first band, and give its pixels.

        Threads fetch at the same time, but of those that have their bytes only as many as there are cores
        decode and use what they decoded: more would be no faster, and take memory.

        Args:
            window: pixels.
            spans: bytes of the blocks in it, fetched together; may be empty.
        """
        if self.remote is not None and spans:
            self.remote.prefetch(spans)
        waits = self.remote is not None and not spans  # for what only the decoder knows
        with nullcontext() if waits else DECODING:
            yield self.pixels.read(1, window=window)


@contextmanager
def opened(
    uri: str, access: Access = LOCAL, headers: LimitedCache[str, Header] | None = None
) -> Iterator[OpenFile]:
    """Open a file; what goes wrong while it is open names it.

    Args:
        uri: path or URL.
        access: how files of its catalog are read.
        headers: where the header of a remote file is kept, and looked for first.

    Raises:
        AssetError: the file cannot be read, has another format, or is built to exhaust memory.
        UnsafeReferenceError: the file may not be read.
    """
    remote = None
    if "://" in uri:
        access.guard.check(uri)
        ahead = JPEG2000_AHEAD if JPEG2000 in access.drivers else AHEAD_BYTES
        remote = RangeFile(uri, access, ahead=ahead, known=None if headers is None else headers.take(uri))
    try:
        before = _dated(uri) if remote is None else None  # it may be replaced while it is open
        with _dataset(uri, remote, access.drivers) as pixels:
            _check_size(uri, pixels)
            yield OpenFile(pixels, remote, before or _tagged(uri, remote))
    except CropglobeError:
        _keep(headers, uri, None)
        raise
    except (rasterio.errors.RasterioError, OSError) as error:
        cause = remote.failure if remote is not None else None
        failure: CropglobeError = cause or _unreadable(uri, error)
    else:
        if remote is None or remote.failure is None:
            _keep(headers, uri, None if remote is None else remote.header)
            return
        failure = remote.failure  # GDAL went on without bytes it did not get
    _keep(headers, uri, None)
    raise failure  # without its cause: GDAL's errors cannot travel between processes


def _dated(path: str) -> str:
    """Return the name of a file on a disk with its time of change, size and number."""
    stat = Path(path).stat()
    return f"{path} {stat.st_mtime_ns} {stat.st_size} {stat.st_ino}"


def _tagged(uri: str, remote: RangeFile | None) -> str | None:
    """Return the URL of a remote file with its ETag; None without a strong one."""
    return None if remote is None or remote.tag is None else f"{uri} {remote.tag}"


def _keep(headers: LimitedCache[str, Header] | None, uri: str, header: Header | None) -> None:
    """Keep the header of a file for the next tile, or forget it: it may be what was wrong."""
    if headers is None:
        return
    if header is None:
        headers.drop(uri)
    else:
        headers.keep(uri, header, len(header.content))


@contextmanager
def _dataset(uri: str, remote: RangeFile | None, drivers: Sequence[str]) -> Iterator[Any]:
    if remote is None:
        with rasterio.open(uri, driver=drivers[0]) as pixels:
            yield pixels
        return
    # One GDAL thread: those of the JPEG 2000 driver would open the file once more each, and cannot.
    with (
        rasterio.Env(**GDAL_OPTIONS),
        named(remote) as name,
        rasterio.open(name, driver=drivers[0], sharing=False) as pixels,
    ):
        yield pixels


def _check_size(uri: str, pixels: Any) -> None:
    """Refuse files made to exhaust memory."""
    height, width = pixels.block_shapes[0]
    item_bytes = np.dtype(pixels.dtypes[0]).itemsize
    block_bytes = height * width * item_bytes
    if max(pixels.height, pixels.width) > LARGEST_SIDE or block_bytes > LARGEST_BLOCK_BYTES:
        msg = (
            f"{redact(uri)!r} has {pixels.height} x {pixels.width} pixels, {block_bytes / 2**20:.0f} MiB a "
            f"block; read are {LARGEST_SIDE} a side and {LARGEST_BLOCK_BYTES / 2**20:.0f} MiB at most."
        )
        raise AssetError(msg, reason="too_large")


def _unreadable(uri: str, error: Exception) -> AssetError:
    name = redact(uri.partition("?")[0])  # what follows may be a signature
    text = without_prefix(redact(str(error)))
    return AssetError(
        f"{name!r} could not be read ({text}). If the file exists, run again.", reason="damaged"
    )
