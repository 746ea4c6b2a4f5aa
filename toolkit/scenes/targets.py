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

TOLERANCE = 1e-3
"""Part of an output pixel by which grids that nest may miss each other: 1 cm at 10 m."""
PLACES_KEPT = 4
"""Grids whose places in another CRS are kept, 16 bytes a pixel: a tile and what is read around it, of two."""
INDICES_KEPT = 8
"""Grids whose pixels in files of another grid are kept, 8 bytes a pixel: those in files of 10 and 20 m."""
_PLACING = threading.Lock()
"""One thread projects a grid, for all: that takes longer than to read a file."""


class Target(Protocol):
    """Takes the blocks of one file and gives them on the output grid."""

    resampled: bool
    """Whether the file's grid does not nest in the output."""
    needed: Mask
    """Blocks of the file that hold a wanted pixel, bool ``(block row, block column)``."""
    beyond: Mask
    """Of these, the blocks that reach beyond the output, so that a neighbour needs them too."""

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


def target_of(file: Any, geobox: GeoBox, wanted: Mask | None) -> Target:
    """Return how the pixels of an open file come onto an output grid.

    Args:
        file: rasterio dataset.
        geobox: output grid.
        wanted: bool ``(y, x)``, True where pixels are needed; None needs all.

    Raises:
        rasterio.errors.RasterioError: the file has no CRS, or none that can be projected.
    """
    if file.crs is None:
        msg = "it has no CRS"
        raise RasterioError(msg)
    try:
        nesting = nesting_of(file, geobox)
        return NestedTarget(file, nesting, geobox, wanted) if nesting else PlacedTarget(file, geobox, wanted)
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

    def __init__(self, file: Any, nesting: Nesting, geobox: GeoBox, wanted: Mask | None) -> None:
        """Find the blocks needed."""
        self._nesting = nesting
        self._out = np.zeros(geobox.shape.yx, file.dtypes[0])
        self.needed, self.beyond = _no_blocks(file), _no_blocks(file)
        height, width = file.block_shapes[0]
        columns = _spans(nesting.x, nesting.factor, width, file.width, geobox.shape.x)
        for row, y, beyond in _spans(nesting.y, nesting.factor, height, file.height, geobox.shape.y):
            for column, x, beside in columns:
                needed = wanted is None or bool(wanted[y, x].any())
                self.needed[row, column], self.beyond[row, column] = needed, needed and (beyond or beside)

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

    def __init__(self, file: Any, geobox: GeoBox, wanted: Mask | None) -> None:
        """Find the blocks needed."""
        whole, (height, width) = (file.height, file.width), file.block_shapes[0]
        with _PLACING:
            self._row, self._column = _pixels_under(geobox, file.crs.to_wkt(), file.transform, whole)
        there = self._row >= 0
        taken = there if wanted is None else there & wanted
        self.needed, self.beyond = _no_blocks(file), _no_blocks(file)
        self.needed[self._row[taken] // height, self._column[taken] // width] = True
        # The outline of the output crosses every block that reaches over it.
        there[1:-1, 1:-1] = False
        self.beyond[self._row[there] // height, self._column[there] // width] = True
        self.beyond &= self.needed
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


def _spans(start: int, factor: int, block: int, file_size: int, size: int) -> list[tuple[int, slice, bool]]:
    """Return the blocks that meet the output along one axis: pixels of it, and whether it has others."""
    spans = []
    for k, first in enumerate(range(0, file_size, block)):
        edges = start + first * factor, start + min(first + block, file_size) * factor
        if edges[0] < size and edges[1] > 0:
            inner = slice(max(0, edges[0]), min(size, edges[1]))
            spans.append((k, inner, edges != (inner.start, inner.stop)))
    return spans
