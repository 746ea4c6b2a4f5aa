"""Shapes of labels on a grid: polygons shrunk and burnt, points put into their pixels."""

from __future__ import annotations

from typing import Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.geobox import GeoBox
from rasterio.enums import MergeAlg
from rasterio.features import rasterize

from toolkit.area.aoi import POINTS, POLYGONS
from toolkit.errors import LabelError
from toolkit.learn.grids import raise_elsewhere

Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]
Shapes = npt.NDArray[np.object_]


def kind_of(frame: gpd.GeoDataFrame) -> Literal["polygons", "points"]:
    """Return what a table of labels holds.

    Args:
        frame: labels, of any geometry.

    Raises:
        LabelError: it holds neither polygons nor points, or both.
    """
    found = set(frame.geom_type.dropna())
    polygons, points = found & set(POLYGONS), found & set(POINTS)
    if polygons and points:
        n = int(frame.geom_type.isin(POINTS).sum())
        msg = (
            f"Labels hold {n} points beside {len(frame) - n} polygons, and it is not clear which of them is "
            "meant where they meet. Save them in two files, make samples of each, and train on both."
        )
        raise LabelError(msg)
    if not polygons and not points:
        msg = f"Labels hold no polygon or point, only {sorted(found) or 'nothing'}. Draw at least one."
        raise LabelError(msg)
    return "polygons" if polygons else "points"


def shapes_on_grid(frame: gpd.GeoDataFrame, geobox: GeoBox, *, inner_buffer_m: float = 0.0) -> Shapes:
    """Return polygons or points in the grid's CRS, polygons shrunk; empty where nothing is left.

    Args:
        frame: labels in any CRS.
        geobox: grid.
        inner_buffer_m: metres by which polygons are shrunk.

    Raises:
        LabelError: no CRS, or no shape on the grid.
    """
    if frame.crs is None:
        msg = "Fields have no CRS. Set it (frame.set_crs('EPSG:4326')), or save it with the file."
        raise LabelError(msg)
    shapes = frame.geometry
    usable = shapes.notna() & shapes.geom_type.isin([*POLYGONS, *POINTS])
    shapes = shapes.where(usable, shapely.Polygon())
    on_grid = shapes.to_crs(str(geobox.crs))
    if not on_grid.intersects(geobox.extent.geom).any():
        raise_elsewhere(tuple(shapes[usable].to_crs("EPSG:4326").total_bounds), geobox)
    if inner_buffer_m > 0:
        metric = on_grid.crs.is_projected and on_grid.crs.axis_info[0].unit_name == "metre"
        in_metres = on_grid if metric else shapes.to_crs(shapes[usable].estimate_utm_crs())
        on_grid = in_metres.buffer(-inner_buffer_m).to_crs(on_grid.crs)
    return np.asarray(on_grid.to_numpy(), dtype=object)


def meets_grid(shapes: Shapes, geobox: GeoBox) -> npt.NDArray[np.bool_]:
    """Return which shapes meet a grid, ``(shape,)``."""
    return np.asarray(shapely.intersects(shapes, geobox.extent.geom) & ~shapely.is_empty(shapes))


def burn_polygons(shapes: Shapes, ids: Ids, geobox: GeoBox) -> Ids:
    """Return the id of the one polygon that claims a pixel's centre; 0 where none or several do.

    Args:
        shapes: polygons in the grid's CRS, ``(shape,)``.
        ids: of each, 1 or more, ``(shape,)``.
        geobox: grid.

    Returns:
        int32 ``(y, x)``.
    """
    out = np.zeros(geobox.shape.yx, dtype=np.int32)
    claims = np.zeros(geobox.shape.yx, dtype=np.int32)
    if len(ids):
        transform = geobox.affine
        rasterize(zip(shapes, ids.tolist(), strict=True), out=out, transform=transform)
        ones = ((shape, 1) for shape in shapes)
        rasterize(ones, out=claims, transform=transform, merge_alg=MergeAlg.add)
    out[claims != 1] = 0
    return out


def put_points(shapes: Shapes, ids: Ids, values: Bytes, geobox: GeoBox) -> Ids:
    """Return the id of the first point in a pixel; 0 where there is none, or where their values differ.

    Args:
        shapes: points in the grid's CRS, ``(shape,)``.
        ids: of each, 1 or more, ``(shape,)``.
        values: class of each, ``(shape,)``.
        geobox: grid.

    Returns:
        int32 ``(y, x)``.
    """
    height, width = geobox.shape.yx
    inverse = ~geobox.affine
    x, y = shapely.get_x(shapes), shapely.get_y(shapes)
    column = np.floor(inverse.a * x + inverse.b * y + inverse.c).astype(np.int64)
    row = np.floor(inverse.d * x + inverse.e * y + inverse.f).astype(np.int64)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    pixel, first, of_pixel = np.unique(
        row[inside] * width + column[inside], return_index=True, return_inverse=True
    )
    lowest, highest = np.full(len(pixel), 255, np.uint8), np.zeros(len(pixel), np.uint8)
    np.minimum.at(lowest, of_pixel, values[inside])
    np.maximum.at(highest, of_pixel, values[inside])
    out = np.zeros(height * width, dtype=np.int32)
    out[pixel] = np.where(lowest == highest, ids[inside][first], 0)
    return out.reshape(height, width)
