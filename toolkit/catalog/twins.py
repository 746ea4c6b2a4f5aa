"""Twins: one acquisition found twice, reprocessed or handed in again; the newest stays."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import pystac
import shapely

from toolkit.catalog.items import BASELINE, DATASTRIP, datatake, footprint

SAME_PLACE = 0.5
"""Share of the older item that a newer one must cover: halves of a split granule overlap far less."""
WHOLE_PERCENT = 105.0
"""Two items whose valid parts fill no more than this are halves, even where a catalog gives both the
footprint of the whole tile; 5 percent for the seam."""


def older_twins(items: Iterable[pystac.Item]) -> dict[str, str]:
    """Return the ids of items that a newer item replaces, and which one.

    Items are compared within one datatake and tile, never by tile and day alone: at high latitudes two
    orbits see a tile on one day. Newest is the highest processing baseline, then the latest generation.

    Args:
        items: normalised items.
    """
    groups: dict[tuple[str, str], list[pystac.Item]] = defaultdict(list)
    for item in items:
        take, tile = datatake(item), item.properties.get("grid:code")
        if take is not None and tile is not None:
            groups[take, str(tile)].append(item)
    replaced = {}
    for group in groups.values():
        kept: list[pystac.Item] = []
        for item in sorted(group, key=_age, reverse=True):
            newer = next((other for other in kept if _same_place(item, other)), None)
            if newer is None:
                kept.append(item)
            else:
                replaced[item.id] = newer.id
    return replaced


def _age(item: pystac.Item) -> tuple[tuple[int, ...], str, str, str]:
    """Order of items of one acquisition: the older, the smaller."""
    properties = item.properties
    baseline = tuple(int(part) for part in str(properties.get(BASELINE, "")).split(".") if part.isdigit())
    generated = str(properties.get("s2:generation_time", ""))
    return baseline, generated, str(properties.get("s2:sequence", "")), item.id


def _same_place(older: pystac.Item, newer: pystac.Item) -> bool:
    """Whether a newer item shows what an older one shows, rather than the other half of a split granule."""
    strips = [_strip(item) for item in (older, newer)]
    if strips[0] and strips[0] == strips[1]:
        return True
    gaps = [float(item.properties.get("s2:nodata_pixel_percentage") or 0) for item in (older, newer)]
    if min(gaps) > 0 and 200 - sum(gaps) <= WHOLE_PERCENT:
        return False
    one, other = footprint(older), footprint(newer)
    if one is None or other is None or shapely.area(one) == 0:
        return True
    return bool(shapely.area(shapely.intersection(one, other)) > SAME_PLACE * shapely.area(one))


def _strip(item: pystac.Item) -> str | None:
    """Return when sensing of an item's datastrip began: reprocessing keeps it, halves have two."""
    found = re.search(r"_(S\d{8}T\d{6})_", str(item.properties.get(DATASTRIP, "")))
    return found[1] if found else None
