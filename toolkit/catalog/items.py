"""Items in one layout: canonical band names, checked references, saved with the run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pystac
import shapely

from toolkit.catalog.guard import Guard
from toolkit.catalog.profiles import ASSET_KEYS
from toolkit.errors import InputError
from toolkit.storage import write_text

SIMULATED = "cropglobe:simulated"
"""Item property that marks simulated scenes."""
RASTER_EXTENSION = "https://stac-extensions.github.io/raster/"
KEPT_ASSET_FIELDS = (
    *("proj:epsg", "proj:code", "proj:shape", "proj:transform", "gsd"),
    *("raster:bands", "raster:scale", "raster:offset", "nodata", "data_type"),
    *("file:checksum", "file:size"),
)
"""Fields of an asset that loading, radiometry or checks need."""


def band_keys(item: pystac.Item, sensor: str) -> dict[str, str]:
    """Return band -> asset key for the bands of a sensor that an item offers."""
    return {
        band: key
        for band, keys in ASSET_KEYS[sensor].items()
        if (key := next((key for key in keys if key in item.assets), None))
    }


def normalise(item: pystac.Item, keys: Mapping[str, str], guard: Guard) -> pystac.Item:
    """Return a copy of an item that holds just the bands asked for, under their own names.

    Args:
        item: item of a catalog, asset references absolute.
        keys: band name -> asset key, from :func:`band_keys`.
        guard: decides which references may be read.

    Raises:
        UnsafeReferenceError: an asset's reference is not allowed.
    """
    copy = pystac.Item(
        id=item.id,
        geometry=item.geometry,
        bbox=item.bbox,
        datetime=item.datetime,
        properties=dict(item.properties),
        collection=item.collection_id,
    )
    for band, key in keys.items():
        asset = item.assets[key]
        extra = {name: asset.extra_fields[name] for name in KEPT_ASSET_FIELDS if name in asset.extra_fields}
        # odc-stac reads data type and nodata from here; some catalogs give neither.
        raster = dict((extra.get("raster:bands") or [{}])[0])
        raster.setdefault("nodata", 0)
        raster.setdefault("data_type", "uint8" if band == "SCL" else "uint16")
        extra["raster:bands"] = [raster]
        href = guard.check(asset.href)
        copy.add_asset(
            band,
            pystac.Asset(href, media_type=asset.media_type, roles=["data"], extra_fields=extra),
        )
    copy.stac_extensions = [text for text in item.stac_extensions if not text.startswith(RASTER_EXTENSION)]
    copy.stac_extensions.append(f"{RASTER_EXTENSION}v1.1.0/schema.json")
    return copy


def datatake(item: pystac.Item) -> str | None:
    """Return the datatake of an item without its processing baseline, or None if it tells none.

    The baseline stands at the end (``..._N05.00``): an acquisition processed twice is one datatake.
    """
    name = item.properties.get("s2:datatake_id", item.properties.get("eopf:datatake_id"))
    return None if name is None else re.sub(r"_N\d\d\.\d\d$", "", str(name))


def older_twins(items: Iterable[pystac.Item]) -> set[str]:
    """Return the ids of items whose datatake and tile exist in a newer processing baseline.

    Halves of a split granule have the same baseline; both stay.
    """
    newest: dict[tuple[str, str], str] = {}
    facts = []
    for item in items:
        properties = item.properties
        tile = properties.get("grid:code", properties.get("s2:mgrs_tile"))
        take = datatake(item)
        baseline = properties.get("s2:processing_baseline", properties.get("processing:version"))
        if take is None or tile is None or baseline is None:
            continue
        key, version = (take, str(tile)), str(baseline)  # "05.00" > "02.14": the field has a fixed width
        newest[key] = max(newest.get(key, version), version)
        facts.append((item.id, key, version))
    return {name for name, key, version in facts if version < newest[key]}


def is_simulated(item: pystac.Item) -> bool:
    """Whether an item says that its pixels are simulated."""
    return bool(item.properties.get(SIMULATED, False))


def intersects(item: pystac.Item, shape: shapely.Geometry) -> bool:
    """Whether an item's footprint meets a shape (both in degrees)."""
    if item.geometry is not None:
        footprint = shapely.from_geojson(json.dumps(item.geometry))
    elif item.bbox is not None:
        footprint = shapely.box(item.bbox[0], item.bbox[1], item.bbox[-2], item.bbox[-1])
    else:
        return False
    return bool(shapely.intersects(shapely.make_valid(footprint), shape))


def write_items(items: pystac.ItemCollection, path: str | Path) -> Path:
    """Save items as one GeoJSON feature collection.

    Args:
        items: result of a search.
        path: file to write; an existing one is replaced in one step.

    Raises:
        StorageError: the file cannot be written.
    """
    document = items.to_dict(transform_hrefs=False)
    return write_text(json.dumps(document, indent=1, sort_keys=True), Path(path))


def read_items(path: str | Path) -> pystac.ItemCollection:
    """Read items saved by :func:`write_items`.

    Raises:
        InputError: the file is missing or is no item collection.
    """
    try:
        document: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return pystac.ItemCollection.from_dict(document, preserve_dict=False)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        pystac.STACError,
        pystac.STACTypeError,
    ) as error:
        msg = f"{str(path)!r} holds no saved items ({error}). Make it with 'cropglobe search --out DIR'."
        raise InputError(msg) from error


def attribution(items: pystac.ItemCollection) -> str:
    """Return the notice that users of the map must keep."""
    if all(is_simulated(item) for item in items):
        return "Simulated scenes made by cropglobe; contains no Copernicus data"
    years = sorted({item.datetime.year for item in items if item.datetime})
    span = str(years[0]) if len(years) == 1 else f"{years[0]}-{years[-1]}"
    return f"Contains modified Copernicus Sentinel data {span}"
