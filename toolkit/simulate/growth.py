"""Cover of the ground through the year, pixel by pixel.

The physical state comes first: which fractions of a pixel are crop, weeds, dead matter, soil and
open water on a day. Reflectance (:mod:`toolkit.simulate.spectra`) is a mixture of these fractions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.simulate.landscape import Landscape
from toolkit.simulate.phenology import CALENDARS
from toolkit.simulate.streams import smooth_noise, stream

Floats = npt.NDArray[np.float64]

FRACTIONS = ("crop", "second crop", "weeds", "senescent", "soil", "water")
"""Parts of a pixel, in the order of :func:`fractions`; they add up to 1."""

YEAR = 365
SEEDBED = (-35.0, -20.0)
"""Days from planting between which weeds are killed for the seedbed (burndown, tillage)."""
DECAY_DAYS = 60.0
"""Days in which the dead matter of a second crop falls to 37 %."""
FLOOD = (25.0, 10.0)
"""Permanent flood of rice: days after planting to its start (4-5 leaf stage), days before maturity to
its end (LSU rice guide)."""
NEVER = 400.0
"""Day of harvest where nothing is harvested."""
YEAR_START = -60.0
"""Days from planting at which one crop year ends and the next begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What grows where in one year: arrays of one shape, ``(y, x)`` or ``(pixel,)``.

    Days count from planting unless said otherwise.
    """

    field: npt.NDArray[np.intp]
    """Number of the field, 0 between fields."""
    kind: npt.NDArray[np.intp]
    """Index in :data:`toolkit.simulate.phenology.CALENDARS`."""
    planting: Floats
    """Day of the crop year."""
    green_up: Floats
    """Day with 10 % of the peak cover."""
    full_cover: Floats
    """Day with 90 % of the peak cover."""
    senescence: Floats
    """Day with 90 % of the canopy green."""
    maturity: Floats
    """Day with 10 % of the canopy green."""
    harvest: Floats
    """Day of harvest; :data:`NEVER` where nothing is harvested."""
    peak: Floats
    """Green cover at mid-season, 0 to 1."""
    weeds: Floats
    """Cover of weeds outside the crop's season, 0 to 1."""
    residue: Floats
    """Cover of residue right after harvest, 0 to 1."""
    second_peak: Floats
    """Green cover of the second crop, 0 to 1."""
    cut_first: Floats
    """Day of the first cut."""
    cut_days: Floats
    """Days between cuts; 0: never."""
    irrigated: Floats
    """1 where irrigated, else 0."""
    flooded: Floats
    """1 where rice stands in water, else 0."""
    brightness: Floats
    """Factor on the reflectance of soil."""
    drainage: Floats
    """Factor on the wetness of soil: below 1 dries fast, above 1 stays wet."""
    chlorophyll: Floats
    """Natural logarithm of leaf chlorophyll relative to the kind's usual value."""
    leaf_water: Floats
    """Natural logarithm of leaf water, likewise."""
    leaf_angle: Floats
    """Natural logarithm of the mean leaf angle, likewise."""

    def take(self, pixels: npt.NDArray[np.intp]) -> Growth:
        """Return the pixels with these flat indices, as arrays ``(pixel,)``."""
        return Growth(**{f.name: getattr(self, f.name).ravel()[pixels] for f in fields(self)})

    def column(self, name: str) -> Floats:
        """Return a number of the calendar for each pixel."""
        values = np.array([float(getattr(calendar, name)) for calendar in CALENDARS])
        return np.asarray(values[self.kind])


