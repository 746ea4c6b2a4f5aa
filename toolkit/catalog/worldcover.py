"""ESA WorldCover in a catalog: the files of the version that fits a year, over an area.

Facts of the collection are those of stactools-packages/esa-worldcover@08099f4: id ``esa-worldcover``, an item
for each tile of 3 x 3 degrees and year (2020 is version 1.0.0, 2021 version 2.0.0), ``datetime`` null, asset
``map``, EPSG:4326, pixels of 1/12000 degree, class 40 = cropland, 0 = no data, licence CC BY 4.0.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from urllib.parse import urlsplit

import pystac

from toolkit.area.aoi import AOI
from toolkit.area.season import Windows
from toolkit.catalog.access import Access, guard_of
from toolkit.catalog.api_search import Product
from toolkit.catalog.candidates import candidates, is_folder
from toolkit.catalog.filters import DUPLICATE, INVALID, unfit
from toolkit.catalog.guard import Guard
from toolkit.catalog.items import when
from toolkit.catalog.profiles import CUSTOM, PROFILES, Profile, WorldCover, resolve_profile
from toolkit.errors import NoItemsError

CROPLAND = 40
"""Class of cropland."""
NO_DATA = 0
"""Value of pixels without a class."""
ANY_YEAR = Windows(((date(2015, 1, 1), date(2199, 12, 31)),))
"""All versions that are and may come."""
VERSION = "esa_worldcover:product_version"
"""Property of items that holds the version of the product."""
DEFAULT = WorldCover()
"""How catalogs outside the table name it."""

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldCoverTile:
    """One file."""

    name: str
    """Id of its item."""
    href: str
    """Path or URL of the classes."""
    bounds: Bounds | None
    """West, south, east, north in degrees, if the item tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldCoverFiles:
    """Files of one year over an area."""

    year: int
    """Year that the classes describe."""
    version: str
    """Newest version of the product among the files; empty if they do not tell."""
    catalog: str
    """Name of the catalog's profile."""
    tiles: tuple[WorldCoverTile, ...]
    """Files, newest version first; where they overlap the first counts."""
    access: Access
    """How they are read."""

    @property
    def notice(self) -> str:
        """What users of a map must keep, in ASCII as TIFF wants it."""
        year = self.year
        return (
            f"(c) ESA WorldCover project {year} / Contains modified Copernicus Sentinel data ({year}) "
            "processed by ESA WorldCover consortium, CC BY 4.0"
        )


def offering() -> list[str]:
    """Return the known catalogs that offer it."""
    return [name for name, profile in PROFILES.items() if profile.worldcover is not None]


def worldcover_access(catalog: str, hrefs: Iterable[str], *, allow_hosts: Iterable[str] = ()) -> Access:
    """Return how files of WorldCover are read.

    Args:
        catalog: name of the profile of the catalog they were found in.
        hrefs: the files, whose references were checked when they were found.
        allow_hosts: hosts that the user named; only these may lie in a private network.
    """
    named = frozenset(host.lower() for host in allow_hosts)
    known = PROFILES.get(catalog)
    if known is None or known.worldcover is None:
        hosts = frozenset((urlsplit(href).hostname or "").lower() for href in hrefs if "://" in href)
        return Access(Guard(CUSTOM, hosts | named, named))
    guard = guard_of(_asked(replace(known, hosts=known.hosts | named, named_hosts=named)) or known)
    return Access(guard, known.signing, known.drivers, known.connections)


