"""Items saved with a run and read again: as GeoJSON, or as GeoParquet for many."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pystac
from pyarrow import parquet

from toolkit.catalog.items import NAMED_HOSTS
from toolkit.errors import InputError
from toolkit.storage import replacing, write_text

PARQUET = ".parquet"
NOTE = b"cropglobe"
"""Key of the file's metadata under which the search is told: catalog, items left out."""
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    pystac.STACError,
    pystac.STACTypeError,
)
"""What is raised for a file that is missing, cut short or something else."""
NEEDS_GEOPARQUET = (
    "Items in GeoParquet need the package stac-geoparquet (pip install 'cropglobe[geoparquet]'); "
    "or save them as .json."
)


def write_items(items: pystac.ItemCollection, path: str | Path) -> Path:
    """Save items as one GeoJSON feature collection, or as stac-geoparquet.

    Which hosts a user named is not saved: items from a file may not lead into a private network.

    Args:
        items: result of a search.
        path: file to write; ``.parquet`` makes GeoParquet. An existing one is replaced in one step.

    Raises:
        InputError: GeoParquet is asked for, but the package for it is not installed.
        StorageError: the file cannot be written.
    """
    path = Path(path)
    document = items.to_dict(transform_hrefs=False)
    for feature in document["features"]:  # their properties are those of the items: none is changed
        kept = {name: value for name, value in feature["properties"].items() if name != NAMED_HOSTS}
        feature["properties"] = kept
    if path.suffix == PARQUET:
        return _write_parquet(document, path)
    return write_text(json.dumps(document, indent=1, sort_keys=True), path)


def read_items(path: str | Path, *, allow_hosts: Iterable[str] = ()) -> pystac.ItemCollection:
    """Read items saved by :func:`write_items`.

    Args:
        path: GeoJSON or ``.parquet``.
        allow_hosts: hosts that may be read though they lie in a private network.

    Raises:
        InputError: the file is missing or is no item collection, or GeoParquet cannot be read here.
    """
    path = Path(path)
    try:
        document = _read_parquet(path) if path.suffix == PARQUET else json.loads(path.read_text("utf-8"))
        items = pystac.ItemCollection.from_dict(document, preserve_dict=False)
        named = sorted({host.lower() for host in allow_hosts})
        for item in items:
            item.properties.pop(NAMED_HOSTS, None)
            if named:
                item.properties[NAMED_HOSTS] = named
    except UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        msg = f"{str(path)!r} holds no saved items ({error}). Make it with 'cropglobe search --out DIR'."
        raise InputError(msg) from error
    return items


def _write_parquet(document: dict[str, Any], path: Path) -> Path:
    arrow = _geoparquet()
    table = arrow.parse_stac_items_to_arrow(document["features"]).read_all()
    extra = {name: value for name, value in document.items() if name not in ("type", "features")}
    with replacing(path) as temporary:
        arrow.to_parquet(table, str(temporary))
        written = parquet.read_table(temporary)
        note = {**(written.schema.metadata or {}), NOTE: json.dumps(extra).encode()}
        parquet.write_table(written.replace_schema_metadata(note), temporary)
    return path


def _read_parquet(path: Path) -> dict[str, Any]:
    arrow = _geoparquet()
    table = parquet.read_table(path)
    extra = json.loads((table.schema.metadata or {}).get(NOTE, b"{}"))
    return {"type": "FeatureCollection", "features": list(arrow.stac_table_to_items(table)), **extra}


def _geoparquet() -> Any:
    try:
        import stac_geoparquet.arrow
    except ImportError as error:
        raise InputError(NEEDS_GEOPARQUET) from error
    return stac_geoparquet.arrow
