"""The output grid of an area, and its tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from toolkit.area.aoi import AOI, square_metres
from toolkit.area.zones import needs_zones, utm_crs, zones_of
from toolkit.errors import AreaError, InputError, NoPixelError

LOOKED_AT = 1024
"""Edge of the parts of a grid in which a pixel of the area is looked for; mostly the first holds one."""
MAX_PIXELS = 10**11
"""Refuse grids beyond a country at 10 m (about 10 million square kilometres)."""

MAX_STRETCH = 0.02
"""Hectares are counted in pixels, so a grid must keep areas; 0.2 % inside a UTM zone, 2 % a zone away."""
LONG_OUTLINE = 5_000
"""Vertices from which an outline is cut to a tile's surroundings before it is burnt."""
CLIP_PIXELS = 4
"""Pixels around a tile that are kept then."""
EDGE_TOLERANCE = 0.02
"""Part of two pixels by which an edge may miss the grid without adding pixels: 0.4 m at 10 m, above the
rounding of degrees to six decimals (0.1 m)."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One rectangle of the output grid, the unit of work."""

    row: int
    """Row of the tile, from the north."""
    column: int
    """Column of the tile, from the west."""
    y: slice
    """Rows of the output grid."""
    x: slice
    """Columns of the output grid."""
    geobox: GeoBox
    """Grid of the tile."""

    @property
    def name(self) -> str:
        """Name safe for files: ``r003_c012``."""
        return f"r{self.row:03d}_c{self.column:03d}"


@dataclass(frozen=True, slots=True)
class Lattice:
    """Where the internal blocks of the scenes' files lie on the output grid."""

    y: int
    """Output row at which some block starts; may lie outside the grid."""
    x: int
    """Output column at which some block starts."""
    height: int
    """Rows of a block, in output pixels."""
    width: int
    """Columns of a block, in output pixels."""


def output_geobox(aoi: AOI, *, resolution: float = 10, crs: str = "utm") -> GeoBox:
    """Return the output grid that covers an area.

    The edges lie on whole multiples of twice the resolution, counted from the CRS's origin. Sentinel-2
    granules start on multiples of 20 m, so 10 m pixels coincide and 20 m pixels nest.

    Args:
        aoi: area to cover.
        resolution: pixel size in units of the CRS (metres for UTM).
        crs: ``utm`` (the zone of the area's centre, which the area may leave by half a degree) or anything
            pyproj understands.

    Raises:
        InputError: resolution not positive, CRS unknown, not in metres or far from equal-area here.
        NoPixelError: no pixel's centre lies in the area.
        AreaError: the grid would be larger than :data:`MAX_PIXELS`, or needs several UTM zones.
    """
    if not (math.isfinite(resolution) and resolution > 0):
        msg = f"Resolution is {resolution!r}; it must be a positive number in CRS units, e.g. 10."
        raise InputError(msg)
    try:
        target = utm_crs(aoi) if crs == "utm" else CRS.from_user_input(crs)
    except CRSError as error:
        msg = f"CRS {crs!r} is unknown ({error}). Use 'utm' or a code such as 'EPSG:32615'."
        raise InputError(msg) from error
    if crs == "utm" and needs_zones(aoi):
        codes = [f"EPSG:{code}" for code in zones_of(aoi)]
        named = ", ".join(codes[:4]) + (", ..." if len(codes) > 4 else "")
        msg = (
            f"The area lies in {len(codes)} UTM zones ({named}), and one grid is needed here. Choose its "
            f"CRS: --crs {target.to_string()} if most of the area lies there, else an equal-area one such as "
            "EPSG:3035 for Europe. 'cropglobe map' alone makes a map of each zone and joins them."
        )
        raise AreaError(msg)
    outline = outline_in(aoi, target.to_string())
    west, south, east, north = outline.bounds
    snap = 2 * resolution
    left, bottom = (math.floor(v / snap + EDGE_TOLERANCE) * snap for v in (west, south))
    right, top = (math.ceil(v / snap - EDGE_TOLERANCE) * snap for v in (east, north))
    right, top = max(right, left + snap), max(top, bottom + snap)
    if (right - left) * (top - bottom) / resolution**2 > MAX_PIXELS:
        msg = (
            f"A grid of {(right - left) / resolution:.3g} x {(top - bottom) / resolution:.3g} pixels exceeds "
            f"{MAX_PIXELS:.0e}. Use a coarser resolution or split the area."
        )
        raise AreaError(msg)
    _check_metres(aoi, outline, target)
    geobox = GeoBox.from_bbox(
        BoundingBox(left, bottom, right, top, crs=target.to_string()), resolution=resolution
    )
    parts = tiles_touching(aoi, tiles(geobox, size=LOOKED_AT))
    if not any(inside(aoi, part.geobox).any() for part in parts):
        size = square_metres(aoi.geometry)
        msg = (
            f"No centre of a pixel of {resolution:g} m lies in its {size:,.3g} m2. Draw the area larger, or "
            "choose a finer --resolution."
        )
        raise NoPixelError(msg)
    return geobox


def _check_metres(aoi: AOI, outline: BaseGeometry, crs: CRS) -> None:
    """Refuse grids in degrees or feet, and projections that stretch areas (web Mercator)."""
    name = crs.to_string()
    if not crs.is_projected or any(axis.unit_conversion_factor != 1 for axis in crs.axis_info):
        msg = f"CRS {name} is not in metres. Use 'utm', or an equal-area CRS such as EPSG:3035 for Europe."
        raise InputError(msg)
    stretch = outline.area / max(square_metres(aoi.geometry), 1e-9)
    if abs(stretch - 1) > MAX_STRETCH:
        msg = (
            f"CRS {name} shows this area at {stretch:.2f} times its size; allowed: {MAX_STRETCH:.0%} off. "
            "Use 'utm' for areas within a zone, else an equal-area CRS such as EPSG:3035 for Europe."
        )
        raise InputError(msg)


