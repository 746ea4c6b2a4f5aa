"""Public STAC catalogs as a table, and the asset keys of each band.

Facts were read from recorded responses and the catalogs' documentation; see ``docs/catalogs.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

CloudFilter = Literal["query", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One catalog: where it is and how it wants to be asked."""

    name: str
    """Short name for the command line."""
    url: str
    """Landing page of the API, or path or URL of a static catalog."""
    collections: tuple[str, ...] = ()
    """Collections searched, the default first; empty for static catalogs."""
    hosts: frozenset[str] = frozenset()
    """Hosts that pixels and metadata may be read from."""
    cloud_filter: CloudFilter = "none"
    """How the API filters cloud cover; ``none``: only on our side."""
    page_size: int = 100
    """Items per page."""


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "earth-search": Profile(
            name="earth-search",
            url="https://earth-search.aws.element84.com/v1",
            collections=("sentinel-2-l2a",),
            hosts=frozenset(
                {
                    "earth-search.aws.element84.com",
                    "sentinel-cogs.s3.us-west-2.amazonaws.com",
                    "e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com",
                }
            ),
            # Earth Search ignores CQL2 filters silently and answers with everything: use query.
            cloud_filter="query",
            page_size=100,  # larger pages end in 502
        ),
    }
)
"""Catalogs known by name."""

ASSET_KEYS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        # Earth Search, plain ESA names (Planetary Computer), CDSE; never by common_name: the three
        # red-edge bands share one, and B8A is called rededge on Planetary Computer.
        "sentinel-2": MappingProxyType(
            {
                "B02": ("blue", "B02", "B02_10m"),
                "B03": ("green", "B03", "B03_10m"),
                "B04": ("red", "B04", "B04_10m"),
                "B05": ("rededge1", "B05", "B05_20m"),
                "B06": ("rededge2", "B06", "B06_20m"),
                "B07": ("rededge3", "B07", "B07_20m"),
                "B08": ("nir", "B08", "B08_10m"),
                "B8A": ("nir08", "B8A", "B8A_20m"),
                "B11": ("swir16", "B11", "B11_20m"),
                "B12": ("swir22", "B12", "B12_20m"),
                "SCL": ("scl", "SCL", "SCL_20m"),
            }
        ),
    }
)
"""Sensor -> band -> asset keys under which catalogs offer it."""

QUALITY_LAYER: Mapping[str, str] = MappingProxyType({"sentinel-2": "SCL"})
"""Sensor -> layer that tells clear sky; no scene is of use without it."""


def resolve_profile(catalog: str, *, allow_hosts: tuple[str, ...] = ()) -> Profile:
    """Return the profile of a catalog.

    Args:
        catalog: name in :data:`PROFILES`, URL of a STAC API or static catalog, or local path.
        allow_hosts: further hosts that may be read.
    """
    extra = frozenset(host.lower() for host in allow_hosts)
    for known in PROFILES.values():
        if catalog in (known.name, known.url, f"{known.url}/"):
            return replace(known, hosts=known.hosts | extra)
    host = urlsplit(catalog).hostname if "://" in catalog else None
    return Profile(
        name="custom",
        url=catalog,
        hosts=extra | (frozenset({host}) if host else frozenset()),
    )
