"""The STAC item of a map: where, when, which files and classes, made from what."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pystac
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from toolkit.area.aoi import AOI
from toolkit.legend import Legend
from toolkit.maps.areas import ClassArea
from toolkit.maps.layers import Layer, categories
from toolkit.storage import write_text

SCHEMAS: Mapping[str, str] = {
    name: f"https://stac-extensions.github.io/{name}/v{version}/schema.json"
    for name, version in {
        "classification": "2.0.0",
        "file": "2.1.0",
        "mlm": "1.4.0",
        "processing": "1.1.0",
        "projection": "2.0.0",
    }.items()
}
"""Extension -> schema that items follow, beside STAC 1.1."""
EXTENSIONS = ("classification", "file", "processing", "projection")
"""Extensions of a map's item."""
ROLES: Mapping[str, str] = {"crop": "data", "confidence": "data", "status": "data-mask"}
"""Layer -> role of its asset; all others are metadata."""
MEDIA_TYPES: Mapping[str, str] = {
    ".csv": "text/csv",
    ".json": pystac.MediaType.JSON,
    ".qml": pystac.MediaType.XML,
    ".xml": pystac.MediaType.XML,
}
"""Suffix of a file beside the layers -> its media type."""
SHA256 = "1220"
"""Multihash prefix of a SHA-256 of 32 bytes (multiformats.io/multihash)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFacts:
    """What an item tells of a map beside its files."""

    aoi: AOI
    """Area of interest: the geometry of the item."""
    geobox: GeoBox
    """Grid of all layers."""
    first_day: date
    """First day of the season, or of the earliest of several sensors."""
    last_day: date
    """Last day of the season, or of the latest."""
    lineage: str
    """How the classes were made."""
    notice: str
    """Attribution that users must keep."""
    software: Mapping[str, str]
    """Package -> version."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Scene id -> address of its item (:func:`public_address`)."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """Further properties of the item."""


def map_item(
    layers: Mapping[Layer, Path],
    beside: Iterable[Path],
    facts: MapFacts,
    *,
    legend: Legend,
    areas: Iterable[ClassArea],
) -> pystac.Item:
    """Return the STAC item of a map; the same files and facts give the same item.

    Addresses are relative: the item lies in the folder of the map and moves with it.

    Args:
        layers: layer -> finished cloud-optimised GeoTIFF.
        beside: further finished files of the same folder (tables, styles).
        facts: place, time and origin.
        legend: classes of the map.
        areas: area of each class.
    """
    grid, name = facts.geobox, re.sub(r"[^0-9A-Za-z_-]+", "-", facts.aoi.name).strip("-") or "area"
    item = pystac.Item(
        id=f"crop-map_{name}_{facts.first_day:%Y%m%d}_{facts.last_day:%Y%m%d}",
        geometry=json.loads(shapely.to_geojson(shapely.orient_polygons(facts.aoi.geometry))),
        bbox=bounds_on_globe(facts.aoi.geometry),
        datetime=None,
        start_datetime=datetime.combine(facts.first_day, time(0, 0, 0), UTC),
        end_datetime=datetime.combine(facts.last_day, time(23, 59, 59), UTC),
        properties={
            "title": f"Crop types of {facts.aoi.name}, {facts.first_day} to {facts.last_day}",
            "description": facts.notice,
            "gsd": abs(grid.resolution.x),
            **_crs_fields(grid),
            "proj:shape": list(grid.shape.yx),
            "proj:transform": list(grid.affine)[:6],
            "processing:level": "L4",
            "processing:lineage": facts.lineage,
            "processing:software": dict(facts.software),
            **facts.properties,
        },
        stac_extensions=[SCHEMAS[name] for name in EXTENSIONS],
    )
    pixels = {area.name: area.pixels for area in areas}
    for layer, path in layers.items():
        item.add_asset(layer.name, _layer_asset(layer, path, legend, pixels))
    for path in sorted(beside):
        media_type = MEDIA_TYPES.get(path.suffix)
        item.add_asset(path.name, file_asset(path, media_type, ["metadata"]))
    for scene, address in sorted(facts.sources.items()):
        item.add_link(pystac.Link("derived_from", address, pystac.MediaType.GEOJSON, scene))
    return item