@lru_cache(maxsize=8)
def outline_in(aoi: AOI, crs: str) -> BaseGeometry:
    """Return the area in a CRS; edges are cut into short pieces first, as straight lines bend.

    Args:
        aoi: area.
        crs: anything pyproj understands.
    """
    to_crs = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    outline: BaseGeometry = shapely.transform(
        aoi.geometry.segmentize(0.05), lambda xy: np.column_stack(to_crs.transform(xy[:, 0], xy[:, 1]))
    )
    shapely.prepare(outline)
    return outline


def inside(aoi: AOI, geobox: GeoBox) -> npt.NDArray[np.bool_]:
    """Return which pixels lie in the area.

    Args:
        aoi: area.
        geobox: grid, of the whole area or of one tile.

    Returns:
        bool ``(y, x)``, True where the pixel's centre lies inside.
    """
    return centres_inside(outline_in(aoi, str(geobox.crs)), geobox)


def centres_inside(outline: BaseGeometry, geobox: GeoBox) -> npt.NDArray[np.bool_]:
    """Return which pixels of a grid have their centre in a shape.

    Args:
        outline: polygons in the CRS of the grid; prepared (:func:`shapely.prepare`), if it is asked often.
        geobox: the grid.

    Returns:
        bool ``(y, x)``, True where the pixel's centre lies inside.
    """
    window = shapely.box(*geobox.boundingbox.bbox)
    if not outline.intersects(window):
        return np.zeros(geobox.shape.yx, bool)
    if outline.covers(window):
        return np.ones(geobox.shape.yx, bool)
    mask: npt.NDArray[np.bool_] = rasterio.features.geometry_mask(
        [_near(outline, geobox)], out_shape=geobox.shape.yx, transform=geobox.affine, invert=True
    )
    return mask


def outline_near(aoi: AOI, geobox: GeoBox) -> BaseGeometry:
    """Return what :func:`centres_inside` must know of an area for one tile, in the CRS of its grid.

    One of 700,000 vertices takes 0.1 s to pickle for another process; near a tile it has some hundreds.

    Args:
        aoi: area.
        geobox: grid of the tile.
    """
    return _near(outline_in(aoi, str(geobox.crs)), geobox)


def _near(outline: BaseGeometry, geobox: GeoBox) -> BaseGeometry:
    """Return a long outline cut to what is near a grid: GDAL looks at every edge in every row."""
    if shapely.get_num_coordinates(outline) <= LONG_OUTLINE:
        return outline
    margin = CLIP_PIXELS * abs(geobox.resolution.x)
    window = shapely.box(*geobox.boundingbox.bbox).buffer(margin, join_style="mitre")
    cut: BaseGeometry = shapely.clip_by_rect(outline, *window.bounds)  # of 700,000 vertices: 9 ms
    # It may touch itself along the edge of the window; the other way takes 50 to 180 ms.
    return cut if cut.is_valid else shapely.intersection(outline, window)


def tiles_touching(aoi: AOI, tiles: Iterable[Tile]) -> Iterator[Tile]:
    """Yield the tiles that the area touches, as they come; nothing is rasterised.

    A tile may be touched and hold no pixel's centre of the area.

    Args:
        aoi: area.
        tiles: tiles of one grid.
    """
    for tile in tiles:
        if outline_in(aoi, str(tile.geobox.crs)).intersects(shapely.box(*tile.geobox.boundingbox.bbox)):
            yield tile


def pixels_inside(aoi: AOI, geobox: GeoBox) -> int:
    """Return about how many pixels lie in the area, from its outline: nothing is rasterised.

    Args:
        aoi: area.
        geobox: grid that covers it.
    """
    return round(outline_in(aoi, str(geobox.crs)).area / (geobox.resolution.x**2))


def tiles(geobox: GeoBox, *, size: int = 512, lattice: Lattice | None = None) -> Iterator[Tile]:
    """Yield the tiles of a grid, row by row from the north-west.

    Args:
        geobox: output grid.
        size: edge of a tile in pixels; tiles at edges may be smaller.
        lattice: blocks of the scenes' files: tiles are then whole blocks, as many as fit into ``size``, or
            parts of a single one.

    Raises:
        InputError: size below 16.
    """
    if size < 16:
        msg = f"Tile size is {size!r}; allowed: 16 pixels or more."
        raise InputError(msg)
    height, width = geobox.shape.yx
    rows = _cuts(height, size, lattice.y if lattice else 0, lattice.height if lattice else size)
    columns = _cuts(width, size, lattice.x if lattice else 0, lattice.width if lattice else size)
    for row, y in enumerate(rows):
        for column, x in enumerate(columns):
            yield Tile(row, column, y, x, geobox[y, x])


def _cuts(length: int, size: int, origin: int, block: int) -> list[slice]:
    """Cut an axis at the edges of blocks, or of groups of them, and blocks larger than ``size`` evenly."""
    unit = block * max(1, size // block)
    edges = [0, *range(origin % unit or unit, length, unit), length]
    parts = []
    for start, stop in pairwise(edges):
        pieces = -(-(stop - start) // size)
        inner = [start + round(k * (stop - start) / pieces) for k in range(pieces + 1)]
        parts += [slice(first, last) for first, last in pairwise(inner)]
    return parts
