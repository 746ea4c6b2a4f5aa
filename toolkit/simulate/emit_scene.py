"""One EMIT acquisition of a landscape: ground under 60 m pixels, sky, sensor, masks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
from pyproj import Transformer
from scipy import ndimage, sparse

from toolkit.scenes.emit_bands import WAVELENGTHS_NM
from toolkit.simulate.clouds import Sky, draw_sky, sun_position
from toolkit.simulate.emit_metadata import MASK_BANDS, GranuleName
from toolkit.simulate.emit_spectra import emit_endmembers
from toolkit.simulate.emit_swath import Swath, make_glt, swath_lonlat, swath_positions
from toolkit.simulate.growth import Growth
from toolkit.simulate.landscape import RESOLUTION, Landscape
from toolkit.simulate.sentinel2 import CENTRES_NM, CLOUD, HAZE_SLOPE, SKYLIGHT, centre, ground_and_water
from toolkit.simulate.streams import smooth_noise, stream

Floats = npt.NDArray[np.float32]

SPACING_M = 60.0
"""Distance of neighbouring pixel centres, metres; a pixel shows the mean of as wide a square."""
MARGIN_PX = (38, 30)
"""Lines and samples beyond the landscape's diagonal: at least 0.9 km of land on every side."""
STRIP = 65_536
"""Pixels of the landscape that are mixed at a time: 285 bands of them take 75 MB."""

# Simulated, nm and ratio: signal to noise of the reflectance, highest where sunlight is strongest, falling
# in the SWIR; and a part of the noise that does not depend on the ground.
SIGNAL_TO_NOISE = ((380.0, 200.0), (500.0, 500.0), (900.0, 450.0), (1600.0, 350.0), (2500.0, 200.0))
NOISE_FLOOR = 0.0005

LOCAL_HOURS = (9.0, 15.0)
"""Local solar time of acquisitions: the orbit of the space station drifts through the day."""

# Thresholds of the simulated masks on the mean over a pixel: opacity, reflectance added in the blue, share.
CLOUD_FLAG, CIRRUS_FLAG, WATER_FLAG = 0.25, 0.015, 0.5
DILATION_PX = 3
"""Pixels by which the dilated cloud flag reaches beyond clouds (simulated)."""
BACKGROUND_PIXELS = 64
"""Pixels between fields whose mean covers the land around the landscape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Where a swath lies."""

    center: tuple[float, float]
    """Longitude and latitude of its centre, degrees."""
    shape: tuple[int, int]
    """Lines and samples."""
    heading_deg: float
    """Degrees clockwise by which it is turned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Means over the pixels of a swath, before noise."""

    reflectance: Floats
    """Unit 1, ``(pixel, band)``."""
    cloud: Floats
    """Opacity, ``(pixel,)``."""
    cirrus: Floats
    """Reflectance added in the blue."""
    water: Floats
    """Share of open water."""


def track(landscape: Landscape, day: date, *, heading_deg: float) -> Track:
    """Return the swath of a day: it covers the landscape, a little off its centre.

    Args:
        landscape: where.
        day: date.
        heading_deg: degrees clockwise by which the swath is turned.
    """
    rng = stream(landscape.seed, "track", day.toordinal())
    height, width = landscape.geobox.shape.yx
    across = math.ceil(math.hypot(height, width) * RESOLUTION / SPACING_M)
    lon, lat = centre(landscape)
    # Up to half a pixel: pixels of two dates never show the same ground.
    north, east = rng.uniform(-SPACING_M / 2, SPACING_M / 2, size=2) / 111_320
    return Track(
        center=(lon + float(east) / math.cos(math.radians(lat)), lat + float(north)),
        shape=(across + MARGIN_PX[0], across + MARGIN_PX[1]),
        heading_deg=heading_deg,
    )


