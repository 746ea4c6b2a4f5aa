"""Reference labels on a grid: which crop, and which field.

Labels are an ``xr.Dataset`` with ``crop`` uint8 ``(y, x)`` (class index + 1, 0 unlabelled) and
``field`` int32 ``(y, x)`` (0 none). Pixels of one field never stand on both sides of a split. The attribute
``dropped_codes`` counts the fields, points or pixels (of rasters) that were left unlabelled by code,
``inner_buffer_m`` is the edge left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from scipy import ndimage

from toolkit.errors import LabelError
from toolkit.learn.code_classes import translate
from toolkit.learn.crop_codes import read_codes
from toolkit.learn.fields import Classes, read_fields, rules_of
from toolkit.learn.pixels import draw_per_class, draw_per_field
from toolkit.legend import CROPGLOBE, Legend

Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]


def rasterize_fields(
    fields: gpd.GeoDataFrame | str | Path,
    geobox: GeoBox,
    *,
    legend: Legend = CROPGLOBE,
    inner_buffer_m: float = 10.0,
    property: str = "crop",  # noqa: A002  # the word of GeoJSON for it
    classes: Classes | None = None,
) -> xr.Dataset:
    """Return labels from field polygons, or from points.

    A pixel belongs to a field if its centre lies in the shrunken polygon. A pixel in two fields is
    unlabelled. A point labels the pixel that holds it and is a field of its own; a pixel with points of
    different crops is unlabelled.

    Args:
        fields: polygons or points in any CRS, or the path of a vector file.
        geobox: output grid.
        legend: classes.
        inner_buffer_m: metres by which polygons are shrunk, so that mixed pixels stay out.
        property: column with the crop: the name of its class, or a code.
        classes: how codes become classes; None for class names.

    Returns:
        ``crop`` uint8 ``(y, x)``, class index + 1, 0 unlabelled; ``field`` int32 ``(y, x)``,
        position of the shape in the table + 1, 0 none.

    Raises:
        LabelError: no such property, crops without a class, no CRS, polygons and points mixed or neither,
            buffer negative, or no pixel labelled.
        AreaError: the file is missing, unreadable or holds no polygon or point.
    """
    read = read_fields(
        fields, geobox, legend=legend, inner_buffer_m=inner_buffer_m, property=property, classes=classes
    )
    crop, field = read.on(geobox)
    if not crop.any():
        raise LabelError(read.nothing_labelled())
    return _dataset(crop, field, geobox, legend, dropped=read.dropped, inner_buffer_m=read.inner_buffer_m)


def read_label_raster(
    path: str | Path,
    geobox: GeoBox,
    *,
    classes: Classes,
    legend: Legend = CROPGLOBE,
    erode_px: int = 0,
) -> xr.Dataset:
    """Return labels from a raster of crop codes, e.g. a national crop layer.

    The raster comes onto the grid by nearest neighbour. Fields are areas of one code connected over
    pixel edges (not corners).

    Args:
        path: GeoTIFF with one code per pixel; 0 and its no-data value are unlabelled.
        geobox: output grid.
        classes: code -> class name; the key ``*`` stands for every other code. Or all rules.
        legend: classes.
        erode_px: pixels of the output grid taken off all around each field, so that mixed pixels
            stay out.

    Returns:
        ``crop`` uint8 ``(y, x)``, class index + 1, 0 unlabelled; ``field`` int32 ``(y, x)``, 0
        none.

    Raises:
        LabelError: the file cannot be read, is not of whole numbers, has no CRS or lies elsewhere;
            a code has no class; nothing is labelled.
    """
    codes = read_codes(Path(path), geobox)
    return label_codes(codes, geobox, classes=classes, legend=legend, erode_px=erode_px, source=str(path))


def label_codes(
    codes: npt.NDArray[np.int64],
    geobox: GeoBox,
    *,
    classes: Classes,
    legend: Legend = CROPGLOBE,
    erode_px: int = 0,
    source: str = "The raster",
) -> xr.Dataset:
    """Return labels from crop codes on a grid, as :func:`read_label_raster` does.

    Args:
        codes: int64 ``(y, x)``, 0 unlabelled.
        geobox: grid.
        classes: code -> class name, or all rules.
        legend: classes.
        erode_px: pixels taken off all around each field.
        source: where the codes come from, for messages.

    Raises:
        LabelError: a code has no class, or nothing is labelled.
    """
    if erode_px < 0:
        msg = f"erode_px is {erode_px!r}; allowed: 0 pixels or more. Use 0 to keep all pixels."
        raise LabelError(msg)
    numbers, n_pixels = np.unique(codes[codes != 0], return_counts=True)
    counts = {str(number): n for number, n in zip(numbers.tolist(), n_pixels.tolist(), strict=True)}
    found = translate(counts, rules_of(classes), legend, source=repr(source), numbers=True)
    crop = np.zeros(codes.shape, dtype=np.uint8)
    field = np.zeros(codes.shape, dtype=np.int32)
    n_fields = 0
    for code in numbers.tolist():
        if (value := found.values[str(code)]) == 0:
            continue
        here = codes == code
        crop[here] = value
        parts, n_parts = ndimage.label(here)
        field[here] = parts[here] + n_fields
        n_fields += n_parts
    _erode(crop, field, erode_px)
    if not crop.any():
        msg = (
            f"{source!r} labels no pixel of the grid: codes there {numbers.tolist()[:20]}, erode_px "
            f"{erode_px}. Check the classes, or use a smaller erode_px."
        )
        raise LabelError(msg)
    edge_m = erode_px * abs(float(geobox.affine.a))  # in degrees on a grid in degrees
    return _dataset(crop, field, geobox, legend, dropped=found.dropped, inner_buffer_m=edge_m)


def thin_labels(
    labels: xr.Dataset, *, cap_per_field: int | None, balance: int | None = None, seed: int = 0
) -> xr.Dataset:
    """Return labels with fewer pixels of each field and class, before features are made.

    Args:
        labels: ``crop`` and ``field`` ``(y, x)``.
        cap_per_field: most pixels of a field, drawn at random; None keeps all.
        balance: most pixels of a class, drawn after that, from its fields as evenly as possible; None
            keeps all. Pixels that are never observed go later, so that samples may be fewer.
        seed: of the draws.

    Raises:
        LabelError: a number is below 1.
    """
    field = labels["field"].transpose("y", "x").to_numpy().ravel()
    crop = labels["crop"].transpose("y", "x").to_numpy().ravel()
    index = np.flatnonzero(field)
    index = index[draw_per_field(field[index], cap_per_field, seed)]
    index = index[draw_per_class(crop[index], field[index], balance, seed)]
    kept = np.zeros(labels["field"].transpose("y", "x").shape, bool)
    kept.ravel()[index] = True
    return labels.assign(
        {name: labels[name].where(xr.DataArray(kept, dims=("y", "x")), 0) for name in ("crop", "field")}
    )


def _erode(crop: Bytes, field: Ids, erode_px: int) -> None:
    """Unlabel pixels less than ``erode_px`` inside; the edge of the grid is no edge of a field."""
    if erode_px == 0:
        return
    size = 2 * erode_px + 1
    lowest = ndimage.minimum_filter(field, size=size, mode="nearest")
    edge = lowest != ndimage.maximum_filter(field, size=size, mode="nearest")
    crop[edge] = 0
    field[edge] = 0


def _dataset(
    crop: Bytes,
    field: Ids,
    geobox: GeoBox,
    legend: Legend,
    *,
    dropped: Mapping[str, int],
    inner_buffer_m: float,
) -> xr.Dataset:
    """Put labels together; a field without a crop is none."""
    return xr.Dataset(
        {"crop": (("y", "x"), crop), "field": (("y", "x"), np.where(crop > 0, field, 0).astype(np.int32))},
        coords=xr_coords(geobox, dims=("y", "x")),
        attrs={
            "crops": list(legend.names),
            "dropped_codes": dict(dropped),
            "inner_buffer_m": inner_buffer_m,
        },
    )
