"""Spectra of pure surfaces in the ten Sentinel-2 bands, and their mixture.

The spectra of canopies and dead matter were computed once with PROSAIL (PROSPECT-D and 4SAIL:
Feret et al. 2017, Verhoef et al. 2007; PyPI package prosail 2.0.5), sun 30 degrees, view 5 degrees,
hot spot 0.1, averaged over the widths of the bands that Earth Search lists. Leaf chlorophyll, water,
dry matter, structure and mean leaf angle stand in the ranges that Berger et al. 2018
(doi:10.3390/rs10010085) review for each crop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from toolkit.simulate.growth import Growth
from toolkit.simulate.phenology import CALENDARS

# Columns of all tables: toolkit.cubes.recipe.SENTINEL2_BANDS, B02 to B12.
# fmt: off
GREEN: Mapping[str, tuple[float, ...]] = MappingProxyType({
    # N 1.5, Cab 52, Car 10, Cw 0.014, Cm 0.0055, LAI 5, leaf angle 57
    "corn": (0.025, 0.048, 0.015, 0.068, 0.342, 0.498, 0.502, 0.502, 0.195, 0.069),
    # N 1.4, Cab 45, Car 9, Cw 0.011, Cm 0.0045, LAI 5.5, leaf angle 48
    "soybeans": (0.031, 0.061, 0.018, 0.086, 0.404, 0.574, 0.576, 0.577, 0.249, 0.096),
    # N 1.5, Cab 42, Car 9, Cw 0.011, Cm 0.0050, LAI 5.5, leaf angle 64
    "rice": (0.024, 0.050, 0.014, 0.070, 0.329, 0.471, 0.475, 0.475, 0.196, 0.074),
    # N 1.5, Cab 48, Car 10, Cw 0.014, Cm 0.0050, LAI 5, leaf angle 62
    "wheat": (0.023, 0.046, 0.014, 0.066, 0.325, 0.472, 0.476, 0.477, 0.181, 0.065),
    # N 1.6, Cab 42, Car 9, Cw 0.016, Cm 0.0075, LAI 5, leaf angle 58
    "sugarcane": (0.028, 0.060, 0.016, 0.083, 0.345, 0.464, 0.466, 0.466, 0.174, 0.058),
    # N 1.5, Cab 46, Car 10, Cw 0.016, Cm 0.0060, LAI 4, leaf angle 47
    "cotton": (0.031, 0.062, 0.019, 0.087, 0.379, 0.509, 0.512, 0.513, 0.203, 0.070),
    # N 1.5, Cab 38, Car 8, Cw 0.012, Cm 0.0060, LAI 4, leaf angle 58
    "grass": (0.030, 0.063, 0.018, 0.087, 0.346, 0.452, 0.456, 0.457, 0.205, 0.077),
    # N 1.5, Cab 38, Car 8, Cw 0.012, Cm 0.0055, LAI 3.5, leaf angle 52
    "weeds": (0.033, 0.070, 0.020, 0.097, 0.369, 0.473, 0.477, 0.478, 0.226, 0.087),
    # N 1.8, Cab 48, Car 11, Cw 0.018, Cm 0.0120, LAI 5, leaf angle 50
    "woodland": (0.031, 0.065, 0.018, 0.090, 0.349, 0.456, 0.458, 0.458, 0.175, 0.055),
})
"""Closed green canopies, reflectance (unit 1)."""

SENESCENT: Mapping[str, tuple[float, ...]] = MappingProxyType({
    # N 1.8, Cab 2, Car 3, brown pigment 0.5, Cw 0.002, Cm 0.006, LAI 3, leaf angle 55
    "stover": (0.066, 0.142, 0.148, 0.241, 0.304, 0.348, 0.390, 0.407, 0.352, 0.185),
    # N 2.2, Cab 1, Car 2, brown pigment 0.3, Cw 0.001, Cm 0.006, LAI 3, leaf angle 55
    "straw": (0.108, 0.208, 0.224, 0.310, 0.361, 0.395, 0.425, 0.437, 0.386, 0.216),
    # N 1.6, Cab 4, Car 3, brown pigment 0.9, Cw 0.003, Cm 0.007, LAI 3, leaf angle 50
    "stalks": (0.048, 0.092, 0.090, 0.179, 0.250, 0.304, 0.361, 0.384, 0.329, 0.157),
})
"""Dead matter, reflectance."""

# The two soils of PROSAIL (Feret et al. 2008), which bound what dry and wet loam reflects.
DRY_SOIL = (0.233, 0.264, 0.318, 0.338, 0.358, 0.379, 0.403, 0.413, 0.509, 0.495)
WET_SOIL = (0.025, 0.029, 0.038, 0.043, 0.050, 0.057, 0.068, 0.073, 0.155, 0.109)

# Shallow, moderately turbid water: below 0.1 in the visible, near 0 in the SWIR, as in Doxaran et al.
# 2002 (doi:10.1016/S0034-4257(01)00341-8) for low loads of sediment; SWIR raised by stems and glint.
WATER = (0.050, 0.070, 0.065, 0.060, 0.045, 0.043, 0.036, 0.032, 0.014, 0.009)

# Elasticities d ln(reflectance) / d ln(trait) of the closed canopies above, mean over the kinds,
# computed with the same PROSAIL runs (trait raised by 20, 20 and 10 %).
CHLOROPHYLL = (-0.26, -0.91, -0.28, -0.89, -0.27, -0.01, 0.0, 0.0, 0.0, 0.0)
LEAF_WATER = (0.0, 0.0, 0.0, 0.0, 0.0, -0.01, -0.01, -0.01, -0.52, -0.79)
LEAF_ANGLE = (-1.18, -1.28, -0.72, -1.21, -1.01, -0.89, -0.87, -0.87, -1.0, -0.93)
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class Endmembers:
    """Spectra of pure surfaces in the bands of one sensor, and how leaves change them."""

    green: Mapping[str, Sequence[float]]
    """Closed green canopies, reflectance (unit 1) by band."""
    senescent: Mapping[str, Sequence[float]]
    """Dead matter."""
    dry_soil: Sequence[float]
    """Dry loam."""
    wet_soil: Sequence[float]
    """Wet loam."""
    water: Sequence[float]
    """Shallow, moderately turbid water."""
    chlorophyll: Sequence[float]
    """Elasticity d ln(reflectance) / d ln(leaf chlorophyll) of green canopies, by band."""
    leaf_water: Sequence[float]
    """Elasticity to leaf water."""
    leaf_angle: Sequence[float]
    """Elasticity to the mean leaf angle."""


SENTINEL2 = Endmembers(
    green=GREEN,
    senescent=SENESCENT,
    dry_soil=DRY_SOIL,
    wet_soil=WET_SOIL,
    water=WATER,
    chlorophyll=CHLOROPHYLL,
    leaf_water=LEAF_WATER,
    leaf_angle=LEAF_ANGLE,
)
"""The tables above; columns are the recipe's bands."""


