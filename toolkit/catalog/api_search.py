"""Searching a STAC API: every item of an area and season, or an error, never fewer unseen."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import shapely
from pystac_client import Client
from pystac_client.conformance import ConformanceClasses

from toolkit.area.season import Steps
from toolkit.catalog.documents import GuardedIO
from toolkit.catalog.paging import PageRequest, number_matched, pages
from toolkit.catalog.profiles import CUSTOM, Profile
from toolkit.errors import InputError, RemoteError

log = logging.getLogger(__name__)

NAMED_COLLECTIONS = 20
"""Collections named in an error."""
MAX_ITEMS = 20_000
"""Items looked at in one search; more means a wrong filter or an endless catalog."""
TOO_MANY = (
    f"The catalog {{catalog!r}} gave more than {MAX_ITEMS} items; the rest would be left out unseen. "
    "Choose a smaller area or season, or a catalog of one collection."
)

Feature = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What is searched, and how its collections are called."""

    name: str
    """For messages."""
    pattern: re.Pattern[str]
    """Ids of its collections, for catalogs that list what they have."""
    collections: tuple[str, ...] = ()
    """Its collections where a catalog lists none; if there are none, the catalog is searched as a whole."""
    as_box: bool = False
    """Ask for the box around an area: CMR-STAC ignores holes and carries no polygons in parts from page to
    page (nasa/cmr-stac, stringifyQuery). What lies outside is filtered here."""
    optional: bool = False
    """Whether a catalog may have nothing of it."""
    own_collection: bool = False
    """Whether static catalogs keep it in a collection of its own, so that no other item is looked at."""
    in_folders: bool = False
    """Whether a plain folder of its files is a catalog, too."""


SENTINEL2 = Product(name="Sentinel-2 L2A", pattern=re.compile("sentinel-2-l2a"))


def ask_api(
    profile: Profile,
    reader: GuardedIO,
    product: Product,
    shape: shapely.Geometry,
    season: Steps,
    max_cloud_cover: float | None,
) -> Iterator[Feature]:
    """Yield the items of an API as plain GeoJSON features, each once.

    Collections are asked one by one, an area across the antimeridian in its two halves. If pages give fewer
    items than the API says it has, the season is asked for again month by month.

    Args:
        profile: the catalog, with the collections to search, if they are named.
        reader: reads its documents.
        product: what is searched.
        shape: area in degrees.
        season: first and last day.
        max_cloud_cover: percent, filtered by the API where the profile says how.

    Raises:
        InputError: the API has no collection of that name, or more items than can be looked at.
        RemoteError: the API fails, or its pages stay incomplete.
    """
    client = Client.open(profile.url, stac_io=reader)
    collections: list[str] | list[None] = _collections(profile, client, product)
    for collection in collections:
        earlier: set[str] = set()
        for half in _halves(shape):
            asked = shapely.box(*shapely.bounds(half)) if product.as_box else half
            request = _request(client, profile, collection, asked, max_cloud_cover)
            found = _complete(reader, request, season.start, season.end)
            yield from (feature for feature in found if name_of(feature) not in earlier)  # meets both halves
            earlier |= {name_of(feature) for feature in found}


def _collections(profile: Profile, client: Client, product: Product) -> list[str] | list[None]:
    """Collections to search: those named, else the product's; None stands for the whole catalog."""
    named = profile.collections
    # The lists of known catalogs are long (hundreds of pages at CMR), and known.
    if profile.name != CUSTOM or not client.conforms_to(ConformanceClasses.COLLECTIONS):
        return list(named or product.collections) or [None]
    offered = [collection.id for collection in client.get_collections()]
    found = [one for one in offered if one in named or (not named and product.pattern.fullmatch(one))]
    if found or product.optional:
        return found
    if not named and not product.collections:
        return [None]
    known = ", ".join(sorted(offered)[:NAMED_COLLECTIONS]) or "none"
    wanted = f"collection {named[0]!r}" if named else f"collection of {product.name}"
    msg = f"The catalog {profile.url!r} has no {wanted}. It offers: {known}. Choose one with --collection."
    raise InputError(msg)


def _request(
    client: Client,
    profile: Profile,
    collection: str | None,
    shape: shapely.Geometry,
    max_cloud_cover: float | None,
) -> PageRequest:
    """Return the first page's request, without its dates."""
    limits: dict[str, Any] = {}
    if max_cloud_cover is not None and profile.cloud_filter == "query":
        limits["query"] = {"eo:cloud_cover": {"lte": max_cloud_cover}}
    if max_cloud_cover is not None and profile.cloud_filter == "cql2":
        limits["filter"] = {"op": "<=", "args": [{"property": "eo:cloud_cover"}, max_cloud_cover]}
        limits["filter_lang"] = "cql2-json"
    search = client.search(
        collections=None if collection is None else [collection],
        intersects=shapely.to_geojson(shape),
        limit=profile.page_size,
        **limits,
    )
    return PageRequest(method=search.method or "POST", url=search.url, body=search.get_parameters())


def _complete(reader: GuardedIO, request: PageRequest, first: date, last: date) -> list[Feature]:
    """Return all items between two days; month by month if the pages of the whole are short."""
    features: list[Feature] = []
    matched = None
    for page in pages(reader.page, _between(request, first, last)):
        features += [feature for feature in page["features"] if isinstance(feature, dict)]
        matched = number_matched(page) if matched is None else matched
        if len(features) > MAX_ITEMS:
            raise InputError(TOO_MANY.format(catalog=request.url))
    months = list(_months(first, last))
    if matched is not None and _distinct(features) < matched and len(months) > 1:
        log.warning("%s gave %d of %d items; by month now", request.url, _distinct(features), matched)
        features = [one for start, end in months for one in _complete(reader, request, start, end)]
    if matched is not None and _distinct(features) < matched:
        msg = (
            f"The search at {request.url!r} says it has {matched} items from {first} to {last}, but pages "
            f"hold {_distinct(features)}. A map of them would miss scenes. Try later, or another catalog."
        )
        raise RemoteError(msg)
    return features


def _between(request: PageRequest, first: date, last: date) -> PageRequest:
    return replace(request, body={**request.body, "datetime": f"{first}T00:00:00Z/{last}T23:59:59.999Z"})


def _months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """Yield the days from and to of each month of a period."""
    start = first
    while start <= last:
        following = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        yield start, min(last, following - timedelta(days=1))
        start = following


def _distinct(features: list[Feature]) -> int:
    return len({name_of(feature) for feature in features})


def name_of(feature: Feature) -> str:
    """Return what tells items apart: ids are unique within a collection only."""
    return f"{feature.get('collection')}/{feature.get('id')}"


def _halves(shape: shapely.Geometry) -> list[shapely.Geometry]:
    """Return the parts of an area on either side of the antimeridian, or the area itself."""
    west, _, east, _ = shapely.bounds(shape)
    if east - west <= 180:
        return [shape]
    sides = (shapely.box(-180, -90, 0, 90), shapely.box(0, -90, 180, 90))
    return [half for side in sides if not (half := shapely.intersection(shape, side)).is_empty]
