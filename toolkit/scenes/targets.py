"""Pixels of a file on an output grid: repeated where the grids nest, else one by one."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.errors import RasterioError

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int32]
Metres = npt.NDArray[np.float64]
Shares = npt.NDArray[np.float64]

TOLERANCE = 1e-3
"""Part of an output pixel by which grids that nest may miss each other: 1 cm at 10 m."""
PLACES_KEPT = 4
"""Grids whose places in another CRS are kept, 16 bytes a pixel: a tile and what is read around it, of two."""
INDICES_KEPT = 8
"""Grids whose pixels in files of another grid are kept, 8 bytes a pixel: those in files of 10 and 20 m."""
GUESSED_SHARE = 0.5
"""Share of a block on another grid that reaches over an edge of the output."""
_PLACING = threading.Lock()
"""One thread projects a grid, for all: that takes longer than to read a file."""


class Target(Protocol):
    """Takes the blocks of one file and gives them on the output grid."""

    resampled: bool
    """Whether the file's grid does not nest in the output."""
    needed: Mask
    """Blocks of the file that hold a wanted pixel, bool ``(block row, block column)``."""
    share: Shares
    """Of their pixels in the map, the part that lies in the output, float64 like ``needed``; 0 where none is
    needed. Below 1 a neighbour needs the block too."""

    def put(self, pixels: Pixels, row: int, column: int) -> None:
        """Take pixels of the file that start at ``row`` and ``column``."""

    def pixels(self) -> Pixels:
        """Return the output ``(y, x)``, 0 where nothing was put."""


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
class Margins:
    """How far a map goes on around one of its tiles, in output pixels."""

    above: int
    """Rows."""
    below: int
    """Rows."""
    left: int
    """Columns."""
    right: int
    """Columns."""


ENDLESS = Margins(*[10**9] * 4)
"""Of a map whose extent is not known."""


def margins_of(geobox: GeoBox, whole: GeoBox) -> Margins:
    """Return how far a map goes on around a tile.

    Args:
        geobox: grid of the tile; what it has beyond the map counts as none.
        whole: grid of the map.
    """
    here, there = geobox.affine, whole.affine
    above, left = round((here.f - there.f) / there.e), round((here.c - there.c) / there.a)
    below, right = (whole.shape.y - above - geobox.shape.y, whole.shape.x - left - geobox.shape.x)
    return Margins(*(max(0, int(number)) for number in (above, below, left, right)))


def target_of(file: Any, geobox: GeoBox, wanted: Mask | None, margins: Margins = ENDLESS) -> Target:
    """Return how the pixels of an open file come onto an output grid.

    Args:
        file: rasterio dataset.
        geobox: output grid.
        wanted: bool ``(y, x)``, True where pixels are needed; None needs all.
        margins: how far the map goes on around it.

    Raises:
        rasterio.errors.RasterioError: the file has no CRS, or none that can be projected.
    """
    if file.crs is None:
        msg = "it has no CRS"
        raise RasterioError(msg)
    try:
        nesting = nesting_of(file, geobox)
        if nesting is None:
            return PlacedTarget(file, geobox, wanted, margins)
        return NestedTarget(file, nesting, geobox, wanted, margins)
    except ProjError as error:
        msg = f"its CRS cannot be projected: {error}"
        raise RasterioError(msg) from error


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


class NestedTarget:
    """A file whose grid nests in the output: its pixels are repeated."""

    resampled = False

    def __init__(
        self, file: Any, nesting: Nesting, geobox: GeoBox, wanted: Mask | None, margins: Margins
    ) -> None:
        """Find the blocks needed."""
        self._nesting = nesting
        self._out = np.zeros(geobox.shape.yx, file.dtypes[0])
        self.needed, self.share = _no_blocks(file), _no_blocks(file).astype(np.float64)
        height, width = file.block_shapes[0]
        around = (margins.above, margins.below), (margins.left, margins.right)
        rows = _spans(nesting.y, nesting.factor, height, file.height, geobox.shape.y, around[0])
        columns = _spans(nesting.x, nesting.factor, width, file.width, geobox.shape.x, around[1])
        for row, y, of_rows in rows:
            for column, x, of_columns in columns:
                if wanted is None or wanted[y, x].any():
                    self.needed[row, column], self.share[row, column] = True, of_rows * of_columns

    def put(self, pixels: Pixels, row: int, column: int) -> None:
        """Write pixels of the file that start at ``row`` and ``column`` into the output, each repeated."""
        factor, out = self._nesting.factor, self._out
        top, left = self._nesting.y + row * factor, self._nesting.x + column * factor
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

    def pixels(self) -> Pixels:
        """Return the output."""
        return self._out


