"""Search workflow: the scenes of a season, found once and saved."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pystac

from pipelines.config import FindRequest, SearchRequest
from pipelines.folder import prepare
from toolkit.area.aoi import AOI, read_aoi
from toolkit.area.season import Season, season
from toolkit.catalog.filters import ASSET_MISSING, INVALID
from toolkit.catalog.saved_items import read_items, write_items
from toolkit.catalog.search import search_items
from toolkit.catalog.signing import check_credentials

ITEMS_FILE = "items.json"


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
        return {reason: len(ids) for reason, ids in self.items.extra_fields.get("skipped", {}).items()}

    @property
    def complete(self) -> bool:
        """Whether every scene of the season could be used."""
        return not {ASSET_MISSING, INVALID} & self.skipped.keys()

    def lines(self) -> list[str]:
        """A few lines for a terminal."""
        months = Counter(f"{item.datetime:%Y-%m}" for item in self.items if item.datetime)
        left_out = ", ".join(f"{n} {reason}" for reason, n in self.skipped.items()) or "none"
        found = self.items.extra_fields.get("found", len(self.items))
        return [
            f"{found} items found, {self.season.start} to {self.season.end}",
            f"{len(self.items)} scenes used, left out: {left_out}",
            "per month: " + ", ".join(f"{month} {n}" for month, n in sorted(months.items())),
            f"saved in {self.path}",
        ]


def run(config: FindRequest) -> FoundScenes:
    """Search the scenes of the default season and save them as ``items.json`` or ``items.parquet``."""
    aoi = read_aoi(config.aoi)
    prepare(config.out)
    when = season(config.year, aoi=aoi)
    items = _items(config, aoi, when, bands=None)
    path = write_items(items, config.out / f"items.{config.format}")
    return FoundScenes(items=items, path=path, season=when)


def find(
    config: SearchRequest,
    aoi: AOI,
    when: Season,
    *,
    folder: Path,
    bands: tuple[str, ...] | None = None,
) -> FoundScenes:
    """Read saved items, or search them, and freeze them in a folder; their pixels will be read.

    Raises:
        CredentialsError: the catalog needs an account that is not given.
    """
    check_credentials(config.catalog)
    items = _items(config, aoi, when, bands=bands)
    return FoundScenes(items=items, path=write_items(items, folder / ITEMS_FILE), season=when)


def _items(
    config: SearchRequest, aoi: AOI, when: Season, *, bands: tuple[str, ...] | None
) -> pystac.ItemCollection:
    if config.items is not None:
        return read_items(config.items, allow_hosts=config.named_hosts)
    return search_items(
        config.catalog,
        aoi,
        when,
        bands=bands,
        max_cloud_cover=config.max_cloud_cover,
        collection=config.collection,
        assets=config.assets,
        allow_hosts=config.allow_hosts,
    )