def granule_name(landscape: Landscape, day: date, *, version: Literal[1, 2]) -> GranuleName:
    """Return the name of a day's granule; its local time varies, orbit and scene are zero.

    Args:
        landscape: where.
        day: date.
        version: version of the product.
    """
    hours = _local_hour(landscape, day) - centre(landscape)[0] / 15
    start = datetime.combine(day, time(), UTC) + timedelta(seconds=round(hours * 3600))
    return GranuleName(version=version, time=start)


def render_granule(
    landscape: Landscape, growth: Growth, day: date, *, cloud_amount: float, heading_deg: float
) -> Swath:
    """Return the acquisition of a day.

    Around the landscape lies grass under a clear sky.

    Args:
        landscape: where.
        growth: the year of all its pixels, ``(y, x)``.
        day: date.
        cloud_amount: share of the landscape under cloud, 0 to 1.
        heading_deg: degrees clockwise by which the swath is turned.
    """
    path = track(landscape, day, heading_deg=heading_deg)
    lines, samples = path.shape
    lon, lat = swath_lonlat(*path.center, lines=lines, samples=samples, heading_deg=heading_deg)
    sun = sun_position(day.timetuple().tm_yday, centre(landscape)[1], local_hour=_local_hour(landscape, day))
    height, width = landscape.geobox.shape.yx
    rng = stream(landscape.seed, "emit sky", day.toordinal())
    sky = draw_sky((height, width), cloud_amount, sun, rng)
    seen = _look(landscape, growth, day, sky, path)
    rng = stream(landscape.seed, "emit sensor", day.toordinal())
    glt_x, glt_y, geotransform = make_glt(lon, lat)
    return Swath(
        reflectance=_add_noise(seen.reflectance, rng).reshape(lines, samples, -1),
        mask=_masks(seen, path.shape, rng),
        lon=lon,
        lat=lat,
        elev=10.0 + 2.0 * smooth_noise(rng, path.shape, length_px=15.0).astype(np.float64),
        glt_x=glt_x,
        glt_y=glt_y,
        geotransform=geotransform,
    )


