"""Band by band: the asset keys under which catalogs offer it, and what they leave unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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

SENSOR_BANDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"sentinel-2": tuple(EARTH_SEARCH_KEYS), "emit": ("reflectance",)}
)
"""Sensor -> bands and layers that may be asked for."""

QUALITY_LAYER: Mapping[str, str] = MappingProxyType({"sentinel-2": "SCL", "emit": "mask"})
"""Sensor -> layer that tells clear sky. Scenes must have it if it is among the sensor's bands: one of
Sentinel-2 is of no use without. EMIT keeps masks apart and publishes them later: a granule may have none."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """How the numbers of a band are stored, where a catalog does not tell."""

    data_type: str
    """Type, as numpy calls it."""
    nodata: float
    """Number of pixels without data."""


# EMIT: _FillValue and type of the variables in the granules (emit-sds-l2a, output_conversion.py).
_NUMBERS: Mapping[str, Numbers] = MappingProxyType(
    {
        "SCL": Numbers("uint8", 0),
        "reflectance": Numbers("float32", -9999.0),
        "mask": Numbers("float32", -9999.0),
    }
)
_SENTINEL2 = Numbers("uint16", 0)


def numbers(band: str) -> Numbers:
    """Return type and nodata of a band's numbers; Planetary Computer gives neither, nor does EMIT's."""
    return _NUMBERS.get(band, _SENTINEL2)
