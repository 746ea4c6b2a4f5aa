"""The table of catalogs, for a terminal."""

from __future__ import annotations

import os
from textwrap import fill

from toolkit.catalog.profiles import PROFILES, Profile

WIDTH = 100


def lines() -> list[str]:
    """Return what is known of each catalog, and whether this machine has the account it needs."""
    told: list[str] = []
    for profile in PROFILES.values():
        told += [f"{profile.name}: {', '.join(profile.sensors)}", *_facts(profile), ""]
    told.append(
        "Any other STAC API or static catalog: --catalog URL or PATH; --collection NAME, --assets BAND=KEY "
        "and --allow-hosts HOST as it needs."
    )
    return [line for text in told for line in _wrapped(text)]


def _facts(profile: Profile) -> list[str]:
    here = [f"{name} ({'set' if os.environ.get(name) else 'not set'} here)" for name in profile.credentials]
    default, *others = profile.collections
    facts = [
        f"  address      {profile.url}",
        f"  collection   {default}" + (f"; also {', '.join(others)}" if others else ""),
        f"  account      {', '.join(here) or 'none'}" + (f": {profile.account}" if profile.account else ""),
    ]
    if profile.worldcover is not None:
        facts.append(f"  land cover   ESA WorldCover ({profile.worldcover.collection})")
    facts.append(f"  notes        {profile.notes}")
    return facts


def _wrapped(text: str) -> list[str]:
    indent = 15 if text.startswith("  ") else 0
    return fill(text, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False).splitlines() or [""]
