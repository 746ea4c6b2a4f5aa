"""Search: items of a season over an area, from a STAC API or a static catalog."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pystac
import requests
import shapely
from pystac.stac_io import DefaultStacIO
from pystac_client import Client
from pystac_client.conformance import ConformanceClasses
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from urllib3 import Retry

from toolkit.area.aoi import AOI
from toolkit.area.season import Season
from toolkit.catalog.filters import check_request, unfit
from toolkit.catalog.guard import Guard
from toolkit.catalog.items import band_keys, intersects, normalise, older_twins
from toolkit.catalog.profiles import PROFILES, Profile, resolve_profile
from toolkit.errors import InputError, NoItemsError, RemoteError

log = logging.getLogger(__name__)

TIMEOUT_S = (10.0, 60.0)
"""Seconds to connect and to wait for an answer; pystac-client has no limit of its own."""
RETRY = Retry(
    total=5,
    connect=2,  # an address that refuses is most often wrong; busy servers answer 429 or 5xx
    backoff_factor=1,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=None,  # searches are POST, which is not repeated by default
    respect_retry_after_header=True,
)
DEFAULT_COLLECTION = "sentinel-2-l2a"
MAX_ITEMS = 20_000
"""Items looked at in one search; more means a wrong filter or an endless catalog."""
TOO_MANY = (
    f"The catalog {{catalog!r}} gave more than {MAX_ITEMS} items; the rest would be left out unseen. "
    "Choose a smaller area or season, or a catalog of one collection."
)
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    requests.RequestException,
    pystac.STACError,
    pystac.STACTypeError,
    APIError,
)
"""What readers raise for a document that is missing, cut short or something else."""


def _no_password(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Send a request as it is."""
    return request


class GuardedIO(StacApiIO):
    """Reads catalog documents that the guard allows, with time limits and retries."""

    def __init__(self, guard: Guard) -> None:
        """Use the references a guard allows."""
        super().__init__(timeout=TIMEOUT_S, max_retries=RETRY)
        self.session.auth = _no_password  # else requests takes one from .netrc; proxies stay as set
        self.session.hooks["response"].append(self._check_redirect)
        self.guard = guard

    def _check_redirect(self, response: requests.Response, **_: Any) -> None:
        """Let redirects lead to allowed places only."""
        if response.is_redirect:
            target = urljoin(response.url, response.headers["location"])
            response.close()  # a refused answer must not keep its connection
            self.guard.check(target)

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        """Read a document, or raise if the guard refuses it."""
        if isinstance(source, pystac.Link):  # a link to a next page carries the body of its request
            self.guard.check(source.absolute_href)
            return super().read_text(source, *args, **kwargs)
        return super().read_text(self.guard.check(str(source)), *args, **kwargs)

    def stac_object_from_dict(self, *args: Any, **kwargs: Any) -> pystac.STACObject:
        """Make plain catalogs: static ones are walked link by link, not asked as an API."""
        return DefaultStacIO.stac_object_from_dict(self, *args, **kwargs)

    def request(self, href: str, *args: Any, **kwargs: Any) -> str:
        """Ask an API, or raise if the guard refuses the address."""
        return super().request(self.guard.check(href), *args, **kwargs)


def search_items(
    catalog: str | Path,
    aoi: AOI,
    season: Season,
    *,
    sensor: str = "sentinel-2",
    bands: Iterable[str] | None = None,
    max_cloud_cover: float | None = None,
    allow_hosts: tuple[str, ...] = (),
) -> pystac.ItemCollection:
    """Search a catalog for the scenes of a season.

    Every filter is applied again on our side. Items come back normalised: their assets are the
    sensor's bands under their own names, references absolute and allowed.

    Args:
        catalog: name of a known catalog, URL of a STAC API or of a static catalog, or local path of
            a catalog, collection or item collection.
        aoi: area; items must touch it.
        season: first and last day.
        sensor: key of :data:`toolkit.catalog.profiles.ASSET_KEYS`.
        bands: bands that every item must offer beside the quality layer; default all of the sensor.
        max_cloud_cover: percent, 0 to 100; items with more are left out; None keeps all.
        allow_hosts: further hosts that may be read.

    Returns:
        Items ordered by time and id. ``extra_fields`` hold the catalog and, under ``skipped``, the
        ids left out by reason.

    Raises:
        InputError: unknown sensor or cloud cover outside 0 to 100.
        BandError: a band the sensor does not have.
        NoItemsError: nothing is left; the message counts what each filter removed.
        RemoteError: the catalog cannot be read.
        UnsafeReferenceError: the catalog refers to something that must not be read.
    """
    wanted = check_request(sensor, bands, max_cloud_cover)
    profile = resolve_profile(str(catalog), allow_hosts=allow_hosts)
    guard = Guard(profile.url, profile.hosts)
    used: dict[str, pystac.Item] = {}
    skipped: dict[str, list[str]] = {}
    for item in _candidates(profile, guard, aoi, season, max_cloud_cover):
        reason = unfit(item, aoi, season, wanted, sensor, max_cloud_cover)
        if reason is None and item.id in used:
            reason = "duplicate"
        if reason is not None:
            skipped.setdefault(reason, []).append(item.id)
            continue
        keys = {band: key for band, key in band_keys(item, sensor).items() if band in wanted}
        used[item.id] = normalise(item, keys, guard)
    for name in sorted(older_twins(used.values())):
        skipped.setdefault("older_baseline", []).append(name)
        del used[name]
    if not used:
        raise NoItemsError(_nothing_found(profile, guard, aoi, season, skipped))
    items = sorted(used.values(), key=lambda item: (str(item.datetime), item.id))
    return pystac.ItemCollection(
        items,
        extra_fields={"catalog": profile.url, "sensor": sensor, "skipped": skipped},
        clone_items=False,
    )


