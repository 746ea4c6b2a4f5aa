"""The swath of an EMIT granule: its pixels, where they lie, and the table to look them up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pyproj import Transformer
from pyproj.enums import TransformDirection
from scipy.spatial import cKDTree

from toolkit.errors import InputError
from toolkit.scenes.emit_bands import FWHM_NM, WAVELENGTHS_NM, in_usable_range
from toolkit.simulate.emit_metadata import MASK_BANDS

Floats = npt.NDArray[np.float64]
Lookup = npt.NDArray[np.int32]

CELL_DEGREES = 0.000542232520256367
"""Edge of a cell of the lookup tables of version 1, in degrees: 60 m on the meridian."""
LATTICE_CORNER = (-62.5120945327963, -39.3067591475017)
"""A corner (longitude, latitude) of the lattice that all tables of version 1 share: the real granule's."""
REACH_CELLS = 0.75
"""Cells farther than this from every swath pixel are empty: a little over half a pixel's diagonal."""


def _good_bands() -> npt.NDArray[np.uint8]:
    return in_usable_range(WAVELENGTHS_NM).astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swath:
    """What one granule holds: pixels in the order they were taken, and where they lie."""

    reflectance: npt.NDArray[np.float32]
    """Unit 1, ``(downtrack, crosstrack, band)``; -9999 where nothing was seen."""
    mask: npt.NDArray[np.float32] | None
    """Layers of mask version 1, ``(downtrack, crosstrack, 8)``, in the order of :data:`MASK_BANDS`."""
    lon: Floats
    """Longitude of pixel centres, degrees east, ``(downtrack, crosstrack)``."""
    lat: Floats
    """Latitude of pixel centres, degrees north."""
    elev: Floats
    """Height of the ground, metres."""
    glt_x: Lookup
    """Crosstrack position ``(ortho_y, ortho_x)`` of the pixel that each cell shows, from 1; 0: none."""
    glt_y: Lookup
    """Downtrack position, likewise."""
    geotransform: tuple[float, ...]
    """Six numbers of the lookup table in GDAL's order, degrees (EPSG:4326)."""
    wavelengths_nm: Sequence[float] = WAVELENGTHS_NM
    """Band centres, nm."""
    fwhm_nm: Sequence[float] = FWHM_NM
    """Full width at half maximum of each band, nm."""
    good: npt.NDArray[np.uint8] = field(default_factory=_good_bands)
    """1 where a band is said to be usable, else 0."""

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together.

        Raises:
            InputError: shapes differ.
        """
        shape, bands = self.reflectance.shape[:2], self.reflectance.shape[-1]
        same = all(array.shape == shape for array in (self.lon, self.lat, self.elev))
        counts = {len(self.wavelengths_nm), len(self.fwhm_nm), len(self.good)}
        masked = self.mask is None or self.mask.shape == (*shape, len(MASK_BANDS[1]))
        if not (same and masked and counts == {bands} and self.glt_x.shape == self.glt_y.shape):
            msg = (
                f"EMIT swath of {shape} pixels and {bands} bands: lon, lat, elev, mask (8 layers), band "
                "lists and the two lookup tables must have shapes to match. Give arrays of one swath."
            )
            raise InputError(msg)


def swath_lonlat(
    center_lon: float,
    center_lat: float,
    *,
    lines: int,
    samples: int,
    heading_deg: float,
    spacing_m: float = 60.0,
) -> tuple[Floats, Floats]:
    """Return where the pixel centres of a straight swath lie.

    Args:
        center_lon: longitude of the swath's centre, degrees east.
        center_lat: latitude of the swath's centre, degrees north.
        lines: pixels along the track.
        samples: pixels across the track.
        heading_deg: degrees clockwise by which the swath is turned; 0: lines run to the south and
            samples to the east, as on a map.
        spacing_m: distance of neighbouring centres, metres.

    Returns:
        Longitude and latitude, float64 ``(downtrack, crosstrack)``, degrees.
    """
    down = (np.arange(lines)[:, None] - (lines - 1) / 2) * spacing_m
    across = (np.arange(samples)[None, :] - (samples - 1) / 2) * spacing_m
    turn = math.radians(heading_deg)
    east = across * math.cos(turn) - down * math.sin(turn)
    north = -across * math.sin(turn) - down * math.cos(turn)
    lon, lat = _local_to_degrees(center_lon, center_lat).transform(east, north)
    return np.asarray(lon, np.float64), np.asarray(lat, np.float64)


def swath_positions(
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    *,
    center: tuple[float, float],
    shape: tuple[int, int],
    heading_deg: float,
    spacing_m: float = 60.0,
) -> tuple[Floats, Floats]:
    """Return in which line and sample of a swath places lie: the inverse of :func:`swath_lonlat`.

    Args:
        lon: longitude of the places, degrees east, any shape.
        lat: latitude, degrees north.
        center: longitude and latitude of the swath's centre, degrees.
        shape: lines and samples.
        heading_deg: degrees clockwise by which the swath is turned.
        spacing_m: distance of neighbouring centres, metres.

    Returns:
        Line and sample, float64; whole numbers at pixel centres, counted from 0.
    """
    to_degrees = _local_to_degrees(*center)
    x, y = to_degrees.transform(np.asarray(lon), np.asarray(lat), direction=TransformDirection.INVERSE)
    turn = math.radians(heading_deg)
    across = x * math.cos(turn) - y * math.sin(turn)
    down = -x * math.sin(turn) - y * math.cos(turn)
    line, sample = down / spacing_m + (shape[0] - 1) / 2, across / spacing_m + (shape[1] - 1) / 2
    return np.asarray(line, np.float64), np.asarray(sample, np.float64)


def _local_to_degrees(center_lon: float, center_lat: float) -> Transformer:
    """Transform metres east and north of a place to longitude and latitude."""
    local = f"+proj=aeqd +lon_0={center_lon} +lat_0={center_lat} +datum=WGS84"
    return Transformer.from_crs(local, "EPSG:4326", always_xy=True)


def make_glt(
    lon: Floats,
    lat: Floats,
    *,
    cell: float = CELL_DEGREES,
    corner: tuple[float, float] = LATTICE_CORNER,
    reach_cells: float = REACH_CELLS,
) -> tuple[Lookup, Lookup, tuple[float, ...]]:
    """Return the lookup table of a swath: the nearest pixel for each cell of the common lattice.

    Args:
        lon: longitude of pixel centres, degrees east, ``(downtrack, crosstrack)``.
        lat: latitude of pixel centres, degrees north.
        cell: edge of a cell, degrees.
        corner: longitude and latitude of any corner of the lattice.
        reach_cells: distance on the ground, in heights of a cell, beyond which a cell stays empty.

    Returns:
        ``glt_x`` and ``glt_y``, int32 ``(ortho_y, ortho_x)``, counted from 1, 0 where no pixel is near;
        and the geotransform in GDAL's order, degrees.
    """
    first_column = math.floor((lon.min() - corner[0]) / cell)
    first_row = math.floor((corner[1] - lat.max()) / cell)
    columns = math.floor((lon.max() - corner[0]) / cell) - first_column + 1
    rows = math.floor((corner[1] - lat.min()) / cell) - first_row + 1
    west, north = corner[0] + first_column * cell, corner[1] - first_row * cell
    # Degrees of longitude are shorter than those of latitude: nearest is meant on the ground.
    narrow = math.cos(math.radians(float(lat.mean())))
    pixels = np.stack([(lon - west) * narrow, north - lat], axis=-1).reshape(-1, 2) / cell
    y, x = np.mgrid[0:rows, 0:columns] + 0.5
    cells = np.stack([x * narrow, y], axis=-1).reshape(-1, 2)
    far, nearest = cKDTree(pixels).query(cells, distance_upper_bound=reach_cells)
    found = np.isfinite(far)
    line, sample = np.divmod(np.where(found, nearest, 0), lon.shape[1])
    glt_x, glt_y = (np.where(found, k + 1, 0).reshape(rows, columns).astype(np.int32) for k in (sample, line))
    return glt_x, glt_y, (west, cell, -0.0, north, -0.0, -cell)
