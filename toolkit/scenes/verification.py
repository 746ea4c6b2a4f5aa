"""Offsets verified: a sample of every scene is asked whether the metadata are right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pystac
import shapely
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry

from toolkit.catalog.items import footprint
from toolkit.errors import AssetError
from toolkit.scenes.granules import Granule, granule, read_band
from toolkit.scenes.offset_evidence import CHECK_BANDS
from toolkit.scenes.offsets import OffsetCheck, check_offsets
from toolkit.scenes.radiometry import CHOSEN, radiometric_offset
from toolkit.scenes.sensors import SENSORS
from toolkit.scenes.targets import Pixels
from toolkit.scenes.threads import in_threads

SENSOR = SENSORS["sentinel-2"]
SAMPLE_PIXELS = 256
"""Edge of a sample: one internal block or a part of one."""


def verify_offsets(
    items: Iterable[pystac.Item], geobox: GeoBox, area: shapely.Geometry
) -> dict[str, OffsetCheck]:
    """Read a sample of each scene and check its reflectance offset.

    Scenes of one granule tile share a sample, near the middle of their part of the area, and are compared
    with each other in time. Items that need no check (their offset was chosen), lie beside the area, lack a
    band or cannot be read are left out.

    Args:
        items: normalised items.
        geobox: output grid; samples lie on it.
        area: area of interest in degrees.

    Returns:
        Id -> check.

    Raises:
        RadiometryError: an item's metadata fit no rule.
    """
    tiles: dict[str, list[pystac.Item]] = defaultdict(list)
    for item in items:
        if CHOSEN not in item.properties and {*CHECK_BANDS, SENSOR.quality} <= item.assets.keys():
            tiles[str(item.properties.get("grid:code"))].append(item)
    checks: dict[str, OffsetCheck] = {}
    for group in tiles.values():
        ordered = sorted(group, key=lambda item: (str(item.datetime), item.id))
        place = _sample(ordered, geobox, area)
        if place is not None:
            checks |= _check(ordered, place)
    return checks


def with_offsets_seen(
    items: Iterable[pystac.Item], checks: Mapping[str, OffsetCheck]
) -> list[tuple[pystac.Item, OffsetCheck]]:
    """Give items whose pixels contradict the metadata the offset that the pixels show.

    Args:
        items: items; those concerned are changed in place (property ``cropglobe:offset``).
        checks: result of :func:`verify_offsets`.

    Returns:
        Items changed, with their checks.
    """
    changed = []
    for item in items:
        check = checks.get(item.id)
        if check is not None and check.outcome in ("missing", "doubled") and check.offset_seen is not None:
            item.properties[CHOSEN] = check.offset_seen
            changed.append((item, check))
    return changed


def _sample(items: Sequence[pystac.Item], geobox: GeoBox, area: shapely.Geometry) -> GeoBox | None:
    """Return the place of a sample: around a point well inside what the scenes share with the area."""
    places = [place for item in items if (place := footprint(item)) is not None]
    shared = shapely.intersection(shapely.union_all(places), area)
    if not places or shapely.area(shared) == 0 or geobox.crs is None:
        return None
    point = Geometry(shapely.point_on_surface(shared), "EPSG:4326").to_crs(geobox.crs)
    column, row = (~geobox.affine) * point.coords[0]
    size = (min(SAMPLE_PIXELS, geobox.shape.y), min(SAMPLE_PIXELS, geobox.shape.x))
    top, left = (
        int(np.clip(middle - edge / 2, 0, whole - edge))
        for middle, edge, whole in zip((row, column), size, geobox.shape.yx, strict=True)
    )
    return geobox[top : top + size[0], left : left + size[1]]


def _check(items: Sequence[pystac.Item], place: GeoBox) -> dict[str, OffsetCheck]:
    """Read the sample of all items of one tile and check them together."""
    parts = [granule(item, CHECK_BANDS, SENSOR) for item in items]
    jobs = [(part, band) for part in parts for band in (SENSOR.quality, *CHECK_BANDS)]
    remote = any("://" in uri for part in parts for uri in part.files.values())
    pixels = dict(
        zip(((part.name, band) for part, band in jobs), _read_all(jobs, place, remote=remote), strict=True)
    )
    readable = [
        (item, part)
        for item, part in zip(items, parts, strict=True)
        if all(pixels[part.name, band] is not None for band in (SENSOR.quality, *CHECK_BANDS))
    ]
    if not readable:
        return {}
    numbers = {
        band: np.stack([np.asarray(pixels[part.name, band], np.uint16) for _, part in readable])
        for band in CHECK_BANDS
    }
    scl = np.stack([np.asarray(pixels[part.name, SENSOR.quality], np.uint8) for _, part in readable])
    found = check_offsets(numbers, scl, [radiometric_offset(item) for item, _ in readable])
    return {item.id: check for (item, _), check in zip(readable, found, strict=True)}


def _read_all(jobs: Sequence[tuple[Granule, str]], place: GeoBox, *, remote: bool) -> list[Pixels | None]:
    """Read each file's sample; None for those that fail, which the run itself will report."""

    def read(job: tuple[Granule, str]) -> Pixels | None:
        try:
            return read_band(*job, place)[0]
        except AssetError:
            return None

    return in_threads(read, jobs, remote=remote)
