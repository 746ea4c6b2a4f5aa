"""Where there is cropland: a mask on a grid, from land cover, a raster or polygons.

What is not known counts as cropland, so that nothing is lost unseen: pixels outside all files, and those
without data. They are counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask

from toolkit.area.aoi import read_polygons
from toolkit.catalog.access import LOCAL, Access
from toolkit.catalog.redaction import redact
from toolkit.errors import AssetError, InputError
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.granules import MARGIN_DEGREES, degrees
from toolkit.scenes.nearest import read_nearest
from toolkit.scenes.targets import Mask, Pixels

Kind = Literal["worldcover", "raster", "polygons"]
LONGEST_EDGE = 0.05
"""Degrees; longer edges of polygons are cut before they are projected, as straight lines bend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CroplandFile:
    """One file of a mask."""

    name: str
    """Id of its item, or name of the file."""
    href: str
    """Path or URL, not signed."""
    bounds: tuple[float, float, float, float] | None = None
    """West, south, east, north in degrees, if known; files elsewhere are not opened."""
    sha256: str = ""
    """Of a file on this machine; empty for those on a server, which their name stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cropland:
    """A mask of cropland: its files, and what their values mean."""

    kind: Kind
    """ESA WorldCover, any raster, or polygons of cropland."""
    title: str
    """What it is, with year and version, for people."""
    files: tuple[CroplandFile, ...]
    """Files; where rasters overlap the first that has data counts."""
    values: tuple[int, ...] = ()
    """Values of a raster that are cropland; empty: all but 0."""
    nodata: float | None = None
    """Value of a raster that stands for no data, beside NaN."""
    catalog: str = ""
    """Name of the profile of the catalog that offers it."""
    notice: str = ""
    """What users of a map must keep."""
    access: Access = field(default=LOCAL, compare=False)
    """How its files are read."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without how files are read."""
        values = asdict(self)
        del values["access"]
        return values

    @property
    def content_hash(self) -> str:
        """sha256 over all that decides which pixels are cropland, wherever local files lie."""
        meaning = {
            "kind": self.kind,
            "values": self.values,
            "nodata": repr(self.nodata),
            "files": [file.sha256 or redact(file.href.partition("?")[0]) for file in self.files],
        }
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CroplandCounts:
    """Pixels of an area by what the mask says of them; sums with ``+``."""

    asked: int = 0
    """Pixels of the area."""
    not_cropland: int = 0
    """Of these, not cropland."""
    unknown: int = 0
    """Of these, without an answer; they count as cropland."""

    def __add__(self, other: CroplandCounts) -> CroplandCounts:
        """Add two counts."""
        mine, theirs = asdict(self), asdict(other)
        return CroplandCounts(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CroplandMask:
    """A mask on a grid."""

    cropland: Mask
    """bool ``(y, x)``, True = cropland, or not known."""
    known: Mask
    """bool ``(y, x)``, True where the mask has data."""
    reads: ReadCounts = field(default_factory=ReadCounts)
    """What was read."""

    def counts(self, within: Mask) -> CroplandCounts:
        """Count the pixels of an area.

        Args:
            within: bool ``(y, x)``, True inside the area.
        """
        return CroplandCounts(
            asked=int(within.sum()),
            not_cropland=int((within & ~self.cropland).sum()),
            unknown=int((within & ~self.known).sum()),
        )


def read_cropland(source: Cropland | None, geobox: GeoBox) -> CroplandMask:
    """Return which pixels of a grid are cropland.

    Rasters come onto the grid by nearest neighbour: of the file's pixels that one decides in which the centre
    of the grid's pixel lies, also where the grid is coarser (EMIT, 60 m). A pixel is inside a polygon if its
    centre is.

    Args:
        source: the mask; None for none, of which all is cropland.
        geobox: grid.

    Returns:
        The mask; cropland is True, and known False, outside all files and where they have no data. Polygons
        are known everywhere.

    Raises:
        InputError: a file on this machine is not the one that was chosen.
        AssetError: a file cannot be read; names it.
        UnsafeReferenceError: a file may not be read.
    """
    shape = geobox.shape.yx
    if source is None:
        return CroplandMask(cropland=np.ones(shape, bool), known=np.ones(shape, bool))
    for file in source.files:
        if file.sha256:
            _check_unchanged(file.href, file.sha256)
    if source.kind == "polygons":
        inside = _in_polygons(source.files[0], geobox)
        return CroplandMask(cropland=inside, known=np.ones(shape, bool), reads=ReadCounts(files=1))
    cropland, known, reads = np.ones(shape, bool), np.zeros(shape, bool), ReadCounts()
    area = degrees(geobox)
    for file in source.files:
        if known.all():
            break
        if not _touches(file, area):
            continue
        values, there, counts = _raster(file, geobox, source.access)
        reads += counts
        here = there & _has_data(values, source.nodata) & ~known
        cropland[here] = _is_cropland(values, source.values)[here]
        known |= here
    return CroplandMask(cropland=cropland, known=known, reads=reads)


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file of any size, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_cropland(values: Pixels, wanted: tuple[int, ...]) -> Mask:
    return np.isin(values, wanted) if wanted else np.asarray(values != 0)


def _has_data(values: Pixels, nodata: float | None) -> Mask:
    data = np.ones(values.shape, bool) if nodata is None else np.asarray(values != nodata)
    return data & ~np.isnan(values) if np.issubdtype(values.dtype, np.floating) else data


def _touches(file: CroplandFile, area: tuple[float, float, float, float] | None) -> bool:
    """Whether a file may have pixels in an area, both in degrees."""
    if file.bounds is None or area is None:
        return True
    return shapely.box(*file.bounds).dwithin(shapely.box(*area), MARGIN_DEGREES)


def _raster(file: CroplandFile, geobox: GeoBox, access: Access) -> tuple[Pixels, Mask, ReadCounts]:
    try:
        return read_nearest(file.href, geobox, access=access)
    except AssetError as error:
        raise error.of(file.name, "cropland") from None


def _in_polygons(file: CroplandFile, geobox: GeoBox) -> Mask:
    """Return which pixels' centres lie in a polygon."""
    shapes = _polygons(file.href, file.sha256)
    area = degrees(geobox)
    if area is not None:
        near = shapely.box(*area).buffer(MARGIN_DEGREES)
        shapes = shapes[np.sort(shapes.sindex.query(near, predicate="intersects"))]
    if shapes.empty:
        return np.zeros(geobox.shape.yx, bool)
    on_grid = shapes.to_crs(str(geobox.crs)).to_numpy()
    inside: npt.NDArray[np.bool_] = geometry_mask(
        on_grid, out_shape=geobox.shape.yx, transform=geobox.affine, invert=True
    )
    return inside


@lru_cache(maxsize=2)
def _polygons(path: str, sha256: str) -> gpd.GeoSeries:
    """Polygons of a file in degrees, read once per worker and content."""
    del sha256
    shapes = read_polygons(path).geometry
    return gpd.GeoSeries(shapely.segmentize(shapes.to_numpy(), LONGEST_EDGE), crs=shapes.crs)


@lru_cache(maxsize=64)
def _check_unchanged(path: str, sha256: str) -> None:
    """Raise if a file is not the one that was chosen; looked at once per worker."""
    try:
        found = file_sha256(path)
    except OSError as error:
        msg = f"The cropland file {path!r} cannot be read ({error.strerror}). Put it back, or choose another."
        raise InputError(msg) from error
    if found != sha256:
        msg = f"The cropland file {path!r} changed during the run. Run again."
        raise InputError(msg)


def cropland_of_dict(values: Mapping[str, Any], access: Access) -> Cropland:
    """Rebuild a mask from :meth:`Cropland.to_dict`.

    Args:
        values: plain values.
        access: how its files are read.

    Raises:
        KeyError: a value is missing.
        TypeError: a value is of another kind.
    """
    files = tuple(
        CroplandFile(**{**file, "bounds": None if file["bounds"] is None else tuple(file["bounds"])})
        for file in values["files"]
    )
    return Cropland(**{**values, "files": files, "values": tuple(values["values"]), "access": access})
