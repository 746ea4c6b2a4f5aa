"""Scenes as cloud-optimised GeoTIFFs: a landscape with a season, so that files compress as real ones do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pystac
import rasterio
import rasterio.shutil
import shapely
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from scipy import ndimage

BLOCK = 512
FIRST = datetime(2021, 1, 3, 10, 50, tzinfo=UTC)
COARSE = ("B05", "B06", "B07", "B8A", "B11", "B12")
BANDS = ("B02", "B03", "B04", *COARSE[:3], "B08", *COARSE[3:])


def area(side: int) -> GeoBox:
    """A square of 10 m pixels whose corner is that of a granule."""
    box = BoundingBox(600000, 5600000 - 10 * side, 600000 + 10 * side, 5600000, crs="EPSG:32631")
    return GeoBox.from_bbox(box, resolution=10)


def write_scenes(folder: Path, *, dates: int, side: int) -> list[pystac.Item]:
    """Write the ten bands and the quality layer of some dates, all clear, and return their items."""
    rng = np.random.default_rng(0)
    geobox = area(side)
    fields = ndimage.zoom(rng.integers(300, 4000, (side // 16, side // 16)), 16, order=0)
    texture = rng.normal(0, 60, (side, side))
    items = []
    for k in range(dates):
        when = FIRST + timedelta(days=5 * k)
        season = 1 + 0.5 * np.sin(2 * np.pi * k / 73)
        item = pystac.Item(
            f"d{k:03d}",
            shapely.geometry.mapping(geobox.geographic_extent.geom),
            list(geobox.geographic_extent.boundingbox.bbox),
            when,
            {"proj:epsg": geobox.crs.epsg, "s2:processing_baseline": "02.14", "platform": "sentinel-2a"},
        )
        noisy = np.clip(fields * season + np.roll(texture, 37 * k), 1, 10_000).astype(np.uint16)
        for band in BANDS:
            shade = noisy[::2, ::2] if band in COARSE else noisy
            _add(item, folder, band, shade + np.uint16(len(band) + k), geobox)
        _add(item, folder, "SCL", np.full((side // 2, side // 2), 4, np.uint8), geobox)
        items.append(item)
    return items


def _add(item: pystac.Item, folder: Path, band: str, pixels: np.ndarray, geobox: GeoBox) -> None:
    path = folder / f"{item.id}_{band}.tif"
    factor = geobox.shape.y // pixels.shape[0]
    grid = geobox.zoom_out(factor) if factor > 1 else geobox
    profile = {"dtype": pixels.dtype, "count": 1, "nodata": 0, "crs": str(grid.crs), "transform": grid.affine}
    size = {"height": pixels.shape[0], "width": pixels.shape[1]}
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", **profile, **size) as file:
            file.write(pixels, 1)
        with memory.open() as file:
            rasterio.shutil.copy(
                file, path, driver="COG", compress="DEFLATE", predictor=2, blocksize=BLOCK, overviews="NONE"
            )
    raster = {"nodata": 0, "data_type": str(pixels.dtype)}
    fields = {
        "proj:shape": list(grid.shape.yx),
        "proj:transform": list(grid.affine)[:6],
        "raster:bands": [raster],
    }
    item.add_asset(band, pystac.Asset(str(path), extra_fields=fields))
