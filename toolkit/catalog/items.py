"""Items in one layout: canonical band names and properties, checked references."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pystac
import shapely

from toolkit.catalog.bands import Keys, numbers
from toolkit.catalog.guard import Guard
from toolkit.catalog.profiles import Profile

SIMULATED = "cropglobe:simulated"
"""Item property that marks simulated scenes."""
CATALOG = "cropglobe:catalog"
"""Item property: name of the profile of the catalog it comes from."""
NAMED_HOSTS = "cropglobe:named_hosts"
"""Item property: hosts that the user named in this run; never saved."""
PRODUCT_VERSION = "emit:product_version"
"""Item property: version of EMIT's reflectance, such as 001."""
BASELINE = "s2:processing_baseline"
DATASTRIP = "s2:datastrip_id"
RASTER_EXTENSION = "https://stac-extensions.github.io/raster/"
KEPT_ASSET_FIELDS = ("proj:shape", "proj:transform", "gsd", "file:checksum", "file:size")
"""Fields of an asset that loading or checks need, beside those of its numbers."""


def item_of(feature: dict[str, Any]) -> pystac.Item:
    """Return the item of a GeoJSON feature, as it is.

    pystac's own migration of versions warns about items of Earth Search's collection 1; we read STAC 1.0
    and 1.1 alike.
    """
    return pystac.Item.from_dict(feature, migrate=False)


def band_keys(item: pystac.Item, keys: Keys) -> dict[str, str]:
    """Return band -> asset key for the bands that an item offers.

    Args:
        item: item of a catalog.
        keys: band -> asset keys of the catalog's profile; the first that the item has is taken.
    """
    return {
        band: key
        for band, names in keys.items()
        if (key := next((name for name in names if name in item.assets), None))
    }


def normalise(item: pystac.Item, keys: Mapping[str, str], profile: Profile, guard: Guard) -> pystac.Item:
    """Return a copy of an item that holds just the bands asked for, under their own names.

    Properties get the names that the rest of the code reads, whatever the catalog calls them:
    ``proj:code``, ``grid:code``, ``s2:datatake_id``, ``s2:datastrip_id``, ``s2:processing_baseline``,
    ``s2:generation_time``, and ``platform`` in lower case.

    Args:
        item: item of a catalog, asset references absolute.
        keys: band name -> asset key, from :func:`band_keys`.
        profile: the catalog it comes from.
        guard: decides which references may be read.

    Raises:
        UnsafeReferenceError: an asset's reference is not allowed.
    """
    copy = pystac.Item(
        id=item.id,
        geometry=item.geometry,
        bbox=item.bbox,
        datetime=when(item),
        properties=_properties(item, next(iter(keys.values()), None), profile),
        collection=item.collection_id,
    )
    for band, key in keys.items():
        copy.add_asset(band, checked_asset(item.assets[key], band, guard))
    copy.stac_extensions = [text for text in item.stac_extensions if not text.startswith(RASTER_EXTENSION)]
    copy.stac_extensions.append(f"{RASTER_EXTENSION}v1.1.0/schema.json")
    return copy


def checked_asset(asset: pystac.Asset, band: str, guard: Guard) -> pystac.Asset:
    """Return what loading needs of an asset: its reference, type and nodata.

    Args:
        asset: asset of a catalog's item, its reference absolute.
        band: band or layer that it holds.
        guard: decides which references may be read.

    Raises:
        UnsafeReferenceError: the reference is not allowed.
    """
    extra = {name: asset.extra_fields[name] for name in KEPT_ASSET_FIELDS if name in asset.extra_fields}
    # odc-stac reads data type and nodata from here; some catalogs give neither.
    extra["raster:bands"] = [_numbers(asset, band)]
    href = guard.check(asset.href)
    return pystac.Asset(href, media_type=asset.media_type, roles=["data"], extra_fields=extra)


