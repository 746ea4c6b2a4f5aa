"""A folder of EMIT granules as a catalog: items from file names and global attributes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import shapely
from shapely.geometry.base import BaseGeometry

from toolkit.catalog.emit import MASK, REFLECTANCE, GranuleFile, granule_file, mask_for
from toolkit.catalog.items import SIMULATED
from toolkit.catalog.netcdf import opened_netcdf
from toolkit.errors import InputError

log = logging.getLogger(__name__)

SOFTWARE = "emit:software_build_version"
"""Item property: some builds of May 2023 stored the lines mirrored (EMIT-Data-Resources, issue 28)."""
SIDES = ("westernmost_longitude", "southernmost_latitude", "easternmost_longitude", "northernmost_latitude")
"""Global attributes with the box of a granule."""


def granules(folder: Path) -> Iterator[pystac.Item | str]:
    """Yield the items of a folder's granules, masks by their side; the name alone of files that are none.

    Args:
        folder: holds ``EMIT_L2A_RFL_*.nc`` and, if there are any, ``EMIT_L2A_MASK_*.nc``.

    Raises:
        InputError: the folder holds no granule.
    """
    paths = {path: granule_file(path.name) for path in sorted(folder.glob("*.nc"))}
    files = {file: path for path, file in paths.items() if file is not None}
    if not any(file.kind == "RFL" for file in files):
        msg = (
            f"The folder {str(folder)!r} holds no EMIT granule among {len(paths)} .nc files. Expected are "
            "files with the names of the archive, such as EMIT_L2A_RFL_001_20220903T163129_2224611_012.nc, "
            "and their masks (EMIT_L2A_MASK_...) beside them; or give the path of a catalog.json."
        )
        raise InputError(msg)
    for path, file in paths.items():
        if file is None:
            log.warning("%s is left out: its name is none of EMIT's level 2A", path.name)
            yield path.name
        elif file.kind == "RFL":
            yield _granule(path, file, files)


def _granule(path: Path, file: GranuleFile, files: Mapping[GranuleFile, Path]) -> pystac.Item | str:
    """Make an item of one granule; its name alone if it cannot be read: one bad file stops no search."""
    try:
        return _read_granule(path, file, files)
    except Exception as error:  # whatever a damaged file makes the libraries raise
        log.warning("%s is left out: %s", path.name, error)
        return path.name


def _read_granule(path: Path, file: GranuleFile, files: Mapping[GranuleFile, Path]) -> pystac.Item:
    with opened_netcdf(path) as (_, granule):
        if REFLECTANCE not in granule.variables:
            msg = f"it holds no variable {REFLECTANCE!r}"
            raise ValueError(msg)
        attributes = {name: granule.attrs[name] for name in granule.attrs}
        sizes = {name: int(dimension.size) for name, dimension in granule.dimensions.items()}
    place = _place(attributes, sizes)
    properties: dict[str, Any] = {}
    if str(attributes.get("simulated", "")).lower() == "true":
        properties[SIMULATED] = True
    if "software_build_version" in attributes:
        properties[SOFTWARE] = str(attributes["software_build_version"])
    began = attributes.get("time_coverage_start")
    item = pystac.Item(
        id=path.stem,
        geometry=json.loads(shapely.to_geojson(place)),
        bbox=list(place.bounds),
        datetime=_time(str(began if began is not None else file.acquired)),
        properties=properties,
    )
    item.add_asset(REFLECTANCE, pystac.Asset(str(path.resolve()), media_type="application/x-netcdf"))
    mask = mask_for(file.version, file.acquired, files)
    if mask is not None:
        item.add_asset(MASK, pystac.Asset(str(files[mask].resolve()), media_type="application/x-netcdf"))
    return item


def _time(text: str) -> datetime:
    """Return the time that a granule tells (``2022-09-03T16:31:29+0000``); without zone it is UTC."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _place(attributes: Mapping[str, Any], sizes: Mapping[str, int]) -> BaseGeometry:
    """Return the box of a granule in degrees, in two parts across the antimeridian."""
    if all(side in attributes for side in SIDES):
        west, south, east, north = (float(attributes[side]) for side in SIDES)
    else:  # in the order of GDAL
        west, width, _, north, _, height = (float(number) for number in np.ravel(attributes["geotransform"]))
        south, east = north + sizes["ortho_y"] * height, west + sizes["ortho_x"] * width
        east = east - 360 if east > 180 else east
    if west == east or max(-west, west, -east, east) > 180 or not -90 <= south < north <= 90:
        msg = f"its box is no place in degrees: west {west}, south {south}, east {east}, north {north}"
        raise ValueError(msg)
    if west < east:
        return shapely.box(west, south, east, north)
    return shapely.MultiPolygon([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])
