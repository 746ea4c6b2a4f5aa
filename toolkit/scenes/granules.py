"""Granules: what reading needs to know of an item, and which of them one overpass joins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pystac
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from toolkit.catalog.access import LOCAL, Access, access_to
from toolkit.catalog.items import datatake
from toolkit.errors import AssetError
from toolkit.scenes.blocks import BlockCache, read_on_grid
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.radiometry import radiometric_offset
from toolkit.scenes.sensors import Sensor
from toolkit.scenes.targets import Mask, Pixels

SAME_PASS = timedelta(minutes=10)
"""Granules of one overpass are sensed within minutes; the next overpass comes after 90 or more."""
MARGIN_DEGREES = 0.01
"""Footprints in catalogs are rounded: granules this near to a tile are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granule:
    """One item, ready to be read."""

    name: str
    """Id of the item."""
    when: np.datetime64
    """Time of sensing, UTC."""
    files: Mapping[str, str]
    """Band or quality layer -> path or URL."""
    offset: int
    """Digital numbers to take away from the bands."""
    bounds: tuple[float, float, float, float] | None
    """West, south, east, north in degrees, if known."""
    access: Access = LOCAL
    """How its files are read."""
    cloud_cover: float | None = None
    """Of the whole item, percent, if the catalog tells; looked at for EMIT only."""

    def touches(self, area: tuple[float, float, float, float] | None) -> bool:
        """Whether the granule may have pixels in an area given in degrees."""
        if self.bounds is None or area is None:
            return True
        west, south, east, north = self.bounds
        apart = (
            area[0] > east + MARGIN_DEGREES
            or area[2] < west - MARGIN_DEGREES
            or area[1] > north + MARGIN_DEGREES
            or area[3] < south - MARGIN_DEGREES
        )
        return not apart


def granule(item: pystac.Item, bands: Sequence[str], sensor: Sensor) -> Granule:
    """Return what reading needs to know of an item.

    Raises:
        RadiometryError: the item's offset cannot be told.
    """
    box = item.bbox
    plain = box is not None and len(box) == 4 and box[0] <= box[2]  # not across the antimeridian
    return Granule(
        name=item.id,
        when=np.datetime64("NaT")
        if item.datetime is None
        else np.datetime64(item.datetime.replace(tzinfo=None), "ns"),
        files={band: item.assets[band].href for band in (*bands, sensor.quality)},
        offset=round(-radiometric_offset(item) / sensor.scale),
        bounds=(box[0], box[1], box[2], box[3]) if plain and box is not None else None,
        access=access_to(item),
    )


def read_band(
    part: Granule, band: str, geobox: GeoBox, *, wanted: Mask | None = None, cache: BlockCache | None = None
) -> tuple[Pixels, ReadCounts]:
    """Read one band of a granule on an output grid, as :func:`toolkit.scenes.blocks.read_on_grid` does.

    Raises:
        AssetError: the file cannot be read; names item and band.
        UnsafeReferenceError: the file may not be read.
    """
    try:
        return read_on_grid(part.files[band], geobox, wanted=wanted, cache=cache, access=part.access)
    except AssetError as error:
        raise error.of(part.name, band) from None


def degrees(geobox: GeoBox) -> tuple[float, float, float, float] | None:
    """Return a grid's outline as west, south, east, north; None across the antimeridian."""
    # Not odc's geographic_extent: 3.3 ms for a tile, 0.03 ms so, and a map asks for each tile.
    west, south, east, north = _to_degrees(str(geobox.crs)).transform_bounds(*geobox.boundingbox.bbox)
    return (west, south, east, north) if west <= east and east - west <= 180 else None


@cache
def _to_degrees(crs: str) -> Transformer:
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


def passes(items: Sequence[pystac.Item]) -> list[list[int]]:
    """Group items, ordered by time, into overpasses.

    Returns:
        Positions of the items of each overpass: same platform and datatake (where given), sensed within ten
        minutes.
    """
    groups: list[list[int]] = []
    latest: dict[tuple[Any, Any], tuple[datetime, int]] = {}
    for position, item in enumerate(items):
        key = (item.properties.get("platform"), datatake(item))
        when = item.datetime
        known = latest.get(key)
        if when is not None and known is not None and when - known[0] <= SAME_PASS:
            groups[known[1]].append(position)
        else:
            groups.append([position])
            if when is not None:
                latest[key] = (when, len(groups) - 1)
    return groups
