"""One file on the output grid, read by whole internal blocks and only where wanted.

A block is the least that can be decoded. Where the file's grid nests in the output grid (same CRS,
pixels one or several output pixels wide, edges that meet), blocks are read as they are and pixels
repeated; that is what nearest-neighbour resampling gives, without its cost. Other files are resampled by
GDAL, nearest neighbour too.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from odc.geo.geobox import GeoBox
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasterio.windows import Window

from toolkit.area.grid import Lattice
from toolkit.catalog.access import LOCAL, Access
from toolkit.errors import AssetError
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.opening import OpenFile, opened

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

TOLERANCE = 1e-3
"""Part of an output pixel by which grids that nest may miss each other: 1 cm at 10 m."""


@dataclass(frozen=True, slots=True)
class Nesting:
    """Where a file's grid lies in the output grid, in output pixels."""

    factor: int
    """Output pixels per pixel of the file."""
    y: int
    """Row of the file's upper edge; negative above the output."""
    x: int
    """Column of its left edge."""


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Neighbouring blocks: a rectangle of the file, in blocks."""

    top: int
    bottom: int
    left: int
    right: int


class BlockCache:
    """Decoded blocks that reach beyond a tile, kept for its neighbours; the oldest are dropped first."""

    def __init__(self, limit_bytes: int = 256_000_000) -> None:
        """Start empty; ``limit_bytes`` is the most memory that blocks may take."""
        self._blocks: OrderedDict[tuple[str, int, int], Pixels] = OrderedDict()
        self._limit, self._size, self._lock = limit_bytes, 0, threading.Lock()

    def take(self, key: tuple[str, int, int]) -> Pixels | None:
        """Return a block if it is there."""
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
            return self._blocks.get(key)

    def keep(self, key: tuple[str, int, int], block: Pixels) -> None:
        """Add a block."""
        with self._lock:
            if key in self._blocks:
                return
            self._blocks[key] = block.copy()  # a view would keep the whole read
            self._size += block.nbytes
            while self._size > self._limit:
                _, dropped = self._blocks.popitem(last=False)
                self._size -= dropped.nbytes


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
        cache: where blocks are kept that reach beyond the grid, and looked for first.
        access: how files of its catalog are read.

    Returns:
        ``(y, x)`` in the file's type; 0 outside the file and in blocks without a wanted pixel; and counts.

    Raises:
        AssetError: the file cannot be read; names it.
        UnsafeReferenceError: the file may not be read.
    """
    try:
        return _read_once(uri, geobox, wanted, cache, access)
    except AssetError as error:
        if error.reason != "damaged" or "://" not in uri:
            raise
    return _read_once(uri, geobox, wanted, cache, access)  # bytes may have been spoilt on their way


def _read_once(
    uri: str, geobox: GeoBox, wanted: Mask | None, cache: BlockCache | None, access: Access
) -> tuple[Pixels, ReadCounts]:
    with opened(uri, access) as file:
        nesting = nesting_of(file.pixels, geobox)
        if nesting is None:
            counts = ReadCounts(files=1, requests=2, resampled=1)
            return _resampled(file.pixels, geobox), counts
        return _read_blocks(uri, file, geobox, nesting, wanted, cache)


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


def nesting_of(file: Any, geobox: GeoBox) -> Nesting | None:
    """Return how an open file's grid nests in an output grid, None if it does not."""
    there, here = file.transform, geobox.affine
    square = there.b == there.d == here.b == here.d == 0 and there.a == -there.e and here.a == -here.e
    if not square or file.crs is None or not _same_crs(file.crs.to_wkt(), str(geobox.crs)):
        return None
    exact = np.array([there.a, here.f - there.f, there.c - here.c]) / here.a
    whole = np.round(exact).astype(int)
    if whole[0] < 1 or (np.abs(exact - whole) > TOLERANCE).any():
        return None
    return Nesting(*(int(number) for number in whole))


@lru_cache(maxsize=256)
def _same_crs(one: str, other: str) -> bool:
    return bool(CRS.from_user_input(one) == CRS.from_user_input(other))


