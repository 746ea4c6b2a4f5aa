"""One raster on any grid by nearest neighbour, and where it has pixels at all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from toolkit.catalog.access import LOCAL, Access
from toolkit.errors import AssetError
from toolkit.scenes.blocks import BlockRange, spans_in_file
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.opening import OpenFile, opened
from toolkit.scenes.targets import Mask, Pixels

TOLERANCE = 1e-6
"""Pixels of the file by which places may be off; GDAL's default is up to an eighth (0 is refused)."""
MARGIN = 2
"""Pixels of the file around a grid that are fetched with it."""
TOGETHER = 4
"""Ranges fetched at a time."""


def read_nearest(uri: str, geobox: GeoBox, *, access: Access = LOCAL) -> tuple[Pixels, Mask, ReadCounts]:
    """Read the only band of a file on a grid, by nearest neighbour.

    Unlike :func:`toolkit.scenes.blocks.read_on_grid` it tells the file's end from a value of 0.

    Args:
        uri: path or URL of a file of one band.
        geobox: grid, in any CRS and as coarse or fine as wanted.
        access: how files of its catalog are read.

    Returns:
        ``(y, x)`` in the file's type, at each pixel the value of that pixel of the file in which its centre
        lies; bool ``(y, x)``, True where the file has one; and counts. No-data values are values like others.

    Raises:
        AssetError: the file cannot be read; names it.
        UnsafeReferenceError: the file may not be read.
    """
    try:
        return _read_once(uri, geobox, access)
    except AssetError as error:
        if error.reason != "damaged" or "://" not in uri:
            raise
    return _read_once(uri, geobox, access)  # bytes may have been spoilt on their way


def _read_once(uri: str, geobox: GeoBox, access: Access) -> tuple[Pixels, Mask, ReadCounts]:
    with opened(uri, access) as file:
        _prefetch(file, geobox)
        values, there = _warped(file.pixels, geobox)
        requests, received = (2, 0) if file.remote is None else (file.remote.requests, file.remote.received)
        counts = ReadCounts(files=1, requests=requests, bytes=received, resampled=1)
    return values, there, counts


def _warped(source: Any, geobox: GeoBox) -> tuple[Pixels, Mask]:
    height, width = geobox.shape.yx
    with WarpedVRT(
        source,
        crs=str(geobox.crs),
        transform=geobox.affine,
        height=height,
        width=width,
        resampling=Resampling.nearest,
        tolerance=TOLERANCE,
        # Alpha tells just where the file ends, if there is no value that stands for no data.
        src_nodata=None,
        nodata=None,
        add_alpha=True,
    ) as warped:
        return warped.read(1), warped.read(warped.count) > 0


def _prefetch(file: OpenFile, geobox: GeoBox) -> None:
    """Fetch the blocks under a grid together: GDAL asks for one after the other."""
    place = file.pixels.transform
    if file.remote is None or file.pixels.crs is None or place.b or place.d:
        return
    bounds = transform_bounds(str(geobox.crs), file.pixels.crs, *geobox.boundingbox.bbox)
    if not np.isfinite(bounds).all() or bounds[0] > bounds[2]:  # across the antimeridian
        return
    height, width = file.pixels.block_shapes[0]
    x = sorted((edge - place.c) / place.a for edge in (bounds[0], bounds[2]))
    y = sorted((edge - place.f) / place.e for edge in (bounds[1], bounds[3]))
    top, bottom = _blocks(y, height, file.pixels.height)
    left, right = _blocks(x, width, file.pixels.width)
    file.remote.prefetch(spans_in_file(file.pixels, BlockRange(top, bottom, left, right)), together=TOGETHER)


def _blocks(edges: list[float], block: int, size: int) -> tuple[int, int]:
    """Return the first block between two places along an axis, and the one after the last."""
    first = min(max(math.floor(edges[0]) - MARGIN, 0), size)
    last = min(max(math.ceil(edges[1]) + MARGIN, 0), size)
    return first // block, -(-last // block)
