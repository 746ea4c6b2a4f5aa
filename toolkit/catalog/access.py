"""Access: where an item's files may lie, how they are signed, which formats they may have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import pystac

from toolkit.catalog.guard import Guard
from toolkit.catalog.items import CATALOG, NAMED_HOSTS
from toolkit.catalog.profiles import CUSTOM, PROFILES, Profile, Signing
from toolkit.catalog.transport import PATIENCE, Patience

CDSE_BUCKET = "eodata"


@dataclass(frozen=True, slots=True)
class Access:
    """How the files of one catalog are read."""

    guard: Guard
    """Decides which hosts may be read, redirects included."""
    signing: Signing = "none"
    """How files are opened to us."""
    drivers: tuple[str, ...] = ("GTiff",)
    """GDAL drivers that may open them."""
    connections: int = 32
    """Requests that a process may have open."""
    patience: Patience = PATIENCE
    """How often and how long a server is asked again."""


LOCAL = Access(Guard("local files"))
"""Files on a disk."""


def guard_of(profile: Profile) -> Guard:
    """Return what decides which references of a catalog may be read."""
    buckets = frozenset({CDSE_BUCKET} if profile.signing == "cdse" else ())
    return Guard(profile.url, profile.hosts, profile.named_hosts, buckets)


def access_to(item: pystac.Item) -> Access:
    """Return how an item's files are read.

    Files of a known catalog may lie where its profile says. Those of other catalogs may lie on the hosts that
    the item names (they were checked when it was found), outside private networks unless the user named them.

    Args:
        item: normalised item.
    """
    name = str(item.properties.get(CATALOG, CUSTOM))
    named = frozenset(item.properties.get(NAMED_HOSTS, ()))
    hosts: frozenset[str] = frozenset()
    if name not in PROFILES:
        hrefs = [asset.href for asset in item.assets.values()]
        hosts = frozenset((urlsplit(href).hostname or "").lower() for href in hrefs if "://" in href)
    return _access(name, hosts, named)


@lru_cache(maxsize=256)
def _access(name: str, hosts: frozenset[str], named: frozenset[str]) -> Access:
    known = PROFILES.get(name)
    if known is None:
        return Access(Guard(CUSTOM, hosts | named, named))
    guard = guard_of(known)
    return Access(
        Guard(guard.root, guard.hosts | named, named, guard.buckets),
        known.signing,
        known.drivers,
        known.connections,
    )
