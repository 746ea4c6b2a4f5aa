"""One file on the output grid, read by whole internal blocks and only where wanted.

A block is the least that can be decoded. How pixels come from blocks onto the output grid, always by
nearest neighbour, is told in :mod:`toolkit.scenes.targets`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from toolkit.area.grid import Lattice
from toolkit.catalog.access import LOCAL, Access
from toolkit.errors import AssetError
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.headers import Header
from toolkit.scenes.limited_cache import LimitedCache
from toolkit.scenes.opening import OpenFile, opened
from toolkit.scenes.targets import Mask, Pixels, Target, nesting_of, target_of

RUN_BYTES = 32_000_000
"""Most that is decoded at a time, but for a single row of blocks: an output coarser than the file may need
all of it."""
KEPT_BYTES = 256_000_000
"""Most memory for decoded blocks that reach beyond a tile."""
HEADERS_BYTES = 32_000_000
"""Most memory for headers of remote files: a thousand of them."""


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Neighbouring blocks: a rectangle of the file, in blocks."""

    top: int
    bottom: int
    left: int
    right: int


class BlockCache:
    """What a worker keeps for neighbouring tiles: decoded blocks that reach beyond a tile, and headers."""

    def __init__(self, limit_bytes: int = KEPT_BYTES, headers_bytes: int = HEADERS_BYTES) -> None:
        """Start empty.

        Args:
            limit_bytes: most memory that blocks may take.
            headers_bytes: most memory that headers of remote files may take.
        """
        self.blocks: LimitedCache[tuple[str, int, int], Pixels] = LimitedCache(limit_bytes)
        self.headers: LimitedCache[str, Header] = LimitedCache(headers_bytes)


def read_on_grid(
    uri: str,
    geobox: GeoBox,
    *,
    wanted: Mask | None = None,
    cache: BlockCache | None = None,
    access: Access = LOCAL,
) -> tuple[Pixels, ReadCounts]:
    """Read the first band of a file on an output grid.

    Args:
        uri: path or URL.
        geobox: output grid.
        wanted: bool ``(y, x)``, True where pixels are needed; None needs all.
        cache: where headers, and blocks that reach beyond the grid, are kept and looked for first.
        access: how files of its catalog are read.

    Returns:
        ``(y, x)`` in the file's type; 0 outside the file and in blocks without a wanted pixel; and counts.

    Raises:
        AssetError: the file cannot be read; names it.
        UnsafeReferenceError: the file may not be read.
    """
    held = cache is not None and cache.headers.take(uri) is not None
    try:
        return _read_once(uri, geobox, wanted, cache, access)
    except AssetError as error:
        # Replaced between two tiles, not within one: the new file is read from its start.
        replaced = error.reason == "changed" and held
        if not replaced and (error.reason != "damaged" or "://" not in uri):
            raise
    return _read_once(uri, geobox, wanted, cache, access)  # bytes may have been spoilt on their way


def _read_once(
    uri: str, geobox: GeoBox, wanted: Mask | None, cache: BlockCache | None, access: Access
) -> tuple[Pixels, ReadCounts]:
    with opened(uri, access, None if cache is None else cache.headers) as file:
        return _read_blocks(uri, file, target_of(file.pixels, geobox, wanted), cache)


def block_place(uri: str, geobox: GeoBox, access: Access = LOCAL) -> Lattice | None:
    """Return where the blocks of a file lie on an output grid; None if its grid does not nest.

    Raises:
        AssetError: the file cannot be read; names it.
        UnsafeReferenceError: the file may not be read.
    """
    with opened(uri, access) as file:
        nesting = nesting_of(file.pixels, geobox)
        if nesting is None:
            return None
        height, width = file.pixels.block_shapes[0]
        return Lattice(nesting.y, nesting.x, height * nesting.factor, width * nesting.factor)


def _read_blocks(
    uri: str, file: OpenFile, target: Target, cache: BlockCache | None
) -> tuple[Pixels, ReadCounts]:
    height, width = file.pixels.block_shapes[0]
    needed, kept = target.needed.copy(), 0
    for row, column in np.argwhere(needed) if cache is not None else ():
        block = cache.blocks.take((uri, int(row), int(column))) if cache is not None else None
        if block is not None:
            target.put(block, row * height, column * width)
            needed[row, column] = False
            kept += 1
    requests, compressed = 1, 0
    block_bytes = height * width * np.dtype(file.pixels.dtypes[0]).itemsize
    for run in _runs(needed, max(1, RUN_BYTES // block_bytes)):
        rows = run.top * height, min(run.bottom * height, file.pixels.height)
        columns = run.left * width, min(run.right * width, file.pixels.width)
        spans = spans_in_file(file.pixels, run)
        pixels = file.read(Window.from_slices(rows, columns), spans)
        target.put(pixels, rows[0], columns[0])
        if cache is not None:
            for (row, column), block in _parts(pixels, run, (height, width)):
                if target.beyond[row, column]:
                    copied = block.copy()  # a view would keep the whole read
                    cache.blocks.keep((uri, row, column), copied, copied.nbytes)
        requests += 1
        compressed += sum(stop - start for start, stop in spans)
    if file.remote is not None:
        requests, compressed = file.remote.requests, file.remote.received
    counts = ReadCounts(
        files=1,
        requests=requests,
        blocks=int(needed.sum()),
        bytes=compressed,
        kept_blocks=kept,
        resampled=int(target.resampled),
    )
    return target.pixels(), counts


def _parts(
    pixels: Pixels, run: BlockRange, block: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], Pixels]]:
    """Yield the blocks of a read with their places in the file."""
    height, width = block
    for row in range(run.top, run.bottom):
        for column in range(run.left, run.right):
            y, x = (row - run.top) * height, (column - run.left) * width
            yield (row, column), pixels[y : y + height, x : x + width]


def _runs(needed: npt.NDArray[np.bool_], most: int) -> Iterator[BlockRange]:
    """Cut the blocks needed into rectangles: runs along rows, joined with equal runs below up to a number."""
    left = needed.copy()
    for row, column in np.argwhere(needed):
        if not left[row, column]:
            continue
        stop = column + int(np.argmin(np.r_[left[row, column:], False]))
        bottom = row + 1
        while (
            bottom < len(left)
            and (bottom + 1 - row) * (stop - column) <= most
            and left[bottom, column:stop].all()
        ):
            bottom += 1
        left[row:bottom, column:stop] = False
        yield BlockRange(int(row), int(bottom), int(column), int(stop))


def spans_in_file(file: Any, run: BlockRange) -> list[tuple[int, int]]:
    """Return the bytes that hold the blocks of a run, where the format tells: first, and after the last."""
    spans = []
    for row in range(run.top, run.bottom):
        for column in range(run.left, run.right):
            place = f"{column}_{row}"
            start = file.get_tag_item(f"BLOCK_OFFSET_{place}", "TIFF", bidx=1)
            size = file.get_tag_item(f"BLOCK_SIZE_{place}", "TIFF", bidx=1)
            if start and size:  # a block that was never written has none
                spans.append((int(start), int(start) + int(size)))
    return spans
