"""Names and global attributes of EMIT L2A granules, as the producer writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from toolkit.errors import InputError

CREATED = "2025-01-01T00:00:00Z"
"""Time of making in every file: fixed, so that the same seed gives the same bytes."""

LINES_PER_SECOND = 1280 / 12
"""Lines that the instrument takes in a second: granules of 1280 lines last 12 s."""

_CLASSIC = (
    "Cloud flag",
    "Cirrus flag",
    "Water flag",
    "Spacecraft Flag",
    "Dilated Cloud Flag",
    "AOD550",
    "H2O (g cm-2)",
    "Aggregate Flag",
)
_SPECTF = ("SpecTf-Cloud Probability", "SpecTf-Cloud Flag", "SpecTf-Buffer Distance")
MASK_BANDS: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {
        1: _CLASSIC,
        2: _CLASSIC + _SPECTF,
        3: ("Cloud Flag", "Cirrus Flag", "Water Flag", "Dilated Cloud Flag", *_SPECTF),
    }
)
"""Names of the layers of the mask file, by version of the mask product (emit-sds-masks, user guide)."""

# Text of granule EMIT_L2A_RFL_001_20220903T163129_2224611_012, faults of spelling included. The text
# really holds a backslash and an n where lines should break.
_MISSION = (
    "The Earth Surface Mineral Dust Source Investigation (EMIT) is an Earth Ventures-Instrument (EVI-4) "
    "Mission that maps the surface mineralogy of arid dust source regions via imaging spectroscopy in the "
    "visible and short-wave infrared (VSWIR). Installed on the International Space Station (ISS), the EMIT "
    "instrument is a Dyson imaging spectrometer that uses contiguous spectroscopic measurements from 410 to "
    "2450 nm to resolve absoprtion features of iron oxides, clays, sulfates, carbonates, and other "
    "dust-forming minerals. During its one-year mission, EMIT will observe the sunlit Earth's dust source "
    "regions that occur within +/-52° latitude and produce maps of the source regions that can be used to "
    "improve forecasts of the role of mineral dust in the radiative forcing (warming or cooling) of the "
    "atmosphere."
)
_GEOLOCATION = (
    "Geolocation data (latitude, longitude, height) and a lookup table to project the data are also included."
)
_SUMMARIES = {
    "rfl": (
        r"\n\nThis file contains L2A estimated surface reflectances and geolocation data. Reflectance "
        "estimates are created using an Optimal Estimation technique - see ATBD for details. Reflectance "
        "values are reported as fractions (relative to 1). "
    ),
    "mask": (
        r"\n\nThis file contains masks for L2A estimated clouds and cloud shadow masks and geolocation data. "
    ),
}
_TITLES = {"rfl": "EMIT L2A Estimated Surface Reflectance 60 m", "mask": "EMIT L2A Masks 60 m"}

_FIXED: Mapping[str, str] = MappingProxyType(
    {
        "keywords": "Imaging Spectroscopy, minerals, EMIT, dust, radiative forcing",
        "Conventions": "CF-1.63",
        "sensor": "EMIT (Earth Surface Mineral Dust Source Investigation)",
        "instrument": "EMIT",
        "platform": "ISS",
        "institution": "NASA Jet Propulsion Laboratory/California Institute of Technology",
        "license": ("https://science.nasa.gov/earth-science/earth-science-data/data-information-policy/"),
        "naming_authority": "LPDAAC",
        "date_created": CREATED,
        "keywords_vocabulary": "NASA Global Change Master Directory (GCMD) Science Keywords",
        "stdname_vocabulary": "NetCDF Climate and Forecast (CF) Metadata Convention",
        "creator_name": "Jet Propulsion Laboratory/California Institute of Technology",
        "creator_url": "https://earth.jpl.nasa.gov/emit/",
        "project": "Earth Surface Mineral Dust Source Investigation",
        "project_url": "https://emit.jpl.nasa.gov/",
        "publisher_name": "NASA LPDAAC",
        "publisher_url": "https://lpdaac.usgs.gov",
        "publisher_email": "lpdaac@usgs.gov",
        "identifier_product_doi_authority": "https://doi.org",
    }
)
"""Attributes that are the same in every granule, but for the time of making."""

_WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AXIS["Latitude",NORTH],'
    'AXIS["Longitude",EAST],AUTHORITY["EPSG","4326"]]'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GranuleName:
    """Names of a granule's files: time, orbit and scene, by version of the product."""

    version: Literal[1, 2] = 1
    """Version of the reflectance product."""
    time: datetime
    """Start of the acquisition; UTC where it has no zone."""
    orbit: int = 0
    """Number of the orbit, YYDDDNN; 0 where none was flown."""
    scene: int = 0
    """Number of the scene in its orbit."""
    mask_version: Literal[1, 2, 3] | None = None
    """Version of the mask product; by default that of the same processing: 1 with 1, 3 with 2."""

    def __post_init__(self) -> None:
        """Refuse numbers that the pattern has no room for.

        Raises:
            InputError: orbit or scene out of range.
        """
        if not (0 <= self.orbit <= 9_999_999 and 0 <= self.scene <= 999):
            msg = (
                f"EMIT granule of orbit {self.orbit} and scene {self.scene}; allowed: orbits of up to "
                "seven digits and scenes of up to three. Try orbit=0, scene=0."
            )
            raise InputError(msg)

    @property
    def start(self) -> datetime:
        """Start of the acquisition in UTC."""
        return self.time.replace(tzinfo=UTC) if self.time.tzinfo is None else self.time.astimezone(UTC)

    @property
    def rfl(self) -> str:
        """Name of the reflectance granule; version 2 tells neither orbit nor scene."""
        stamp = f"{self.start:%Y%m%dT%H%M%S}"
        return f"EMIT_L2A_RFL_{self.version:03}_{stamp}" + (self._place if self.version == 1 else "")

    @property
    def mask(self) -> str:
        """Name of the granule's mask; versions 1 and 2 tell orbit and scene."""
        number, stamp = self.mask_number, f"{self.start:%Y%m%dT%H%M%S}"
        return f"EMIT_L2A_MASK_{number:03}_{stamp}" + (self._place if number < 3 else "")

    @property
    def mask_number(self) -> Literal[1, 2, 3]:
        """Version of the mask product."""
        return self.mask_version or (1 if self.version == 1 else 3)

    @property
    def _place(self) -> str:
        return f"_{self.orbit:07}_{self.scene:03}"


