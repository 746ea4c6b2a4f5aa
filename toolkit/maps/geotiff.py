"""Cloud-optimised GeoTIFFs that QGIS opens with colours and class names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import rasterio
import rioxarray
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from toolkit.cog_copy import move_to_cog
from toolkit.errors import GridError, InputError
from toolkit.legend import Legend
from toolkit.maps.areas import count_values
from toolkit.maps.layers import LAYERS, Layer, categories
from toolkit.storage import make_folder, replacing

BLOCK = 512
"""Edge of an internal block in pixels."""
CACHE_MB = 64
"""Decoded blocks that GDAL keeps while a map is joined, MB: with 64, the same took 50 MB."""
RAT_COLUMNS = (
    ("Value", 0, 5),
    ("Class", 2, 2),
    ("Red", 0, 6),
    ("Green", 0, 7),
    ("Blue", 0, 8),
    ("Alpha", 0, 9),
    ("Count", 1, 1),
)
"""Columns of the raster attribute table: name, GDAL field type, GDAL field usage.

Counts are real numbers: GDAL's whole ones end at 2**31, and a country has more pixels.
"""


def small_cache() -> rasterio.Env:
    """Return a context in which GDAL keeps little of what it decoded.

    Its default, 5 % of the machine's memory, made joining a map of 16,384 x 16,384 pixels take 400 MB.
    """
    return rasterio.Env(GDAL_CACHEMAX=CACHE_MB)


def write_crop_map(
    labels: xr.Dataset, path: str | Path, legend: Legend, *, tags: Mapping[str, str] | None = None
) -> Path:
    """Write the crop classes of a map that is in memory.

    Args:
        labels: ``crop`` uint8 ``(y, x)``, 0 = no data, else class index + 1; CRS through ``.odc.geobox``.
        path: file to write (``.tif``), its folder is made; an existing one is replaced in one step.
        legend: names and colours.
        tags: further TIFF tags, e.g. an attribution.

    Returns:
        The path. Class names go to ``<path>.aux.xml`` too, where QGIS looks for them.

    Raises:
        GridError: the labels have no CRS.
        StorageError: the file cannot be written.
    """
    geobox = labels.odc.geobox
    if geobox is None:
        msg = "The labels have no CRS and grid. Keep the coordinates of predict's result."
        raise GridError(msg)
    make_folder(Path(path).parent)
    window = Window(0, 0, geobox.shape.x, geobox.shape.y)
    blocks = [(window, labels["crop"].to_numpy().astype(np.uint8))]
    return write_layer(blocks, geobox, LAYERS[0], Path(path), legend, tags or {})


def write_layer(  # pixels, grid, meaning, place, legend, tags: each its own thing
    blocks: Iterable[tuple[Window, npt.NDArray[np.uint8]]],
    geobox: GeoBox,
    layer: Layer,
    path: Path,
    legend: Legend,
    tags: Mapping[str, str],
) -> Path:
    """Write one layer block by block, then as a COG under its final name.

    The same pixels give the same bytes.

    Args:
        blocks: windows of the grid and their uint8 values ``(y, x)``, none over another; what none covers
            gets the fill.
        geobox: grid of the layer.
        layer: meaning and nodata.
        path: file to write.
        legend: names and colours of the crops.
        tags: TIFF tags beside title and class names.

    Raises:
        StorageError: the file cannot be written.
    """
    classes = categories(layer, legend)
    names = {f"CLASS_{value}": name for value, (name, _) in classes.items()}
    counts = np.zeros(256, np.int64)
    with replacing(path) as temporary:
        plain = temporary.with_suffix(".plain.tif")
        with rasterio.open(plain, "w", **_profile(geobox, layer)) as file:
            _fill(file, layer)
            for window, values in blocks:
                file.write(values, 1, window=window)
                if classes:
                    counts += count_values(values)
            if classes:
                counts[layer.fill] += geobox.shape.x * geobox.shape.y - counts.sum()
                file.write_colormap(1, {value: (*color, 255) for value, (_, color) in classes.items()})
            file.set_band_description(1, layer.title)
            file.update_tags(**{"TIFFTAG_IMAGEDESCRIPTION": layer.title, **names, **tags})
        move_to_cog(plain, temporary, blocksize=BLOCK, overviews=layer.overviews)
    if classes:
        with replacing(path.with_name(f"{path.name}.aux.xml")) as temporary:
            temporary.write_bytes(_category_xml(classes, counts))
    return path


def read_layer(path: str | Path) -> xr.DataArray:
    """Read one layer of a map.

    Returns:
        uint8 ``(y, x)``, values as stored, CRS through ``.odc.geobox``.

    Raises:
        InputError: the file is missing or is no raster.
    """
    try:
        opened = rioxarray.open_rasterio(path, masked=False)
    except (rasterio.errors.RasterioError, OSError) as error:
        msg = f"The layer {str(path)!r} cannot be read ({error}). Give a GeoTIFF written by 'cropglobe map'."
        raise InputError(msg) from error
    if not isinstance(opened, xr.DataArray):
        msg = f"{str(path)!r} holds several rasters. Give a GeoTIFF written by 'cropglobe map'."
        raise InputError(msg)
    with opened:
        return opened.isel(band=0, drop=True).load()


def _fill(file: DatasetWriter, layer: Layer) -> None:
    """Write the fill everywhere, unless blocks that were never written are read as it anyway.

    Of five layers that is the status; 400 million pixels took 0.8 s.
    """
    if layer.fill == (layer.nodata or 0):
        return
    strip = np.full((min(BLOCK, file.height), file.width), layer.fill, np.uint8)
    for top in range(0, file.height, BLOCK):
        height = min(BLOCK, file.height - top)
        file.write(strip[:height], 1, window=Window(0, top, file.width, height))


def _profile(geobox: GeoBox, layer: Layer) -> dict[str, Any]:
    height, width = geobox.shape.yx
    return {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "height": height,
        "width": width,
        "crs": str(geobox.crs),
        "transform": geobox.affine,
        "nodata": layer.nodata,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "deflate",
        "bigtiff": "if_safer",
    }


def _category_xml(
    classes: Mapping[int, tuple[str, tuple[int, int, int]]], counts: npt.NDArray[np.int64]
) -> bytes:
    """GDAL auxiliary metadata: category names (all QGIS versions) and attribute table (3.30 or later)."""
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = ET.SubElement(band, "CategoryNames")
    for value in range(max(classes) + 1):
        ET.SubElement(names, "Category").text = classes[value][0] if value in classes else "no data"
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(RAT_COLUMNS):
        field = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(field, tag).text = str(text)
    for index, (value, (name, color)) in enumerate(sorted(classes.items())):
        row = ET.SubElement(table, "Row", index=str(index))
        for cell in (value, name, *color, 255, counts[value]):
            ET.SubElement(row, "F").text = str(cell)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=False)
    return document
