"""EMIT granules: told by file names, one per acquisition, one version, with their masks.

Facts: product guides and code of emit-sds (emit-main, emit-sds-l2a, emit-sds-masks) and of nasa/cmr-stac; see
``docs/catalogs.md``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

import pystac
import shapely

from toolkit.area.aoi import AOI
from toolkit.catalog.api_search import Product
from toolkit.catalog.filters import OLDER_TWIN, OTHER_VERSION
from toolkit.catalog.guard import Guard
from toolkit.catalog.items import PRODUCT_VERSION, checked_asset
from toolkit.errors import InputError, NoItemsError

EMIT = "emit"
"""Name of the sensor."""
REFLECTANCE = "reflectance"
"""Asset with the spectra."""
MASK = "mask"
"""Asset with what tells clear sky, if the item has one."""
MASK_VERSION = "emit:mask_version"
"""Item property: version of the mask, if there is one."""
ACQUIRED = "emit:acquired"
"""Item property: the acquisition, by the time in its file names (20220903T163129)."""

REACH_DEGREES = 52.0
"""Latitude up to which EMIT sees: the station's orbit is inclined by 51.6 degrees, the swath 75 km wide."""

FILE_NAME = re.compile(r"EMIT_L2A_(RFL|RFLUNCERT|MASK)_(\d{3})_(\d{8}T\d{6})(?:_(\d{7})_(\d{3}))?\.nc")
"""Name of a file of EMIT's level 2A; version 002 tells neither orbit nor scene."""

MASK_VERSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"001": ("001", "002"), "002": ("003", "002")}
)
"""Version of the reflectance -> versions of masks made for it, its own first."""

SPECTRA = Product(
    name="EMIT reflectance",
    pattern=re.compile(r"EMITL2ARFL[_.]v?\d{3}"),
    collections=("EMITL2ARFL_002", "EMITL2ARFL_001"),
    as_box=True,
    in_folders=True,
)
"""Reflectance; collections of older deployments are called ``EMITL2ARFL.v001``."""
MASKS = Product(
    name="EMIT masks",
    pattern=re.compile(r"EMITL2AMASK[_.]v?\d{3}"),
    collections=("EMITL2AMASK_003", "EMITL2AMASK_002"),
    as_box=True,
    optional=True,
)
"""Masks apart from reflectance; those of version 001 lie in the granule of their reflectance."""


@dataclass(frozen=True, slots=True)
class GranuleFile:
    """What the name of a granule's file tells."""

    kind: str
    """RFL (reflectance), RFLUNCERT (its uncertainty) or MASK."""
    version: str
    """Version of the product, three digits."""
    acquired: str
    """When the instrument began, UTC, as YYYYMMDDThhmmss."""
    orbit: str | None = None
    """Year, day of year and orbit of the day; not in version 002."""
    scene: str | None = None
    """Number in the orbit; not in version 002."""


def granule_file(reference: str) -> GranuleFile | None:
    """Return what a reference's file name tells; None if it is no file of EMIT's level 2A.

    Args:
        reference: URL or path.
    """
    path = urlsplit(reference).path if "://" in reference else reference
    found = FILE_NAME.fullmatch(path.rpartition("/")[2])
    return None if found is None else GranuleFile(*found.groups())


def mask_for(version: str, acquired: str, files: Iterable[GranuleFile]) -> GranuleFile | None:
    """Return the mask of a reflectance granule among files, its own version first; None if there is none.

    Args:
        version: version of the reflectance.
        acquired: its acquisition.
        files: files of any kind and acquisition.
    """
    versions = MASK_VERSIONS.get(version, ())
    fitting = [f for f in files if f.kind == "MASK" and f.acquired == acquired and f.version in versions]
    return min(fitting, key=lambda file: versions.index(file.version), default=None)


def granule_keys(item: pystac.Item) -> dict[str, str]:
    """Return ``reflectance`` and ``mask`` -> asset key, as far as an item offers them.

    Catalogs make the keys of file names, with slashes, and offer every file twice: only files on the web or
    on disk count, not those in S3, which is open to one region. A mask counts if it belongs to the
    reflectance; of an item without reflectance any does.

    Args:
        item: item of a catalog.
    """
    files: dict[GranuleFile, str] = {}
    for key, file in _files(item).items():
        files.setdefault(file, key)
    spectra = max((f for f in files if f.kind == "RFL"), key=lambda file: file.version, default=None)
    if spectra is None:
        masks = [key for file, key in files.items() if file.kind == "MASK"]
        return {MASK: masks[0]} if masks else {}
    mask = mask_for(spectra.version, spectra.acquired, files)
    return {REFLECTANCE: files[spectra]} | ({MASK: files[mask]} if mask else {})