def _candidates(
    profile: Profile, guard: Guard, aoi: AOI, season: Season, max_cloud_cover: float | None
) -> Iterator[pystac.Item]:
    """Yield items of the catalog, not yet filtered on our side."""
    try:
        for count, item in enumerate(_read_items(profile, guard, aoi, season, max_cloud_cover)):
            if count == MAX_ITEMS:
                raise InputError(TOO_MANY.format(catalog=profile.url))
            yield item
    except UNREADABLE as error:
        if (ours := _our_error(error)) is not None:
            raise ours from None
        if guard.local:
            msg = f"The catalog {profile.url!r} cannot be read ({_short(error)}). Check the path."
            raise InputError(msg) from error
        msg = (
            f"The catalog {profile.url!r} cannot be read ({_short(error)}). "
            f"Check the address and the network. Known catalogs: {', '.join(PROFILES)}."
        )
        raise RemoteError(msg) from error


def _read_items(
    profile: Profile, guard: Guard, aoi: AOI, season: Season, max_cloud_cover: float | None
) -> Iterator[pystac.Item]:
    if guard.local and not Path(profile.url).is_file():
        msg = (
            f"There is no catalog {profile.url!r}. Give the name of a known catalog "
            f"({', '.join(PROFILES)}), a URL, or the path of a catalog.json."
        )
        raise InputError(msg)
    reader = GuardedIO(guard)
    with closing(reader.session):
        yield from _walk(profile, reader, aoi, season, max_cloud_cover)


def _walk(
    profile: Profile, reader: GuardedIO, aoi: AOI, season: Season, max_cloud_cover: float | None
) -> Iterator[pystac.Item]:
    """Yield the items of an item collection, an API or a static catalog."""
    root = json.loads(reader.read_text(profile.url))
    if root.get("type") == "FeatureCollection":
        for feature in root["features"]:
            item = pystac.Item.from_dict(feature)
            item.set_self_href(profile.url)
            yield _absolute(item)
    elif "conformsTo" in root:
        yield from _ask_api(profile, reader, aoi, season, max_cloud_cover)
    else:
        catalog = pystac.read_file(profile.url, stac_io=reader)
        if not isinstance(catalog, pystac.Catalog):
            kind = type(catalog).__name__
            msg = f"{profile.url!r} is a STAC {kind}; give a catalog, collection or item collection."
            raise InputError(msg)
        for item in catalog.get_items(recursive=True):
            yield _absolute(item)


def _ask_api(
    profile: Profile, reader: GuardedIO, aoi: AOI, season: Season, max_cloud_cover: float | None
) -> Iterator[pystac.Item]:
    client = Client.open(profile.url, stac_io=reader)
    query = None
    if profile.cloud_filter == "query" and max_cloud_cover is not None:
        query = {"eo:cloud_cover": {"lte": max_cloud_cover}}
    found = client.search(
        collections=_collections(profile, client) or None,
        intersects=shapely.to_geojson(aoi.geometry),
        datetime=f"{season.start}T00:00:00Z/{season.end}T23:59:59Z",
        query=query,
        limit=profile.page_size,
        max_items=MAX_ITEMS + 1,
    )
    yield from found.items()


def _collections(profile: Profile, client: Client) -> list[str]:
    """Collections to search: the profile's, or the Sentinel-2 L2A one if the API offers it among others."""
    if profile.collections or not client.conforms_to(ConformanceClasses.COLLECTIONS):
        return list(profile.collections)
    offered = [collection.id for collection in client.get_collections()]
    return [DEFAULT_COLLECTION] if DEFAULT_COLLECTION in offered else []


def _absolute(item: pystac.Item) -> pystac.Item:
    item.make_asset_hrefs_absolute()
    return item


def _nothing_found(
    profile: Profile, guard: Guard, aoi: AOI, season: Season, skipped: dict[str, list[str]]
) -> str:
    """Say what was asked, what each filter removed, and what to try."""
    west, south, east, north = aoi.bounds
    counts = Counter({reason: len(ids) for reason, ids in skipped.items()})
    removed = ", ".join(f"{n} {reason}" for reason, n in counts.most_common()) or "the catalog gave no item"
    advice = "Check area, year and cloud limit."
    off_place = counts.keys() <= {"outside_area", "outside_season"}
    if off_place and _swapped_area_meets(profile, guard, aoi, season):
        advice = (
            "With longitude and latitude exchanged the area does meet items: they are probably swapped "
            "(GeoJSON wants [longitude, latitude])."
        )
    return (
        f"No scenes in {profile.url!r} for longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to "
        f"{north:.4f}, {season.start} to {season.end}: {removed}. {advice}"
    )


def _swapped_area_meets(profile: Profile, guard: Guard, aoi: AOI, season: Season) -> bool:
    """Whether the catalog has items for the area with its coordinates exchanged."""
    swapped = aoi.swapped()
    if max(abs(swapped.bounds[1]), abs(swapped.bounds[3])) > 90:
        return False
    found = _candidates(profile, guard, swapped, season, None)
    return any(intersects(item, swapped.geometry) for item in found)


def _our_error(error: BaseException | None) -> InputError | None:
    """Return the error of ours that a library has wrapped, if there is one."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def _short(error: Exception) -> str:
    """First line of an error, without the query part of URLs (it may hold a signature)."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return " ".join(word.split("?")[0] if urlsplit(word).query else word for word in text.split())[:300]