def grow(landscape: Landscape, *, year: int) -> Growth:
    """Draw a year: dates, cover and leaves of every field, with small differences inside fields.

    Args:
        landscape: fields and their crops.
        year: year of the season; dates and cover differ between years, crops do not.
    """
    per_field = _draw_fields(landscape, year)
    pixels: dict[str, Any] = {name: values[landscape.field] for name, values in per_field.items()}
    rng = stream(landscape.seed, "pixels", year)
    shape = landscape.field.shape

    def ripple(deviation: float) -> npt.NDArray[np.float32]:
        # Patches of about 60 m plus differences from pixel to pixel, in equal parts.
        patches = smooth_noise(rng, shape, length_px=6)
        mixed = patches + rng.standard_normal(shape, dtype=np.float32)
        return np.asarray(mixed * (deviation / np.sqrt(2)))

    pixels["planting"] = pixels["planting"] + ripple(2.0)
    pixels["peak"] = np.clip(pixels["peak"] * (1 + ripple(0.12)), 0.05, 0.99)
    pixels["weeds"] = np.clip(pixels["weeds"] * (1 + ripple(0.30)), 0.0, 0.90)
    pixels["brightness"] = pixels["brightness"] * np.exp(ripple(0.15))
    pixels["drainage"] = pixels["drainage"] * np.exp(ripple(0.25))
    pixels["leaf_angle"] = pixels["leaf_angle"] + ripple(0.02)
    return Growth(**pixels)


def _draw_fields(landscape: Landscape, year: int) -> dict[str, Any]:
    """Draw the numbers of each field; row 0 is the land between fields."""
    rng = stream(landscape.seed, "fields", year)
    kind = np.asarray(landscape.kinds)
    n = kind.size
    region = landscape.region

    def column(name: str) -> Floats:
        return np.array([float(getattr(CALENDARS[k], name) or 0.0) for k in kind])

    def normal(deviation: float | Floats = 1.0) -> Floats:
        return np.asarray(rng.normal(size=n) * deviation)

    stages = np.array([CALENDARS[k].stages for k in kind]).T * region.season_length
    stages = stages * np.exp(rng.normal(size=(4, n)) * 0.07)
    ends = np.cumsum(stages, axis=0)
    # A warm or wet spring moves the dates of all fields, and of one crop more than of another.
    weather = 2.5 * rng.normal() + 1.5 * rng.normal(size=len(CALENDARS))[kind]
    harvested = np.array([CALENDARS[k].harvest_delay is not None for k in kind])
    harvest = ends[3] + column("harvest_delay") * region.season_length
    harvest = np.maximum(harvest + normal(column("harvest_spread_days")), ends[1] + 10)
    irrigated = rng.uniform(size=n) < column("irrigated")
    # Without irrigation cover falls short by up to 15 % (dry spells).
    drought = np.where(irrigated, 1.0, rng.uniform(0.85, 1.0, size=n))
    seconds = [CALENDARS[k].second for k in kind]
    grown = rng.uniform(size=n) < np.array([second.share if second else 0.0 for second in seconds])
    cover = np.array([second.peak if second else 0.0 for second in seconds])
    cut_days = np.array([(CALENDARS[k].cuts or (0.0, 0.0))[0] for k in kind])
    return {
        "field": np.arange(n),
        "kind": kind,
        "planting": column("planting") + region.shift_days + weather + normal(column("spread_days")),
        "green_up": ends[0],
        "full_cover": ends[1],
        "senescence": ends[2],
        "maturity": ends[3],
        "harvest": np.where(harvested, harvest, NEVER),
        "peak": column("peak") * drought * np.exp(normal(0.10)),
        "weeds": column("weeds") * rng.uniform(0.2, 2.0, size=n),
        "residue": np.clip(column("residue") * np.exp(normal(0.20)), 0.0, 0.95),
        "second_peak": np.clip(grown * cover * np.exp(normal(0.12)), 0.0, 0.95),
        "cut_first": ends[1] + rng.uniform(-15, 20, size=n),
        "cut_days": cut_days * np.exp(normal(0.12)),
        "irrigated": irrigated.astype(float),
        "flooded": column("flooded"),
        "brightness": region.soil_brightness * np.exp(normal(0.22)),
        "drainage": np.exp(normal(0.35)),
        "chlorophyll": normal(0.12),
        "leaf_water": normal(0.10),
        "leaf_angle": normal(0.06),
    }


