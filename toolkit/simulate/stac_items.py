"""STAC items and catalog in the layout of Earth Search v1 ``sentinel-2-l2a``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from toolkit.errors import RadiometryError
from toolkit.simulate.outlines import Rings, to_degrees
from toolkit.simulate.sentinel2 import BANDS_10M, Scene

CREATED = "2025-01-01T00:00:00Z"
"""Time of making in every item: fixed, so that the same seed gives the same bytes."""

COLLECTION = "sentinel-2-l2a"

COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"

ASSETS: Mapping[str, tuple[str, str, float, float]] = MappingProxyType(
    {
        # Asset key of Earth Search: band, common name, centre and width in micrometres.
        "blue": ("B02", "blue", 0.49, 0.098),
        "green": ("B03", "green", 0.56, 0.045),
        "red": ("B04", "red", 0.665, 0.038),
        "rededge1": ("B05", "rededge", 0.704, 0.019),
        "rededge2": ("B06", "rededge", 0.74, 0.018),
        "rededge3": ("B07", "rededge", 0.783, 0.028),
        "nir": ("B08", "nir", 0.842, 0.145),
        "nir08": ("B8A", "nir08", 0.865, 0.033),
        "swir16": ("B11", "swir16", 1.61, 0.143),
        "swir22": ("B12", "swir22", 2.19, 0.242),
    }
)
"""Reflectance assets; the scene classification is the asset ``scl``."""

EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/v1.{minor}.0/schema.json"
    for name, minor in {"raster": 1, "eo": 1, "mgrs": 0, "grid": 0, "view": 0, "projection": 1}.items()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiometry:
    """How reflectance is stored as digital numbers, and what the items say about it."""

    baseline: str = "05.09"
    """Processing baseline; from 04.00 on ESA adds 1000 to all digital numbers."""
    offset_applied: bool = True
    """``earthsearch:boa_offset_applied``: the producer of the COGs took the 1000 off again."""

    def __post_init__(self) -> None:
        """Refuse baselines that cannot be read, and an offset taken off that never was there."""
        number, _, decimals = self.baseline.partition(".")
        if not (len(number) == len(decimals) == 2 and (number + decimals).isdigit()):
            msg = f"Processing baseline is {self.baseline!r}; allowed: two digits, a dot, two digits."
            raise RadiometryError(msg)
        if self.offset_applied and not self.has_offset:
            msg = (
                f"Baseline {self.baseline} has no offset that could be applied. "
                "Give offset_applied=False, or a baseline from 04.00 on."
            )
            raise RadiometryError(msg)

    @property
    def has_offset(self) -> bool:
        """True from baseline 04.00 on."""
        return self.baseline >= "04.00"

    @property
    def listed_offset(self) -> float:
        """Offset that ``raster:bands`` lists: -0.1 also where applied already, as in the live catalog."""
        return -0.1 if self.has_offset else 0

    @property
    def added_dn(self) -> int:
        """Digital numbers added to reflectance x 10 000 in the files."""
        return 1000 if self.has_offset and not self.offset_applied else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MgrsTile:
    """A 100 km square of the military grid, the unit of Sentinel-2 granules."""

    utm_zone: int
    """Zone, 1 to 60."""
    latitude_band: str
    """Letter of the 8-degree band."""
    grid_square: str
    """Two letters: column and row of the square."""

    @property
    def name(self) -> str:
        """Name such as ``15RXQ``."""
        return f"{self.utm_zone}{self.latitude_band}{self.grid_square}"


def mgrs_tile(geobox: GeoBox) -> MgrsTile:
    """Return the 100 km square that holds the centre of a grid in UTM (NGA.STND.0037, 2014)."""
    bounds = geobox.boundingbox
    x, y = (bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2
    epsg = geobox.crs.to_epsg() if geobox.crs else None
    zone = int(epsg or 0) % 100
    _, latitude = to_degrees([(x, y)], geobox)[0]
    # Columns run through A-H, J-R, S-Z in three zones; rows through A-V, from F in even zones.
    column = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")[zone % 3][int(x // 100_000) - 1]
    row = "ABCDEFGHJKLMNPQRSTUV"[(int(y // 100_000) + (5 if zone % 2 == 0 else 0)) % 20]
    band = "CDEFGHJKLMNPQRSTUVWX"[min(int((latitude + 80) // 8), 19)]
    return MgrsTile(utm_zone=zone, latitude_band=band, grid_square=column + row)


def acquisition_time(scene: Scene, longitude: float) -> datetime:
    """Return the time of acquisition in UTC: 10:45 local solar time, without zone."""
    hours = timedelta(hours=10.75 - longitude / 15)
    return (datetime.combine(scene.day, time()) + hours).replace(microsecond=0)


def platform(day: date) -> str:
    """Return the satellite of a day: the two take turns."""
    return "sentinel-2a" if day.toordinal() // 5 % 2 else "sentinel-2b"


def item_id(day: date, tile: MgrsTile) -> str:
    """Return the name of an item as Earth Search gives it: ``S2A_15RXQ_20230501_0_L2A``."""
    return f"S2{platform(day)[-1].upper()}_{tile.name}_{day:%Y%m%d}_0_L2A"


def make_item(scene: Scene, geobox: GeoBox, outline: Rings, radiometry: Radiometry) -> dict[str, Any]:
    """Return the item of a scene.

    Args:
        scene: acquisition.
        geobox: its grid at 10 m.
        outline: outline of the valid pixels in longitude and latitude.
        radiometry: how reflectance is stored.
    """
    tile = mgrs_tile(geobox)
    lons, lats = zip(*outline[0], strict=True)
    when = acquisition_time(scene, (min(lons) + max(lons)) / 2)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": list(EXTENSIONS),
        "id": item_id(scene.day, tile),
        "collection": COLLECTION,
        "geometry": {"type": "Polygon", "coordinates": outline},
        "bbox": [min(lons), min(lats), max(lons), max(lats)],
        "properties": {
            "datetime": f"{when.isoformat()}Z",
            "title": f"Simulated Sentinel-2 L2A scene, {tile.name}, {scene.day.isoformat()}",
            "cropglobe:simulated": True,
            "created": CREATED,
            "updated": CREATED,
            "platform": platform(scene.day),
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            **_scene_properties(scene),
            **_product_properties(scene, when, tile, radiometry),
            "proj:epsg": int(geobox.crs.to_epsg() or 0) if geobox.crs else 0,
            "mgrs:utm_zone": tile.utm_zone,
            "mgrs:latitude_band": tile.latitude_band,
            "mgrs:grid_square": tile.grid_square,
            "grid:code": f"MGRS-{tile.name}",
            "view:sun_azimuth": round(scene.sun.azimuth, 3),
            "view:sun_elevation": round(scene.sun.elevation, 3),
        },
        "links": [
            {"rel": "root", "href": "../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
        ],
        "assets": _assets(geobox, radiometry),
    }


def make_catalog(items: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Return the static catalog over the items.

    Args:
        items: items in order of time.
        seed: seed of the simulation, named in the description.
    """
    links = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}]
    links += [
        {"rel": "item", "href": f"./{item['id']}/{item['id']}.json", "type": "application/geo+json"}
        for item in items
    ]
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": f"{COLLECTION}-simulated",
        "title": "Simulated Sentinel-2 L2A scenes",
        "description": (
            f"Simulated Sentinel-2 L2A scenes (cropglobe, seed {seed}): no satellite took them. "
            "Fields, crops, clouds and reflectance are drawn by toolkit.simulate."
        ),
        "cropglobe:simulated": True,
        "links": links,
    }