class PlacedTarget:
    """A file on any other grid: each output pixel takes the pixel of the file that its centre lies in.

    Every centre is projected itself. GDAL's warper, asked for exact places, interpolates between some: of a
    tile of 1024 pixels at the edge of a zone, 1 % were not the nearest.
    """

    resampled = True

    def __init__(self, file: Any, geobox: GeoBox, wanted: Mask | None, margins: Margins) -> None:
        """Find the blocks needed."""
        whole, (height, width) = (file.height, file.width), file.block_shapes[0]
        with _PLACING:
            self._row, self._column = _pixels_under(geobox, file.crs.to_wkt(), file.transform, whole)
        there = self._row >= 0
        taken = there if wanted is None else there & wanted
        self.needed, over = _no_blocks(file), _no_blocks(file)
        self.needed[self._row[taken] // height, self._column[taken] // width] = True
        # The outline of the output crosses every block that reaches over it.
        outline = there & _edges(geobox.shape.yx, margins)
        over[self._row[outline] // height, self._column[outline] // width] = True
        self.share = np.where(self.needed, np.where(over, GUESSED_SHARE, 1.0), 0.0)
        self._out = np.zeros(geobox.shape.yx, file.dtypes[0])

    def put(self, pixels: Pixels, row: int, column: int) -> None:
        """Write pixels of the file that start at ``row`` and ``column`` to where they lie under a centre."""
        height, width = pixels.shape
        y, x = self._row, self._column
        here = (y >= row) & (y < row + height) & (x >= column) & (x < column + width)
        self._out[here] = pixels[y[here] - row, x[here] - column]

    def pixels(self) -> Pixels:
        """Return the output."""
        return self._out


@lru_cache(maxsize=INDICES_KEPT)
def _pixels_under(geobox: GeoBox, crs: str, transform: Affine, shape: tuple[int, int]) -> tuple[Index, Index]:
    """Return row and column of the pixels of a file in which the centres of an output grid lie.

    Left and upper edges belong to a pixel. Both are -1 where the file has none.

    Args:
        geobox: output grid.
        crs: CRS of the file, WKT.
        transform: of the file.
        shape: rows and columns of the file.
    """
    x, y = _centres(geobox, crs)
    with np.errstate(invalid="ignore", divide="ignore"):  # infinite where the CRS does not reach
        east, north = x - transform.c, y - transform.f
        # Products of whole numbers are exact, so a centre that lies on an edge is told from its neighbours.
        scale = transform.a * transform.e - transform.b * transform.d
        column = np.floor((transform.e * east - transform.b * north) / scale)
        row = np.floor((transform.a * north - transform.d * east) / scale)
        there = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    return np.where(there, row, -1).astype(np.int32), np.where(there, column, -1).astype(np.int32)


@lru_cache(maxsize=PLACES_KEPT)
def _centres(geobox: GeoBox, crs: str) -> tuple[Metres, Metres]:
    """Return x and y of the centres of a grid's pixels in another CRS, ``(y, x)`` each."""
    row, column = np.indices(geobox.shape.yx) + 0.5
    here = geobox.affine
    x, y = here.a * column + here.b * row + here.c, here.d * column + here.e * row + here.f
    if _same_crs(crs, str(geobox.crs)):
        return x, y
    x, y = Transformer.from_crs(str(geobox.crs), crs, always_xy=True).transform(x, y)
    return x, y


def _no_blocks(file: Any) -> Mask:
    """Return False for each block of a file, bool ``(block row, block column)``."""
    height, width = file.block_shapes[0]
    return np.zeros((-(-file.height // height), -(-file.width // width)), bool)


def _edges(shape: tuple[int, int], margins: Margins) -> Mask:
    """Return the outermost pixels of a tile on the sides where the map goes on, bool ``(y, x)``."""
    edges = np.zeros(shape, bool)
    edges[0], edges[-1] = margins.above > 0, margins.below > 0
    edges[:, 0] |= margins.left > 0
    edges[:, -1] |= margins.right > 0
    return edges


def _spans(
    start: int, factor: int, block: int, file_size: int, size: int, around: tuple[int, int]
) -> list[tuple[int, slice, float]]:
    """Return the blocks that meet a tile along one axis: their pixels in it, and their share of the map's.

    Args:
        start: pixel of the tile at which the file starts.
        factor: output pixels per pixel of the file.
        block: pixels of a block.
        file_size: pixels of the file.
        size: pixels of the tile.
        around: pixels that the map goes on before and after the tile.
    """
    spans = []
    for k, first in enumerate(range(0, file_size, block)):
        edges = start + first * factor, start + min(first + block, file_size) * factor
        if edges[0] < size and edges[1] > 0:
            inner = slice(max(0, edges[0]), min(size, edges[1]))
            in_map = min(size + around[1], edges[1]) - max(-around[0], edges[0])
            spans.append((k, inner, (inner.stop - inner.start) / in_map))
    return spans