def _read_blocks(
    uri: str,
    file: OpenFile,
    geobox: GeoBox,
    nesting: Nesting,
    wanted: Mask | None,
    cache: BlockCache | None,
) -> tuple[Pixels, ReadCounts]:
    height, width = geobox.shape.yx
    block_height, block_width = file.pixels.block_shapes[0]
    out = np.zeros((height, width), file.pixels.dtypes[0])
    needed = _needed_blocks(file.pixels, nesting, (height, width), wanted)
    kept = 0
    for row, column in np.argwhere(needed) if cache is not None else ():
        block = cache.take((uri, int(row), int(column))) if cache is not None else None
        if block is not None:
            _place(block, out, nesting, row * block_height, column * block_width)
            needed[row, column] = False
            kept += 1
    requests, compressed = 1, 0
    for run in _runs(needed):
        rows = run.top * block_height, min(run.bottom * block_height, file.pixels.height)
        columns = run.left * block_width, min(run.right * block_width, file.pixels.width)
        spans = spans_in_file(file.pixels, run)
        pixels = file.read(Window.from_slices(rows, columns), spans)
        _place(pixels, out, nesting, rows[0], columns[0])
        if cache is not None:
            blocks = _overhanging(pixels, run, (block_height, block_width), nesting, (height, width))
            for place, block in blocks:
                cache.keep((uri, *place), block)
        requests += 1
        compressed += sum(stop - start for start, stop in spans)
    if file.remote is not None:
        requests, compressed = file.remote.requests, file.remote.received
    counts = ReadCounts(
        files=1, requests=requests, blocks=int(needed.sum()), bytes=compressed, kept_blocks=kept
    )
    return out, counts


def _needed_blocks(
    file: Any, nesting: Nesting, shape: tuple[int, int], wanted: Mask | None
) -> npt.NDArray[np.bool_]:
    """Return which blocks of a file hold a wanted pixel, bool ``(block row, block column)``."""
    block_height, block_width = file.block_shapes[0]
    needed = np.zeros((-(-file.height // block_height), -(-file.width // block_width)), bool)
    rows = _spans(nesting.y, nesting.factor, block_height, file.height, shape[0])
    columns = _spans(nesting.x, nesting.factor, block_width, file.width, shape[1])
    for row, y in rows:
        for column, x in columns:
            needed[row, column] = wanted is None or bool(wanted[y, x].any())
    return needed


def _spans(start: int, factor: int, block: int, file_size: int, size: int) -> list[tuple[int, slice]]:
    """Return the blocks that meet the output along one axis, and the output pixels of each."""
    spans = []
    for k, first in enumerate(range(0, file_size, block)):
        edges = start + first * factor, start + min(first + block, file_size) * factor
        if edges[0] < size and edges[1] > 0:
            spans.append((k, slice(max(0, edges[0]), min(size, edges[1]))))
    return spans


def _runs(needed: npt.NDArray[np.bool_]) -> Iterator[BlockRange]:
    """Cut the blocks needed into rectangles: runs along rows, joined with equal runs below."""
    left = needed.copy()
    for row, column in np.argwhere(needed):
        if not left[row, column]:
            continue
        stop = column + int(np.argmin(np.r_[left[row, column:], False]))
        bottom = row + 1
        while bottom < len(left) and left[bottom, column:stop].all():
            bottom += 1
        left[row:bottom, column:stop] = False
        yield BlockRange(int(row), int(bottom), int(column), int(stop))


def _place(pixels: Pixels, out: Pixels, nesting: Nesting, row: int, column: int) -> None:
    """Write pixels of the file that start at ``row`` and ``column`` into the output, each repeated."""
    factor = nesting.factor
    top, left = nesting.y + row * factor, nesting.x + column * factor
    y = slice(max(0, top), min(out.shape[0], top + pixels.shape[0] * factor))
    x = slice(max(0, left), min(out.shape[1], left + pixels.shape[1] * factor))
    if y.start >= y.stop or x.start >= x.stop:
        return
    if factor == 1:
        out[y, x] = pixels[y.start - top : y.stop - top, x.start - left : x.stop - left]
        return
    rows = (np.arange(y.start, y.stop) - top) // factor
    wide = np.repeat(pixels[rows[0] : rows[-1] + 1], factor, axis=1)
    out[y, x] = wide[rows - rows[0], x.start - left : x.stop - left]


def _overhanging(
    pixels: Pixels, run: BlockRange, block: tuple[int, int], nesting: Nesting, shape: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], Pixels]]:
    """Yield the blocks of a read that reach beyond the output, with their places in the file."""
    height, width = block
    for row in range(run.top, run.bottom):
        for column in range(run.left, run.right):
            top, left = nesting.y + row * height * nesting.factor, nesting.x + column * width * nesting.factor
            bottom, right = top + height * nesting.factor, left + width * nesting.factor
            if top < 0 or left < 0 or bottom > shape[0] or right > shape[1]:
                y, x = (row - run.top) * height, (column - run.left) * width
                yield (row, column), pixels[y : y + height, x : x + width]


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


def _resampled(file: Any, geobox: GeoBox) -> Pixels:
    """Read a file on another grid, nearest neighbour."""
    out = np.zeros(geobox.shape.yx, file.dtypes[0])
    reproject(
        rasterio.band(file, 1),
        out,
        dst_transform=geobox.affine,
        dst_crs=str(geobox.crs),
        src_nodata=0,
        dst_nodata=0,
        resampling=Resampling.nearest,
        tolerance=0,  # exact places; by default they may be an eighth of a pixel off
    )
    return out
