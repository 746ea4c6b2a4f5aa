"""Reference labels on a grid: which crop, and which field.

Labels are an ``xr.Dataset`` with ``crop`` uint8 ``(y, x)`` (class index + 1, 0 unlabelled) and
``field`` int32 ``(y, x)`` (0 none). Pixels of one field never stand on both sides of a split.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rasterio.enums import MergeAlg
from rasterio.features import rasterize
from scipy import ndimage

from toolkit.area.aoi import read_polygons
from toolkit.errors import LabelError
from toolkit.learn.crop_codes import read_codes
from toolkit.learn.grids import raise_elsewhere
from toolkit.learn.pixels import draw_per_field
from toolkit.legend import CROPGLOBE, Legend

Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]

ANY_OTHER = "*"
"""Key of the classes of a label raster: every other code but 0 and no data."""


def rasterize_fields(
    fields: gpd.GeoDataFrame | str | Path,
    geobox: GeoBox,
    *,
    legend: Legend = CROPGLOBE,
    inner_buffer_m: float = 10.0,
    property: str = "crop",  # noqa: A002  # the word of GeoJSON for it
) -> xr.Dataset:
    """Return labels from field polygons.

    A pixel belongs to a field if its centre lies in the shrunken polygon. A pixel in two fields is
    unlabelled.

    Args:
        fields: polygons in any CRS, or the path of a vector file.
        geobox: output grid.
        legend: classes; the property holds their names.
        inner_buffer_m: metres by which fields are shrunk, so that mixed pixels stay out.
        property: column with the crop's name.

    Returns:
        ``crop`` uint8 ``(y, x)``, class index + 1, 0 unlabelled; ``field`` int32 ``(y, x)``,
        position of the polygon in the table + 1, 0 none.

    Raises:
        LabelError: no such property, unknown crop names, no CRS or polygon, buffer negative, or no
            pixel labelled.
        AreaError: the file is missing, unreadable or holds no polygon.
    """
    frame = read_polygons(fields) if isinstance(fields, str | Path) else fields
    if not (np.isfinite(inner_buffer_m) and inner_buffer_m >= 0):
        msg = f"inner_buffer_m is {inner_buffer_m!r}; allowed: 0 metres or more. Use 10 or 0."
        raise LabelError(msg)
    crops = _crop_values(frame, property, legend)
    ids = np.arange(1, len(frame) + 1, dtype=np.int32)
    shapes = _shrunken(frame, geobox, inner_buffer_m)
    near = shapely.intersects(shapes, geobox.extent.geom) & ~shapely.is_empty(shapes)
    field = _burn(shapes[near], ids[near], geobox)
    crop = np.concatenate([np.zeros(1, np.uint8), crops])[field]
    if not crop.any():
        msg = (
            f"No pixel centre lies in exactly one of the {int(near.sum())} fields here after "
            f"shrinking them by {inner_buffer_m:g} m. Use a smaller inner_buffer_m or a finer "
            "grid, and check that no field is drawn twice."
        )
        raise LabelError(msg)
    return _dataset(crop, field, geobox, legend)


def _crop_values(frame: gpd.GeoDataFrame, column: str, legend: Legend) -> Bytes:
    """Return the raster value of each polygon's crop."""
    if column not in frame.columns or column == frame.geometry.name:
        known = [str(name) for name in frame.columns if name != frame.geometry.name]
        msg = (
            f"Fields have no property {column!r}. Properties: {', '.join(known) or 'none'}. "
            "Name the one that holds the crop."
        )
        raise LabelError(msg)
    missing = frame[column].isna().to_numpy()
    names = [
        "(empty)" if gone else str(name).strip().lower()
        for name, gone in zip(frame[column], missing, strict=True)
    ]
    if unknown := sorted(set(names) - set(legend.names)):
        msg = (
            f"Fields have crops that are not in the legend: {', '.join(unknown)}. "
            f"Known classes: {', '.join(legend.names)}. Rename them, or give them 'other'."
        )
        raise LabelError(msg)
    return np.array([legend.index(name) + 1 for name in names], dtype=np.uint8)


def _shrunken(frame: gpd.GeoDataFrame, geobox: GeoBox, inner_buffer_m: float) -> npt.NDArray[np.object_]:
    """Return the polygons in the grid's CRS, shrunk; empty where nothing is left."""
    if frame.crs is None:
        msg = "Fields have no CRS. Set it (frame.set_crs('EPSG:4326')), or save it with the file."
        raise LabelError(msg)
    shapes = frame.geometry
    usable = shapes.notna() & shapes.geom_type.isin(["Polygon", "MultiPolygon"])
    if not usable.any():
        kinds = sorted(set(shapes.geom_type.dropna()))
        msg = f"Fields hold no polygon, only {kinds or 'nothing'}. Draw at least one polygon."
        raise LabelError(msg)
    shapes = shapes.where(usable, shapely.Polygon())
    on_grid = shapes.to_crs(str(geobox.crs))
    if not on_grid.intersects(geobox.extent.geom).any():
        raise_elsewhere(tuple(shapes[usable].to_crs("EPSG:4326").total_bounds), geobox)
    if inner_buffer_m > 0:
        metric = on_grid.crs.is_projected and on_grid.crs.axis_info[0].unit_name == "metre"
        in_metres = on_grid if metric else shapes.to_crs(shapes[usable].estimate_utm_crs())
        on_grid = in_metres.buffer(-inner_buffer_m).to_crs(on_grid.crs)
    return np.asarray(on_grid.to_numpy(), dtype=object)


