"""Do two rasters lie on the same pixels, do labels lie on the grid at all."""

from __future__ import annotations

import math
from typing import NoReturn

import odc.geo.xr  # noqa: F401  # gives xarray its .odc.geobox
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from toolkit.errors import GridError, LabelError

GRID_TOLERANCE = 1e-3
"""Part of a pixel by which two grids may differ and still be the same one."""


def check_same_grid(first: xr.DataArray, second: xr.DataArray) -> None:
    """Raise if two rasters do not lie on the same pixels.

    Args:
        first: dims y, x and possibly more, with coordinates and CRS.
        second: the same.

    Raises:
        GridError: shape, CRS or position differ; names both.
    """
    ours, theirs = first.odc.geobox, second.odc.geobox
    if ours is not None and theirs is not None and ours.crs == theirs.crs:
        tolerance = GRID_TOLERANCE * math.hypot(ours.affine.a, ours.affine.d)
        height, width = ours.shape.yx
        corners = [(0, 0), (0, width), (height, 0), (height, width)]
        if ours.shape == theirs.shape and all(
            math.dist(_place(ours, *corner), _place(theirs, *corner)) <= tolerance for corner in corners
        ):
            return
    msg = (
        f"Two rasters do not share one grid: {_describe(ours)} and {_describe(theirs)}. "
        "Bring both onto the same grid, e.g. the one of output_geobox."
    )
    raise GridError(msg)


def _place(geobox: GeoBox, row: int, column: int) -> tuple[float, float]:
    """Return x and y of a pixel's north-west corner."""
    a, b, c, d, e, f = (getattr(geobox.affine, key) for key in "abcdef")
    return a * column + b * row + c, d * column + e * row + f


def _describe(geobox: GeoBox | None) -> str:
    if geobox is None:
        return "a raster without evenly spaced coordinates"
    affine = geobox.affine
    epsg = geobox.crs.to_epsg() if geobox.crs else None
    crs = f"EPSG:{epsg}" if epsg else "a CRS of its own" if geobox.crs else "an unknown CRS"
    return (
        f"{geobox.shape.y} x {geobox.shape.x} pixels of {affine.a:g} from "
        f"({affine.c:.10g}, {affine.f:.10g}) in {crs}"
    )


def degrees(geobox: GeoBox) -> tuple[float, float, float, float]:
    """Return west, south, east, north of a grid in degrees."""
    west, south, east, north = geobox.extent.geom.bounds
    to_degrees = Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True)
    return to_degrees.transform_bounds(west, south, east, north)


def raise_elsewhere(bounds: tuple[float, ...], geobox: GeoBox) -> NoReturn:
    """Raise because labels and grid do not overlap.

    Args:
        bounds: west, south, east, north of the labels in degrees.
        geobox: grid.

    Raises:
        LabelError: always; names both extents.
    """
    labels = ", ".join(f"{v:.4f}" for v in bounds)
    grid = ", ".join(f"{v:.4f}" for v in degrees(geobox))
    msg = (
        f"Labels and grid do not overlap: labels lie in {labels}, the grid in {grid} (west, south, "
        "east, north in degrees). Check the CRS of the labels and the area."
    )
    raise LabelError(msg)
