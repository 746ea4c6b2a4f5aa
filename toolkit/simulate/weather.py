"""Weather of a day: rain on the soil, and the state of leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import numpy.typing as npt

from toolkit.simulate.growth import Growth, under_irrigation
from toolkit.simulate.streams import stream

DRYING_DAYS = 3.0
"""Days in which the wetness of the soil surface falls to 37 % (stage-one and -two evaporation lasts
a few days to a week, FAO-56 chapter 7)."""

RAIN_MM = 12.0
"""Mean rain of a rainy day; exponential, usual for the humid South."""

SOAKING_MM = 20.0
"""Rain that wets the dry surface layer fully (FAO-56 table 19: 8 to 12 mm readily evaporable, up to
20 to 30 mm in all, for loam to clay)."""

FIELDS = 65_536
"""Most field numbers there can be."""

MEMORY_DAYS = 30
"""Days of rain before the day that still matter."""

SHOWERS = 0.7
"""Differences between fields in the wetness of a day, natural logarithm: summer rain is showers."""

WILTING = 0.18
"""Differences between fields in the mean leaf angle of a day, natural logarithm: wilting, wind, and rows
across or along the sun; changes of 5 to 10 % in near-infrared reflectance within days."""

TURGOR = 0.25
"""Differences between fields in the leaf water of a day, natural logarithm."""

TILTH = 0.15
"""Differences between fields in the brightness of soil on a day, natural logarithm: tillage roughens and
darkens, rain crusts and brightens."""


def rain_wetness(seed: int, day: date, *, rain_probability: float) -> float:
    """Return the wetness of the soil surface on a day, 0 (dry) to 1.

    Args:
        seed: seed of the landscape.
        day: date.
        rain_probability: chance of rain on a day.
    """
    wetness = 0.0
    last = day.toordinal()
    for ordinal in range(last - MEMORY_DAYS, last + 1):
        rng = stream(seed, "rain", ordinal)
        rain = rng.exponential(RAIN_MM) if rng.uniform() < rain_probability else 0.0
        wetness = min(1.0, wetness * float(np.exp(-1 / DRYING_DAYS)) + rain / SOAKING_MM)
    return wetness


def on_day(growth: Growth, seed: int, day: date) -> Growth:
    """Return the growth with leaves and soil as they are on a day, field by field.

    Args:
        growth: the year of each pixel.
        seed: seed of the landscape.
        day: date.
    """
    rng = stream(seed, "leaves", day.toordinal())
    angle = _of_fields(rng, growth, WILTING)
    water = _of_fields(rng, growth, TURGOR)
    tilth = np.exp(_of_fields(rng, growth, TILTH))
    return replace(
        growth,
        leaf_angle=growth.leaf_angle + angle,
        leaf_water=growth.leaf_water + water,
        brightness=growth.brightness * tilth,
    )


def soil_wetness(
    growth: Growth, seed: int, day: date, *, crop_day: int, rain_probability: float
) -> npt.NDArray[np.float64]:
    """Return how wet the soil of each pixel is on a day, 0 (dry) to 1.

    Args:
        growth: the year of each pixel.
        seed: seed of the landscape.
        day: date.
        crop_day: day of the crop year.
        rain_probability: chance of rain on a day.
    """
    rain = rain_wetness(seed, day, rain_probability=rain_probability)
    rng = stream(seed, "soil", day.toordinal())
    showers = np.exp(_of_fields(rng, growth, SHOWERS))
    irrigation = np.abs(_of_fields(rng, growth, 0.5)) * under_irrigation(growth, crop_day)
    return np.clip(np.maximum(rain * showers * growth.drainage, irrigation), 0.0, 1.0)


def _of_fields(rng: np.random.Generator, growth: Growth, deviation: float) -> npt.NDArray[np.float64]:
    """Draw one normal number per field, given to its pixels."""
    # Drawn for all possible fields: the numbers do not depend on which pixels are asked for.
    return np.asarray(rng.normal(scale=deviation, size=FIELDS)[growth.field])
