"""Composites: median of the clear observations of each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from toolkit.area.season import Season
from toolkit.cubes.recipe import Fill
from toolkit.errors import BandError, InputError, NoItemsError
from toolkit.kernels.fill import fill_linear
from toolkit.kernels.median import windowed_median
from toolkit.kernels.observations import count_clear, longest_gap
from toolkit.scenes.sensors import SENSORS


def median_cube(scenes: xr.Dataset, season: Season, *, fill: Fill = "linear") -> xr.DataArray:
    """Return the median reflectance of each band and step.

    Args:
        scenes: dims ``(time, y, x)``, uint16 variables and ``clear`` (see
            :func:`toolkit.scenes.sentinel2.load_scenes`); lazy or not.
        season: steps.
        fill: ``linear`` fills steps without observation between their neighbours in time, ``none``
            leaves them NaN.

    Returns:
        float32 ``(band, step, y, x)``, reflectance (unit 1); NaN = not observed. Lazy if ``scenes`` is, then
        one block per spatial block of ``scenes``. Coordinate ``step_observations`` (step, y, x), uint8, holds
        the clear dates per step.

    Raises:
        InputError: ``fill`` unknown.
        NoItemsError: no scene lies in the season.
        BandError: there is no band, or no ``clear``.
    """
    if fill not in ("linear", "none"):
        msg = f"fill is {fill!r}; allowed: 'linear', 'none'."
        raise InputError(msg)
    bands = [str(name) for name in scenes.data_vars if name != "clear"]
    if not bands or "clear" not in scenes:
        msg = f"Scenes need bands and 'clear', got {sorted(map(str, scenes.data_vars))}. Use load_scenes."
        raise BandError(msg)
    scenes, starts, stops = _in_season(scenes, season)
    scale = np.float32(SENSORS[scenes.attrs.get("sensor", "sentinel-2")].scale)
    layers = [
        _blockwise(
            _median_block,
            scenes[band],
            scenes.clear,
            starts=starts,
            stops=stops,
            scale=scale,
            fill=fill,
        )
        for band in bands
    ]
    cube = xr.concat(layers, dim="band").assign_coords(band=bands, step=np.arange(season.n_steps))
    cube = cube.transpose("band", "step", "y", "x")
    counts = step_observations(scenes, season)
    cube = cube.assign_coords(step_observations=(("step", "y", "x"), counts.data))
    cube.attrs = {
        "units": "1",
        "long_name": "median surface reflectance",
        "simulated": scenes.attrs.get("simulated", 0),
    }
    return cube.rename("reflectance")


def step_observations(scenes: xr.Dataset, season: Season) -> xr.DataArray:
    """Return the number of clear dates in each step.

    Args:
        scenes: dims ``(time, y, x)`` with ``clear``.
        season: steps.

    Returns:
        uint8 ``(step, y, x)``, at most 255.
    """
    scenes, starts, stops = _in_season(scenes, season)
    return _blockwise(_count_block, scenes.clear, starts=starts, stops=stops, dtype=np.uint8)


def observation_layers(counts: xr.DataArray) -> xr.Dataset:
    """Return how well each pixel was observed.

    Args:
        counts: clear dates per step, uint8 ``(step, y, x)``, not lazy.

    Returns:
        ``observations`` uint8 ``(y, x)``, clear dates in the season (at most 255), and ``longest_gap``
        uint8 ``(y, x)``, the longest run of steps without a clear date.
    """
    values = counts.to_numpy()
    observed = (values > 0).reshape(values.shape[0], -1)
    total = np.minimum(values.sum(axis=0, dtype=np.uint32), 255).astype(np.uint8)
    gap = longest_gap(observed).reshape(values.shape[1:])
    place = {name: counts.coords[name] for name in ("y", "x", "spatial_ref") if name in counts.coords}
    return xr.Dataset({"observations": (("y", "x"), total), "longest_gap": (("y", "x"), gap)}, coords=place)


def _in_season(
    scenes: xr.Dataset, season: Season
) -> tuple[xr.Dataset, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sort by time, keep the season, and give the first and last date index of each step."""
    scenes = scenes.sortby("time")
    steps = season.steps_of(scenes.time.to_numpy())
    kept = np.flatnonzero(steps >= 0)
    if kept.size == 0:
        times = scenes.time.to_numpy().astype("datetime64[D]")
        span = f"{times.min()} to {times.max()}" if times.size else "none"
        msg = f"No scene lies in the season {season.start} to {season.end}; scenes: {span}. Check the year."
        raise NoItemsError(msg)
    if kept.size != steps.size:
        scenes = scenes.isel(time=kept)
    numbers = np.arange(season.n_steps)
    inside = steps[kept]
    return (
        scenes,
        np.searchsorted(inside, numbers, "left"),
        np.searchsorted(inside, numbers, "right"),
    )


def _blockwise(
    function: Callable[..., npt.NDArray[Any]],
    *arrays: xr.DataArray,
    dtype: type[np.generic] = np.float32,
    **options: Any,
) -> xr.DataArray:
    """Apply a block function ``(y, x, time) -> (y, x, step)``; one task per spatial block if lazy."""
    lazy = [array.chunk(time=-1) if array.chunks is not None else array for array in arrays]
    result: xr.DataArray = xr.apply_ufunc(
        function,
        *lazy,
        kwargs=options,
        input_core_dims=[["time"]] * len(arrays),
        output_core_dims=[["step"]],
        dask="parallelized",
        output_dtypes=[dtype],
        dask_gufunc_kwargs={"output_sizes": {"step": len(options["starts"])}},
    )
    return result.transpose("step", "y", "x")


def _median_block(  # the arrays and numbers of one kernel call
    values: npt.NDArray[np.uint16],
    clear: npt.NDArray[np.bool_],
    *,
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    scale: np.float32,
    fill: Fill,
) -> npt.NDArray[np.float32]:
    """Median of one block ``(y, x, time)``; its memory is time-first, so moving the axis is free."""
    median = windowed_median(_time_first(values), _time_first(clear), starts, stops)
    median *= scale  # before filling, as samples are filled: the two agree to the last bit
    if fill == "linear":
        median = fill_linear(median)
    return np.moveaxis(median.reshape(-1, *values.shape[:2]), 0, -1)


def _count_block(
    clear: npt.NDArray[np.bool_], *, starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    counts = count_clear(_time_first(clear), starts, stops)
    return np.moveaxis(counts.reshape(-1, *clear.shape[:2]), 0, -1)


def _time_first(block: npt.NDArray[np.generic]) -> npt.NDArray:  # type: ignore[type-arg]  # keeps the dtype it gets
    return np.moveaxis(block, -1, 0).reshape(block.shape[-1], -1)
