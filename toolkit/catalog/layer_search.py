"""Search for a layer of crop labels: the files of a year over an area."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import pystac

from toolkit.area.aoi import AOI
from toolkit.area.season import season
from toolkit.catalog.access import Access, guard_of
from toolkit.catalog.api_search import Product
from toolkit.catalog.candidates import candidates
from toolkit.catalog.filters import (
    ASSET_MISSING,
    DUPLICATE,
    INVALID,
    OUTSIDE_AREA,
    OUTSIDE_SEASON,
    unfit,
)
from toolkit.catalog.layers import LabelLayer
from toolkit.catalog.profiles import CUSTOM, Profile, resolve_profile
from toolkit.errors import NoItemsError


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFiles:
    """Files of a layer over an area."""

    files: Mapping[str, str]
    """Item -> reference of its raster, in the order of the items' ids."""
    access: Access
    """How they are read."""


def layer_profile(
    layer: LabelLayer, *, catalog: str | None = None, allow_hosts: tuple[str, ...] = ()
) -> Profile:
    """Return the profile of the catalog that a layer is read from, for the layer instead of scenes.

    Args:
        layer: layer.
        catalog: name, URL or path; default the one that is known to have it.
        allow_hosts: further hosts that may be read.
    """
    profile = resolve_profile(catalog or layer.catalog, allow_hosts=allow_hosts)
    if profile.name == CUSTOM:
        return profile
    return replace(profile, collections=(layer.collection,), hosts=profile.hosts | layer.hosts)


def search_layer(
    layer: LabelLayer,
    aoi: AOI,
    year: int,
    *,
    catalog: str | None = None,
    allow_hosts: tuple[str, ...] = (),
) -> LayerFiles:
    """Search the files of a layer.

    Args:
        layer: layer.
        aoi: area that they must touch.
        year: calendar year of the labels.
        catalog: catalog to search; default the one that is known to have it.
        allow_hosts: further hosts that may be read.

    Raises:
        NoItemsError: the catalog has none of that year over the area.
        RemoteError: the catalog cannot be read.
        UnsafeReferenceError: the catalog refers to something that must not be read.
    """
    profile = layer_profile(layer, catalog=catalog, allow_hosts=allow_hosts)
    guard = guard_of(profile)
    product = Product(
        name=layer.title,
        pattern=re.compile(re.escape(layer.collection)),
        collections=(layer.collection,),
    )
    whole_year = season(year, hemisphere="north", first_step=0, n_steps=73)
    files: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    for item in candidates(profile, guard, product, aoi, whole_year):
        if isinstance(item, str):
            skipped[INVALID] += 1
            continue
        offers = [layer.asset] if _is_of(layer, item) else []
        wanted = frozenset({layer.asset})
        reason = unfit(item, aoi, whole_year, offers=offers, wanted=wanted, collections=frozenset())
        if reason is None and item.id in files:
            reason = DUPLICATE
        if reason is None:
            files[item.id] = guard.check(item.assets[layer.asset].href)
        else:
            skipped[reason] += 1
    if not files:
        raise NoItemsError(_nothing(layer, profile.url, aoi, year, skipped))
    access = Access(guard, profile.signing, profile.drivers, profile.connections)
    return LayerFiles(files=MappingProxyType(dict(sorted(files.items()))), access=access)


def _is_of(layer: LabelLayer, item: pystac.Item) -> bool:
    """Whether an item is of the layer, and not of another product of its collection."""
    name, value = layer.kind
    return layer.asset in item.assets and item.properties.get(name, value) == value


def _nothing(layer: LabelLayer, url: str, aoi: AOI, year: int, skipped: Counter[str]) -> str:
    west, south, east, north = aoi.bounds
    removed = ", ".join(f"{n} {reason}" for reason, n in skipped.most_common()) or "the catalog gave no item"
    advice = f"Planetary Computer has the years {layer.years}."
    if set(skipped) & {OUTSIDE_AREA, OUTSIDE_SEASON, ASSET_MISSING}:
        advice += " Check area and year."
    return (
        f"No labels of {layer.name} in {url!r} for {year}, longitude {west:.4f} to {east:.4f}, latitude "
        f"{south:.4f} to {north:.4f}: {removed}. {advice} For others give a GeoTIFF as labels, with "
        f"labels_scheme {layer.scheme}."
    )
