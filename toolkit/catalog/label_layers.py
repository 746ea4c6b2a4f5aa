"""Layers of crop labels that a catalog offers: which, and the files of a year over an area.

Facts of the USDA Cropland Data Layer at Planetary Computer: its items were made by
stactools-packages/usda-cdl@1fc00b8 (collection usda-cdl, ``usda_cdl:type`` cropland, cultivated or frequency,
asset ``cropland``, an item per tile and year, ``datetime`` null, EPSG:5070, 30 m). Public code that reads the
live catalog has the assets in the container usda-cdl of the account landcoverdata, the last year being 2021.
"""

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
from toolkit.catalog.profiles import CUSTOM, resolve_profile
from toolkit.errors import NoItemsError


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLayer:
    """One layer of labels, a raster a year."""

    name: str
    """Name for the command line."""
    catalog: str
    """Catalog that is known to have it."""
    product: Product
    """Its collection."""
    kind: tuple[str, str]
    """Property of items and its value, where a collection holds other products too."""
    asset: str
    """Asset with the codes."""
    hosts: frozenset[str]
    """Hosts of its files, beside those of the catalog."""
    scheme: str
    """Scheme of its codes."""
    pixel_m: float
    """Edge of a pixel, m."""
    years: str
    """Years that the catalog has, for messages."""


LABEL_LAYERS: Mapping[str, LabelLayer] = MappingProxyType(
    {
        "usda-cdl": LabelLayer(
            name="usda-cdl",
            catalog="planetary-computer",
            product=Product(
                name="the USDA Cropland Data Layer",
                pattern=re.compile("usda-cdl"),
                collections=("usda-cdl",),
            ),
            kind=("usda_cdl:type", "cropland"),
            asset="cropland",
            hosts=frozenset({"landcoverdata.blob.core.windows.net"}),
            scheme="usda-cdl",
            pixel_m=30.0,
            years="2008 to 2021",
        ),
    }
)
"""Layers known by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFiles:
    """Files of a layer over an area."""

    files: Mapping[str, str]
    """Item -> reference of its raster, in the order of the items' ids."""
    access: Access
    """How they are read."""


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
    profile = resolve_profile(catalog or layer.catalog, allow_hosts=allow_hosts)
    if profile.name != CUSTOM:
        profile = replace(profile, collections=layer.product.collections, hosts=profile.hosts | layer.hosts)
    guard = guard_of(profile)
    whole_year = season(year, hemisphere="north", first_step=0, n_steps=73)
    files: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    for item in candidates(profile, guard, layer.product, aoi, whole_year):
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