def search_worldcover(
    catalog: str, aoi: AOI, year: int, *, allow_hosts: tuple[str, ...] = ()
) -> WorldCoverFiles | None:
    """Search WorldCover over an area: the newest of its years up to the one asked for, else the nearest.

    Args:
        catalog: name of a known catalog, URL of a STAC API or static catalog, or path.
        aoi: area that the files must touch.
        year: year of the map.
        allow_hosts: further hosts that may be read.

    Returns:
        Its files, or None if the catalog does not offer it.

    Raises:
        NoItemsError: the catalog offers it, but has no file over the area.
        RemoteError: the catalog cannot be read.
        UnsafeReferenceError: the catalog refers to something that must not be read.
    """
    profile = _asked(resolve_profile(catalog, allow_hosts=allow_hosts))
    if profile is None or is_folder(profile, guard_of(profile)):
        return None
    layer = profile.worldcover or DEFAULT
    found, skipped, n_seen = _sift(profile, layer, aoi)
    if not found and not n_seen and profile.name == CUSTOM:
        return None
    if not found:
        removed = ", ".join(f"{n} {reason}" for reason, n in skipped.most_common()) or "it gave no item"
        msg = (
            f"No file of ESA WorldCover in {profile.url!r} over the area {_shown(aoi.bounds)} (west, south, "
            f"east, north): {removed}. Check the area, or map without it: --cropland none."
        )
        raise NoItemsError(msg)
    chosen = best_year({_year(item) for item in found.values()}, year)
    items = [item for item in found.values() if _year(item) == chosen]
    items.sort(key=lambda item: item.id)
    items.sort(key=_version, reverse=True)
    guard = guard_of(profile)
    tiles = tuple(_tile(item, guard.check(item.assets[layer.asset].href)) for item in items)
    return WorldCoverFiles(
        year=chosen,
        version=_version(items[0]),
        catalog=profile.name,
        tiles=tiles,
        access=worldcover_access(
            profile.name, [tile.href for tile in tiles], allow_hosts=tuple(profile.named_hosts)
        ),
    )


def best_year(years: Iterable[int], wanted: int) -> int:
    """Return the last of some years that is not after the wanted one, else the first.

    Args:
        years: years to choose from, one or more.
        wanted: year of the map.
    """
    ordered = sorted(years)
    return max((year for year in ordered if year <= wanted), default=ordered[0])


def _asked(profile: Profile) -> Profile | None:
    """Return the profile with WorldCover instead of scenes; None of known catalogs without it."""
    if profile.name == CUSTOM:
        return replace(profile, collections=())
    if profile.worldcover is None:
        return None
    layer = profile.worldcover
    return replace(profile, collections=(layer.collection,), hosts=profile.hosts | layer.hosts)


def _sift(profile: Profile, layer: WorldCover, aoi: AOI) -> tuple[dict[str, pystac.Item], Counter[str], int]:
    """Return the usable items by id, why others are not, and how many of the collection were seen."""
    product = Product(
        name="ESA WorldCover",
        pattern=re.compile(re.escape(layer.collection)),
        collections=(layer.collection,),
        optional=True,
        own_collection=True,
    )
    found: dict[str, pystac.Item] = {}
    skipped: Counter[str] = Counter()
    for item in candidates(profile, guard_of(profile), product, aoi, ANY_YEAR):
        if isinstance(item, str):
            skipped[INVALID] += 1
            continue
        if item.collection_id != layer.collection:
            continue  # a catalog that is one list holds scenes, too
        wanted = frozenset({layer.asset})
        reason = unfit(item, aoi, ANY_YEAR, offers=item.assets, wanted=wanted, collections=frozenset())
        if reason is None and item.id in found:
            reason = DUPLICATE
        if reason is None:
            found[item.id] = item
        else:
            skipped[reason] += 1
    n_seen = len(found) + sum(n for reason, n in skipped.items() if reason != INVALID)
    return found, skipped, n_seen


def _year(item: pystac.Item) -> int:
    time = when(item)
    return time.year if time else 0  # never 0: items without a time were left out


def _version(item: pystac.Item) -> str:
    return str(item.properties.get(VERSION, ""))


def _tile(item: pystac.Item, href: str) -> WorldCoverTile:
    box = item.bbox
    plain = box is not None and len(box) == 4 and box[0] <= box[2]  # not across the antimeridian
    bounds = (box[0], box[1], box[2], box[3]) if plain and box is not None else None
    return WorldCoverTile(name=item.id, href=href, bounds=bounds)


def _shown(bounds: Bounds) -> str:
    return ", ".join(f"{value:.4f}" for value in bounds)
