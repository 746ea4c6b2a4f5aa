"""One file on the output grid, read by whole internal blocks and only where wanted.

A block is the least that can be decoded. Where the file's grid nests in the output grid (same CRS,
pixels one or several output pixels wide, edges that meet), blocks are read as they are and pixels
repeated; that is what nearest-neighbour resampling gives, without its cost. Other files go through
odc-loader's reader, nearest neighbour too.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from odc.geo.geobox import GeoBox
from odc.loader import reader_driver
from odc.loader.types import RasterLoadParams, RasterSource
from pyproj import CRS
from rasterio.windows import Window

from toolkit.area.grid import Lattice
from toolkit.errors import RemoteError
from toolkit.scenes.counts import ReadCounts

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

DRIVER = "GTiff"
"""The GDAL driver that may open scenes: a .tif that is a virtual raster must not read other files."""
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
    uri: str, geobox: GeoBox, *, wanted: Mask | None = None, cache: BlockCache | None = None
) -> tuple[Pixels, ReadCounts]:
    """Read the first band of a file on an output grid.

    Args:
        uri: path or URL of a GeoTIFF.
        geobox: output grid.
        wanted: bool ``(y, x)``, True where pixels are needed; None needs all.
        cache: where blocks are kept that reach beyond the grid, and looked for first.

    Returns:
        ``(y, x)`` in the file's type; 0 outside the file and in blocks without a wanted pixel; and counts.

    Raises:
        RemoteError: the file cannot be read; names it.
    """
    with _opened(uri) as file:
        nesting = nesting_of(file, geobox)
        if nesting is None:
            counts = ReadCounts(files=1, requests=2, resampled=1)
            return _resampled(uri, geobox, str(file.dtypes[0])), counts
        return _read_blocks(file, geobox, nesting, wanted, cache)


def block_place(uri: str, geobox: GeoBox) -> Lattice | None:
    """Return where the blocks of a file lie on an output grid; None if its grid does not nest.

    Raises:
        RemoteError: the file cannot be read; names it.
    """
    with _opened(uri) as file:
        nesting = nesting_of(file, geobox)
        if nesting is None:
            return None
        height, width = file.block_shapes[0]
        return Lattice(nesting.y, nesting.x, height * nesting.factor, width * nesting.factor)


@contextmanager
def _opened(uri: str) -> Iterator[Any]:
    """Open a file; what goes wrong while it is open names it."""
    try:
        with rasterio.open(uri, driver=DRIVER) as file:
            yield file
    except (rasterio.errors.RasterioError, OSError) as error:
        name = uri.partition("?")[0]  # what follows may be a signature
        failure = RemoteError(f"{name!r} could not be read ({error}). If the file exists, run again.")
    else:
        return
    raise failure  # without its cause: GDAL's errors cannot travel between processes


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
    file: Any, geobox: GeoBox, nesting: Nesting, wanted: Mask | None, cache: BlockCache | None
) -> tuple[Pixels, ReadCounts]:
    height, width = geobox.shape.yx
    block_height, block_width = file.block_shapes[0]
    out = np.zeros((height, width), file.dtypes[0])
    needed = _needed_blocks(file, nesting, (height, width), wanted)
    kept = 0
    for row, column in np.argwhere(needed) if cache is not None else ():
        block = cache.take((file.name, int(row), int(column))) if cache is not None else None
        if block is not None:
            _place(block, out, nesting, row * block_height, column * block_width)
            needed[row, column] = False
            kept += 1
    requests, compressed = 1, 0
    for run in _runs(needed):
        rows = run.top * block_height, min(run.bottom * block_height, file.height)
        columns = run.left * block_width, min(run.right * block_width, file.width)
        window = Window.from_slices(rows, columns)
        pixels = file.read(1, window=window)
        _place(pixels, out, nesting, rows[0], columns[0])
        if cache is not None:
            _keep_overhanging(cache, file, pixels, run, nesting, (height, width))
        requests += 1
        compressed += _compressed_bytes(file, run)
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


def _keep_overhanging(
    cache: BlockCache, file: Any, pixels: Pixels, run: BlockRange, nesting: Nesting, shape: tuple[int, int]
) -> None:
    """Keep the blocks of a read that reach beyond the output."""
    height, width = file.block_shapes[0]
    for row in range(run.top, run.bottom):
        for column in range(run.left, run.right):
            top, left = nesting.y + row * height * nesting.factor, nesting.x + column * width * nesting.factor
            bottom, right = top + height * nesting.factor, left + width * nesting.factor
            if top < 0 or left < 0 or bottom > shape[0] or right > shape[1]:
                y, x = (row - run.top) * height, (column - run.left) * width
                cache.keep((file.name, row, column), pixels[y : y + height, x : x + width])


def _compressed_bytes(file: Any, run: BlockRange) -> int:
    sizes = (
        file.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=1)
        for row in range(run.top, run.bottom)
        for column in range(run.left, run.right)
    )
    return sum(int(size) for size in sizes if size)  # a block that was never written has none


def _resampled(uri: str, geobox: GeoBox, dtype: str) -> Pixels:
    """Read a file on another grid, nearest neighbour."""
    reader = reader_driver("rio").open(RasterSource(uri), None)
    load = RasterLoadParams(dtype=dtype, fill_value=0, src_nodata_fallback=0, resampling="nearest")
    out = np.zeros(geobox.shape.yx, dtype)
    place, pixels = reader.read(load, geobox)
    out[place] = pixels
    return out