def write_item(item: pystac.Item, path: Path) -> Path:
    """Write an item as JSON, in one step.

    Raises:
        StorageError: the file cannot be written.
    """
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    return write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", path)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file as a multihash in hexadecimal digits."""
    with path.open("rb") as file:
        return SHA256 + hashlib.file_digest(file, "sha256").hexdigest()


def file_asset(
    path: Path,
    media_type: str | None,
    roles: list[str],
    *,
    title: str | None = None,
    fields: Mapping[str, Any] = MappingProxyType({}),
) -> pystac.Asset:
    """Return the asset of a file in the item's own folder, with size and checksum.

    Args:
        path: finished file.
        media_type: what it is, or None.
        roles: what it is for.
        title: for people, or None.
        fields: further fields.
    """
    told = {**fields, "file:size": path.stat().st_size, "file:checksum": checksum(path)}
    return pystac.Asset(f"./{path.name}", title, media_type=media_type, roles=roles, extra_fields=told)


def class_entry(value: int, name: str, color: tuple[int, int, int]) -> dict[str, Any]:
    """Return a class as the classification extension wants it, with a name for machines.

    Args:
        value: what stands for it.
        name: class name for people.
        color: red, green, blue, each 0 to 255.
    """
    word = re.sub(r"[^0-9A-Za-z_-]+", "_", name).strip("_") or f"class_{value}"
    return {"value": value, "name": word, "color_hint": "{:02X}{:02X}{:02X}".format(*color)}


def public_address(item: pystac.Item) -> str | None:
    """Return the web address of a source item without query, fragment and user; None if it has none.

    What is left out may hold signatures and passwords; paths on this machine help nobody else.
    """
    parts = urlsplit(item.get_self_href() or "")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def bounds_on_globe(geometry: BaseGeometry) -> list[float]:
    """Return west, south, east, north in degrees; west > east if an area crosses 180 degrees.

    Source: RFC 7946, section 5.2; such areas are cut there in two (section 3.1.9).
    """
    west, south, east, north = geometry.bounds
    parts = [part.bounds for part in getattr(geometry, "geoms", [geometry])]
    if west == -180 and east == 180 and not any(part[0] == -180 and part[2] == 180 for part in parts):
        west = min(part[0] for part in parts if part[2] > 0)
        east = max(part[2] for part in parts if part[0] < 0)
    return [west, south, east, north]


def _crs_fields(grid: GeoBox) -> dict[str, Any]:
    """``proj:code`` of a CRS of the EPSG register, else its text; both null-safe in projection 2.0."""
    crs = grid.crs
    if crs is None or crs.epsg is None:
        return {"proj:code": None, "proj:wkt2": None if crs is None else crs.to_wkt()}
    return {"proj:code": f"EPSG:{crs.epsg}"}


def _layer_asset(layer: Layer, path: Path, legend: Legend, pixels: Mapping[str, int]) -> pystac.Asset:
    fields: dict[str, Any] = {"data_type": "uint8"}
    if layer.nodata is not None:
        fields["nodata"] = layer.nodata
    if classes := _classes(layer, legend, pixels):
        fields["classification:classes"] = classes
    roles = [ROLES.get(layer.name, "metadata")]
    return file_asset(path, pystac.MediaType.COG, roles, title=layer.title, fields=fields)


def _classes(layer: Layer, legend: Legend, pixels: Mapping[str, int]) -> list[dict[str, Any]]:
    """Classes of a layer, no data among them."""
    named = categories(layer, legend)
    if not named:
        return []
    classes: list[dict[str, Any]] = []
    if layer.nodata is not None:
        classes.append({"value": layer.nodata, "name": "nodata", "title": "no data", "nodata": True})
    for value, (name, color) in sorted(named.items()):
        entry = {**class_entry(value, name, color), "title": name}
        classes.append(entry | ({"count": pixels[name]} if layer.name == "crop" else {}))
    return classes
