"""The reflectance offset of Sentinel-2 L2A: which items need it, and its removal.

Since processing baseline 04.00 (January 2022) ESA adds 1000 to the digital numbers, so that dark
pixels can fall below zero. Catalogs differ in whether they took it away again, and in what they say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pystac

from toolkit.errors import RadiometryError

OFFSET = -0.1
"""Reflectance to add since baseline 04.00 (Sentinel-2 Products Specification Document, BOA_ADD_OFFSET)."""
DARKEST = 1
"""Valid pixels darker than the offset become this digital number; 0 would make them nodata."""

APPLIED = "earthsearch:boa_offset_applied"
LISTED_EARTH_SEARCH = ("sentinel-2-c1-l2a", "sentinel-2-pre-c1-l2a")


@dataclass(frozen=True, slots=True)
class Facts:
    """What an item says about its radiometry."""

    collection: str | None
    baseline: tuple[int, int] | None
    applied: bool | None
    listed: float | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: when it holds, and the offset then."""

    name: str
    holds: Callable[[Facts], bool]
    offset: Callable[[Facts], float]


def _before_04(facts: Facts) -> bool:
    return facts.baseline is not None and facts.baseline < (4, 0)


RULES = (
    # Order matters: the first rule that holds decides.
    Rule("baseline before 04.00: no offset exists", _before_04, lambda _: 0.0),
    # The flag is the truth; items that say "applied" still list -0.1 (159 of 159 recorded items).
    Rule("Earth Search removed it", lambda f: f.applied is True, lambda _: 0.0),
    Rule(
        "Earth Search left it",
        lambda f: f.applied is False and f.baseline is not None,
        lambda _: OFFSET,
    ),
    Rule(
        "Earth Search collection 1 never removes it",
        lambda f: f.collection in LISTED_EARTH_SEARCH and f.applied is None,
        lambda _: OFFSET,
    ),
    Rule("the catalog lists it", lambda f: f.listed in (0.0, OFFSET), lambda f: f.listed or 0.0),
    Rule(
        "baseline 04.00 or later, nothing listed",
        lambda f: f.baseline is not None,
        lambda _: OFFSET,
    ),
)
"""Sources: Element 84 earth-search issues 9, 66, 71; recorded responses of three catalogs."""


def radiometric_offset(item: pystac.Item) -> float:
    """Return the reflectance to add to an item's scaled digital numbers.

    Args:
        item: Sentinel-2 L2A item.

    Returns:
        0.0 or -0.1.

    Raises:
        RadiometryError: the metadata fit no rule.
    """
    facts = _facts(item)
    for rule in RULES:
        if rule.holds(facts):
            return rule.offset(facts)
    msg = (
        f"Item {item.id!r} does not tell its reflectance offset (collection {facts.collection!r}, baseline "
        f"{facts.baseline}, {APPLIED} {facts.applied}, listed offset {facts.listed}). Allowed: a processing "
        "baseline, or a listed offset of 0 or -0.1. Use another catalog, or complete the item."
    )
    raise RadiometryError(msg)


def _facts(item: pystac.Item) -> Facts:
    properties = item.properties
    applied = properties.get(APPLIED)
    return Facts(
        collection=item.collection_id,
        baseline=_baseline(properties.get("s2:processing_baseline", properties.get("processing:version"))),
        applied=applied if isinstance(applied, bool) else None,
        listed=_listed(item),
    )


def _baseline(text: Any) -> tuple[int, int] | None:
    try:
        major, minor = str(text).split(".")[:2]
        return int(major), int(minor)
    except ValueError:
        return None


def _listed(item: pystac.Item) -> float | None:
    """Offset listed on the reflectance bands, if all agree."""
    found = set()
    for band, asset in item.assets.items():
        if band == "SCL":
            continue
        raster = (asset.extra_fields.get("raster:bands") or [{}])[0]
        value = raster.get("offset", asset.extra_fields.get("raster:offset"))
        found.add(None if value is None else round(float(value), 6))
    return found.pop() if len(found) == 1 else None
