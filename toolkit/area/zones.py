"""UTM zones: which one a place lies in, and an area cut into the parts of its zones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from toolkit.area.aoi import AOI, square_metres
from toolkit.errors import AreaError

SOUTHERNMOST, NORTHERNMOST = -80.0, 84.0
"""Latitudes between which UTM is defined."""
REACH = 0.5
"""Degrees by which an area may reach out of its zone and still be one map in it.

Such a strip is 36 km wide at 50 degrees north; on the equator areas grow there by 0.30 % (0.20 % in the
zone).
"""
METRES_PER_DEGREE = 111_000.0
"""Of latitude, rounded down (110.6 to 111.7 km), so that margins come out wider."""
OVERLAP_PIXELS = 2
"""Pixels by which the maps of neighbouring zones overlap: the pixel that holds a point of the zone may have
its centre beyond the edge, by 0.71 pixels at most."""
NORWAY, SVALBARD = (56.0, 64.0), (72.0, 84.0)
"""Latitudes of bands V and X, whose zones are not all 6 degrees wide."""

Epsg = npt.NDArray[np.int32]
Degrees = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonePart:
    """What lies of an area in one UTM zone."""

    epsg: int
    """Code of the zone: 326xx north of the equator, 327xx south."""
    area: AOI
    """The part itself; those of all zones are disjoint."""
    with_overlap: AOI
    """The part and a strip of the same area beyond the zone's edges, so that joined maps have no seam."""

    @property
    def name(self) -> str:
        """Name safe for files: ``utm_32631``."""
        return f"utm_{self.epsg}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliver:
    """A part that is too small for a map."""

    epsg: int
    """Code of the zone."""
    geometry: BaseGeometry
    """What is left out, in degrees."""
    reason: str
    """Why."""


def zone_of(lon: Degrees, lat: Degrees) -> Epsg:
    """Return the WGS 84 / UTM zone of places, as Sentinel-2 granules use it.

    Zones are 6 degrees wide, but for south-west Norway and Svalbard (MGRS, NGA.STND.0037); the equator is
    north.

    Args:
        lon: longitude, degrees, -180 to 180 (180 is -180), any shape.
        lat: latitude, degrees.

    Returns:
        EPSG codes; 0 outside 80 south to 84 north.
    """
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    lon = np.where(lon >= 180, lon - 360, lon)
    zone = np.floor(lon / 6).astype(np.int32) + 31
    zone = np.where((lat >= NORWAY[0]) & (lat < NORWAY[1]) & (lon >= 3) & (lon < 12), 32, zone)
    svalbard = 31 + 2 * np.searchsorted([9, 21, 33], lon, side="right")
    zone = np.where((lat >= SVALBARD[0]) & (lon >= 0) & (lon < 42), svalbard, zone)
    known = (lat >= SOUTHERNMOST) & (lat <= NORTHERNMOST)
    return np.where(known, np.where(lat >= 0, 32600, 32700) + zone, 0).astype(np.int32)


def utm_crs(aoi: AOI) -> CRS:
    """Return the UTM zone of the area's centre.

    Raises:
        AreaError: the centre lies outside the UTM zones.
    """
    lon, lat = aoi.centre
    code = int(zone_of(np.array(lon), np.array(lat)))
    if code == 0:
        msg = f"No UTM zone at longitude {lon:.4f}, latitude {lat:.4f}. Give a CRS, e.g. crs='EPSG:3413'."
        raise AreaError(msg)
    return CRS.from_epsg(code)


def zone_cell(epsg: int) -> BaseGeometry:
    """Return the region of a zone in degrees: a box, or several above each other with shifted edges.

    Args:
        epsg: code of a WGS 84 / UTM zone.
    """
    return shapely.union_all(_boxes(epsg, 0.0))


