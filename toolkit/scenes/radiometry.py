"""The reflectance offset of Sentinel-2 L2A: which items need it, by what their catalogs say.

Since processing baseline 04.00 (January 2022) ESA adds 1000 to the digital numbers, so that dark
pixels can fall below zero. Catalogs differ in whether they took it away again, and in what they say;
what they say is checked against the pixels in :mod:`toolkit.scenes.offsets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pystac

from toolkit.catalog.items import BASELINE, CATALOG
from toolkit.catalog.profiles import CUSTOM
from toolkit.errors import RadiometryError

OFFSET = -0.1
"""Reflectance to add since baseline 04.00 (Sentinel-2 Products Specification Document, BOA_ADD_OFFSET)."""
DARKEST = 1
"""Valid pixels darker than the offset become this digital number; 0 would make them nodata."""
BRIGHTEST = 65535
"""Largest digital number."""
SINCE = (4, 0)
"""First baseline with the offset."""

APPLIED = "earthsearch:boa_offset_applied"
CHOSEN = "cropglobe:offset"
"""Item property: the offset that a user chose or the pixels showed; it wins over every rule."""

Age = Literal["before", "since", "unknown", "any"]
Any_ = Literal["any"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What an item says about its radiometry."""

    catalog: str
    collection: str | None
    baseline: tuple[int, int] | None
    applied: bool | None
    listed: float | None

    @property
    def age(self) -> Age:
        """Whether the item was processed before or since baseline 04.00."""
        if self.baseline is None:
            return "unknown"
        return "before" if self.baseline < SINCE else "since"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: what an item must say, and its offset then."""

    catalog: str
    collections: tuple[str, ...]
    """Empty: any."""
    age: Age
    applied: bool | Any_ | None
    listed: float | Any_ | None
    offset: float

    def holds(self, facts: Facts) -> bool:
        """Whether an item says what this row wants."""
        return (
            self.catalog in ("any", facts.catalog)
            and (not self.collections or facts.collection in self.collections)
            and self.age in ("any", facts.age)
            and (self.applied == "any" or self.applied is facts.applied)
            and self.listed in ("any", facts.listed)
        )


NEWER = ("sentinel-2-c1-l2a", "sentinel-2-pre-c1-l2a")
RULES = (
    # catalog, collections, baseline 04.00, flag "applied", listed offset -> offset. The first row that holds.
    Rule("any", (), "before", "any", "any", 0.0),  # there was no offset yet
    # The flag is the truth; items that say "applied" still list -0.1 (159 of 159 recorded ones).
    Rule("earth-search", ("sentinel-2-l2a",), "since", True, "any", 0.0),
    Rule("earth-search", ("sentinel-2-l2a",), "since", False, "any", OFFSET),
    Rule("earth-search", NEWER, "since", None, OFFSET, OFFSET),  # never removed there
    Rule("planetary-computer", (), "since", None, None, OFFSET),  # nothing listed, never removed
    Rule("cdse", (), "since", None, OFFSET, OFFSET),
    Rule(CUSTOM, (), "since", True, "any", 0.0),
    Rule(CUSTOM, (), "since", False, "any", OFFSET),
    Rule(CUSTOM, (), "any", None, OFFSET, OFFSET),
    Rule(CUSTOM, (), "any", None, 0.0, 0.0),
    Rule(CUSTOM, (), "since", None, None, OFFSET),  # as ESA delivers them
)
"""Sources: Element 84 earth-search issues 9, 66, 71; Planetary Computer issue 134; recorded items."""


def radiometric_offset(item: pystac.Item) -> float:
    """Return the reflectance to add to an item's scaled digital numbers.

    Args:
        item: normalised Sentinel-2 L2A item.

    Returns:
        0.0 or -0.1; or what was chosen for the item (property ``cropglobe:offset``).

    Raises:
        RadiometryError: the metadata fit no rule.
    """
    chosen = item.properties.get(CHOSEN)
    if chosen is not None:
        return float(chosen)
    facts = _facts(item)
    for rule in RULES:
        if rule.holds(facts):
            return rule.offset
    msg = (
        f"Item {item.id!r} does not tell its reflectance offset (catalog {facts.catalog!r}, collection "
        f"{facts.collection!r}, baseline {facts.baseline}, {APPLIED} {facts.applied}, listed offset "
        f"{facts.listed}): no rule covers this. Use another catalog or collection, or say it with --offset."
    )
    raise RadiometryError(msg)


def _facts(item: pystac.Item) -> Facts:
    properties = item.properties
    applied = properties.get(APPLIED)
    return Facts(
        catalog=str(properties.get(CATALOG, CUSTOM)),
        collection=item.collection_id,
        baseline=_baseline(properties.get(BASELINE)),
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
        value = raster.get("offset")
        found.add(None if value is None else round(float(value), 6))
    return found.pop() if len(found) == 1 else None
