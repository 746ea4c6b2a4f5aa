"""Small scenes with known pixels, real files and a static catalog, for all tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import shapely
from hypothesis import settings
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox

# Compiling a kernel takes longer than any deadline; the same examples every run keep CI steady.
settings.register_profile("cropglobe", deadline=None, derandomize=True)
settings.load_profile("cropglobe")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

ASSETS = {
    "B02": ("blue", 10),
    "B03": ("green", 10),
    "B04": ("red", 10),
    "B05": ("rededge1", 20),
    "B06": ("rededge2", 20),
    "B07": ("rededge3", 20),
    "B08": ("nir", 10),
    "B8A": ("nir08", 20),
    "B11": ("swir16", 20),
    "B12": ("swir22", 20),
    "SCL": ("scl", 20),
}
GEOBOX = GeoBox.from_bbox(BoundingBox(600000, 5600000, 600320, 5600320, crs="EPSG:32631"), resolution=10)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real scenes, labels and catalog responses."""
    if not SHARED.is_dir():
        pytest.skip(f"real data are not here: no folder {SHARED}")
    return SHARED


@pytest.fixture
def geobox() -> GeoBox:
    """32 x 32 pixels of 10 m in UTM 31 north."""
    return GEOBOX


def footprint(geobox: GeoBox) -> dict[str, Any]:
    return shapely.geometry.mapping(geobox.geographic_extent.geom)


def make_scene(
    folder: Path,
    item_id: str,
    when: datetime,
    *,
    geobox: GeoBox = GEOBOX,
    value: float | dict[str, Any] = 1000,
    scl: Any = 4,
    properties: dict[str, Any] | None = None,
    block: int | None = None,
) -> pystac.Item:
    """Write one scene as GeoTIFFs and return its item, in the layout of Earth Search.

    ``value`` is a digital number for all bands, or one (number or 10 m array) by band; ``block`` is the
    edge of the files' internal tiles (strips if None).
    """
    item = pystac.Item(
        item_id,
        footprint(geobox),
        list(geobox.geographic_extent.boundingbox.bbox),
        when,
        {
            "proj:epsg": geobox.crs.epsg,
            "s2:processing_baseline": "05.11",
            "platform": "sentinel-2a",
            "earthsearch:boa_offset_applied": True,
            "eo:cloud_cover": 10.0,
            **(properties or {}),
        },
    )
    for band, (key, gsd) in ASSETS.items():
        number = scl if band == "SCL" else (value[band] if isinstance(value, dict) else value)
        grid = geobox if gsd == 10 else geobox.zoom_out(2)
        pixels = np.broadcast_to(np.asarray(number), geobox.shape.yx)
        pixels = pixels if gsd == 10 else pixels[::2, ::2]
        path = folder / "pixels" / item_id / f"{band}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        dtype = "uint8" if band == "SCL" else "uint16"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=1,
            dtype=dtype,
            nodata=0,
            crs=str(grid.crs),
            height=grid.shape.y,
            width=grid.shape.x,
            transform=grid.affine,
            **({} if block is None else {"tiled": True, "blockxsize": block, "blockysize": block}),
            compress="deflate",
        ) as file:
            file.write(pixels.astype(dtype), 1)
        raster = {"nodata": 0, "data_type": dtype, "scale": 0.0001, "offset": -0.1}
        item.add_asset(
            key,
            pystac.Asset(
                str(path),
                extra_fields={
                    "proj:shape": list(grid.shape.yx),
                    "proj:transform": list(grid.affine)[:6],
                    "gsd": gsd,
                    "raster:bands": [raster] if band != "SCL" else [{"nodata": 0, "data_type": dtype}],
                },
            ),
        )
    return item


def write_catalog(folder: Path, items: list[pystac.Item]) -> Path:
    """Save items behind a static catalog and return the path of catalog.json."""
    catalog = pystac.Catalog("test", "Scenes with known pixels")
    catalog.add_items(items)
    catalog.normalize_hrefs(str(folder))
    catalog.make_all_asset_hrefs_relative()
    catalog.save(pystac.CatalogType.SELF_CONTAINED)
    return folder / "catalog.json"


def normalised(items: list[pystac.Item], folder: Path) -> list[pystac.Item]:
    """Items as a search gives them."""
    from toolkit.catalog.guard import Guard
    from toolkit.catalog.items import band_keys, normalise
    from toolkit.catalog.profiles import resolve_profile

    profile = resolve_profile(str(folder / "catalog.json"))
    guard = Guard(profile.url)
    return [normalise(item, band_keys(item, profile.asset_keys), profile, guard) for item in items]


@pytest.fixture
def scene(tmp_path: Path) -> Callable[..., pystac.Item]:
    """Make normalised items: ``scene(id, datetime, value=..., scl=..., properties=...)``."""

    def make(item_id: str, when: datetime, **options: Any) -> pystac.Item:
        return normalised([make_scene(tmp_path, item_id, when, **options)], tmp_path)[0]

    return make
