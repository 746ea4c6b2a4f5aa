"""Public STAC catalogs as a table: where they are, how they want to be asked and read.

Facts were read from recorded responses and the catalogs' documentation; see ``docs/catalogs.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from toolkit.catalog.bands import ANY_KEYS, CDSE_KEYS, EARTH_SEARCH_KEYS, ESA_KEYS, SENSOR_BANDS, Keys
from toolkit.errors import BandError, InputError

CloudFilter = Literal["query", "cql2", "none"]
Signing = Literal["none", "planetary-computer", "earthdata", "cdse"]
CUSTOM = "custom"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldCover:
    """ESA WorldCover in a catalog: 10 m land cover, class 40 = cropland."""

    collection: str = "esa-worldcover"
    """Its collection."""
    asset: str = "map"
    """Asset with the classes."""
    hosts: frozenset[str] = frozenset()
    """Hosts of its files, beside those of the catalog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One catalog: where it is, how it wants to be asked, and how its files are read."""

    name: str
    """Short name for the command line."""
    url: str
    """Landing page of the API, or path or URL of a static catalog."""
    sensors: tuple[str, ...] = ("sentinel-2",)
    """Sensors it offers."""
    collections: tuple[str, ...] = ()
    """Collections that may be searched, the default first; empty for static catalogs."""
    asset_keys: Keys = field(default_factory=lambda: ANY_KEYS)
    """Band -> asset keys."""
    hosts: frozenset[str] = frozenset()
    """Hosts that pixels and metadata may be read from, lower case; ``*.`` stands for any first label."""
    named_hosts: frozenset[str] = frozenset()
    """Hosts that the user named; only these may lie in a private network."""
    cloud_filter: CloudFilter = "none"
    """How the API filters cloud cover; ``none``: only on our side."""
    page_size: int = 100
    """Items per page."""
    signing: Signing = "none"
    """How files are opened to us."""
    drivers: tuple[str, ...] = ("GTiff",)
    """GDAL drivers that may open its files: a .tif that is a virtual raster must not read other files."""
    connections: int = 32
    """Requests that a process may have open."""
    worldcover: WorldCover | None = None
    """Where it offers ESA WorldCover."""
    credentials: tuple[str, ...] = ()
    """Environment variables without which its files cannot be read."""
    account: str = ""
    """Where what they hold is to be had."""
    notes: str = ""
    """What users should know."""


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "earth-search": Profile(
            name="earth-search",
            url="https://earth-search.aws.element84.com/v1",
            collections=("sentinel-2-l2a", "sentinel-2-c1-l2a", "sentinel-2-pre-c1-l2a"),
            asset_keys=EARTH_SEARCH_KEYS,
            hosts=frozenset(
                {
                    "earth-search.aws.element84.com",
                    "sentinel-cogs.s3.us-west-2.amazonaws.com",
                    "e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com",
                }
            ),
            # A CQL2 filter is ignored silently and everything comes back (115,912,757 matched, recorded).
            cloud_filter="query",
            page_size=100,  # larger pages end in 502
            notes="No account. COGs. Collection 1 (-c1-) has gaps from 2016 to 2019 and in 2022.",
        ),
        "planetary-computer": Profile(
            name="planetary-computer",
            url="https://planetarycomputer.microsoft.com/api/stac/v1",
            collections=("sentinel-2-l2a",),
            asset_keys=ESA_KEYS,
            hosts=frozenset({"planetarycomputer.microsoft.com", "sentinel2l2a01.blob.core.windows.net"}),
            cloud_filter="cql2",
            page_size=100,  # 250 often exceeds the time limit of the server
            signing="planetary-computer",
            worldcover=WorldCover(hosts=frozenset({"ai4edataeuwest.blob.core.windows.net"})),
            notes="No account; PC_SDK_SUBSCRIPTION_KEY makes signatures last longer. COGs, signed when read.",
        ),
        "cdse": Profile(
            name="cdse",
            url="https://stac.dataspace.copernicus.eu/v1",
            collections=("sentinel-2-l2a",),
            asset_keys=CDSE_KEYS,
            hosts=frozenset({"stac.dataspace.copernicus.eu", "eodata.dataspace.copernicus.eu"}),
            cloud_filter="cql2",
            page_size=100,  # 200 is the most for this collection
            signing="cdse",
            drivers=("JP2OpenJPEG",),
            connections=2,  # a general user has four, and a map two processes or more
            credentials=("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY"),
            account="keys from https://eodata-s3keysmanager.dataspace.copernicus.eu",
            notes="S3 keys of a free account. JPEG 2000, which is read slowly: prefer the others for maps.",
        ),
        "lpcloud": Profile(
            name="lpcloud",
            url="https://cmr.earthdata.nasa.gov/stac/LPCLOUD",
            sensors=("emit",),
            collections=("EMITL2ARFL_002", "EMITL2ARFL_001"),
            asset_keys=MappingProxyType({}),  # made of file names, by which assets are told
            hosts=frozenset(
                {
                    "cmr.earthdata.nasa.gov",
                    "data.lpdaac.earthdatacloud.nasa.gov",
                    "urs.earthdata.nasa.gov",
                    "*.cloudfront.net",  # where the archive sends readers, with a signature
                }
            ),
            cloud_filter="none",  # a filter is an error, and a limit of 0 percent is dropped
            page_size=100,
            signing="earthdata",
            drivers=(),
            credentials=("EARTHDATA_TOKEN",),
            account="a token from https://urs.earthdata.nasa.gov, 'Generate Token', valid for about 60 days",
            notes="EMIT reflectance. A token of a free Earthdata account, terms of LP DAAC accepted once.",
        ),
    }
)
"""Catalogs known by name."""

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "catalogue.dataspace.copernicus.eu": "it is the older API of Copernicus Data Space, whose items lack "
        "what maps need; use --catalog cdse",
    }
)
"""Hosts of catalogs that look usable and are not -> why, and what instead."""


def resolve_profile(
    catalog: str,
    *,
    collection: str | None = None,
    assets: Mapping[str, str] | None = None,
    allow_hosts: tuple[str, ...] = (),
) -> Profile:
    """Return the profile of a catalog.

    Args:
        catalog: name in :data:`PROFILES`, URL of a STAC API or static catalog, or local path.
        collection: collection to search; default the profile's first.
        assets: band -> asset key, for catalogs with names of their own.
        allow_hosts: further hosts that may be read.

    Raises:
        InputError: the catalog is known not to work, or has no such collection.
        BandError: ``assets`` names a band that no sensor has.
    """
    named = frozenset(host.lower() for host in allow_hosts)
    profile = _known(catalog) or _custom(catalog)
    if collection is not None:
        collection = collection if profile.name == CUSTOM else collection_id(collection)
        if profile.name != CUSTOM and collection not in profile.collections:
            known = ", ".join(profile.collections)
            msg = f"The catalog {profile.name!r} offers no collection {collection!r}. Choose one of: {known}."
            raise InputError(msg)
        profile = replace(profile, collections=(collection,))
    return replace(
        profile,
        hosts=profile.hosts | named,
        named_hosts=profile.named_hosts | named,
        asset_keys=_with_own_keys(profile.asset_keys, assets or {}),
    )


def collection_id(name: str) -> str:
    """Return the id of a collection as CMR-STAC gives it; searches accept its older form too.

    Args:
        name: ``EMITL2ARFL_001``, ``EMITL2ARFL.v001``, or any other id, which stays as it is.
    """
    return re.sub(r"\.v(\d{3})$", r"_\1", name)


def _known(catalog: str) -> Profile | None:
    """Return the profile with this name or address, with its default collection only."""
    for known in PROFILES.values():
        if catalog in (known.name, known.url, f"{known.url}/"):
            return known
    return None


def _custom(catalog: str) -> Profile:
    host = (urlsplit(catalog).hostname or "").lower() if "://" in catalog else ""
    if host in REFUSED:
        msg = f"The catalog {catalog!r} cannot be used: {REFUSED[host]}."
        raise InputError(msg)
    hosts = frozenset({host} if host else ())
    return Profile(name=CUSTOM, url=catalog, hosts=hosts, named_hosts=hosts)


def _with_own_keys(keys: Keys, own: Mapping[str, str]) -> Keys:
    """Put a user's asset keys in the place of ours."""
    known = {band for bands in SENSOR_BANDS.values() for band in bands}
    if unknown := sorted(set(own) - known):
        msg = f"Asset keys are given for {unknown}, which are no bands. Known: {', '.join(sorted(known))}."
        raise BandError(msg)
    return MappingProxyType({**keys, **{band: (key,) for band, key in own.items()}}) if own else keys
