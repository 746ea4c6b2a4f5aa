"""The area of interest: read, checked, in longitude and latitude."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from toolkit.errors import AreaError, GeometryRepairedWarning

VECTOR_SUFFIXES = (".geojson", ".json", ".gpkg", ".parquet", ".geoparquet", ".shp")
"""Vector files that are read; formats with scripts or references inside (KML, VRT) are not."""

POLYGONS = ("Polygon", "MultiPolygon")
POINTS = ("Point", "MultiPoint")

MAX_AREA_CHANGE = 0.01
"""A repair that changes the area by more than this share is refused (FAULTS G3)."""


@dataclass(frozen=True, slots=True)
class AOI:
    """An area of interest."""

    geometry: BaseGeometry
    """Polygon or MultiPolygon, EPSG:4326, x = longitude, y = latitude, valid."""
    name: str = "area"
    """For titles and messages."""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees."""
        west, south, east, north = self.geometry.bounds
        return west, south, east, north

    @property
    def hemisphere(self) -> Literal["north", "south"]:
        """Hemisphere of the centre."""
        return "north" if self.geometry.centroid.y >= 0 else "south"

    def swapped(self) -> AOI:
        """Return the area with longitude and latitude exchanged (to recognise that mistake)."""
        return AOI(shapely.transform(self.geometry, lambda xy: xy[:, ::-1]), self.name)


def read_aoi(source: str | Path | BaseGeometry | Mapping[str, Any]) -> AOI:
    """Read an area of interest.

    Args:
        source: path of a vector file (GeoJSON, GeoPackage, GeoParquet, Shapefile; any CRS), or a
            shapely geometry or GeoJSON mapping in longitude and latitude. Several polygons are
            joined; heights are dropped.

    Raises:
        AreaError: the file is missing or unreadable, holds no polygon, is not in degrees, or
            cannot be repaired without changing its area by more than 1 %.
    """
    if isinstance(source, BaseGeometry):
        return AOI(_checked(source, "the geometry"))
    if isinstance(source, Mapping):
        return AOI(_checked(_from_mapping(source), "the GeoJSON mapping"))
    path = Path(source)
    frame = read_polygons(path)
    return AOI(_checked(shapely.union_all(frame.geometry.to_numpy()), str(path)), path.stem)


def read_polygons(path: str | Path) -> gpd.GeoDataFrame:
    """Read the polygons of a vector file, in EPSG:4326.

    Args:
        path: GeoJSON, GeoPackage, GeoParquet or Shapefile.

    Returns:
        One row per polygon with the file's properties; other geometries are left out, invalid
        polygons are repaired.

    Raises:
        AreaError: the file is missing, unreadable, or holds no polygon.
    """
    return read_shapes(path, kinds=POLYGONS)


def read_shapes(path: str | Path, *, kinds: tuple[str, ...] = (*POLYGONS, *POINTS)) -> gpd.GeoDataFrame:
    """Read shapes of some kinds from a vector file, in EPSG:4326.

    Args:
        path: GeoJSON, GeoPackage, GeoParquet or Shapefile.
        kinds: kinds of geometry that are read; others are left out.

    Returns:
        One row per shape with the file's properties; invalid polygons are repaired.

    Raises:
        AreaError: the file is missing, unreadable, or holds no such shape.
    """
    path = Path(path)
    if not path.is_file():
        msg = f"There is no file {str(path)!r}. Give the path of a GeoJSON, GeoPackage or GeoParquet file."
        raise AreaError(msg)
    if path.suffix.lower() not in VECTOR_SUFFIXES:
        msg = f"{path.name!r} is not a known vector format; use one of {', '.join(VECTOR_SUFFIXES)}."
        raise AreaError(msg)
    try:
        read = gpd.read_parquet if path.suffix.lower().endswith("parquet") else gpd.read_file
        frame = read(path)
    except Exception as error:  # readers raise what their format library raises
        msg = f"{str(path)!r} cannot be read as a vector file ({error}). Check that it opens in QGIS."
        raise AreaError(msg) from error
    if not isinstance(frame, gpd.GeoDataFrame) or frame.geometry.isna().all():
        frame = gpd.GeoDataFrame(geometry=[], crs="EPSG:4326")
    found = sorted({str(kind) for kind in frame.geom_type.dropna()})
    frame = frame[frame.geom_type.isin(kinds) & ~frame.geometry.is_empty]
    if frame.empty:
        wanted = "polygon or point" if "Point" in kinds else "polygon"
        msg = f"{str(path)!r} holds no {wanted}, only {found or 'no geometry at all'}. Draw a {wanted}."
        raise AreaError(msg)
    frame = frame.set_geometry(shapely.force_2d(frame.geometry.to_numpy()), crs=frame.crs)
    if frame.crs is None:
        frame = frame.set_crs("EPSG:4326")
    if frame.crs.is_geographic:
        frame = frame.set_geometry([_split_at_180(shape) for shape in frame.geometry], crs=frame.crs)
    _check_degrees(frame, path)
    frame = frame.to_crs("EPSG:4326")
    repaired = [_repair(shape, str(path)) for shape in frame.geometry]
    return frame.set_geometry(repaired, crs="EPSG:4326").reset_index(drop=True)


