"""Clouds, their shadows and thin cirrus over one scene."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from toolkit.simulate.streams import smooth_noise

Floats = npt.NDArray[np.float32]

CONCENTRATION = 1.3
"""Sum of the parameters of the beta distribution of cloud amounts: below 2 most dates are nearly clear
or nearly overcast, as satellites see them (U-shaped cloud amount, e.g. Norris 2005)."""

CIRRUS_SHARE = 0.3
"""Share of dates with thin cirrus somewhere."""

CLOUD_HEIGHT_M = (600.0, 1800.0)
"""Cloud heights that decide how far a shadow falls: cumulus and stratocumulus bases and tops."""

MAX_SHADOW_PX = 200
"""Longest displacement of a shadow, in pixels of 10 m."""

VISIBLE = 0.1
"""Opacity above which a pixel counts as cloud: light from the ground is reduced by a tenth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """What stands between the ground and the sensor; arrays ``(y, x)``."""

    cloud: Floats
    """Opacity of clouds, 0 to 1."""
    shadow: Floats
    """Share of direct sunlight that clouds hold back, 0 to 1."""
    cirrus: Floats
    """Reflectance added by thin cirrus in the blue, unit 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sun:
    """Position of the sun at the scene's centre."""

    azimuth: float
    """Degrees clockwise from north."""
    elevation: float
    """Degrees above the horizon."""


def sun_position(day_of_year: int, latitude: float, *, local_hour: float = 10.75) -> Sun:
    """Return the sun's position (declination after Cooper 1969, within half a degree).

    Args:
        day_of_year: 1 to 366.
        latitude: degrees north.
        local_hour: local solar time; Sentinel-2 crosses at about 10:30 to 10:50.
    """
    declination = math.radians(23.45 * math.sin(2 * math.pi * (284 + day_of_year) / 365))
    hour = math.radians(15 * (local_hour - 12))
    phi = math.radians(latitude)
    up = math.sin(phi) * math.sin(declination) + math.cos(phi) * math.cos(declination) * math.cos(hour)
    east = -math.cos(declination) * math.sin(hour)
    north = math.cos(phi) * math.sin(declination) - math.sin(phi) * math.cos(declination) * math.cos(hour)
    return Sun(azimuth=math.degrees(math.atan2(east, north)) % 360, elevation=math.degrees(math.asin(up)))


def cloud_amounts(n_dates: int, mean: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the cloud amount of each date, 0 to 1, from clear to overcast.

    The amounts are quantiles of a beta distribution, one from each of ``n_dates`` equal parts, in
    random order: their mean is the one asked for also with few dates.

    Args:
        n_dates: number of dates.
        mean: mean amount, 0 to 1.
        rng: random generator.
    """
    if mean <= 0 or mean >= 1:
        return np.full(n_dates, float(min(max(mean, 0), 1)))
    # Drawn, not inverted: the quantiles of many draws are those of the distribution.
    draws = np.sort(rng.beta(mean * CONCENTRATION, (1 - mean) * CONCENTRATION, size=(n_dates, 200)).ravel())
    amounts = draws.reshape(n_dates, 200)[np.arange(n_dates), rng.integers(200, size=n_dates)]
    return np.asarray(rng.permutation(amounts))


def draw_sky(shape: tuple[int, int], amount: float, sun: Sun, rng: np.random.Generator) -> Sky:
    """Draw clouds, shadows and cirrus of one date.

    Args:
        shape: rows and columns.
        amount: share of the scene under cloud, 0 to 1.
        sun: position of the sun; shadows fall away from it.
        rng: random generator.
    """
    height = rng.uniform(*CLOUD_HEIGHT_M)
    reach = min(height / math.tan(math.radians(sun.elevation)) / 10.0, MAX_SHADOW_PX)
    # The cloud that shades a pixel stands towards the sun: rows grow to the south.
    dy = -round(reach * math.cos(math.radians(sun.azimuth)))
    dx = round(reach * math.sin(math.radians(sun.azimuth)))
    pad = max(abs(dy), abs(dx))
    opacity = _opacity(shape, pad, amount, rng)
    cloud = opacity[pad : pad + shape[0], pad : pad + shape[1]]
    top, left = pad + dy, pad + dx
    shade = opacity[top : top + shape[0], left : left + shape[1]]
    shade = ndimage.gaussian_filter(shade, 1.0, truncate=3.0)
    return Sky(cloud=cloud, shadow=shade * (1 - cloud), cirrus=_cirrus(shape, rng))


def _opacity(shape: tuple[int, int], pad: int, amount: float, rng: np.random.Generator) -> Floats:
    """Opacity of clouds on a grid larger by ``pad`` on each side; the amount holds inside."""
    size = (shape[0] + 2 * pad, shape[1] + 2 * pad)
    length = float(rng.choice([7.0, 14.0, 28.0]))
    noise = (
        smooth_noise(rng, size, length_px=length)
        + 0.40 * smooth_noise(rng, size, length_px=length / 3)
        + 0.12 * smooth_noise(rng, size, length_px=length / 7)
    )
    inside = noise[pad : pad + shape[0], pad : pad + shape[1]]
    if amount < 0.01:
        return np.zeros(size, dtype=np.float32)
    threshold = np.quantile(inside, 1 - amount)
    ramp = np.clip((noise - threshold) / rng.uniform(0.15, 0.5), 0, 1)
    # The edge starts at VISIBLE, not at 0: the amount is the share of visibly cloudy pixels.
    return np.asarray(VISIBLE * (noise >= threshold) + (1 - VISIBLE) * ramp, dtype=np.float32)


def _cirrus(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Reflectance added by thin cirrus; zero on most dates."""
    present = rng.uniform() < CIRRUS_SHARE
    veil = smooth_noise(rng, shape, length_px=40.0)
    if not present:
        return np.zeros(shape, dtype=np.float32)
    return np.asarray(np.clip(veil + rng.uniform(-1.0, 0.3), 0, 2) * 0.03, dtype=np.float32)
