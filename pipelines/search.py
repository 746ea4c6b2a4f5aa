"""Search workflow: the scenes of a season, found once and saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType

import pystac

from pipelines.config import FindRequest, SearchRequest
from pipelines.folder import prepare
from toolkit.area.aoi import AOI, read_aoi
from toolkit.area.season import Season, longest_gap, season
from toolkit.catalog.filters import ASSET_MISSING, INVALID, fitting
from toolkit.catalog.items import CATALOG, PRODUCT_VERSION
from toolkit.catalog.saved_items import read_items, write_items
from toolkit.catalog.search import search_items
from toolkit.catalog.signing import check_credentials
from toolkit.errors import InputError, NoItemsError

ITEMS_FILE = "items.json"
EMIT_ITEMS_FILE = "emit_items.json"
"""Beside the other, as a map may be made with both sensors."""
DEFAULT_CATALOG: Mapping[str, str] = MappingProxyType({"sentinel-2": "earth-search", "emit": "lpcloud"})
"""Sensor -> catalog where the user names none."""
NAMED_FILES = 5
"""Unusable items named in a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundScenes:
    """Result of a search."""

    items: pystac.ItemCollection
    """Scenes found, normalised."""
    path: Path
    """Where they are saved."""
    season: Season
    """First to last day searched."""

    @property
    def skipped(self) -> dict[str, int]:
        """Reason -> number of items left out."""
        return _skipped(self.items)

    @property
    def complete(self) -> bool:
        """Whether every scene of the season could be used."""
        return not {ASSET_MISSING, INVALID} & self.skipped.keys()

    @property
    def longest_gap(self) -> tuple[date, date] | None:
        """First and last day of the longest time in the season without any scene; None if there is none."""
        return longest_gap(self.season, [item.datetime.date() for item in self.items if item.datetime])

    def lines(self) -> list[str]:
        """A few lines for a terminal."""
        months = Counter(f"{item.datetime:%Y-%m}" for item in self.items if item.datetime)
        found = self.items.extra_fields.get("found", len(self.items))
        return [
            f"{found} items found, {self.season.start} to {self.season.end}",
            f"{len(self.items)} scenes used, left out: {left_out(self.items)}",
            "per month: " + ", ".join(f"{month} {n}" for month, n in sorted(months.items())),
            *self._of_emit(),
            *self.unusable_lines(),
            f"saved in {self.path}",
        ]

    def _of_emit(self) -> list[str]:
        """Versions and missing masks, which only granules of EMIT have."""
        told = Counter(str(item.properties.get(PRODUCT_VERSION, "")) for item in self.items)
        versions = ", ".join(f"{version} {n}" for version, n in sorted(told.items()) if version)
        missing = len(self.items.extra_fields.get("without_mask", []))
        return [f"product versions: {versions}; without mask: {missing}"] if versions else []

    def unusable_lines(self) -> list[str]:
        """Return a line with the names of items that are none."""
        names = self.items.extra_fields.get("skipped", {}).get(INVALID, [])
        more = ", ..." if len(names) > NAMED_FILES else ""
        return [f"not usable: {', '.join(names[:NAMED_FILES])}{more}"] if names else []


def _skipped(items: pystac.ItemCollection) -> dict[str, int]:
    return {reason: len(ids) for reason, ids in items.extra_fields.get("skipped", {}).items()}


def left_out(items: pystac.ItemCollection) -> str:
    """Return how many items a search left out for each reason, as text."""
    return ", ".join(f"{n} {reason}" for reason, n in _skipped(items).items()) or "none"


def run(config: FindRequest) -> FoundScenes:
    """Search the scenes of the default season and save them as ``items.json`` or ``items.parquet``."""
    path = config.out / f"items.{config.format}"
    if config.items is not None and config.items.resolve() == path.resolve():
        msg = f"{str(path)!r} is given as --items, and would be replaced. Give another --out."
        raise InputError(msg)
    aoi = read_aoi(config.aoi)
    prepare(config.out)
    when = season(config.year, aoi=aoi)
    items = found_items(config, aoi, when, sensor=config.sensor, bands=None)
    write_items(items, path)
    return FoundScenes(items=items, path=path, season=when)


def find(
    config: SearchRequest,
    aoi: AOI,
    when: Season,
    *,
    folder: Path,
    out: Path | None = None,
    bands: tuple[str, ...] | None = None,
    sensor: str = "sentinel-2",
) -> FoundScenes:
    """Read saved items, or search them, and freeze them in a folder; their pixels will be read.

    Args:
        config: catalog and limits of the search, and whether product versions may be mixed.
        aoi: area.
        when: first to last day.
        folder: where the items are saved; under another name where those given lie under theirs.
        out: where they come in the end; default the same folder.
        bands: bands that every item must offer; default all of the sensor.
        sensor: whose scenes are read; it decides the catalog where none is named.

    Raises:
        CredentialsError: the catalog needs an account that is not given.
        InputError: saved items are another sensor's.
    """
    if config.items is None:
        check_credentials(_catalog(config, sensor))
    items = found_items(config, aoi, when, sensor=sensor, bands=bands)
    for catalog in sorted({str(item.properties.get(CATALOG, "")) for item in items}):
        check_credentials(catalog)
    name = EMIT_ITEMS_FILE if sensor == "emit" else ITEMS_FILE
    if config.items is not None and config.items.resolve() == ((out or folder) / name).resolve():
        name = f"used_{name}"
    return FoundScenes(items=items, path=write_items(items, folder / name), season=when)


def _catalog(config: SearchRequest, sensor: str) -> str:
    """Return the catalog that the user names, else that of the sensor."""
    return config.catalog or DEFAULT_CATALOG[sensor]


def found_items(
    config: SearchRequest, aoi: AOI, when: Season, *, sensor: str, bands: tuple[str, ...] | None
) -> pystac.ItemCollection:
    """Read saved items and keep those of the area and the season, or search them.

    Args:
        config: catalog and limits of the search.
        aoi: area.
        when: first to last day.
        sensor: whose scenes.
        bands: bands that every item must offer; None for all.

    Raises:
        InputError: saved items are another sensor's.
        NoItemsError: none is found.
    """
    if config.items is not None:
        items = read_items(config.items, allow_hosts=config.named_hosts)
        given = str(config.items)
        if (saved := items.extra_fields.get("sensor", sensor)) != sensor:
            msg = f"{given!r} holds items of {saved}, not of {sensor}. Give others, or search anew."
            raise InputError(msg)
        fit = fitting(items, aoi, when, config.max_cloud_cover)
        if not fit:
            now = Counter(_skipped(fit)) - Counter(_skipped(items))
            reasons = ", ".join(f"{n} {reason}" for reason, n in now.items())
            msg = (
                f"None of the {len(items)} scenes in {given!r} serves this area, {when.start} to "
                f"{when.end}: {reasons}. Search again for this area and year."
            )
            raise NoItemsError(msg)
        return fit
    return search_items(
        _catalog(config, sensor),
        aoi,
        when,
        sensor=sensor,
        mix_versions=getattr(config, "mix_versions", False),  # asked of EMIT only
        bands=bands,
        max_cloud_cover=config.max_cloud_cover,
        collection=config.collection,
        assets=config.assets,
        allow_hosts=config.allow_hosts,
    )
