"""Which items of a catalog serve a request, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date

import pystac

from toolkit.area.aoi import AOI
from toolkit.area.season import Season
from toolkit.catalog.items import band_keys, intersects
from toolkit.catalog.profiles import ASSET_KEYS, QUALITY_LAYER
from toolkit.errors import BandError, InputError


def check_request(sensor: str, bands: Iterable[str] | None, max_cloud_cover: float | None) -> frozenset[str]:
    """Return the bands every item must offer."""
    if sensor not in ASSET_KEYS:
        msg = f"Sensor {sensor!r} is unknown. Known sensors: {', '.join(ASSET_KEYS)}."
        raise InputError(msg)
    known = tuple(ASSET_KEYS[sensor])
    wanted = known if bands is None else tuple(bands)
    if unknown := [band for band in wanted if band not in known]:
        msg = f"Bands {unknown} are unknown to {sensor}. Known bands: {', '.join(known)}."
        raise BandError(msg)
    if max_cloud_cover is not None and not 0 <= max_cloud_cover <= 100:
        msg = f"Cloud cover is {max_cloud_cover!r}; allowed: 0 to 100 percent."
        raise InputError(msg)
    return frozenset((*wanted, QUALITY_LAYER[sensor]))


def unfit(  # one rule a parameter
    item: pystac.Item,
    aoi: AOI,
    season: Season,
    wanted: frozenset[str],
    sensor: str,
    max_cloud_cover: float | None,
) -> str | None:
    """Return why an item is left out, or None."""
    day = _day(item)
    if day is None or not season.start <= day <= season.end:
        return "outside_season"
    if not intersects(item, aoi.geometry):
        return "outside_area"
    if not wanted <= band_keys(item, sensor).keys():
        return "asset_missing"
    if max_cloud_cover is not None and float(item.properties.get("eo:cloud_cover") or 0) > max_cloud_cover:
        return "too_cloudy"
    return None


def _day(item: pystac.Item) -> date | None:
    """Day of an item in UTC; a time without zone is UTC."""
    when = item.datetime or item.common_metadata.start_datetime
    if when is None:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC).date()