def _check_degrees(frame: gpd.GeoDataFrame, path: Path) -> None:
    if frame.crs.is_geographic:
        _check_bounds(frame.total_bounds, str(path))


def _from_mapping(mapping: Mapping[str, Any]) -> BaseGeometry:
    kind = mapping.get("type")
    try:
        if kind == "FeatureCollection":
            return shapely.union_all(
                [shapely.from_geojson(json.dumps(f["geometry"])) for f in mapping["features"]]
            )
        return shapely.from_geojson(json.dumps(mapping.get("geometry", mapping)))
    except (shapely.errors.GEOSException, KeyError, TypeError, ValueError) as error:
        msg = f"A mapping of type {kind!r} is not GeoJSON ({error}). Give a Polygon or FeatureCollection."
        raise AreaError(msg) from error


def _checked(shape: BaseGeometry, source: str) -> BaseGeometry:
    """Return a valid polygon in degrees, or raise."""
    shape = shapely.force_2d(shape)
    if shape.is_empty or shape.geom_type not in ("Polygon", "MultiPolygon"):
        empty = "an empty " if shape.is_empty else "a "
        msg = f"The area in {source} is {empty}{shape.geom_type}. Give a Polygon or MultiPolygon."
        raise AreaError(msg)
    shape = _split_at_180(shape)
    _check_bounds(shape.bounds, source)
    return _repair(shape, source)


def _split_at_180(shape: BaseGeometry) -> BaseGeometry:
    """Cut an area that runs over 180 degrees in two, as GeoJSON wants it (RFC 7946, section 3.1.9)."""
    west, south, east, north = shape.bounds
    if west >= -180 and east <= 180:
        return shape
    if (
        west < -360
        or east > 360
        or east - west > 180
        or max(abs(south), abs(north)) > 90
        or shape.area == 0
        or not shape.is_valid
    ):
        return shape  # no degrees
    world = shapely.box(-180, -90, 180, 90)
    turned = [shapely.intersection(affinity.translate(shape, xoff=turn), world) for turn in (-360, 0, 360)]
    return shapely.union_all([part for part in turned if part.area > 0])


def _check_bounds(bounds: Any, source: str) -> None:
    west, south, east, north = (float(v) for v in bounds)
    got = f"x {west:.6g} to {east:.6g}, y {south:.6g} to {north:.6g}"
    if west >= -90 and east <= 90 and (south < -90 or north > 90) and south >= -180 and north <= 180:
        msg = (
            f"Longitude and latitude look swapped in {source}: got {got}, but latitude (y) must be -90 to "
            "90. GeoJSON wants [longitude, latitude]."
        )
        raise AreaError(msg)
    if west < -180 or east > 180 or south < -90 or north > 90:
        msg = (
            f"Coordinates in {source} are not degrees: got {got}, allowed x -180 to 180, y -90 to 90. "
            "Save the file in EPSG:4326, or in a format that stores its CRS."
        )
        raise AreaError(msg)


def _repair(shape: BaseGeometry, source: str) -> BaseGeometry:
    if shape.is_valid:
        return shape
    fixed = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    change = abs(fixed.area - shape.area) / max(fixed.area, 1e-12)
    if fixed.is_empty or fixed.geom_type not in ("Polygon", "MultiPolygon") or change > MAX_AREA_CHANGE:
        msg = (
            f"A polygon in {source} crosses itself ({shapely.is_valid_reason(shape)}) and repairing it would "
            f"change its area by {change:.0%}. Correct it in QGIS (Vector > Geometry > Check validity)."
        )
        raise AreaError(msg)
    warnings.warn(
        f"A polygon in {source} was invalid ({shapely.is_valid_reason(shape)}) and has been repaired.",
        GeometryRepairedWarning,
        stacklevel=2,
    )
    return fixed
