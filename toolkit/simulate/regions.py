"""Regions: places and the way their seasons and soils differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from toolkit.area.season import Hemisphere
from toolkit.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A place with its calendar, soils and weather."""

    name: str
    """Name in :data:`REGIONS`."""
    hemisphere: Hemisphere = "north"
    """``south`` moves every crop date by half a year (36 steps of 5 days)."""
    shift_days: float = 0.0
    """Days by which all crop dates are later than in the table of calendars."""
    season_length: float = 1.0
    """Factor on the length of every growth stage."""
    soil_brightness: float = 1.0
    """Factor on the reflectance of soil."""
    rain_probability: float = 0.30
    """Chance of rain on a day."""
    epsg: int = 32615
    """Code of the WGS 84 / UTM zone (326xx north, 327xx south)."""
    easting: float = 640_000.0
    """West edge of the landscape in metres, a multiple of 20."""
    northing: float = 3_420_000.0
    """North edge of the landscape in metres, a multiple of 20."""


REGIONS: Mapping[str, Region] = MappingProxyType(
    {
        region.name: region
        for region in (
            # Pointe Coupee Parish, Louisiana (30.9 N, 91.5 W), where all six crops are grown.
            # Rain: about 110 days a year (NOAA 1991-2020 normals, Baton Rouge).
            Region(name="reference"),
            # Lower Rio Grande Valley, Texas: spring comes three weeks earlier.
            Region(name="early", shift_days=-20, epsg=32614, easting=620_000, northing=2_920_000),
            # Western Tennessee.
            Region(name="late", shift_days=25, epsg=32616, easting=260_000, northing=3_960_000),
            # Missouri Bootheel: planted later, ripe sooner.
            Region(
                name="short_season",
                shift_days=15,
                season_length=0.85,
                rain_probability=0.25,
                easting=700_000,
                northing=4_060_000,
            ),
            # Reconquista, Santa Fe, Argentina (28.5 S, 59.5 W): all six crops are grown there too.
            Region(
                name="southern",
                hemisphere="south",
                shift_days=5,
                epsg=32721,
                easting=260_000,
                northing=6_840_000,
            ),
            # Sandy soils and less rain around Lubbock, Texas.
            Region(
                name="bright_soil",
                soil_brightness=1.35,
                rain_probability=0.15,
                epsg=32614,
                easting=240_000,
                northing=3_720_000,
            ),
        )
    }
)
"""Regions by name."""


def resolve_region(region: str | Region) -> Region:
    """Return the region for a name or the region itself.

    Raises:
        InputError: unknown name.
    """
    if isinstance(region, Region):
        return region
    if region not in REGIONS:
        msg = f"Region {region!r} is unknown. Known regions: {', '.join(REGIONS)}."
        raise InputError(msg)
    return REGIONS[region]
