"""Items as a catalog gives them: an API, a static catalog or a folder of granules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pystac

from toolkit.area.aoi import AOI
from toolkit.area.season import Steps
from toolkit.catalog.api_search import MAX_ITEMS, TOO_MANY, Product, ask_api
from toolkit.catalog.documents import DOCUMENT_ERRORS, GuardedIO, our_error
from toolkit.catalog.granule_folder import granules
from toolkit.catalog.guard import Guard
from toolkit.catalog.items import item_of
from toolkit.catalog.profiles import PROFILES, Profile
from toolkit.catalog.redaction import redact
from toolkit.errors import InputError, RemoteError


def candidates(
    profile: Profile,
    guard: Guard,
    product: Product,
    aoi: AOI,
    season: Steps,
    *,
    max_cloud_cover: float | None = None,
) -> Iterator[pystac.Item | str]:
    """Yield items of a catalog, not yet filtered on our side; the id alone of those that are none.

    Args:
        profile: the catalog, with the collections to search, if they are named.
        guard: decides which references may be read.
        product: what is searched.
        aoi: area.
        season: first and last day.
        max_cloud_cover: percent, filtered by APIs whose profile says how.

    Raises:
        InputError: there is no such catalog or collection, or it has more items than can be looked at.
        RemoteError: the catalog cannot be read, or its answer stays incomplete.
        UnsafeReferenceError: the catalog refers to something that must not be read.
    """
    try:
        for count, item in enumerate(_read_items(profile, guard, product, aoi, season, max_cloud_cover)):
            if count == MAX_ITEMS:
                raise InputError(TOO_MANY.format(catalog=profile.url))
            yield item
    except (*DOCUMENT_ERRORS, RemoteError) as error:
        ours = our_error(error)
        if isinstance(ours, InputError):
            raise ours from None
        if guard.local:
            msg = f"The catalog {profile.url!r} cannot be read ({_short(error)}). Check the path."
            raise InputError(msg) from error
        msg = (
            f"The catalog {profile.url!r} cannot be read: {_short(ours or error).rstrip('.')}. "
            f"Check the address and the network. Known catalogs: {', '.join(PROFILES)}."
        )
        raise RemoteError(msg) from None


def is_folder(profile: Profile, guard: Guard) -> bool:
    """Whether a catalog is a folder on this machine."""
    return guard.local and Path(profile.url).is_dir()


def _read_items(
    profile: Profile,
    guard: Guard,
    product: Product,
    aoi: AOI,
    season: Steps,
    max_cloud_cover: float | None,
) -> Iterator[pystac.Item | str]:
    """Yield the items of a folder of granules, an item collection, an API or a static catalog."""
    if product.in_folders and is_folder(profile, guard):
        yield from granules(Path(profile.url))
        return
    if guard.local and not Path(profile.url).is_file():
        msg = (
            f"There is no catalog {profile.url!r}. Give the name of a known catalog "
            f"({', '.join(PROFILES)}), a URL, or the path of a catalog.json."
        )
        raise InputError(msg)
    reader = GuardedIO(guard)
    root = json.loads(reader.read_text(profile.url))
    if root.get("type") == "FeatureCollection":
        yield from (_item(feature, profile.url) for feature in root["features"])
    elif "conformsTo" in root:
        for feature in ask_api(profile, reader, product, aoi.geometry, season, max_cloud_cover):
            yield _item(feature, None)
    else:
        catalog = pystac.read_file(profile.url, stac_io=reader)
        if not isinstance(catalog, pystac.Catalog):
            kind = type(catalog).__name__
            msg = f"{profile.url!r} is a STAC {kind}; give a catalog, collection or item collection."
            raise InputError(msg)
        for part in _parts(catalog, product):
            for item in part.get_items(recursive=True):
                item.make_asset_hrefs_absolute()
                yield item


def _parts(catalog: pystac.Catalog, product: Product) -> list[pystac.Catalog]:
    """Return the catalog itself, or of products with a collection of their own just that."""
    if not product.own_collection or product.pattern.fullmatch(catalog.id):
        return [catalog]
    return [child for child in catalog.get_children() if product.pattern.fullmatch(child.id)]


def _item(feature: dict[str, Any], href: str | None) -> pystac.Item | str:
    """Make an item of a GeoJSON feature; its id alone if it is none (one bad item must not stop a search)."""
    try:
        item = item_of(feature)
        if href is not None:
            item.set_self_href(href)
        item.make_asset_hrefs_absolute()
    except DOCUMENT_ERRORS:
        return str(feature.get("id", "")) if isinstance(feature, dict) else ""
    return item


def _short(error: BaseException) -> str:
    """First line of an error, without secrets."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return redact(text)[:400]