def _burn(shapes: npt.NDArray[np.object_], ids: Ids, geobox: GeoBox) -> Ids:
    """Return the id of the one field that claims a pixel; 0 where none or several do."""
    out = np.zeros(geobox.shape.yx, dtype=np.int32)
    claims = np.zeros(geobox.shape.yx, dtype=np.int32)
    if len(ids):
        transform = geobox.affine
        rasterize(zip(shapes, ids.tolist(), strict=True), out=out, transform=transform)
        ones = ((shape, 1) for shape in shapes)
        rasterize(ones, out=claims, transform=transform, merge_alg=MergeAlg.add)
    out[claims != 1] = 0
    return out


def read_label_raster(
    path: str | Path,
    geobox: GeoBox,
    *,
    classes: Mapping[int | str, str],
    legend: Legend = CROPGLOBE,
    erode_px: int = 0,
) -> xr.Dataset:
    """Return labels from a raster of crop codes, e.g. a national crop layer.

    The raster comes onto the grid by nearest neighbour. Fields are areas of one code connected over
    pixel edges (not corners).

    Args:
        path: GeoTIFF with one code per pixel; 0 and its no-data value are unlabelled.
        geobox: output grid.
        classes: code -> class name; the key ``*`` stands for every other code.
        legend: classes.
        erode_px: pixels of the output grid taken off all around each field, so that mixed pixels
            stay out.

    Returns:
        ``crop`` uint8 ``(y, x)``, class index + 1, 0 unlabelled; ``field`` int32 ``(y, x)``, 0
        none.

    Raises:
        LabelError: the file cannot be read, is not of whole numbers, has no CRS or lies elsewhere;
            a code is not listed; nothing is labelled.
    """
    values, rest = _class_values(classes, legend)
    if erode_px < 0:
        msg = f"erode_px is {erode_px!r}; allowed: 0 pixels or more. Use 0 to keep all pixels."
        raise LabelError(msg)
    codes = read_codes(Path(path), geobox)
    present = [int(code) for code in np.unique(codes) if code]
    if rest is None and (unknown := [code for code in present if code not in values]):
        listed = ", ".join(map(str, unknown[:20])) + (", ..." if len(unknown) > 20 else "")
        msg = (
            f"{str(path)!r} holds codes without a class: {listed}. Listed: {sorted(values)}. "
            f"Add them, or the key {ANY_OTHER!r} for every other code."
        )
        raise LabelError(msg)
    crop = np.zeros(codes.shape, dtype=np.uint8)
    field = np.zeros(codes.shape, dtype=np.int32)
    n_fields = 0
    for code in present:
        here = codes == code
        crop[here] = values.get(code, rest or 0)
        parts, n_parts = ndimage.label(here)
        field[here] = parts[here] + n_fields
        n_fields += n_parts
    _erode(crop, field, erode_px)
    if not crop.any():
        msg = (
            f"{str(path)!r} labels no pixel of the grid: codes there {present[:20]}, erode_px "
            f"{erode_px}. Check the classes, or use a smaller erode_px."
        )
        raise LabelError(msg)
    return _dataset(crop, field, geobox, legend)


def _class_values(classes: Mapping[int | str, str], legend: Legend) -> tuple[dict[int, int], int | None]:
    """Return code -> raster value, and the value of every other code (None: there is none)."""
    values: dict[int, int] = {}
    rest: int | None = None
    for code, name in classes.items():
        value = legend.index(name) + 1
        if code == ANY_OTHER:
            rest = value
            continue
        try:
            number = int(code)
        except ValueError:
            number = 0
        if number == 0:
            msg = (
                f"Code {code!r} of class {name!r} cannot be used; allowed: whole numbers but 0 "
                f"(0 is unlabelled) and {ANY_OTHER!r}. Correct or drop it."
            )
            raise LabelError(msg)
        values[number] = value
    return values, rest


def thin_labels(labels: xr.Dataset, *, cap_per_field: int | None, seed: int = 0) -> xr.Dataset:
    """Return labels with at most so many pixels of each field, before features are made.

    Args:
        labels: ``crop`` and ``field`` ``(y, x)``.
        cap_per_field: most pixels of a field, drawn at random; None keeps all.
        seed: of the draw.

    Raises:
        LabelError: the cap is below 1.
    """
    field = labels["field"].transpose("y", "x").to_numpy()
    index = np.flatnonzero(field)
    kept = np.zeros(field.shape, bool)
    kept.ravel()[index[draw_per_field(field.ravel()[index], cap_per_field, seed)]] = True
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


def _dataset(crop: Bytes, field: Ids, geobox: GeoBox, legend: Legend) -> xr.Dataset:
    return xr.Dataset(
        {"crop": (("y", "x"), crop), "field": (("y", "x"), field)},
        coords=xr_coords(geobox, dims=("y", "x")),
        attrs={"crops": list(legend.names)},
    )
