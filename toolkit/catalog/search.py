"""Search: items of a season over an area, from a STAC API or a static catalog."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pystac

from toolkit.area.aoi import AOI
from toolkit.area.season import Season
from toolkit.catalog.access import guard_of
from toolkit.catalog.api_search import MAX_ITEMS, TOO_MANY, ask_api
from toolkit.catalog.documents import DOCUMENT_ERRORS, GuardedIO, our_error
from toolkit.catalog.filters import (
    DUPLICATE,
    INVALID,
    OLDER_TWIN,
    OUTSIDE_AREA,
    OUTSIDE_SEASON,
    TOO_CLOUDY,
    check_request,
    too_cloudy,
    unfit,
)
from toolkit.catalog.guard import Guard
from toolkit.catalog.items import band_keys, intersects, item_of, normalise
from toolkit.catalog.profiles import PROFILES, Profile, resolve_profile
from toolkit.catalog.redaction import redact
from toolkit.catalog.twins import older_twins
from toolkit.errors import InputError, NoItemsError, RemoteError


@dataclass(slots=True, kw_only=True)
class Ledger:
    """What became of every item: used, or skipped for a reason."""

    used: dict[str, pystac.Item] = field(default_factory=dict)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, name: str) -> None:
        """Leave an item out."""
        self.skipped.setdefault(reason, []).append(name)

    @property
    def found(self) -> int:
        """Items seen."""
        return len(self.used) + sum(len(names) for names in self.skipped.values())


def search_items(  # noqa: PLR0913  # each an option of the command
    catalog: str | Path,
    aoi: AOI,
    season: Season,
    *,
    sensor: str = "sentinel-2",
    bands: Iterable[str] | None = None,
    max_cloud_cover: float | None = None,
    collection: str | None = None,
    assets: Mapping[str, str] | None = None,
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
        sensor: key of :data:`toolkit.catalog.bands.SENSOR_BANDS`.
        bands: bands that every item must offer beside the quality layer; default all of the sensor.
        max_cloud_cover: percent, 0 to 100; items with more are left out; None keeps all.
        collection: collection to search; default the first of the catalog's profile.
        assets: band -> asset key, for catalogs that name bands in a way of their own.
        allow_hosts: further hosts that may be read.

    Returns:
        Items ordered by time and id. ``extra_fields`` hold the catalog, the number of items ``found`` and,
        under ``skipped``, the ids left out by reason; those used and those skipped add up to those found.

    Raises:
        InputError: unknown sensor or collection, or cloud cover outside 0 to 100.
        BandError: a band the sensor does not have.
        NoItemsError: nothing is left; the message counts what each filter removed.
        RemoteError: the catalog cannot be read, or its answer stays incomplete.
        UnsafeReferenceError: the catalog refers to something that must not be read.
    """
    profile = resolve_profile(str(catalog), collection=collection, assets=assets, allow_hosts=allow_hosts)
    wanted = check_request(profile, sensor, bands, max_cloud_cover)
    guard = guard_of(profile)
    ledger = Ledger()
    for candidate in _candidates(profile, guard, aoi, season, max_cloud_cover):
        if isinstance(candidate, str):
            ledger.skip(INVALID, candidate)
            continue
        reason = unfit(candidate, aoi, season, wanted=wanted, profile=profile)
        if reason is None and candidate.id in ledger.used:
            reason = DUPLICATE
        if reason is not None:
            ledger.skip(reason, candidate.id)
            continue
        keys = {b: key for b, key in band_keys(candidate, profile.asset_keys).items() if b in wanted}
        ledger.used[candidate.id] = normalise(candidate, keys, profile, guard)
    for name in sorted(older_twins(ledger.used.values())):
        ledger.skip(OLDER_TWIN, name)
        del ledger.used[name]
    for name in too_cloudy(ledger.used.values(), max_cloud_cover):  # last: no older twin comes in for it
        ledger.skip(TOO_CLOUDY, name)
        del ledger.used[name]
    if not ledger.used:
        raise NoItemsError(_nothing_found(profile, guard, aoi, season, ledger))
    items = sorted(ledger.used.values(), key=lambda item: (str(item.datetime), item.id))
    return pystac.ItemCollection(
        items,
        extra_fields={
            "catalog": profile.url,
            "collection": next(iter(profile.collections), None),
            "sensor": sensor,
            "found": ledger.found,
            "skipped": ledger.skipped,
        },
        clone_items=False,
    )


def _candidates(
    profile: Profile, guard: Guard, aoi: AOI, season: Season, max_cloud_cover: float | None
) -> Iterator[pystac.Item | str]:
    """Yield items of the catalog, not yet filtered on our side; the id alone of those that are none."""
    try:
        for count, item in enumerate(_read_items(profile, guard, aoi, season, max_cloud_cover)):
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


def _read_items(
    profile: Profile, guard: Guard, aoi: AOI, season: Season, max_cloud_cover: float | None
) -> Iterator[pystac.Item | str]:
    """Yield the items of an item collection, an API or a static catalog."""
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
        for feature in ask_api(profile, reader, aoi.geometry, season, max_cloud_cover):
            yield _item(feature, None)
    else:
        catalog = pystac.read_file(profile.url, stac_io=reader)
        if not isinstance(catalog, pystac.Catalog):
            kind = type(catalog).__name__
            msg = f"{profile.url!r} is a STAC {kind}; give a catalog, collection or item collection."
            raise InputError(msg)
        for item in catalog.get_items(recursive=True):
            item.make_asset_hrefs_absolute()
            yield item


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


def _nothing_found(profile: Profile, guard: Guard, aoi: AOI, season: Season, ledger: Ledger) -> str:
    """Say what was asked, what each filter removed, and what to try."""
    west, south, east, north = aoi.bounds
    counts = Counter({reason: len(ids) for reason, ids in ledger.skipped.items()})
    removed = ", ".join(f"{n} {reason}" for reason, n in counts.most_common()) or "the catalog gave no item"
    advice = "Check area, year and cloud limit."
    if "/collections/" in profile.url:
        advice = "Give the address of the API as catalog, and its collection by name."
    off_place = counts.keys() <= {OUTSIDE_AREA, OUTSIDE_SEASON}
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
    return any(isinstance(item, pystac.Item) and intersects(item, swapped.geometry) for item in found)


def _short(error: BaseException) -> str:
    """First line of an error, without secrets."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return redact(text)[:400]