def granule_properties(item: pystac.Item, keys: Mapping[str, str]) -> dict[str, str]:
    """Return acquisition and versions of an item, as properties.

    Args:
        item: item of a catalog.
        keys: from :func:`granule_keys`; with ``reflectance``.
    """
    files = _files(item)
    spectra = files[keys[REFLECTANCE]]
    told = {ACQUIRED: spectra.acquired, PRODUCT_VERSION: spectra.version}
    return told | ({MASK_VERSION: files[keys[MASK]].version} if MASK in keys else {})


def check_reach(aoi: AOI) -> None:
    """Refuse an area that EMIT never sees.

    Args:
        aoi: area.

    Raises:
        NoItemsError: the area lies wholly beyond the orbit's reach.
    """
    if shapely.intersects(aoi.geometry, shapely.box(-180, -REACH_DEGREES, 180, REACH_DEGREES)):
        return
    _, south, _, north = aoi.bounds
    msg = (
        f"The area lies at latitude {south:.4f} to {north:.4f}, where EMIT never looks: the space station's "
        f"orbit limits it to -{REACH_DEGREES:g} to {REACH_DEGREES:g} degrees. Choose an area nearer to the "
        "equator, or sentinel-2; check that longitude and latitude are not swapped."
    )
    raise NoItemsError(msg)


def check_no_own_keys(assets: Mapping[str, str] | None) -> None:
    """Refuse asset keys of a user's own: files of EMIT are told by their names.

    Raises:
        InputError: keys are given.
    """
    if assets:
        msg = (
            f"Asset keys are given ({', '.join(assets)}), but files of EMIT are told by their names "
            "(EMIT_L2A_RFL_..., EMIT_L2A_MASK_...). Leave --assets away."
        )
        raise InputError(msg)


def left_out(items: Iterable[pystac.Item], *, mix_versions: bool) -> dict[str, str]:
    """Return id -> reason for the items that give way to others.

    The newest version of an acquisition wins. Spectra of two versions differ (another model of the
    atmosphere), so that unless mixing is allowed just one version stays: that with more acquisitions, the
    newer if equal. What it holds stays, also where the other version has a newer twin.

    Args:
        items: items with the properties of :func:`granule_properties`.
        mix_versions: keep several versions.
    """
    newest_first = sorted(items, key=lambda item: (item.properties[PRODUCT_VERSION], item.id), reverse=True)
    acquisitions: dict[str, set[str]] = defaultdict(set)
    for item in newest_first:
        acquisitions[item.properties[PRODUCT_VERSION]].add(item.properties[ACQUIRED])
    most = max(acquisitions, key=lambda version: (len(acquisitions[version]), version), default="")
    allowed = set(acquisitions) if mix_versions else {most}
    kept: dict[str, str] = {}
    reasons: dict[str, str] = {}
    rest = []
    for item in newest_first:
        version, acquired = item.properties[PRODUCT_VERSION], item.properties[ACQUIRED]
        if version in allowed and acquired not in kept:
            kept[acquired] = version
        else:
            rest.append(item)
    for item in rest:
        newer = kept.get(item.properties[ACQUIRED], "") >= item.properties[PRODUCT_VERSION]
        reasons[item.id] = OLDER_TWIN if newer else OTHER_VERSION
    return reasons


def without_mask(items: Iterable[pystac.Item]) -> list[str]:
    """Return the ids of items that have no mask."""
    return [item.id for item in items if MASK not in item.assets]


def attach_masks(items: Iterable[pystac.Item], candidates: Iterable[pystac.Item | str], guard: Guard) -> None:
    """Give items without a mask the one of their acquisition, as asset ``mask``; each keeps one of its own.

    Args:
        items: items with the properties of :func:`granule_properties`.
        candidates: items that may hold masks; mere names are passed over.
        guard: decides which references may be read.

    Raises:
        UnsafeReferenceError: the reference of a mask that would be taken is not allowed.
    """
    masks: dict[GranuleFile, pystac.Asset] = {}
    for candidate in candidates:
        if isinstance(candidate, pystac.Item):
            for key, file in _files(candidate).items():
                masks.setdefault(file, candidate.assets[key])
    for item in items:
        if MASK in item.assets:
            continue
        found = mask_for(item.properties[PRODUCT_VERSION], item.properties[ACQUIRED], masks)
        if found is not None:
            item.add_asset(MASK, checked_asset(masks[found], MASK, guard))
            item.properties[MASK_VERSION] = found.version


def _files(item: pystac.Item) -> dict[str, GranuleFile]:
    """Return asset key -> what the file's name tells, for files that can be read from anywhere."""
    return {
        key: file
        for key, asset in item.assets.items()
        if urlsplit(asset.href).scheme != "s3" and (file := granule_file(asset.href))
    }
