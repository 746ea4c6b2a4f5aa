"""Where masks of cropland come from: WorldCover, a file; frozen for a run and read again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rasterio
import shapely
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from toolkit.area.aoi import AOI, VECTOR_SUFFIXES, read_polygons
from toolkit.catalog.access import LOCAL
from toolkit.catalog.worldcover import CROPLAND, NO_DATA, Bounds, WorldCoverFiles, worldcover_access
from toolkit.errors import InputError
from toolkit.scenes.cropland import Cropland, CroplandFile, cropland_of_dict, file_sha256
from toolkit.storage import write_text

RASTER_SUFFIXES = (".tif", ".tiff")


def cropland_of_worldcover(found: WorldCoverFiles, values: tuple[int, ...] = ()) -> Cropland:
    """Return the mask of WorldCover.

    Args:
        found: its files.
        values: classes that are taken as cropland; default that of cropland alone, 40.
    """
    version = f", version {found.version}" if found.version else ""
    files = tuple(
        CroplandFile(
            name=tile.name,
            href=tile.href,
            bounds=tile.bounds,
            sha256="" if "://" in tile.href else _sha256(tile.href),
        )
        for tile in found.tiles
    )
    return Cropland(
        kind="worldcover",
        title=f"ESA WorldCover 10 m {found.year}{version}",
        files=files,
        values=values or (CROPLAND,),
        nodata=NO_DATA,
        catalog=found.catalog,
        notice=found.notice,
        access=found.access,
    )


def cropland_of_file(path: str | Path, aoi: AOI, values: tuple[int, ...] = ()) -> Cropland:
    """Return the mask of a file on this machine, checked against the area.

    Args:
        path: GeoTIFF of one band in any CRS, or polygons of cropland (GeoJSON, GeoPackage, GeoParquet,
            Shapefile).
        aoi: area; the file must meet it.
        values: values of a raster that are cropland; default all but 0. A raster's no-data value is not
            known to be either; but for 0, which by default is not cropland whatever the file says of it.

    Raises:
        InputError: the file is missing, unreadable, of another kind, without CRS, has several bands or lies
            elsewhere; or values are given for polygons.
        AreaError: a vector file cannot be read, or holds no polygon.
    """
    path = Path(path)
    if not path.is_file():
        msg = (
            f"There is no cropland file {str(path)!r}. Give the path of a GeoTIFF or of polygons, or one of "
            "worldcover, none."
        )
        raise InputError(msg)
    suffix = path.suffix.lower()
    if suffix in RASTER_SUFFIXES:
        return _of_raster(path, aoi, values)
    if suffix in VECTOR_SUFFIXES:
        return _of_polygons(path, aoi, values)
    msg = (
        f"The cropland file {str(path)!r} is of a kind that is not read. Give a raster "
        f"({', '.join(RASTER_SUFFIXES)}) or polygons ({', '.join(VECTOR_SUFFIXES)})."
    )
    raise InputError(msg)


def write_cropland(source: Cropland, path: str | Path) -> Path:
    """Save a mask's description as JSON, so that a run that goes on uses the same one.

    Raises:
        StorageError: the file cannot be written.
    """
    return write_text(json.dumps(source.to_dict(), indent=1, sort_keys=True) + "\n", Path(path))


def read_saved_cropland(path: str | Path, *, allow_hosts: Iterable[str] = ()) -> Cropland:
    """Read what :func:`write_cropland` saved.

    Args:
        path: JSON file.
        allow_hosts: hosts that may be read though they lie in a private network.

    Raises:
        InputError: the file is missing or holds no such description.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text("utf-8"))
        hrefs = [file["href"] for file in values["files"]]
        remote = values["kind"] == "worldcover"
        access = worldcover_access(values["catalog"], hrefs, allow_hosts=allow_hosts) if remote else LOCAL
        return cropland_of_dict(values, access)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{str(path)!r} holds no saved mask of cropland ({error}). Make the map anew, in a new folder."
        raise InputError(msg) from error


def _of_raster(path: Path, aoi: AOI, values: tuple[int, ...]) -> Cropland:
    try:
        with rasterio.open(path, driver="GTiff") as source:
            count, dtype, crs = source.count, source.dtypes[0], source.crs
            bounds, nodata = source.bounds, source.nodata
    except RasterioError as error:
        msg = f"The cropland file {str(path)!r} cannot be read as a GeoTIFF ({error}). Check it in QGIS."
        raise InputError(msg) from error
    if count != 1 or not np.issubdtype(np.dtype(dtype), np.number) or dtype.startswith("complex"):
        msg = (
            f"The cropland file {str(path)!r} has {count} bands of {dtype}; read is one band of whole or "
            "real numbers. Save the band with the mask as a file of its own."
        )
        raise InputError(msg)
    if crs is None:
        msg = f"The cropland file {str(path)!r} has no CRS; one is needed to find the area in it. Assign it."
        raise InputError(msg)
    west, south, east, north = transform_bounds(crs, "EPSG:4326", *bounds)
    parts = [(west, south, east, north)]
    if west > east:  # across the antimeridian
        parts = [(west, south, 180.0, north), (-180.0, south, east, north)]
    if not any(shapely.intersects(shapely.box(*part), aoi.geometry) for part in parts):
        _raise_elsewhere(path, (west, south, east, north), aoi)
    return Cropland(
        kind="raster",
        title=path.name,
        files=(
            CroplandFile(
                name=path.name,
                href=str(path.resolve()),
                bounds=parts[0] if len(parts) == 1 else None,
                sha256=_sha256(path),
            ),
        ),
        values=values,
        # A mask whose only value is 1 often declares 0 as no data; there is no other way to say no.
        nodata=None if nodata is None or np.isnan(nodata) or (nodata == 0 and not values) else float(nodata),
    )


def _of_polygons(path: Path, aoi: AOI, values: tuple[int, ...]) -> Cropland:
    if values:
        msg = (
            f"Values {list(values)} are given for the polygons of {str(path)!r}, which have none: all inside "
            "is cropland. Leave out --cropland-values, or give a raster."
        )
        raise InputError(msg)
    shapes = read_polygons(path).geometry
    west, south, east, north = (float(v) for v in shapes.total_bounds)
    if not shapes.intersects(aoi.geometry).any():
        _raise_elsewhere(path, (west, south, east, north), aoi)
    file = CroplandFile(
        name=path.name,
        href=str(path.resolve()),
        bounds=(west, south, east, north),
        sha256=_sha256(path),
    )
    return Cropland(kind="polygons", title=path.name, files=(file,))


def _sha256(path: str | Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        msg = f"The cropland file {str(path)!r} cannot be read ({error.strerror}). Check permissions."
        raise InputError(msg) from error


def _raise_elsewhere(path: Path, bounds: Bounds, aoi: AOI) -> None:
    there, here = (", ".join(f"{value:.4f}" for value in place) for place in (bounds, aoi.bounds))
    msg = (
        f"The cropland file {str(path)!r} does not meet the area: it lies in {there}, the area in {here} "
        "(west, south, east, north in degrees). Check the CRS of the file, and the area."
    )
    raise InputError(msg)
