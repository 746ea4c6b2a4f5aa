"""The area of interest: read, checked, in longitude and latitude."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Geod
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from toolkit.errors import AreaError, GeometryRepairedWarning

VECTOR_SUFFIXES = (".geojson", ".json", ".gpkg", ".parquet", ".geoparquet", ".shp")
"""Vector files that are read; formats with scripts or references inside (KML, VRT) are not."""

POLYGONS = ("Polygon", "MultiPolygon")
POINTS = ("Point", "MultiPoint")

GEOD = Geod(ellps="WGS84")
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

    @property
    def unbroken(self) -> BaseGeometry:
        """The geometry with longitudes that do not jump: beyond 180 if the area crosses it."""
        west, _, east, _ = self.geometry.bounds
        parts = shapely.get_parts(self.geometry)
        if east - west <= 180 or len(parts) < 2:
            return self.geometry
        turned = shapely.MultiPolygon(
            [affinity.translate(part, xoff=360.0) if part.centroid.x < 0 else part for part in parts]
        )
        left, _, right, _ = turned.bounds
        return turned if right - left < east - west else self.geometry

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude (-180 to 180) and latitude of the centre."""
        point = self.unbroken.centroid
        return (point.x + 180) % 360 - 180, point.y

    def swapped(self) -> AOI:
        """Return the area with longitude and latitude exchanged (to recognise that mistake)."""
        return AOI(shapely.transform(self.geometry, lambda xy: xy[:, ::-1]), self.name)


def square_metres(geometry: BaseGeometry) -> float:
    """Return the area of polygons in degrees on the ellipsoid of WGS 84; edges are straight in degrees."""
    # Between far vertices the shortest way is another one: 2 % of an area 20 degrees high.
    fine = geometry.segmentize(0.05)
    area, _ = GEOD.geometry_area_perimeter(shapely.orient_polygons(fine))
    return float(area)


def read_aoi(source: str | Path | BaseGeometry | Mapping[str, Any]) -> AOI:
    """Read an area of interest.

    Args:
        source: path of a vector file (GeoJSON, GeoPackage, GeoParquet, Shapefile; any CRS), or a
            shapely geometry or GeoJSON mapping in longitude and latitude. Several polygons are
            joined; heights are dropped. Across 180 degrees polygons may go on (178 to 182), jump
            (179 to -179), or lie on both sides: they come out cut in two.

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
        others = f"only {found}" if found else "nor any other shape"
        msg = f"{str(path)!r} holds no {wanted}, {others}. Draw a {wanted}."
        raise AreaError(msg)
    frame = frame.set_geometry(shapely.force_2d(frame.geometry.to_numpy()), crs=frame.crs)
    if frame.crs is None:
        frame = frame.set_crs("EPSG:4326")
    if frame.crs.is_geographic:
        frame = frame.set_geometry([_split_at_180(shape) for shape in frame.geometry], crs=frame.crs)
        _check_bounds(frame.total_bounds, str(path))
    frame = frame.to_crs("EPSG:4326")
    repaired = [_repair(_split_at_180(shape), str(path)) for shape in frame.geometry]
    return frame.set_geometry(repaired, crs="EPSG:4326").reset_index(drop=True)


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
    shape = _without_jumps(shape)
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


def _without_jumps(shape: BaseGeometry) -> BaseGeometry:
    """Let longitudes that jump from one side of 180 degrees to the other go on beyond it.

    No edge is meant to go around more than half of the earth; the whole of it (360 degrees) is no jump.
    """
    polygons = [
        part for part in shapely.get_parts(shape) if part.geom_type == "Polygon" and not part.is_empty
    ]
    if len(polygons) != len(shapely.get_parts(shape)) or not any(map(_jumps, polygons)):
        return shape
    return shapely.union_all([_unroll(part) if _jumps(part) else part for part in polygons])


def _jumps(polygon: BaseGeometry) -> bool:
    xy = shapely.get_coordinates(polygon)
    if np.abs(xy[:, 0]).max() > 180 or np.abs(xy[:, 1]).max() > 90:
        return False  # no degrees, or longitudes that go on already
    steps = np.abs(np.diff(shapely.get_coordinates(shapely.get_exterior_ring(polygon))[:, 0]))
    return bool(((steps > 180) & (steps < 360)).any())


def _unroll(polygon: BaseGeometry) -> BaseGeometry:
    """Turn each ring as far as its longitudes jump; rings around a pole stay."""
    rings = [shapely.get_exterior_ring(polygon)]
    rings += [shapely.get_interior_ring(polygon, k) for k in range(shapely.get_num_interior_rings(polygon))]
    turned: list[npt.NDArray[np.float64]] = []
    for ring in rings:
        xy = shapely.get_coordinates(ring)
        x = np.unwrap(xy[:, 0], period=360)
        if abs(x[-1] - x[0]) > 1e-9:
            return polygon
        if turned:  # holes lie within the outline
            x += 360 * round((turned[0][:, 0].mean() - x.mean()) / 360)
        turned.append(np.column_stack([x, xy[:, 1]]))
    return shapely.Polygon(turned[0], turned[1:])


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
