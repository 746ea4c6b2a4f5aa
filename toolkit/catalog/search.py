"""Search: items of a season over an area, from a STAC API or a static catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pystac

from toolkit.area.aoi import AOI
from toolkit.area.season import Season
from toolkit.catalog import emit
from toolkit.catalog.access import guard_of
from toolkit.catalog.api_search import SENTINEL2
from toolkit.catalog.candidates import candidates, is_folder
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
from toolkit.catalog.items import band_keys, intersects, normalise
from toolkit.catalog.profiles import Profile, collection_id, resolve_profile
from toolkit.catalog.twins import older_twins
from toolkit.errors import NoItemsError

NAMED_FILES = 3
"""Unusable items named in an error."""


@dataclass(slots=True, kw_only=True)
class Ledger:
    """What became of every item: used, or skipped for a reason."""

    used: dict[str, pystac.Item] = field(default_factory=dict)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, name: str) -> None:
        """Leave an item out."""
        self.skipped.setdefault(reason, []).append(name)

    def drop(self, reason: str, name: str) -> None:
        """Leave out an item that was used so far."""
        del self.used[name]
        self.skip(reason, name)

    @property
    def found(self) -> int:
        """Items seen."""
        return len(self.used) + sum(len(names) for names in self.skipped.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sought:
    """What is looked for, and where."""

    profile: Profile
    guard: Guard
    aoi: AOI
    season: Season
    sensor: str
    wanted: frozenset[str]
    max_cloud_cover: float | None

    @property
    def of_emit(self) -> bool:
        """Whether granules of EMIT are sought."""
        return self.sensor == emit.EMIT

    def candidates(self) -> Iterator[pystac.Item | str]:
        """Yield what the catalog gives."""
        product = emit.SPECTRA if self.of_emit else SENTINEL2
        return candidates(
            self.profile, self.guard, product, self.aoi, self.season, max_cloud_cover=self.max_cloud_cover
        )

    def keys(self, item: pystac.Item) -> dict[str, str]:
        """Return band -> asset key for what an item offers."""
        return emit.granule_keys(item) if self.of_emit else band_keys(item, self.profile.asset_keys)


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
    mix_versions: bool = False,
) -> pystac.ItemCollection:
    """Search a catalog for the scenes of a season.

    Every filter is applied again on our side. Items come back normalised: their assets are the
    sensor's bands under their own names, references absolute and allowed.

    Args:
        catalog: name of a known catalog, URL of a STAC API or of a static catalog, or local path of
            a catalog, collection, item collection, or of a folder of EMIT granules.
        aoi: area; items must touch it.
        season: first and last day.
        sensor: key of :data:`toolkit.catalog.bands.SENSOR_BANDS`.
        bands: bands that every item must offer beside the quality layer; default all of the sensor.
        max_cloud_cover: percent, 0 to 100; items with more are left out; None keeps all.
        collection: collection to search; default the first of the catalog's profile, of EMIT all versions.
        assets: band -> asset key, for catalogs that name bands in a way of their own.
        allow_hosts: further hosts that may be read.
        mix_versions: keep granules of several product versions (EMIT), rather than those of one.

    Returns:
        Items ordered by time and id. ``extra_fields`` hold the catalog, the number of items ``found`` and,
        under ``skipped``, the ids left out by reason; those used and those skipped add up to those found.
        Of EMIT also, under ``without_mask``, the ids of items that have none.

    Raises:
        InputError: unknown sensor or collection, cloud cover outside 0 to 100, or asset keys for EMIT.
        BandError: a band the sensor does not have.
        NoItemsError: nothing is left (the message counts what each filter removed), or EMIT never sees the
            area.
        RemoteError: the catalog cannot be read, or its answer stays incomplete.
        UnsafeReferenceError: the catalog refers to something that must not be read.
    """
    profile = resolve_profile(str(catalog), collection=collection, assets=assets, allow_hosts=allow_hosts)
    wanted = check_request(profile, sensor, bands, max_cloud_cover)
    if sensor == emit.EMIT:
        emit.check_no_own_keys(assets)
        emit.check_reach(aoi)
    else:
        profile = replace(profile, collections=profile.collections[:1])
    sought = _Sought(
        profile=profile,
        guard=guard_of(profile),
        aoi=aoi,
        season=season,
        sensor=sensor,
        wanted=wanted,
        max_cloud_cover=max_cloud_cover,
    )
    ledger = _sift(sought)
    for name, reason in _replaced(ledger.used.values(), sensor, mix_versions=mix_versions):
        ledger.drop(reason, name)
    for name in too_cloudy(ledger.used.values(), max_cloud_cover):  # last: no older twin comes in for it
        ledger.drop(TOO_CLOUDY, name)
    if not ledger.used:
        raise NoItemsError(_nothing_found(sought, ledger))
    items = sorted(ledger.used.values(), key=lambda item: (str(item.datetime), item.id))
    told: dict[str, Any] = {
        "catalog": profile.url,
        "collection": collection if sought.of_emit else next(iter(profile.collections), None),
        "sensor": sensor,
        "found": ledger.found,
        "skipped": ledger.skipped,
    }
    if sought.of_emit:
        _pair_masks(items, sought)
        told["without_mask"] = emit.without_mask(items)
    return pystac.ItemCollection(items, extra_fields=told, clone_items=False)


def _sift(sought: _Sought) -> Ledger:
    """Look at every item of a catalog: normalise it, or leave it out for a reason."""
    ledger = Ledger()
    profile = sought.profile
    collections = frozenset(collection_id(name) for name in profile.collections)
    for candidate in sought.candidates():
        if isinstance(candidate, str):
            ledger.skip(INVALID, candidate)
            continue
        keys = sought.keys(candidate)
        if sought.of_emit and keys.keys() == {emit.MASK}:
            continue  # the item of a mask is no scene
        reason = unfit(
            candidate, sought.aoi, sought.season, offers=keys, wanted=sought.wanted, collections=collections
        )
        if reason is None and candidate.id in ledger.used:
            reason = DUPLICATE
        if reason is not None:
            ledger.skip(reason, candidate.id)
            continue
        if not sought.of_emit:
            keys = {band: key for band, key in keys.items() if band in sought.wanted}
        item = normalise(candidate, keys, profile, sought.guard)
        if sought.of_emit:
            item.properties |= emit.granule_properties(candidate, keys)
        ledger.used[candidate.id] = item
    return ledger


def _replaced(items: Iterable[pystac.Item], sensor: str, *, mix_versions: bool) -> list[tuple[str, str]]:
    """Return id and reason of the items that give way to others."""
    if sensor == emit.EMIT:
        return sorted(emit.left_out(items, mix_versions=mix_versions).items())
    return [(name, OLDER_TWIN) for name in sorted(older_twins(items))]


def _pair_masks(items: list[pystac.Item], sought: _Sought) -> None:
    """Search masks once, for granules that lack them; those of a folder were found with their granules."""
    if emit.without_mask(items) and not is_folder(sought.profile, sought.guard):
        everywhere = replace(sought.profile, collections=())  # those that were named hold reflectance
        found = candidates(everywhere, sought.guard, emit.MASKS, sought.aoi, sought.season)
        emit.attach_masks(items, found, sought.guard)


def _nothing_found(sought: _Sought, ledger: Ledger) -> str:
    """Say what was asked, what each filter removed, and what to try."""
    profile, season = sought.profile, sought.season
    west, south, east, north = sought.aoi.bounds
    counts = Counter({reason: len(ids) for reason, ids in ledger.skipped.items()})
    removed = ", ".join(f"{n} {reason}" for reason, n in counts.most_common()) or "the catalog gave no item"
    if unusable := ledger.skipped.get(INVALID):
        removed += f" ({', '.join(unusable[:NAMED_FILES])}{', ...' if len(unusable) > NAMED_FILES else ''})"
    advice = "Check area, year and cloud limit."
    if "/collections/" in profile.url:
        advice = "Give the address of the API as catalog, and its collection by name."
    off_place = counts.keys() <= {OUTSIDE_AREA, OUTSIDE_SEASON}
    if off_place and _swapped_area_meets(sought):
        advice = (
            "With longitude and latitude exchanged the area does meet items: they are probably swapped "
            "(GeoJSON wants [longitude, latitude])."
        )
    return (
        f"No scenes in {profile.url!r} for longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to "
        f"{north:.4f}, {season.start} to {season.end}: {removed}. {advice}"
    )


def _swapped_area_meets(sought: _Sought) -> bool:
    """Whether the catalog has items for the area with its coordinates exchanged."""
    swapped = replace(sought, aoi=sought.aoi.swapped(), max_cloud_cover=None)
    if max(abs(swapped.aoi.bounds[1]), abs(swapped.aoi.bounds[3])) > 90:
        return False
    shape = swapped.aoi.geometry
    return any(isinstance(item, pystac.Item) and intersects(item, shape) for item in swapped.candidates())
