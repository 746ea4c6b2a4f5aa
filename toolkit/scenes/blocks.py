"""One file on the output grid, read by whole internal blocks and only where wanted.

A block is the least that can be decoded. How pixels come from blocks onto the output grid, always by
nearest neighbour, is told in :mod:`toolkit.scenes.targets`.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
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
from toolkit.scenes.kept_blocks import KeptBlocks
from toolkit.scenes.limited_cache import LimitedCache
from toolkit.scenes.opening import OpenFile, opened
from toolkit.scenes.targets import ENDLESS, Margins, Mask, Pixels, Target, margins_of, nesting_of, target_of

RUN_BYTES = 4_000_000
"""Most that is decoded at a time, but for a single row of blocks: 32 threads read, and an output coarser than
the file may need all of it."""
HEADERS_BYTES = 64_000_000
"""Most memory for headers of remote files: those of 177 scenes with 11 files each."""


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Neighbouring blocks: a rectangle of the file, in blocks."""

    top: int
    bottom: int
    left: int
    right: int


class BlockCache:
    """What a worker keeps for neighbouring tiles: decoded blocks that reach beyond a tile, and headers."""

    def __init__(
        self, blocks: KeptBlocks, *, grid: GeoBox | None = None, headers_bytes: int = HEADERS_BYTES
    ) -> None:
        """Start without headers.

        Args:
            blocks: where blocks are kept.
            grid: grid of the map: what reaches beyond it no other tile needs; None for one without end.
            headers_bytes: most memory that headers of remote files may take.
        """
        self.blocks = blocks
        self.headers: LimitedCache[str, Header] = LimitedCache(headers_bytes)
        self._grid = grid

    def margins(self, geobox: GeoBox) -> Margins:
        """Return how far the map goes on around a tile."""
        return ENDLESS if self._grid is None else margins_of(geobox, self._grid)


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
    start, margins = time.perf_counter(), ENDLESS if cache is None else cache.margins(geobox)
    with opened(uri, access, None if cache is None else cache.headers) as file:
        return _read_blocks(uri, file, target_of(file.pixels, geobox, wanted, margins), cache, start)


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
    uri: str, file: OpenFile, target: Target, cache: BlockCache | None, start: float
) -> tuple[Pixels, ReadCounts]:
    missing, shared = target.needed.copy(), target.needed & (target.share < 1)
    version = file.version or ""
    blocks = cache.blocks if cache is not None and version else None
    with ExitStack() as stack:
        if blocks is not None:
            missing &= ~_put_kept(file.pixels, version, target, missing, blocks)
        begun = time.perf_counter()
        if blocks is not None and (missing & shared).any():
            stack.enter_context(blocks.alone_with(version))
            missing &= ~_put_kept(file.pixels, version, target, missing & shared, blocks)
        requests, compressed = 1, 0
        for run, pixels, n_bytes in stack.enter_context(closing(_decoded(file, missing))):
            height, width = file.pixels.block_shapes[0]
            target.put(pixels, run.top * height, run.left * width)
            for (row, column), block in _parts(pixels, run, (height, width)):
                # GDAL may go on without bytes that did not come.
                whole = file.remote is None or file.remote.failure is None
                if blocks is not None and shared[row, column] and whole:
                    blocks.keep(version, row, column, block)
            requests, compressed = requests + 1, compressed + n_bytes
    received, header = compressed, 0
    if file.remote is not None:
        requests, received = file.remote.requests, file.remote.received
        first = file.remote.header if cache is not None and cache.headers.take(uri) is None else None
        header = 0 if first is None else len(first.content)
    done, (needed, own) = time.perf_counter(), _sizes(file.pixels, target)
    beside = max(0, received - compressed - header) if needed else 0  # headers that are not kept, gaps
    counts = ReadCounts(
        files=1,
        requests=requests,
        blocks=int(missing.sum()),
        bytes=received,
        needed_bytes=needed + beside,
        own_bytes=own + beside,
        header_bytes=header,
        thread_s=done - start,
        decoding_s=done - begun,
        kept_blocks=int((target.needed & ~missing).sum()),
        resampled=int(target.resampled),
    )
    return target.pixels(), counts


def _put_kept(file: Any, version: str, target: Target, asked: Mask, blocks: KeptBlocks) -> Mask:
    """Put what is kept of some blocks onto the output, and return which these are."""
    height, width = file.block_shapes[0]
    found = np.zeros_like(asked)
    for row, column in np.argwhere(asked):
        top, left = int(row) * height, int(column) * width
        shape = min(height, file.height - top), min(width, file.width - left)
        block = blocks.take(version, int(row), int(column), (shape, file.dtypes[0]))
        if block is not None:
            target.put(block, top, left)
            found[row, column] = True
    return found


def _decoded(file: OpenFile, wanted: Mask) -> Generator[tuple[BlockRange, Pixels, int], None, None]:
    """Yield runs of blocks with their pixels and compressed bytes, each read at once; close it when done."""
    height, width = file.pixels.block_shapes[0]
    block_bytes = height * width * np.dtype(file.pixels.dtypes[0]).itemsize
    for run in _runs(wanted, max(1, RUN_BYTES // block_bytes)):
        rows = run.top * height, min(run.bottom * height, file.pixels.height)
        columns = run.left * width, min(run.right * width, file.pixels.width)
        spans = spans_in_file(file.pixels, run)
        with file.read(Window.from_slices(rows, columns), spans) as pixels:
            yield run, pixels, sum(stop - start for start, stop in spans)


def _sizes(file: Any, target: Target) -> tuple[int, float]:
    """Return the compressed bytes of the blocks needed, and the same by the tile's share of each block."""
    needed, own = 0, 0.0
    for row, column in np.argwhere(target.needed):
        spans = spans_in_file(file, BlockRange(row, row + 1, column, column + 1))
        size = sum(stop - start for start, stop in spans)
        needed, own = needed + size, own + float(target.share[row, column]) * size
    return needed, own


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
