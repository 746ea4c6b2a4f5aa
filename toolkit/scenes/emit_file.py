"""An EMIT file, open: structure checked, lines read in blocks, never the whole granule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.catalog.access import LOCAL, Access
from toolkit.catalog.netcdf import opened_netcdf
from toolkit.catalog.redaction import redact
from toolkit.errors import AssetError, CropglobeError
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.ranges import RangeFile
from toolkit.scenes.stream import RangeStream

BLOCK_BYTES = 16 * 2**20
"""Bytes of a swath held at a time: eleven lines of 1242 x 285 float32."""
AHEAD_BYTES = 262_144
"""Bytes of a remote file fetched at a time for its structure, which lies scattered over the first ones."""
FETCH_TOGETHER = 8
"""Ranges of a remote file fetched at a time: lines lie apart, 234 of them in 10 km of a swath turned by 40
degrees."""
LARGEST_SIDE = 100_000
"""Lines, samples or cells a side; a granule has 1280 to 2560 lines."""
LARGEST_CHUNK_BYTES = 64 * 2**20
"""A compressed chunk is inflated whole."""
LARGEST_READ_BYTES = 256 * 2**20
"""Read at once; the two tables of a granule take 19 MB each, a block of lines 16."""
FILTERS = frozenset({1, 2, 3})
"""HDF5 filters that files may use, by number: deflate, shuffle and fletcher32. Others may be plug-ins."""


@dataclass(frozen=True, slots=True)
class EmitFile:
    """An open NetCDF file."""

    name: str
    """Path or URL without signature."""
    netcdf: Any
    """h5netcdf file: dimensions and attributes by name."""
    hdf: Any
    """The same file as h5py: where its bytes lie."""
    remote: RangeFile | None
    """Where its bytes come from, if not from a disk."""

    def attribute(self, name: str) -> Any:
        """Return a global attribute, None if there is none."""
        return self.netcdf.attrs.get(name)

    def has(self, path: str) -> bool:
        """Whether a variable is there."""
        return path in self.hdf

    def shape(self, path: str) -> tuple[int, ...]:
        """Shape of a variable."""
        return tuple(int(size) for size in self.variable(path).shape)

    def dims(self, path: str) -> tuple[str, ...]:
        """Names of the dimensions of a variable, without those of its groups."""
        return tuple(str(name).rpartition("/")[2] for name in self.netcdf[path].dimensions)

    def variable(self, path: str) -> Any:
        """Return a variable that was found harmless.

        Raises:
            AssetError: it is missing, is built to exhaust memory, or needs a plug-in.
        """
        found = self.hdf.get(path)
        if not hasattr(found, "chunks"):
            raise self.failed("layout", f"there is no variable {path!r}")
        _check_size(self, path, found)
        return found

    def read(self, path: str, *window: slice) -> npt.NDArray[Any]:
        """Read a window of a variable; all of it without one.

        Args:
            path: variable.
            window: a slice with start and stop for each of the leading dimensions.

        Raises:
            AssetError: the bytes cannot be read.
        """
        found = self.variable(path)
        sides = [part.stop - part.start for part in window]
        size = int(np.prod([*sides, *found.shape[len(window) :]], dtype=float)) * found.dtype.itemsize
        if size > LARGEST_READ_BYTES:
            raise self.failed("too_large", f"{path!r} would take {size / 2**20:,.0f} MiB at once")
        if self.remote is not None:
            self.remote.prefetch(_spans(found, window), together=FETCH_TOGETHER)
        values: npt.NDArray[Any] = found[window] if window else found[...]
        if self.remote is not None and self.remote.failure is not None:
            raise self.remote.failure  # HDF5 went on without bytes it did not get
        return values

    def line_blocks(self, path: str, lines: npt.NDArray[np.int32]) -> Iterator[slice]:
        """Yield runs of lines that hold all lines wanted, whole chunks where the file has chunks.

        Args:
            path: variable whose first dimension is lines.
            lines: lines wanted, ascending.
        """
        unit = (self.variable(path).chunks or (1,))[0]
        step = max(1, BLOCK_BYTES // self._line_bytes(path) // unit) * unit
        first = 0
        while first < len(lines):
            stop = (int(lines[first]) // unit) * unit + step
            last = int(np.searchsorted(lines, stop))
            yield slice(int(lines[first]), int(lines[last - 1]) + 1)
            first = last

    def sample_blocks(self, path: str, lines: slice, samples: slice) -> Iterator[slice]:
        """Yield the samples of a run of lines in pieces that fit into memory: chunks may hold many lines.

        Args:
            path: variable with the dimensions line, sample, band.
            lines: run of lines.
            samples: samples wanted.
        """
        _, across, _ = self.shape(path)
        unit = (self.variable(path).chunks or (1, 1))[1]
        sample_bytes = max(1, (lines.stop - lines.start) * self._line_bytes(path) // max(1, across))
        step = max(1, 4 * BLOCK_BYTES // sample_bytes // unit) * unit
        for first in range(samples.start // unit * unit, samples.stop, step):
            yield slice(max(first, samples.start), min(first + step, samples.stop))

    def _line_bytes(self, path: str) -> int:
        found = self.variable(path)
        return max(1, int(found.dtype.itemsize * np.prod(found.shape[1:])))

    def counts(self, read: int) -> ReadCounts:
        """Return what reading cost: bytes and requests of a server, or bytes of a disk."""
        if self.remote is not None:
            return ReadCounts(files=1, requests=self.remote.requests, bytes=self.remote.received)
        return ReadCounts(files=1, bytes=read)

    def failed(self, reason: str, detail: str) -> AssetError:
        """Return the error that names the file."""
        msg = f"{self.name!r} is no EMIT file that can be read ({detail}). Download it again or leave it out."
        return AssetError(msg, reason=reason)


@contextmanager
def opened_emit(uri: str, access: Access = LOCAL) -> Iterator[EmitFile]:
    """Open an EMIT file; what goes wrong while it is open names it.

    Values come as they lie in the file: nothing is masked or scaled.

    Args:
        uri: path or URL.
        access: how files of its catalog are read.

    Raises:
        AssetError: the file cannot be read, is cut off or is no NetCDF-4 file.
        UnsafeReferenceError: the file may not be read.
    """
    remote = None
    if "://" in uri:
        access.guard.check(uri)
        remote = RangeFile(uri, access, ahead=AHEAD_BYTES)
        remote.size()  # fetches the head now: HDF5 would hold its lock, which all files share, while it waits
        if remote.failure is not None:
            raise remote.failure
    name = redact(uri.partition("?")[0])
    source = uri if remote is None else RangeStream(remote)
    try:
        with opened_netcdf(source) as (hdf, netcdf):
            yield EmitFile(name, netcdf, hdf, remote)
    except CropglobeError:
        raise
    except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:  # as damaged files have it
        text = redact(str(error))
    else:
        return
    # Raised here, without its cause: kept in a traceback, what HDF5 holds of a file object outlives Python
    # and ends the process with a segmentation fault (seen with h5py 3.16).
    if remote is not None and remote.failure is not None:
        raise remote.failure
    msg = (
        f"{name!r} could not be read ({text}). It is cut off, damaged or no NetCDF-4 file: download it again."
    )
    raise AssetError(msg, reason="damaged")


def _check_size(file: EmitFile, path: str, found: Any) -> None:
    """Refuse variables made to exhaust memory, or that need a plug-in."""
    if found.shape is None or (found.shape and max(found.shape) > LARGEST_SIDE):
        raise file.failed("too_large", f"{path!r} has the shape {found.shape}")
    if found.chunks is None:
        return
    chunk_bytes = int(np.prod(found.chunks)) * found.dtype.itemsize
    if chunk_bytes > LARGEST_CHUNK_BYTES:
        raise file.failed("too_large", f"{path!r} has chunks of {chunk_bytes / 2**20:.0f} MiB")
    made = found.id.get_create_plist()
    filters = [made.get_filter(k) for k in range(made.get_nfilters())]
    if others := [str(name) for number, *_, name in filters if number not in FILTERS]:
        raise file.failed("layout", f"{path!r} is packed with {', '.join(others)}")


def _spans(found: Any, window: tuple[slice, ...]) -> list[tuple[int, int]]:
    """First byte and byte after the last of what a window needs, as far as the file tells."""
    if found.chunks is None:
        return _contiguous_spans(found, window)
    spans = []
    sides = [
        (part.start // size, -(-part.stop // size)) for part, size in zip(window, found.chunks, strict=False)
    ]
    sides += [
        (0, -(-length // size))
        for length, size in zip(found.shape[len(window) :], found.chunks[len(window) :], strict=True)
    ]
    for position in np.ndindex(*(stop - start for start, stop in sides)):
        place = tuple(
            (start + k) * size for (start, _), k, size in zip(sides, position, found.chunks, strict=True)
        )
        chunk = found.id.get_chunk_info_by_coord(place)
        if chunk.byte_offset is not None:
            spans.append((chunk.byte_offset, chunk.byte_offset + chunk.size))
    return spans


def _contiguous_spans(found: Any, window: tuple[slice, ...]) -> list[tuple[int, int]]:
    offset, whole = found.id.get_offset(), found.id.get_storage_size()
    if offset is None:  # compact: within the structure
        return []
    if not window:
        return [(offset, offset + whole)]
    line = found.dtype.itemsize * int(np.prod(found.shape[1:]))
    lines = window[0]
    if len(window) == 1:
        return [(offset + lines.start * line, offset + lines.stop * line)]
    cell = found.dtype.itemsize * int(np.prod(found.shape[2:]))
    return [
        (offset + k * line + window[1].start * cell, offset + k * line + window[1].stop * cell)
        for k in range(lines.start, lines.stop)
    ]
