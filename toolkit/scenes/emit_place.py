"""Which cell of EMIT's lattice each pixel of an output grid lies in.

All granules are offered on one lattice in longitude and latitude. A pixel takes the cell that its centre
lies in: one resampling, by the nearest cell, from the source to the grid asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from toolkit.errors import GridError

Positions = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Cells of a granule in longitude and latitude, north up."""

    west: float
    """Longitude of the western edge, degrees."""
    north: float
    """Latitude of the northern edge, degrees."""
    width: float
    """Width of a cell, degrees."""
    height: float
    """Height of a cell, degrees."""
    shape: tuple[int, int]
    """Rows and columns."""

    def cells(
        self, lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64]
    ) -> tuple[Positions, Positions]:
        """Return the row and column of the cell that each place lies in, -1 outside.

        Args:
            lon: longitude, degrees, any shape; granules across the antimeridian are met from both sides.
            lat: latitude, degrees.
        """
        row = np.floor((self.north - lat) / self.height)
        column = np.floor(np.mod(lon - self.west, 360.0) / self.width)
        within = (row >= 0) & (row < self.shape[0]) & (column >= 0) & (column < self.shape[1])
        return (
            np.where(within, row, -1).astype(np.int32),
            np.where(within, column, -1).astype(np.int32),
        )


def pixel_centres(geobox: GeoBox) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return longitude and latitude of the pixel centres of a grid, degrees, ``(y, x)`` each.

    Raises:
        GridError: the grid has no CRS, or is rotated.
    """
    if geobox.crs is None or geobox.affine.b or geobox.affine.d:
        msg = f"The grid {geobox!r} has no CRS or is rotated; make it with output_geobox."
        raise GridError(msg)
    height, width = geobox.shape.yx
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x = geobox.affine.c + columns * geobox.affine.a
    y = geobox.affine.f + rows * geobox.affine.e
    lon, lat = Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True).transform(x, y)
    return np.asarray(lon, np.float64), np.asarray(lat, np.float64)
