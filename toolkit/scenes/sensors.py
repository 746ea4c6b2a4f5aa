"""Sensors: their bands, and the layer that says what is clear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from toolkit.catalog.bands import QUALITY_LAYER
from toolkit.errors import BandError, InputError
from toolkit.scenes.emit_bands import GOOD_BANDS

SENTINEL2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
"""Band order of CropGlobe (Tong & Wang 2025)."""


Statistic = Literal["median", "clearest"]
STATISTICS: tuple[str, ...] = get_args(Statistic)
"""How the spectra that several granules show of a place are joined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """One sensor of the pipeline."""

    name: str
    """Name in recipes and on the command line."""
    bands: tuple[str, ...]
    """Reflectance bands in the order of the features."""
    quality: str
    """Layer with the scene classification."""
    scale: float
    """Reflectance of one digital number."""


SENSORS: Mapping[str, Sensor] = MappingProxyType(
    {
        # Scale: Sentinel-2 Products Specification Document, quantification value 10000.
        "sentinel-2": Sensor(
            name="sentinel-2", bands=SENTINEL2_BANDS, quality=QUALITY_LAYER["sentinel-2"], scale=1e-4
        ),
        # Reflectance is stored as it is; bands are named by their centres.
        "emit": Sensor(name="emit", bands=GOOD_BANDS, quality="mask", scale=1.0),
    }
)
"""Sensors by name."""


def resolve_bands(sensor: str, bands: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the bands asked for, all of the sensor by default.

    Raises:
        InputError: unknown sensor.
        BandError: a band the sensor does not have.
    """
    if sensor not in SENSORS:
        msg = f"Sensor {sensor!r} is unknown. Known sensors: {', '.join(SENSORS)}."
        raise InputError(msg)
    known = SENSORS[sensor].bands
    wanted = known if bands is None else tuple(bands)
    if unknown := [band for band in wanted if band not in known]:
        names = ", ".join(known) if len(known) < 20 else f"{known[0]} to {known[-1]} nm ({len(known)} bands)"
        msg = f"Bands {unknown} are unknown to {sensor}. Known bands: {names}."
        raise BandError(msg)
    return wanted
