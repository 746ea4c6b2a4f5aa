"""Which items of a catalog serve a request, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterable

import pystac

from toolkit.area.aoi import AOI
from toolkit.area.season import Steps
from toolkit.catalog.bands import QUALITY_LAYER, SENSOR_BANDS
from toolkit.catalog.items import intersects, when
from toolkit.catalog.profiles import CUSTOM, PROFILES, Profile, collection_id
from toolkit.errors import BandError, InputError

OUTSIDE_SEASON = "outside_season"
OUTSIDE_AREA = "outside_area"
WRONG_COLLECTION = "wrong_collection"
ASSET_MISSING = "asset_missing"
TOO_CLOUDY = "too_cloudy"
DUPLICATE = "duplicate"
OLDER_TWIN = "older_twin"
OTHER_VERSION = "other_version"
INVALID = "item_invalid"


def check_request(
    profile: Profile, sensor: str, bands: Iterable[str] | None, max_cloud_cover: float | None
) -> frozenset[str]:
    """Return the bands every item must offer.

    Args:
        profile: catalog that will be asked.
        sensor: sensor.
        bands: bands beside the quality layer; None for all.
        max_cloud_cover: percent, or None.

    Raises:
        InputError: unknown sensor, a catalog without it, or cloud cover outside 0 to 100.
        BandError: a band the sensor does not have.
    """
    if sensor not in SENSOR_BANDS:
        msg = f"Sensor {sensor!r} is unknown. Known sensors: {', '.join(SENSOR_BANDS)}."
        raise InputError(msg)
    if profile.name != CUSTOM and sensor not in profile.sensors:
        others = ", ".join(name for name, known in PROFILES.items() if sensor in known.sensors)
        msg = (
            f"The catalog {profile.name!r} offers {', '.join(profile.sensors)}, not {sensor}. "
            f"Catalogs with {sensor}: {others}."
        )
        raise InputError(msg)
    known = SENSOR_BANDS[sensor]
    wanted = known if bands is None else tuple(bands)
    if unknown := [band for band in wanted if band not in known]:
        msg = f"Bands {unknown} are unknown to {sensor}. Known bands: {', '.join(known)}."
        raise BandError(msg)
    if max_cloud_cover is not None and not 0 <= max_cloud_cover <= 100:
        msg = f"Cloud cover is {max_cloud_cover!r}; allowed: 0 to 100 percent."
        raise InputError(msg)
    layer = QUALITY_LAYER[sensor]
    return frozenset((*wanted, layer) if layer in known else wanted)


def unfit(
    item: pystac.Item,
    aoi: AOI,
    season: Steps,
    *,
    offers: Iterable[str],
    wanted: frozenset[str],
    collections: frozenset[str],
) -> str | None:
    """Return why an item is left out, or None; servers are not trusted to have filtered.

    Args:
        item: item of a catalog.
        aoi: area; items must touch it.
        season: first and last day, UTC.
        offers: bands and layers that it has.
        wanted: bands that it must offer.
        collections: collections searched; none if the catalog was searched as a whole.
    """
    if (reason := out_of_reach(item, aoi, season)) is not None:
        return reason
    if collections and item.collection_id and collection_id(item.collection_id) not in collections:
        return WRONG_COLLECTION
    if not wanted <= set(offers):
        return ASSET_MISSING
    return None


def out_of_reach(item: pystac.Item, aoi: AOI, season: Steps) -> str | None:
    """Return why an item shows nothing of an area in a season, or None.

    Args:
        item: item of a catalog.
        aoi: area; items must touch it.
        season: first and last day, UTC.
    """
    time = when(item)
    if time is None or not season.start <= time.date() <= season.end:
        return OUTSIDE_SEASON
    return None if intersects(item, aoi.geometry) else OUTSIDE_AREA


def fitting(
    items: pystac.ItemCollection, aoi: AOI, season: Steps, max_cloud_cover: float | None
) -> pystac.ItemCollection:
    """Return the items of an earlier search that serve another request.

    Args:
        items: result of a search.
        aoi: area; items must touch it.
        season: first and last day, UTC.
        max_cloud_cover: percent, 0 to 100; items with more are left out; None keeps all.

    Returns:
        Items in their order; those left out are named in ``extra_fields``, beside those of the search.
    """
    reasons = {item.id: reason for item in items if (reason := out_of_reach(item, aoi, season))}
    cloudy = dict.fromkeys(too_cloudy(items, max_cloud_cover), TOO_CLOUDY)
    if not (left_out := cloudy | reasons):
        return items
    skipped = {reason: list(names) for reason, names in items.extra_fields.get("skipped", {}).items()}
    for name, reason in left_out.items():
        skipped.setdefault(reason, []).append(name)
    kept = [item for item in items if item.id not in left_out]
    return pystac.ItemCollection(
        kept, extra_fields={**items.extra_fields, "skipped": skipped}, clone_items=False
    )


def too_cloudy(items: Iterable[pystac.Item], limit: float | None) -> list[str]:
    """Return the ids of items with more cloud than a limit in percent; those that do not tell are kept."""
    if limit is None:
        return []
    return [item.id for item in items if float(item.properties.get("eo:cloud_cover") or 0) > limit]