def global_attributes(
    name: GranuleName,
    kind: Literal["rfl", "mask"],
    *,
    lines: int,
    geotransform: tuple[float, ...],
    ortho_shape: tuple[int, int],
    simulated: bool,
) -> dict[str, Any]:
    """Return the global attributes of a file, in the order of the producer's.

    Args:
        name: names and time of the granule.
        kind: reflectance or mask.
        lines: lines of the swath, which decide the end of the acquisition.
        geotransform: six numbers in GDAL's order, degrees.
        ortho_shape: rows and columns of the lookup table.
        simulated: add ``simulated`` = "true", and say so in title and history.
    """
    west, cell, _, north, _, _ = geotransform
    version = f"V{name.version if kind == 'rfl' else name.mask_number:03}"
    flown = f"emit{name.start:%Y%m%dt%H%M%S}"
    end = name.start + timedelta(seconds=round(lines / LINES_PER_SECOND))
    attributes = {
        "ncei_template_version": "NCEI_NetCDF_Swath_Template_v2.0",
        "summary": _MISSION + _SUMMARIES[kind] + _GEOLOCATION,
        **_FIXED,
        "flight_line": f"{flown}_o{name.orbit % 100_000:05}_s000" if name.version == 1 else flown,
        "time_coverage_start": f"{name.start:%Y-%m-%dT%H:%M:%S}+0000",
        "time_coverage_end": f"{end:%Y-%m-%dT%H:%M:%S}+0000",
        "software_build_version": "000000",
        "software_delivery_version": "000000",
        "product_version": version,
        "history": "Simulated by cropglobe: no satellite took it." if simulated else "Made by cropglobe.",
        "crosstrack_orientation": "as seen on ground",
        "easternmost_longitude": west + ortho_shape[1] * cell,
        "northernmost_latitude": north,
        "westernmost_longitude": west,
        "southernmost_latitude": north - ortho_shape[0] * cell,
        "spatialResolution": cell,
        "spatial_ref": _WGS84,
        "geotransform": np.array(geotransform, np.float64),
        "day_night_flag": "Day",
        "title": f"{_TITLES[kind]} {version}",
    }
    return attributes | ({"simulated": "true"} if simulated else {})
