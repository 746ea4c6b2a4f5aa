"""Harmonic cubes: a curve through the year for each pixel and band."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from toolkit.area.season import Steps
from toolkit.cubes.blocks import bands_of, over_blocks, pixels, scenes_in
from toolkit.errors import InputError
from toolkit.kernels.harmonic import MAX_ORDER, fit_harmonic_curves, harmonic_basis
from toolkit.kernels.stacks import Mask, Numbers
from toolkit.scenes.sensors import SENSORS

DAYS_PER_YEAR = 365
"""Time in years is days since the start of the (hemisphere's) year over 365 (Tong & Wang 2025)."""


def coefficient_names(order: int) -> list[str]:
    """Return ``constant, cos1, sin1, cos2, sin2, ...``."""
    return ["constant", *(f"{wave}{k}" for k in range(1, order + 1) for wave in ("cos", "sin"))]


def fit_harmonics(scenes: xr.Dataset, season: Steps, *, order: int = 2) -> xr.DataArray:
    """Fit ``c + sum_k a_k cos(2 pi k t) + b_k sin(2 pi k t)`` to the clear observations in a season.

    Time ``t`` is in years since the start of the hemisphere's year: seasons north and south are alike.

    Args:
        scenes: dims ``(time, y, x)``, uint16 variables and ``clear``; lazy or not.
        season: days whose observations count; a whole year is its 73 steps.
        order: number of harmonics, 0 to 6. A season of seven months asks for order 3 or less: above that,
            curves swing freely in the months without observations.

    Returns:
        float32 ``(band, coefficient, y, x)``, reflectance; NaN where a pixel has fewer observations than
        coefficients. Lazy if ``scenes`` is, then one task per spatial block. Coordinate ``solved`` (y, x),
        uint8: 0 too few observations, 1 solved, 2 singular (fewer distinct dates than coefficients) and
        solved with a ridge. Attribute ``year_start``: the date at which t is 0.

    Raises:
        InputError: order out of range.
        NoItemsError: no scene lies in the season.
        BandError: there is no band, or no ``clear``.
    """
    _check_order(order)
    bands = bands_of(scenes)
    scenes, _, _ = scenes_in(scenes, season)
    packed = over_blocks(
        partial(
            fit_block,
            **season_years(scenes.time.to_numpy(), season),
            order=order,
            scale=SENSORS[scenes.attrs.get("sensor", "sentinel-2")].scale,
        ),
        scenes,
        bands,
        dims=("band", "coefficient"),
        sizes=(len(bands), 2 * order + 2),
    )
    curves = packed.isel(coefficient=slice(None, -1))
    solved = packed.isel(band=0, coefficient=-1, drop=True).astype(np.uint8)
    curves = curves.assign_coords(
        band=bands, coefficient=coefficient_names(order), solved=(("y", "x"), solved.data)
    )
    curves.attrs = {
        "units": "1",
        "long_name": "harmonic coefficients of surface reflectance",
        "year_start": season.year_start.isoformat(),
        "simulated": scenes.attrs.get("simulated", 0),
    }
    return curves.rename("coefficients")


def amplitude_and_phase(curves: xr.DataArray) -> xr.Dataset:
    """Return each harmonic as ``A_k cos(2 pi k t - phi_k)``.

    Args:
        curves: result of :func:`fit_harmonics`.

    Returns:
        ``amplitude`` float32 ``(band, harmonic, y, x)``, reflectance, and ``phase`` float32, radians in
        (-pi, pi]: the k-th harmonic peaks at ``t = phi_k / (2 pi k)`` years. Coordinate ``harmonic``: k.
    """
    order = curves.sizes["coefficient"] // 2
    number = xr.DataArray(np.arange(1, order + 1), dims="harmonic")
    parts = curves.drop_vars("coefficient")
    cosine = parts.isel(coefficient=xr.DataArray(np.arange(1, 2 * order, 2), dims="harmonic"))
    sine = parts.isel(coefficient=xr.DataArray(np.arange(2, 2 * order + 1, 2), dims="harmonic"))
    dims = ("band", "harmonic", "y", "x")
    both = xr.Dataset({"amplitude": np.hypot(cosine, sine), "phase": np.arctan2(sine, cosine)})
    both["amplitude"].attrs = {"units": "1", "long_name": "amplitude of the harmonic"}
    both["phase"].attrs = {"units": "radian", "long_name": "phase of the harmonic"}
    return both.assign_coords(harmonic=number).transpose(*dims)


def harmonic_curve(curves: xr.DataArray, dates: Sequence[date | np.datetime64]) -> xr.DataArray:
    """Return the fitted reflectance at any dates.

    Args:
        curves: result of :func:`fit_harmonics`.
        dates: dates, inside the season or not.

    Returns:
        float32 ``(band, time, y, x)``, reflectance.
    """
    times = np.array(dates, dtype="datetime64[D]")
    start = date.fromisoformat(curves.attrs["year_start"])
    basis = harmonic_basis(_years(times, start), curves.sizes["coefficient"] // 2)
    table = xr.DataArray(basis, dims=("time", "coefficient"), coords={"time": times.astype("datetime64[ns]")})
    fitted: xr.DataArray = xr.dot(curves.drop_vars("coefficient"), table, dim="coefficient").astype(
        np.float32
    )
    fitted.attrs = {"units": "1", "long_name": "fitted surface reflectance"}
    return fitted.transpose("band", "time", "y", "x").rename("reflectance")


def harmonic_residual(scenes: xr.Dataset, curves: xr.DataArray, season: Steps) -> xr.DataArray:
    """Return how far the clear observations lie from the curves.

    Args:
        scenes: the scenes the curves were fitted to; lazy or not.
        curves: result of :func:`fit_harmonics`.
        season: its season.

    Returns:
        float32 ``(band, y, x)``, root of the mean squared difference, reflectance; NaN without a curve.
    """
    scenes, _, _ = scenes_in(scenes, season)
    bands = [str(band) for band in curves.band.to_numpy()]
    fitted = harmonic_curve(curves, list(scenes.time.to_numpy().astype("datetime64[D]")))
    seen = xr.concat([scenes[band] for band in bands], dim=xr.Variable("band", bands))
    scale = SENSORS[scenes.attrs.get("sensor", "sentinel-2")].scale
    usable = scenes["clear"] & (seen > 0)
    gap = (seen.astype(np.float32) * np.float32(scale) - fitted.assign_coords(time=scenes.time)).where(usable)
    residual: xr.DataArray = ((gap**2).mean("time") ** 0.5).astype(np.float32)
    residual.attrs = {"units": "1", "long_name": "root mean squared difference from the harmonic curve"}
    return residual.transpose("band", "y", "x").rename("residual")


def _check_order(order: int) -> None:
    if not (isinstance(order, int) and 0 <= order <= MAX_ORDER):
        msg = f"order is {order!r}; allowed: whole numbers from 0 to {MAX_ORDER}."
        raise InputError(msg)


def _years(times: npt.NDArray[np.datetime64], start: date) -> npt.NDArray[np.float64]:
    """Years since a date; the hour does not count, as in the paper's day of year."""
    days = (times.astype("datetime64[D]") - np.datetime64(start)).astype(np.float64)
    years: npt.NDArray[np.float64] = days / DAYS_PER_YEAR
    return years


def season_years(times: npt.NDArray[np.datetime64], season: Steps) -> dict[str, Any]:
    """Return what a fit needs to know of time: ``years`` of the dates and the ``span`` of the season."""
    first, last = _years(np.array([season.start, season.end], dtype="datetime64[D]"), season.year_start)
    span = float(first), float(max(last, first + 1 / DAYS_PER_YEAR))
    return {"years": _years(times, season.year_start), "span": span}


def fit_block(
    stacks: Sequence[Numbers],
    clear: Mask,
    *,
    years: npt.NDArray[np.float64],
    order: int,
    span: tuple[float, float],
    scale: float,
) -> npt.NDArray[np.float32]:
    """Fit a block of pixels.

    Args:
        stacks: per band uint16 ``(time, y, x)``.
        clear: bool ``(time, y, x)``.
        years: times in years.
        order: number of harmonics.
        span: first and last time of the season, years.
        scale: reflectance of one digital number.

    Returns:
        float32 ``(band, coefficient, y, x)``, and as one coefficient more how each pixel was solved.
    """
    out = np.empty((len(stacks), 2 * order + 2, *clear.shape[1:]), np.float32)
    fit = fit_harmonic_curves(
        [pixels(stack) for stack in stacks], pixels(clear), years, order=order, span=span
    )
    out[:, :-1] = (fit.coefficients * np.float32(scale)).reshape(len(stacks), -1, *clear.shape[1:])
    out[:, -1] = fit.solved.reshape(clear.shape[1:])
    return out
