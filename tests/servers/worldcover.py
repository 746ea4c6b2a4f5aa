"""Small tiles in the form of ESA WorldCover, behind a static catalog or as items of an API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from shapely.geometry import box, mapping

PIXEL = 1 / 12000
"""Edge of a pixel, degrees."""


def worldcover_tile(
    folder: Path, classes: np.ndarray, west: float, north: float, *, year: int = 2021, name: str = ""
) -> dict[str, Any]:
    """Write classes as a GeoTIFF and return its item, as stactools makes them, its reference relative."""
    version = {2020: "1.0.0", 2021: "2.0.0"}.get(year, f"{year}.0.0")
    name = name or f"ESA_WorldCover_10m_{year}_{west:.4f}_{north:.4f}"
    height, width = classes.shape
    write_raster(folder / f"{name}_Map.tif", classes, west, north, nodata=0)
    bounds = (west, north - height * PIXEL, west + width * PIXEL, north)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "collection": "esa-worldcover",
        "bbox": list(bounds),
        "geometry": mapping(box(*bounds)),
        "links": [],
        "properties": {
            "datetime": None,
            "start_datetime": f"{year}-01-01T00:00:00Z",
            "end_datetime": f"{year}-12-31T23:59:59Z",
            "esa_worldcover:product_version": version,
        },
        "assets": {
            "map": {"href": f"{name}_Map.tif", "type": "image/tiff; application=geotiff"},
            "input_quality": {"href": f"{name}_InputQuality.tif"},
        },
    }


def write_raster(
    path: Path, values: np.ndarray, west: float, north: float, *, nodata: float | None, **options: Any
) -> Path:
    """Write a raster on WorldCover's grid."""
    profile = {
        "driver": "GTiff",
        "height": values.shape[0],
        "width": values.shape[1],
        "count": 1,
        "dtype": values.dtype,
        "crs": "EPSG:4326",
        "transform": rasterio.Affine(PIXEL, 0, west, 0, -PIXEL, north),
        "nodata": nodata,
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        "compress": "deflate",
        **options,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)
    return path


def add_worldcover(catalog: Path, tiles: list[dict[str, Any]]) -> Path:
    """Add the collection to a static catalog in whose folder the tiles lie; returns the catalog."""
    parent = pystac.Catalog.from_file(str(catalog))
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180.0, -60.0, 180.0, 82.75]]), pystac.TemporalExtent([[None, None]])
    )
    collection = pystac.Collection("esa-worldcover", "land cover", extent, license="CC-BY-4.0")
    parent.add_child(collection)
    for tile in tiles:
        item = pystac.Item.from_dict(json.loads(json.dumps(tile)))
        for asset in item.assets.values():
            asset.href = str(catalog.parent / asset.href)
        collection.add_item(item)
    parent.normalize_hrefs(str(catalog.parent))
    parent.make_all_asset_hrefs_relative()
    parent.save(pystac.CatalogType.SELF_CONTAINED)
    return catalog