def zones_of(aoi: AOI) -> tuple[int, ...]:
    """Return the codes of the UTM zones that an area lies in, from west to east and north to south.

    Raises:
        AreaError: it reaches beyond 80 south or 84 north.
    """
    _, south, _, north = aoi.bounds
    if south < SOUTHERNMOST or north > NORTHERNMOST:
        msg = (
            f"The area reaches from latitude {south:.4f} to {north:.4f}; UTM zones end at "
            f"{SOUTHERNMOST:g} and {NORTHERNMOST:g}. Give a CRS in metres, e.g. --crs EPSG:3413."
        )
        raise AreaError(msg)
    west, _, _, _ = aoi.unbroken.bounds
    # From west to east also across 180 degrees: 60 comes before 1 there.
    numbers = [(int((west + 180) // 6) + k) % 60 + 1 for k in range(-1, 59)]
    codes = [base + number for base in (32600, 32700) for number in numbers]
    shapely.prepare(aoi.geometry)
    return tuple(code for code in codes if _shares_area(aoi.geometry, _boxes(code, 0.0)))


def needs_zones(aoi: AOI) -> bool:
    """Return whether an area reaches more than :data:`REACH` out of the zone of its centre."""
    home = shapely.union_all(_boxes(int(utm_crs(aoi).to_epsg() or 0), REACH))
    return not shapely.covers(home, aoi.geometry)


def split_by_zone(aoi: AOI, *, resolution: float = 10) -> tuple[tuple[ZonePart, ...], tuple[Sliver, ...]]:
    """Cut an area at the edges of its UTM zones.

    Args:
        aoi: area.
        resolution: pixel size in metres, of which the overlap is made and slivers are judged by.

    Returns:
        Parts and slivers (less than a pixel in all); they are disjoint, and together the area. The largest
        is always a part.

    Raises:
        AreaError: the area reaches beyond the UTM zones.
    """
    cut = [(code, _polygons(aoi.geometry, _boxes(code, 0.0))) for code in zones_of(aoi)]
    sizes = {code: square_metres(shape) for code, shape in cut}
    least = min(resolution**2, max(sizes.values()))
    parts = tuple(
        ZonePart(
            epsg=code,
            area=AOI(shape, aoi.name),
            with_overlap=AOI(_polygons(aoi.geometry, _boxes(code, _overlap(aoi, resolution))), aoi.name),
        )
        for code, shape in cut
        if sizes[code] >= least
    )
    slivers = tuple(
        Sliver(
            epsg=code,
            geometry=shape,
            reason=f"{sizes[code]:.3g} m2 in zone EPSG:{code}, less than a pixel of {resolution:g} m",
        )
        for code, shape in cut
        if sizes[code] < least
    )
    return parts, slivers


def _overlap(aoi: AOI, resolution: float) -> float:
    """Degrees, wide enough where meridians are closest."""
    _, south, _, north = aoi.bounds
    widest = max(abs(south), abs(north))
    return OVERLAP_PIXELS * resolution / (METRES_PER_DEGREE * math.cos(math.radians(widest)))


def _boxes(epsg: int, margin: float) -> list[BaseGeometry]:
    """Return the region of a zone as boxes in degrees, each grown by a margin, cut at 180 degrees."""
    number = epsg % 100
    if epsg // 100 == 327:
        bands = [(SOUTHERNMOST, 0.0)]
    else:
        bands = [(0.0, NORWAY[0]), NORWAY, (NORWAY[1], SVALBARD[0]), SVALBARD]
    boxes: list[BaseGeometry] = []
    for south, north in bands:
        edges = _edges(number, south)
        if edges is None:
            continue
        west, east = edges[0] - margin, edges[1] + margin
        low, high = max(south - margin, -90.0), min(north + margin, 90.0)
        # What the margin brings beyond 180 degrees lies on the other side.
        spans = [(max(west, -180.0), min(east, 180.0))]
        spans += [(west + 360, 180.0)] if west < -180 else []
        spans += [(-180.0, east - 360)] if east > 180 else []
        boxes += [shapely.box(left, low, right, high) for left, right in spans]
    return boxes


def _edges(number: int, south: float) -> tuple[float, float] | None:
    """Return west and east of a zone in the band that starts at a latitude; None if it has none there."""
    usual = (6.0 * number - 186, 6.0 * number - 180)
    if south == NORWAY[0]:
        return {31: (0.0, 3.0), 32: (3.0, 12.0)}.get(number, usual)
    if south == SVALBARD[0] and 31 <= number <= 37:
        return {31: (0.0, 9.0), 33: (9.0, 21.0), 35: (21.0, 33.0), 37: (33.0, 42.0)}.get(number)
    return usual


def _shares_area(shape: BaseGeometry, boxes: list[BaseGeometry]) -> bool:
    """Whether a shape lies in a region with more than its edge."""
    return any(shapely.intersects(shape, box) and shapely.intersection(shape, box).area > 0 for box in boxes)


def _polygons(shape: BaseGeometry, boxes: list[BaseGeometry]) -> BaseGeometry:
    """Return what lies of a shape in a region, without the points and lines where it only touches."""
    found: BaseGeometry = shapely.intersection(shape, shapely.union_all(boxes))
    polygons = [part for part in shapely.get_parts(found) if part.geom_type == "Polygon" and part.area > 0]
    joined: BaseGeometry = polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)
    return joined
