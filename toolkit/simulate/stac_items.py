"""STAC items of simulated scenes, in the layout of Earth Search v1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from shapely.geometry import mapping

from toolkit.catalog.items import SIMULATED
from toolkit.errors import InputError
from toolkit.simulate.sentinel2 import BANDS_10M, Scene

ASSET_TITLES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "B02": ("blue", "Blue (band 2) - 10m"),
        "B03": ("green", "Green (band 3) - 10m"),
        "B04": ("red", "Red (band 4) - 10m"),
        "B05": ("rededge1", "Red edge 1 (band 5) - 20m"),
        "B06": ("rededge2", "Red edge 2 (band 6) - 20m"),
        "B07": ("rededge3", "Red edge 3 (band 7) - 20m"),
        "B08": ("nir", "NIR 1 (band 8) - 10m"),
        "B8A": ("nir08", "NIR 2 (band 8A) - 20m"),
        "B11": ("swir16", "SWIR 1 (band 11) - 20m"),
        "B12": ("swir22", "SWIR 2 (band 12) - 20m"),
        "SCL": ("scl", "Scene classification map (SCL)"),
    }
)
"""Band -> asset key and title of Earth Search v1."""

EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "eo/v1.1.0",
        "mgrs/v1.0.0",
        "grid/v1.0.0",
        "raster/v1.1.0",
        "view/v1.0.0",
        "projection/v1.1.0",
    )
)
CREATED = "2024-01-01T00:00:00Z"
"""Fixed, so that the same request gives the same bytes."""
CLOUD_CLASSES = (8, 9, 10)
OFFSET_SINCE = (4, 0)
"""Baseline since which ESA adds 1000 to the digital numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiometry:
    """How reflectance becomes digital numbers, and what the items say of it."""

    baseline: str = "05.11"
    """Processing baseline, such as ``05.11``."""
    applied: bool = True
    """Whether the catalog took ESA's offset away again; its items list -0.1 all the same."""

    def __post_init__(self) -> None:
        """Refuse what is no baseline."""
        try:
            major, minor = (int(part) for part in self.baseline.split("."))
        except ValueError as error:
            msg = f"Baseline is {self.baseline!r}; allowed: two numbers such as '05.11'."
            raise InputError(msg) from error
        if major < 0 or minor < 0:
            msg = f"Baseline is {self.baseline!r}; allowed: two numbers such as '05.11'."
            raise InputError(msg)

    @property
    def has_offset(self) -> bool:
        """Whether ESA added an offset."""
        major, minor = (int(part) for part in self.baseline.split("."))
        return (major, minor) >= OFFSET_SINCE

    @property
    def added(self) -> int:
        """Digital numbers that the files hold above reflectance times 10000."""
        return 1000 if self.has_offset and not self.applied else 0

    @property
    def listed(self) -> float:
        """Offset that the items list."""
        return -0.1 if self.has_offset else 0.0


def mgrs_tile(geobox: GeoBox) -> tuple[int, str, str]:
    """Return UTM zone, latitude band and 100 km square of a grid's north-west corner (NGA.STND.0037)."""
    epsg = int(geobox.crs.epsg or 0) if geobox.crs is not None else 0
    zone, bounds = epsg % 100, geobox.boundingbox
    lat = geobox.geographic_extent.centroid.coords[0][1]
    band = "CDEFGHJKLMNPQRSTUVWX"[int(np.clip((lat + 80) // 8, 0, 19))]
    column = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")[(zone - 1) % 3][int(bounds.left // 100_000) - 1]
    rows = "ABCDEFGHJKLMNPQRSTUV"
    row = rows[(int(bounds.bottom // 100_000) + (0 if zone % 2 else 5)) % 20]
    return zone, band, column + row


def scene_item(scene: Scene, geobox: GeoBox, radiometry: Radiometry, *, place: str) -> dict[str, Any]:
    """Return the STAC item of a scene.

    Args:
        scene: what was seen.
        geobox: grid at 10 m.
        radiometry: what the item says of the offset.
        place: folder of the pixels, relative to the item.
    """
    zone, band, square = mgrs_tile(geobox)
    tile = f"{zone}{band}{square}"
    satellite = satellite_of(scene.day)
    seen = scene.scl > 0
    cloudy = np.isin(scene.scl, CLOUD_CLASSES)
    sensed = f"{scene.day:%Y%m%d}T165901"
    plain = radiometry.baseline.replace(".", "")
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": list(EXTENSIONS),
        "id": item_id(scene.day, geobox),
        "collection": "sentinel-2-l2a",
        "geometry": mapping(geobox.geographic_extent.geom),
        "bbox": list(geobox.geographic_extent.boundingbox.bbox),
        "properties": {
            "title": f"Simulated Sentinel-2 scene, {scene.day}",
            SIMULATED: True,
            "datetime": f"{scene.day}T16:59:01Z",
            "created": CREATED,
            "updated": CREATED,
            "platform": f"sentinel-2{satellite.lower()}",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "eo:cloud_cover": round(100.0 * float(cloudy.sum()) / max(int(seen.sum()), 1), 4),
            "proj:epsg": geobox.crs.epsg if geobox.crs is not None else None,
            "mgrs:utm_zone": zone,
            "mgrs:latitude_band": band,
            "mgrs:grid_square": square,
            "grid:code": f"MGRS-{tile}",
            "view:sun_azimuth": round(scene.sun.azimuth, 4),
            "view:sun_elevation": round(scene.sun.elevation, 4),
            "s2:nodata_pixel_percentage": round(100.0 * float((~seen).mean()), 4),
            "s2:processing_baseline": radiometry.baseline,
            "s2:product_type": "S2MSI2A",
            "s2:product_uri": f"S2{satellite}_MSIL2A_{sensed}_N{plain}_R069_T{tile}_SIMULATED.SAFE",
            "s2:datatake_id": f"GS2{satellite}_{sensed}_{scene.day.toordinal() % 10**6:06d}_N{radiometry.baseline}",
            "s2:sequence": "0",
            "earthsearch:boa_offset_applied": radiometry.has_offset and radiometry.applied,
        },
        "links": [],
        "assets": {
            key: _asset(name, title, geobox, radiometry, place=place)
            for name, (key, title) in ASSET_TITLES.items()
        },
    }


def satellite_of(day: date) -> str:
    """Return the satellite of a day: A and B pass in turn, five days apart."""
    return "AB"[day.toordinal() // 5 % 2]


def item_id(day: date, geobox: GeoBox) -> str:
    """Return the id of a day's item, as Earth Search makes it."""
    zone, band, square = mgrs_tile(geobox)
    return f"S2{satellite_of(day)}_{zone}{band}{square}_{day:%Y%m%d}_0_L2A"


def _asset(name: str, title: str, geobox: GeoBox, radiometry: Radiometry, *, place: str) -> dict[str, Any]:
    metres = 10 if name in BANDS_10M else 20
    grid = geobox if metres == 10 else geobox.zoom_out(2)
    raster: dict[str, Any] = {"nodata": 0, "data_type": "uint8", "spatial_resolution": metres}
    if name != "SCL":
        raster |= {"data_type": "uint16", "bits_per_sample": 15, "scale": 0.0001, "offset": radiometry.listed}
    return {
        "href": f"{place}/{name}.tif",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "title": f"{title}, simulated",
        "gsd": metres,
        "proj:shape": list(grid.shape.yx),
        "proj:transform": [float(value) for value in list(grid.affine)[:6]],
        "raster:bands": [raster],
        "roles": ["data", "reflectance"],
    }