def footprints(landscape: Landscape, path: Track) -> npt.NDArray[np.intp]:
    """Return the number of the swath pixel that shows each pixel of the landscape.

    Args:
        landscape: where.
        path: where the swath lies.

    Returns:
        Flat index in the swath, ``(y, x)`` of the landscape; the swath covers all of it.
    """
    height, width = landscape.geobox.shape.yx
    bounds = landscape.geobox.boundingbox
    x = bounds.left + (np.arange(width) + 0.5) * RESOLUTION
    y = bounds.top - (np.arange(height) + 0.5) * RESOLUTION
    to_degrees = Transformer.from_crs(f"EPSG:{landscape.region.epsg}", "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(*np.meshgrid(x, y))
    line, sample = swath_positions(
        lon, lat, center=path.center, shape=path.shape, heading_deg=path.heading_deg, spacing_m=SPACING_M
    )
    return (np.rint(line).astype(np.intp)) * path.shape[1] + np.rint(sample).astype(np.intp)


def _local_hour(landscape: Landscape, day: date) -> float:
    """Local solar time of a day's acquisition."""
    return float(stream(landscape.seed, "local time", day.toordinal()).uniform(*LOCAL_HOURS))


def _look(landscape: Landscape, growth: Growth, day: date, sky: Sky, path: Track) -> Seen:
    """Mean of ground and sky over each pixel of the swath, strip by strip of the landscape."""
    shown = footprints(landscape, path).ravel()
    size = path.shape[0] * path.shape[1]
    bands = len(WAVELENGTHS_NM)
    sums = np.zeros((size, bands + 3))
    for start in range(0, shown.size, STRIP):
        pixels = np.arange(start, min(start + STRIP, shown.size))
        ground, water = ground_and_water(landscape, growth.take(pixels), day, emit_endmembers())
        cloud, shadow, cirrus = (a.ravel()[pixels] for a in (sky.cloud, sky.shadow, sky.cirrus))
        lit = _under_sky(ground, cloud, shadow, cirrus)
        # One row per swath pixel: adds up the pixels that it shows.
        adding = sparse.csr_array(
            (np.ones(pixels.size), (shown[pixels], np.arange(pixels.size))), shape=(size, pixels.size)
        )
        sums += adding @ np.vstack([lit, cloud, cirrus, water]).T
    counts = np.bincount(shown, minlength=size)
    full = (SPACING_M / RESOLUTION) ** 2
    around = np.maximum(full - counts, 0)[:, None]
    sums[:, :bands] += around * _background(landscape, growth, day, path.shape)
    means = (sums / (counts[:, None] + around)).astype(np.float32)
    return Seen(reflectance=means[:, :bands], cloud=means[:, -3], cirrus=means[:, -2], water=means[:, -1])


def _background(
    landscape: Landscape, growth: Growth, day: date, shape: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Reflectance of the land around: ``(pixel, band)``, a mean of pixels between fields in patches."""
    between = np.flatnonzero(landscape.field == 0)
    chosen = (between if between.size else np.arange(landscape.field.size))[:BACKGROUND_PIXELS]
    ground, _ = ground_and_water(landscape, growth.take(chosen), day, emit_endmembers())
    patches = 1 + 0.05 * smooth_noise(stream(landscape.seed, "around"), shape, length_px=3.0).ravel()
    return np.asarray(patches[:, None] * ground.mean(axis=1)[None, :], np.float64)


def _under_sky(ground: Floats, cloud: Floats, shadow: Floats, cirrus: Floats) -> Floats:
    """Reflectance ``(band, pixel)`` with shadows, cirrus and clouds, as for Sentinel-2."""
    nm = np.array(WAVELENGTHS_NM)
    skylight, white = (np.interp(nm, CENTRES_NM, v)[:, None].astype(np.float32) for v in (SKYLIGHT, CLOUD))
    fade = ((CENTRES_NM[0] / nm) ** HAZE_SLOPE)[:, None].astype(np.float32)
    lit = ground * (1 - shadow * (1 - skylight))
    lit = lit * (1 - cirrus) + cirrus * (0.5 + 0.5 * fade)
    return np.asarray(lit * (1 - cloud) + cloud * white, np.float32)


def _add_noise(reflectance: Floats, rng: np.random.Generator) -> Floats:
    """Add sensor noise to ``(pixel, band)``."""
    at, ratio = zip(*SIGNAL_TO_NOISE, strict=True)
    deviation = NOISE_FLOOR + reflectance / np.interp(WAVELENGTHS_NM, at, ratio).astype(np.float32)
    noise = rng.standard_normal(reflectance.shape, dtype=np.float32)
    return np.asarray(reflectance + noise * deviation, np.float32)


def _masks(seen: Seen, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Layers of mask version 1; thin edges of clouds are missed, shadows never flagged, as in real ones."""
    unsure = 0.05 * smooth_noise(rng, shape, length_px=1.0)
    cloud = (seen.cloud.reshape(shape) + unsure > CLOUD_FLAG) & (seen.cloud.reshape(shape) > 0)
    layers = {
        "Cloud flag": cloud,
        "Cirrus flag": seen.cirrus.reshape(shape) > CIRRUS_FLAG,
        "Water flag": seen.water.reshape(shape) > WATER_FLAG,
        "Spacecraft Flag": np.zeros(shape, np.bool_),
        "Dilated Cloud Flag": np.asarray(ndimage.binary_dilation(cloud, iterations=DILATION_PX)),
    }
    aggregate = np.logical_or.reduce(list(layers.values()))
    aerosol = np.clip(0.12 + 0.02 * smooth_noise(rng, shape, length_px=20.0), 0.01, None)
    vapour = np.clip(3.0 + 0.2 * smooth_noise(rng, shape, length_px=20.0), 0.1, None)
    quantities = {"AOD550": aerosol, "H2O (g cm-2)": vapour, "Aggregate Flag": aggregate}
    return np.stack([(layers | quantities)[name] for name in MASK_BANDS[1]], axis=-1).astype(np.float32)