def fractions(growth: Growth, day: int) -> Floats:
    """Return what covers the ground on a day.

    Args:
        growth: the year of each pixel.
        day: day of the crop year, 1 to 365 (:func:`toolkit.simulate.phenology.crop_day`).

    Returns:
        float64 ``(fraction, *shape)`` in the order of :data:`FRACTIONS`, adding up to 1.
    """
    t = _days_from_planting(growth, day)
    after = t - growth.harvest
    standing = after < 0
    rise = _ramp(t, growth.green_up, growth.full_cover)
    fall = _ramp(t, growth.senescence, growth.maturity)
    canopy = growth.peak * rise * _regrowth_after_cuts(growth, t)
    crop = np.maximum(np.where(standing, canopy * (1 - fall), 0.0), growth.column("evergreen"))
    since = after % YEAR
    begin, closed, decline, end = _second_days(growth)
    dying = _ramp(since, decline, end)
    second = (1 - crop) * growth.second_peak * _ramp(since, begin, closed) * (1 - dying)
    weeds = (1 - crop - second) * _weeds(growth, t)
    # Thatch, litter and bare branches of land that is never harvested outlast the winter.
    dormant = np.where(growth.harvest >= NEVER, growth.peak * (1 - rise), 0.0)
    dead = np.where(standing, (canopy * fall + dormant) * growth.column("standing"), 0.0)
    litter = growth.residue * np.exp(-since / growth.column("residue_days"))
    litter = litter + growth.second_peak * dying * np.exp((decline - since) / DECAY_DAYS)
    green = crop + second + weeds
    senescent = (1 - green) * np.clip(dead + litter * (1 - dead), 0.0, 1.0)
    bare = 1 - green - senescent
    water = bare * _flood(growth, t)
    return np.stack([crop, second, weeds, senescent, bare - water, water])


def under_irrigation(growth: Growth, day: int) -> Floats:
    """Return how far a pixel is in its irrigation season on a day, 0 (not) to 1.

    Args:
        growth: the year of each pixel.
        day: day of the crop year.
    """
    t = _days_from_planting(growth, day)
    start = _ramp(t, growth.green_up, growth.full_cover)
    return growth.irrigated * start * (1 - _ramp(t, growth.senescence, growth.maturity))


def _days_from_planting(growth: Growth, day: int) -> Floats:
    """Days since planting, from 60 days before it to 305 days after."""
    return np.asarray((day - growth.planting - YEAR_START) % YEAR + YEAR_START)


def _ramp(t: Floats, start: Floats | float, end: Floats | float) -> Floats:
    """Logistic curve with 0.1 at the start and 0.9 at the end."""
    steps = (t - start) / (np.asarray(end) - start) - 0.5
    return np.asarray(1 / (1 + np.exp(np.clip(-np.log(81) * steps, -50, 50))))


def _second_days(growth: Growth) -> Floats:
    """Days from the first harvest at which a second crop grows, closes, declines and dies."""
    none = (10.0, 45.0, 80.0, 105.0)
    days = np.array([c.second.days if c.second else none for c in CALENDARS])
    return np.asarray(np.moveaxis(days[growth.kind], -1, 0))


def _regrowth_after_cuts(growth: Growth, t: Floats) -> Floats:
    """Factor on the canopy after cuts: cover grows back within the days to the next cut."""
    depths = np.array([(c.cuts or (0.0, 0.0))[1] for c in CALENDARS])
    depth = depths[growth.kind]
    if not depth.any():
        return np.ones_like(t)
    phase = (t - growth.cut_first) / np.maximum(growth.cut_days, 1.0)
    return np.where(phase > 0, 1 - depth * np.exp(-3.0 * (phase % 1.0)), 1.0)


def _weeds(growth: Growth, t: Floats) -> Floats:
    """Cover of weeds on land that no crop covers, from after harvest to the next seedbed."""
    since = (t - growth.harvest) % YEAR
    season = np.where(t < growth.harvest, 1 - _ramp(t, *SEEDBED), 1.0)
    return np.asarray(growth.weeds * _ramp(since, 20, 60) * season)


def _flood(growth: Growth, t: Floats) -> Floats:
    """Share of the bare ground under water: permanent flood of rice, and of its second crop."""
    if not growth.flooded.any():
        return np.zeros_like(t)
    end = growth.maturity - FLOOD[1]
    first = _ramp(t, FLOOD[0] - 2, FLOOD[0] + 2) * (1 - _ramp(t, end - 3, end + 3))
    after = t - growth.harvest
    again = _ramp(after, 6, 10) * (1 - _ramp(after, 75, 81)) * (growth.second_peak > 0)
    return growth.flooded * 0.95 * np.maximum(first, np.where(after > 0, again, 0.0))