def mix(
    parts: npt.NDArray[np.float64],
    growth: Growth,
    wetness: npt.NDArray[np.float64],
    endmembers: Endmembers = SENTINEL2,
) -> npt.NDArray[np.float32]:
    """Return the reflectance of pixels from what covers them (linear mixture).

    Args:
        parts: ``(fraction, *shape)`` in the order of :data:`toolkit.simulate.growth.FRACTIONS`.
        growth: the year of each pixel, with its leaves and soil.
        wetness: wetness of the soil, 0 to 1, ``shape``.
        endmembers: spectra of the pure surfaces; by default those of Sentinel-2.

    Returns:
        float32 ``(band, *shape)``, unit 1, bands in the order of the endmembers (Sentinel-2: the recipe's).
    """
    crop, second, weeds, senescent, soil, water = parts
    pure = endmembers
    green = np.array([pure.green[calendar.green] for calendar in CALENDARS])
    follow = np.array([pure.green[(c.second or c).green] for c in CALENDARS])
    dead = np.array([pure.senescent[calendar.senescent] for calendar in CALENDARS])
    out = np.empty((len(pure.water), *crop.shape), dtype=np.float32)
    for band in range(len(pure.water)):
        leaves = np.exp(
            pure.chlorophyll[band] * growth.chlorophyll
            + pure.leaf_water[band] * growth.leaf_water
            + pure.leaf_angle[band] * growth.leaf_angle
        )
        ground = pure.dry_soil[band] + wetness * (pure.wet_soil[band] - pure.dry_soil[band])
        canopy = crop * green[growth.kind, band] + second * follow[growth.kind, band]
        out[band] = (
            leaves * (canopy + weeds * pure.green["weeds"][band])
            + senescent * dead[growth.kind, band]
            + soil * growth.brightness * ground
            + water * pure.water[band]
        )
    return out
