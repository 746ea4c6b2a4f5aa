"""Crop codes of a label raster, brought onto a grid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from toolkit.catalog.layer_search import LayerFiles
from toolkit.errors import AssetError, LabelError
from toolkit.learn.grids import degrees, raise_elsewhere
from toolkit.scenes.opening import opened

Codes = npt.NDArray[np.int64]

LARGEST_CODE = 2**53
"""Whole numbers beyond are not exact in a raster of floating point."""


def read_codes(path: Path, geobox: GeoBox) -> Codes:
    """Return the codes of a raster on a grid, by nearest neighbour.

    Args:
        path: GeoTIFF with one code per pixel.
        geobox: output grid.

    Returns:
        int64 ``(y, x)``, 0 where the raster ends or has its no-data value.

    Raises:
        LabelError: the file cannot be read, is not of whole numbers, has no CRS or lies elsewhere.
    """
    with _opened(path) as source:
        return codes_on_grid(source, geobox, name=str(path))


def read_layer_codes(layer: LayerFiles, geobox: GeoBox) -> Codes:
    """Return the codes of a layer's files on a grid; where files overlap, those of the first.

    Args:
        layer: files of one layer and year.
        geobox: output grid.

    Returns:
        int64 ``(y, x)``, 0 where no file has a code.

    Raises:
        LabelError: none of the files reaches the grid, or one is not of whole numbers.
        AssetError: a file cannot be read.
    """
    codes = np.zeros(geobox.shape.yx, dtype=np.int64)
    grid = shapely.box(*degrees(geobox))
    seen: list[tuple[float, ...]] = []
    n_read = 0
    for item, uri in layer.files.items():
        try:
            with opened(uri, layer.access) as file:
                bounds = _degrees_of(file.pixels, item)
                seen.append(bounds)
                if shapely.box(*bounds).intersects(grid):
                    found = codes_on_grid(file.pixels, geobox, name=item)
                    codes = np.where(codes == 0, found, codes)
                    n_read += 1
        except AssetError as error:
            raise error.of(item, "labels") from None
    if n_read == 0:
        raise_elsewhere(seen[0], geobox)
    return codes


def codes_on_grid(source: rasterio.DatasetReader, geobox: GeoBox, *, name: str) -> Codes:
    """Return the codes of an open raster on a grid, by nearest neighbour.

    Args:
        source: raster with one code per pixel, whole numbers of any type.
        geobox: output grid.
        name: of the raster, for messages.

    Returns:
        int64 ``(y, x)``, 0 where the raster ends or has its no-data value.

    Raises:
        LabelError: it is not of whole numbers, has no CRS or lies elsewhere.
    """
    bounds = _degrees_of(source, name)
    if not shapely.box(*bounds).intersects(shapely.box(*degrees(geobox))):
        raise_elsewhere(bounds, geobox)
    height, width = geobox.shape.yx
    with WarpedVRT(
        source,
        crs=str(geobox.crs),
        transform=geobox.affine,
        height=height,
        width=width,
        resampling=Resampling.nearest,
        tolerance=1e-6,  # pixels; GDAL's default is off by up to an eighth (0 is refused)
    ) as warped:
        values = np.asarray(warped.read(1))
    if source.nodata is not None:
        values[values == source.nodata] = 0
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.int64)
    if np.issubdtype(values.dtype, np.floating):
        values = np.where(np.isnan(values), 0, values)
        if (np.abs(values) < LARGEST_CODE).all() and (values == np.round(values)).all():
            return values.astype(np.int64)
    msg = f"{name!r} holds {values.dtype} that are no codes; crop codes are whole numbers. Convert it."
    raise LabelError(msg)


def _degrees_of(source: rasterio.DatasetReader, name: str) -> tuple[float, float, float, float]:
    """Return west, south, east, north of a raster in degrees."""
    if source.crs is None:
        msg = f"{name!r} has no CRS; one is needed to find the grid in it. Assign it."
        raise LabelError(msg)
    west, south, east, north = transform_bounds(source.crs, "EPSG:4326", *source.bounds)
    return west, south, east, north


@contextmanager
def _opened(path: Path) -> Iterator[rasterio.DatasetReader]:
    """Open a GeoTIFF; what rasterio raises inside becomes a LabelError."""
    if not path.is_file():
        msg = f"There is no label raster {str(path)!r}. Give the path of a GeoTIFF."
        raise LabelError(msg)
    try:
        with rasterio.open(path, driver="GTiff") as source:
            yield source
    except RasterioError as error:
        msg = f"{str(path)!r} cannot be read as a GeoTIFF ({error}). Check that it opens in QGIS."
        raise LabelError(msg) from error
