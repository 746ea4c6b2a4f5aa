"""One Sentinel-2 acquisition: ground, sky, sensor, scene classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
from pyproj import Transformer

from toolkit.cubes.recipe import SENTINEL2_BANDS
from toolkit.errors import InputError
from toolkit.simulate.clouds import VISIBLE, Sky, Sun, draw_sky, sun_position
from toolkit.simulate.growth import FRACTIONS, Growth, fractions, grow
from toolkit.simulate.landscape import Landscape
from toolkit.simulate.phenology import crop_day
from toolkit.simulate.spectra import SENTINEL2, Endmembers, mix
from toolkit.simulate.streams import smooth_noise, stream
from toolkit.simulate.weather import on_day, soil_wetness

Floats = npt.NDArray[np.float32]

REVISIT_DAYS = 5
"""Days between acquisitions of the two satellites together."""

BANDS_10M = ("B02", "B03", "B04", "B08")
"""Bands stored at 10 m; the others are means of 2 x 2 pixels."""

# Columns: SENTINEL2_BANDS. Centres in nm and signal-to-noise ratios at reference radiance: Sentinel-2
# User Handbook (ESA 2015), table 1.
CENTRES_NM = (490, 560, 665, 705, 740, 783, 842, 865, 1610, 2190)
SIGNAL_TO_NOISE = (154, 168, 142, 117, 89, 105, 174, 72, 100, 100)

# Share of skylight in the light on the ground: falls with wavelength from about a third in the blue.
SKYLIGHT = (0.35, 0.30, 0.24, 0.22, 0.20, 0.18, 0.16, 0.15, 0.08, 0.06)

# Thick water clouds: white in the visible, darker in the SWIR, where droplets absorb (King et al. 1992).
CLOUD = (0.72, 0.70, 0.70, 0.71, 0.72, 0.73, 0.72, 0.72, 0.42, 0.30)

TEXTURE = 0.02
"""Differences between neighbouring pixels of a date: half-shaded rows, wind, and pixels that fall up to
half a pixel beside those of the date before (multi-temporal registration, L2A data quality report); of
the reflectance, common to all bands, and half as much band by band."""

HAZE_SLOPE = 1.3
"""Aerosol left by the atmospheric correction falls with this power of the wavelength (Angstrom)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What one acquisition shows, and the truth behind it."""

    day: date
    """Day of the acquisition."""
    reflectance: Floats
    """Surface reflectance as processed, ``(band, y, x)`` at 10 m, noise and clouds in it."""
    scl: npt.NDArray[np.uint8]
    """Scene classification ``(y, x)`` at 20 m, with the mistakes that it makes."""
    valid: npt.NDArray[np.bool_]
    """True where the swath covers the ground, ``(y, x)`` at 10 m."""
    sky: Sky
    """True clouds, shadows and cirrus."""
    sun: Sun
    """Position of the sun."""

    @property
    def truly_clear(self) -> npt.NDArray[np.bool_]:
        """True where neither cloud, shadow nor cirrus changes the pixel visibly, ``(y, x)``."""
        veiled = (self.sky.cloud >= VISIBLE) | (self.sky.shadow >= VISIBLE) | (self.sky.cirrus >= 0.01)
        return np.asarray(self.valid & ~veiled)


def overpass_dates(first_day: date, last_day: date) -> tuple[date, ...]:
    """Return the days of acquisition from the first day on, every five days.

    Raises:
        InputError: the last day lies before the first.
    """
    if last_day < first_day:
        msg = f"Days {first_day} to {last_day} are no period. Give the earlier day first."
        raise InputError(msg)
    n = (last_day - first_day).days // REVISIT_DAYS + 1
    return tuple(first_day + timedelta(days=REVISIT_DAYS * k) for k in range(n))


def clear_reflectance(landscape: Landscape, growth: Growth, day: date) -> Floats:
    """Return the reflectance of the ground on a day, without sky and sensor.

    Args:
        landscape: where.
        growth: the year of its pixels (:func:`toolkit.simulate.growth.grow`), or of some of them.
        day: date.

    Returns:
        float32 ``(band, *shape of growth)``, unit 1.
    """
    return ground_and_water(landscape, growth, day)[0]


def sample_series(
    landscape: Landscape,
    *,
    year: int,
    dates: Sequence[date],
    pixels: npt.NDArray[np.intp] | None = None,
) -> Floats:
    """Return noise-free series of pixels.

    Args:
        landscape: where.
        year: year of the season; decides the dates and cover of the fields.
        dates: days wanted, in any order.
        pixels: flat indices of the pixels wanted; all by default.

    Returns:
        float32 ``(pixel, band, date)``, unit 1.
    """
    growth = grow(landscape, year=year)
    wanted = np.arange(landscape.field.size) if pixels is None else np.asarray(pixels)
    growth = growth.take(wanted)
    out = np.empty((wanted.size, len(SENTINEL2_BANDS), len(dates)), dtype=np.float32)
    for k, day in enumerate(dates):
        out[:, :, k] = clear_reflectance(landscape, growth, day).T
    return out


def render_scene(landscape: Landscape, growth: Growth, day: date, *, cloud_amount: float) -> Scene:
    """Return the acquisition of a day.

    Args:
        landscape: where.
        growth: the year of all its pixels, ``(y, x)``.
        day: date.
        cloud_amount: share of the scene under cloud, 0 to 1.
    """
    ground, water = ground_and_water(landscape, growth, day)
    shape = landscape.field.shape
    height, width = shape
    rng = stream(landscape.seed, "sky", day.toordinal())
    sun = sun_position(day.timetuple().tm_yday, centre(landscape)[1])
    sky = draw_sky((height, width), cloud_amount, sun, rng)
    valid = _swath((height, width), stream(landscape.seed, "swath", day.toordinal()))
    rng = stream(landscape.seed, "sensor", day.toordinal())
    surface = _through_atmosphere(ground, sky, rng)
    seen = _add_noise(surface, rng)
    scl = _classify(seen, water, sky, valid, stream(landscape.seed, "scl", day.toordinal()))
    return Scene(day=day, reflectance=seen, scl=scl, valid=valid, sky=sky, sun=sun)


def centre(landscape: Landscape) -> tuple[float, float]:
    """Return longitude and latitude of the landscape's centre, degrees."""
    bounds = landscape.geobox.boundingbox
    to_degrees = Transformer.from_crs(f"EPSG:{landscape.region.epsg}", "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform((bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2)
    return float(lon), float(lat)


def ground_and_water(
    landscape: Landscape, growth: Growth, day: date, endmembers: Endmembers = SENTINEL2
) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Return the reflectance of the ground, and the share of open water.

    Args:
        landscape: where.
        growth: the year of its pixels, or of some of them.
        day: date.
        endmembers: spectra of the pure surfaces in the bands wanted.

    Returns:
        float32 ``(band, *shape of growth)``, unit 1, and float64 ``shape of growth``, 0 to 1.
    """
    region = landscape.region
    crop_year_day = crop_day(day, region.hemisphere)
    parts = fractions(growth, crop_year_day)
    wetness = soil_wetness(
        growth,
        landscape.seed,
        day,
        crop_day=crop_year_day,
        rain_probability=region.rain_probability,
    )
    reflectance = mix(parts, on_day(growth, landscape.seed, day), wetness, endmembers)
    return reflectance, parts[FRACTIONS.index("water")]


def _through_atmosphere(ground: Floats, sky: Sky, rng: np.random.Generator) -> Floats:
    """Add what the atmospheric correction leaves, shadows, clouds and cirrus; 20 m bands included.

    Errors of the correction are one number per date for all bands, scaled by wavelength: aerosol
    off by about 0.05 in optical depth changes the blue by about 0.01 (Sentinel-2 L2A data quality
    report: uncertainty 0.005 + 0.05 of the reflectance).
    """
    haze, gain = rng.normal(0, 0.008), rng.normal(0, 0.03)
    pattern = 1 + 0.3 * smooth_noise(rng, (ground.shape[1], ground.shape[2]), length_px=40.0)
    out = np.empty_like(ground)
    for band in range(len(SENTINEL2_BANDS)):
        fade = (CENTRES_NM[0] / CENTRES_NM[band]) ** HAZE_SLOPE
        lit = ground[band] * (1 + gain * (0.5 + 0.5 * fade)) + haze * fade * pattern
        lit = lit * (1 - sky.shadow * (1 - SKYLIGHT[band]))
        lit = lit * (1 - sky.cirrus) + sky.cirrus * (0.5 + 0.5 * fade)
        out[band] = lit * (1 - sky.cloud) + sky.cloud * CLOUD[band]
    return out


def _add_noise(surface: Floats, rng: np.random.Generator) -> Floats:
    """Add texture and sensor noise, the latter at the resolution at which the band is stored."""
    out = np.empty_like(surface)
    shape = surface.shape[1:]
    texture = 1 + TEXTURE * rng.standard_normal(shape, dtype=np.float32)
    for band, name in enumerate(SENTINEL2_BANDS):
        # The mean of four pixels halves the noise of a 20 m band: drawn twice as large.
        scale = 1.0 if name in BANDS_10M else 2.0
        deviation = scale * (0.001 + np.abs(surface[band]) / SIGNAL_TO_NOISE[band])
        deviation = np.hypot(deviation, TEXTURE / 2 * surface[band])
        noise = rng.standard_normal(shape, dtype=np.float32)
        out[band] = surface[band] * texture + noise * deviation
    return out


def _swath(shape: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Ground seen from the orbit: on one date in six a slanted edge cuts the scene."""
    cut, lost, east = rng.uniform() < 1 / 6, rng.uniform(0.1, 0.6), rng.uniform() < 0.5
    rows, columns = np.mgrid[0 : shape[0] // 2, 0 : shape[1] // 2]
    # The orbit is inclined by 98.6 degrees: on the ground about 12 degrees off the meridian.
    across = columns + (rows - rows.mean()) * np.tan(np.radians(12))
    inside = across < across.max() * (1 - lost) if east else across > across.max() * lost
    return _to_10m(inside | (not cut))


def _classify(
    seen: Floats,
    water: npt.NDArray[np.float64],
    sky: Sky,
    valid: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """Scene classification at 20 m as Sen2Cor would give it, mistakes included.

    Missed: thin edges of clouds and of shadows. Wrong: patches of bright soil taken for clouds.
    """
    red, nir = (
        to_20m(seen[SENTINEL2_BANDS.index("B04")]),
        to_20m(seen[SENTINEL2_BANDS.index("B8A")]),
    )
    cloud, shadow, cirrus = to_20m(sky.cloud), to_20m(sky.shadow), to_20m(sky.cirrus)
    shape = (red.shape[0], red.shape[1])
    unsure = 0.06 * smooth_noise(rng, shape, length_px=2.0)
    ndvi = (nir - red) / np.maximum(nir + red, 1e-3)
    scl = np.where(ndvi > 0.4, 4, 5)
    scl = np.where(to_20m(water) > 0.5, 6, scl)
    scl = np.where(shadow + unsure > 0.35, 3, scl)
    scl = np.where(cirrus + unsure / 10 > 0.015, 10, scl)
    glaring = (red > 0.24) & (smooth_noise(rng, shape, length_px=6.0) > 1.0) & (cloud < VISIBLE)
    scl = np.where(glaring & (scl == 5), 8, scl)
    scl = np.where(cloud + unsure > 0.22, 7, scl)
    scl = np.where(cloud + unsure > 0.30, 8, scl)
    scl = np.where(cloud + unsure > 0.65, 9, scl)
    return np.where(valid[::2, ::2], scl, 0).astype(np.uint8)


def to_20m(pixels: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return means of 2 x 2 pixels, ``(y, x)`` to ``(y / 2, x / 2)``."""
    height, width = pixels.shape
    return np.asarray(pixels.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)))


def _to_10m(blocks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Repeat each 20 m pixel as 2 x 2 pixels of 10 m."""
    return np.repeat(np.repeat(blocks, 2, axis=0), 2, axis=1)
