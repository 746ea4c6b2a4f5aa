"""Layers of crop labels as a table: which catalog offers them, and how they are told.

Facts of the USDA Cropland Data Layer at Planetary Computer: its items were made by
stactools-packages/usda-cdl@1fc00b8 (collection usda-cdl, ``usda_cdl:type`` cropland, cultivated or frequency,
asset ``cropland``, an item per tile and year, ``datetime`` null, EPSG:5070, 30 m). Public code that reads the
live catalog has the assets in the container usda-cdl of the account landcoverdata, the last year being 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLayer:
    """One layer of labels, a raster a year."""

    name: str
    """Name for the command line."""
    catalog: str
    """Catalog that is known to have it."""
    title: str
    """For messages."""
    collection: str
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
            title="the USDA Cropland Data Layer",
            collection="usda-cdl",
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