def _scene_properties(scene: Scene) -> dict[str, float]:
    """Percentages as Sen2Cor counts them: of valid pixels, no data of all."""
    counts = np.bincount(scene.scl.ravel(), minlength=12)
    valid = max(int(counts[1:].sum()), 1)
    share = {value: round(100 * int(counts[value]) / valid, 6) for value in range(1, 12)}
    return {
        "eo:cloud_cover": round(share[8] + share[9] + share[10], 6),
        "s2:nodata_pixel_percentage": round(100 * int(counts[0]) / scene.scl.size, 6),
        "s2:cloud_shadow_percentage": share[3],
        "s2:vegetation_percentage": share[4],
        "s2:not_vegetated_percentage": share[5],
        "s2:water_percentage": share[6],
        "s2:unclassified_percentage": share[7],
        "s2:medium_proba_clouds_percentage": share[8],
        "s2:high_proba_clouds_percentage": share[9],
        "s2:thin_cirrus_percentage": share[10],
    }


def _product_properties(
    scene: Scene, when: datetime, tile: MgrsTile, radiometry: Radiometry
) -> dict[str, Any]:
    """Names of the product in ESA's patterns; orbits are zero, as no satellite flew them."""
    satellite = f"S2{platform(scene.day)[-1].upper()}"
    stamp, number = f"{when:%Y%m%dT%H%M%S}", radiometry.baseline.replace(".", "")
    return {
        "s2:product_type": "S2MSI2A",
        "s2:processing_baseline": radiometry.baseline,
        "s2:product_uri": f"{satellite}_MSIL2A_{stamp}_N{number}_R000_T{tile.name}_{stamp}.SAFE",
        "s2:generation_time": CREATED,
        "s2:datatake_id": f"G{satellite}_{stamp}_000000_N{radiometry.baseline}",
        "s2:datatake_type": "INS-NOBS",
        "s2:sequence": "0",
        "earthsearch:boa_offset_applied": radiometry.offset_applied,
    }


def _assets(geobox: GeoBox, radiometry: Radiometry) -> dict[str, Any]:
    """Assets with relative references to the files beside the item."""
    assets: dict[str, Any] = {}
    for key, (band, common_name, centre, width) in ASSETS.items():
        resolution = 10 if band in BANDS_10M else 20
        assets[key] = {
            "href": f"./{band}.tif",
            "type": COG_TYPE,
            "title": f"{band} (simulated) - {resolution}m",
            "eo:bands": [
                {
                    "name": key,
                    "common_name": common_name,
                    "center_wavelength": centre,
                    "full_width_half_max": width,
                }
            ],
            "gsd": resolution,
            **_projection(geobox, resolution),
            "raster:bands": [
                {
                    "nodata": 0,
                    "data_type": "uint16",
                    "bits_per_sample": 15,
                    "spatial_resolution": resolution,
                    "scale": 0.0001,
                    "offset": radiometry.listed_offset,
                }
            ],
            "roles": ["data", "reflectance"],
        }
    assets["scl"] = {
        "href": "./SCL.tif",
        "type": COG_TYPE,
        "title": "Scene classification map (SCL, simulated)",
        **_projection(geobox, 20),
        "raster:bands": [{"nodata": 0, "data_type": "uint8", "spatial_resolution": 20}],
        "roles": ["data", "reflectance"],
    }
    return assets


def _projection(geobox: GeoBox, resolution: int) -> dict[str, Any]:
    """Shape and transform of an asset."""
    bounds, step = geobox.boundingbox, resolution // 10
    height, width = geobox.shape.yx
    return {
        "proj:shape": [height // step, width // step],
        "proj:transform": [resolution, 0, bounds.left, 0, -resolution, bounds.top],
    }
