"""Band by band: the asset keys under which catalogs offer it, and what they leave unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

Keys = Mapping[str, tuple[str, ...]]
"""Band -> asset keys, the first that an item has is taken."""

# Never by common_name: on Earth Search the three red-edge bands share one, and Planetary Computer
# calls B8A rededge too.
EARTH_SEARCH_KEYS: Keys = MappingProxyType(
    {
        "B02": ("blue",),
        "B03": ("green",),
        "B04": ("red",),
        "B05": ("rededge1",),
        "B06": ("rededge2",),
        "B07": ("rededge3",),
        "B08": ("nir",),
        "B8A": ("nir08",),
        "B11": ("swir16",),
        "B12": ("swir22",),
        "SCL": ("scl",),
    }
)
ESA_KEYS: Keys = MappingProxyType({band: (band,) for band in EARTH_SEARCH_KEYS} | {"SCL": ("SCL", "SCL-20m")})
"""ESA's own names, as Planetary Computer uses them; SCL-20m is its older name (items recorded in 2021)."""
CDSE_KEYS: Keys = MappingProxyType(
    {
        band: (f"{band}_10m" if band in ("B02", "B03", "B04", "B08") else f"{band}_20m",)
        for band in EARTH_SEARCH_KEYS
    }
)
"""Copernicus Data Space offers every band at several resolutions; these are the native ones."""
ANY_KEYS: Keys = MappingProxyType(
    {band: EARTH_SEARCH_KEYS[band] + ESA_KEYS[band] + CDSE_KEYS[band] for band in EARTH_SEARCH_KEYS}
)
"""All of them, for catalogs we do not know."""

SENSOR_BANDS: Mapping[str, tuple[str, ...]] = MappingProxyType({"sentinel-2": tuple(EARTH_SEARCH_KEYS)})
"""Sensor -> bands and layers that may be asked for."""

QUALITY_LAYER: Mapping[str, str] = MappingProxyType({"sentinel-2": "SCL"})
"""Sensor -> layer that tells clear sky; no scene is of use without it."""

NODATA = 0
"""Digital number of pixels without data, in every catalog; Planetary Computer gives none."""


def data_type(band: str) -> str:
    """Return the type of a band's numbers, which Planetary Computer does not give."""
    return "uint8" if band in QUALITY_LAYER.values() else "uint16"