def when(item: pystac.Item) -> datetime | None:
    """Return the time of an item, UTC; a time without zone is UTC, an interval counts from its start."""
    found = item.datetime or item.common_metadata.start_datetime
    if found is None:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _properties(item: pystac.Item, key: str | None, profile: Profile) -> dict[str, Any]:
    """Properties of an item under the names that we read."""
    old = item.properties
    asset = item.assets[key].extra_fields if key else {}
    canonical = {
        "proj:code": _crs(old) or _crs(asset),
        "grid:code": old.get("grid:code") or _grid(old.get("s2:mgrs_tile")),
        "s2:datatake_id": old.get("s2:datatake_id") or old.get("eopf:datatake_id"),
        DATASTRIP: old.get(DATASTRIP) or old.get("eopf:datastrip_id"),
        BASELINE: old.get(BASELINE) or old.get("processing:version"),
        "s2:generation_time": old.get("s2:generation_time") or old.get("processing:datetime"),
        "platform": str(old["platform"]).lower() if old.get("platform") else None,
        CATALOG: profile.name,
        NAMED_HOSTS: sorted(profile.named_hosts) or None,
    }
    kept = {name: value for name, value in old.items() if name not in (*canonical, "proj:epsg")}
    return kept | {name: value for name, value in canonical.items() if value is not None}


def _crs(fields: Mapping[str, Any]) -> str | None:
    """Return ``EPSG:n`` from the ways catalogs write it: proj:code, proj:epsg, text, number, null."""
    for value in (fields.get("proj:code"), fields.get("proj:epsg")):
        if found := re.fullmatch(r"(?:EPSG:)?(\d{4,6})", str(value), re.IGNORECASE):
            return f"EPSG:{found[1]}"
    return None


def _grid(tile: Any) -> str | None:
    return f"MGRS-{tile}" if tile else None


def _numbers(asset: pystac.Asset, band: str) -> dict[str, Any]:
    """Type, nodata, scale and offset of an asset, from STAC 1.0's ``raster:bands`` or 1.1's ``bands``."""
    fields = asset.extra_fields
    inner: dict[str, Any] = next(iter(fields.get("raster:bands") or fields.get("bands") or []), {})
    found = {}
    for name in ("nodata", "data_type", "scale", "offset", "spatial_resolution"):
        values = (
            inner.get(name),
            inner.get(f"raster:{name}"),
            fields.get(name),
            fields.get(f"raster:{name}"),
        )
        if (value := next((value for value in values if value is not None), None)) is not None:
            found[name] = value
    found.setdefault("nodata", numbers(band).nodata)
    found.setdefault("data_type", numbers(band).data_type)
    return found


def datatake(item: pystac.Item) -> str | None:
    """Return the datatake of an item without its processing baseline, or None if it tells none.

    The baseline stands at the end (``..._N05.00``): an acquisition processed twice is one datatake.
    """
    name = item.properties.get("s2:datatake_id")
    return None if name is None else re.sub(r"_N\d\d\.\d\d$", "", str(name))


def is_simulated(item: pystac.Item) -> bool:
    """Whether an item says that its pixels are simulated."""
    return bool(item.properties.get(SIMULATED, False))


def footprint(item: pystac.Item) -> shapely.Geometry | None:
    """Return where an item has pixels, in degrees; None if it does not tell."""
    if item.geometry is not None:
        return shapely.make_valid(shapely.from_geojson(json.dumps(item.geometry)))
    if item.bbox is not None:
        west, south, east, north = item.bbox[0], item.bbox[1], item.bbox[-2], item.bbox[-1]
        if west > east:  # across the antimeridian
            return shapely.union(shapely.box(west, south, 180, north), shapely.box(-180, south, east, north))
        return shapely.box(west, south, east, north)
    return None


def intersects(item: pystac.Item, shape: shapely.Geometry) -> bool:
    """Whether an item's footprint meets a shape (both in degrees)."""
    place = footprint(item)
    return place is not None and bool(shapely.intersects(place, shape))


def attribution(items: pystac.ItemCollection) -> str:
    """Return the notice that users of the map must keep."""
    if all(is_simulated(item) for item in items):
        return "Simulated scenes made by cropglobe; contains no Copernicus data"
    years = sorted({item.datetime.year for item in items if item.datetime})
    span = str(years[0]) if len(years) == 1 else f"{years[0]}-{years[-1]}"
    if all(PRODUCT_VERSION in item.properties for item in items):
        return f"Contains EMIT data of NASA, distributed by LP DAAC, {span}"
    return f"Contains modified Copernicus Sentinel data {span}"
