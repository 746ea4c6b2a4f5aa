"""Statistics per window: ours and those of numpy, bottleneck, numbagg, flox, xarray and Dask."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import bottleneck
import dask
import flox
import numbagg
import numpy as np
import xarray as xr

from tests.benchmarks.methods import Call, Method, in_parts
from tests.benchmarks.stacks import Array, Stack
from tests.benchmarks.threads import CORES, on_all_cores, touched
from toolkit.kernels.median import windowed_median
from toolkit.kernels.ranks import windowed_maximum, windowed_minimum, windowed_percentile

EXACT, ROUNDED = "ours, float32", "ours, uint16 (rounded)"
BOTTLENECK, BOTTLENECK_THREADS = "bottleneck per window", "bottleneck per window, our threads"
XARRAY = "xarray resample (flox)"
XARRAY_NUMBAGG = "xarray resample (no flox: numbagg)"
XARRAY_NUMPY = "xarray resample (no flox, no numbagg)"
DASK = "Dask + xarray resample"
PERCENT = 25

Reducer = Callable[[Array], Array]
"""Takes ``(band, time, pixel)`` and returns ``(band, pixel)``."""


def ours(kernel: Callable[..., Array], *arguments: float) -> dict[str, Method]:
    """Our kernel with both kinds of result."""

    def work(part: Stack, out: Array) -> Array:
        for values, target in zip(part.data, out, strict=True):
            kernel(values, part.clear, *part.windows, *arguments, out=target)
        return out

    def room(dtype: type[np.generic]) -> Callable[[Stack], Array]:
        return lambda part: touched((part.data.shape[0], part.windows[0].size, part.data.shape[2]), dtype)

    return {
        EXACT: Method(prepare=in_parts(work, room(np.float32))),
        ROUNDED: Method(prepare=in_parts(work, room(np.uint16)), tolerance=0.5),
    }


def per_window(reduce: Reducer) -> Callable[[Stack], Call]:
    """A library's statistic, one call per window, on the cube with NaN."""

    def prepare(stack: Stack) -> Call:
        floats = stack.floats

        def call() -> Array:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # windows without observation
                return _reduced(floats, stack.windows, reduce)

        return call

    return prepare


def per_window_in_threads(reduce: Reducer) -> Callable[[Stack], Call]:
    """The same, a thread per part of the pixels."""

    def prepare(stack: Stack) -> Call:
        parts = [part.floats for part in stack.parts(CORES)]
        return lambda: on_all_cores(lambda floats: _reduced(floats, stack.windows, reduce), parts)

    return prepare


def resampled(statistic: Callable[[Any], xr.DataArray], **options: bool) -> Callable[[Stack], Call]:
    """``DataArray.resample``, with options of xarray."""

    def prepare(stack: Stack) -> Call:
        cube = stack.cube

        def call() -> Array:
            with xr.set_options(**options), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # windows without observation
                return _pixels_last(statistic(cube.resample(time=stack.bins)))

        return call

    return prepare


def resampled_by_dask(statistic: Callable[[Any], xr.DataArray]) -> Callable[[Stack], Call]:
    """The same on Dask's threads: all dates of a band and a quarter of the pixels in a chunk."""

    def prepare(stack: Stack) -> Call:
        half = -(-stack.cube.sizes["y"] // 2)
        lazy = stack.cube.chunk(band=1, time=-1, y=half, x=half)

        def call() -> Array:
            with dask.config.set(scheduler="threads", num_workers=CORES):
                return _pixels_last(statistic(lazy.resample(time=stack.bins)).compute())

        return call

    return prepare


def grouped_by_flox(statistic: str) -> Callable[[Stack], Call]:
    """``flox.groupby_reduce`` along time."""

    def prepare(stack: Stack) -> Call:
        times_last = np.moveaxis(stack.floats, 1, -1)

        def call() -> Array:
            result, *_ = flox.groupby_reduce(times_last, stack.labels, func=statistic)
            return np.moveaxis(result, -1, 1)

        return call

    return prepare


def smallest_by_reduceat(stack: Stack) -> Call:
    """What numpy does without NaN: clouds become the largest number."""

    def call() -> Array:
        counted = np.where(stack.clear, stack.data, np.uint16(65535))
        smallest = np.minimum.reduceat(counted, stack.windows[0], axis=1)
        return np.where(smallest == 65535, np.uint16(0), smallest)

    return call


def largest_by_reduceat(stack: Stack) -> Call:
    """What numpy does without NaN: clouds become 0."""
    return lambda: np.maximum.reduceat(stack.data * stack.clear, stack.windows[0], axis=1)


def median_methods() -> Mapping[str, Method]:
    """Ways to the median of each window."""
    return {
        **ours(windowed_median),
        BOTTLENECK: Method(prepare=per_window(lambda x: bottleneck.nanmedian(x, axis=1)), side=128),
        BOTTLENECK_THREADS: Method(
            prepare=per_window_in_threads(lambda x: bottleneck.nanmedian(x, axis=1)), side=128
        ),
        "numpy.nanmedian per window": Method(prepare=per_window(lambda x: np.nanmedian(x, axis=1)), side=64),
        "numbagg.nanmedian per window": Method(
            prepare=per_window(lambda x: numbagg.nanmedian(x, axis=1)),
            side=32,
            tolerance=1e-3,
            compiles_long=True,
        ),
        "flox.groupby_reduce": Method(prepare=grouped_by_flox("nanmedian"), side=64),
        XARRAY: Method(prepare=resampled(lambda g: g.median()), side=64),
        XARRAY_NUMBAGG: Method(
            prepare=resampled(lambda g: g.median(), use_flox=False),
            side=32,
            tolerance=1e-3,
            compiles_long=True,
        ),
        XARRAY_NUMPY: Method(
            prepare=resampled(lambda g: g.median(), use_flox=False, use_numbagg=False), side=64
        ),
        DASK: Method(prepare=resampled_by_dask(lambda g: g.median()), side=64),
    }


def percentile_methods() -> Mapping[str, Method]:
    """Ways to a percentile of each window."""
    share = PERCENT / 100
    return {
        **ours(windowed_percentile, PERCENT),
        "numpy.nanpercentile per window": Method(
            prepare=per_window(lambda x: np.nanpercentile(x, PERCENT, axis=1)), side=8, tolerance=1e-3
        ),
        "numbagg.nanquantile per window": Method(
            prepare=per_window(lambda x: numbagg.nanquantile(x, quantiles=share, axis=1)),
            side=32,
            tolerance=1e-3,
            compiles_long=True,
        ),
        XARRAY: Method(prepare=resampled(lambda g: g.quantile(share, skipna=True)), side=32, tolerance=1e-3),
    }


def minimum_methods() -> Mapping[str, Method]:
    """Ways to the minimum of each window."""
    return {
        **ours(windowed_minimum),
        "numpy where + minimum.reduceat": Method(prepare=smallest_by_reduceat, side=128),
        **_extreme_methods("min"),
    }


def maximum_methods() -> Mapping[str, Method]:
    """Ways to the maximum of each window."""
    return {
        **ours(windowed_maximum),
        "numpy multiply + maximum.reduceat": Method(prepare=largest_by_reduceat, side=128),
        **_extreme_methods("max"),
    }


def _extreme_methods(name: str) -> dict[str, Method]:
    def reducer(library: Any) -> Reducer:
        return lambda x: getattr(library, f"nan{name}")(x, axis=1)

    return {
        BOTTLENECK: Method(prepare=per_window(reducer(bottleneck)), side=128),
        BOTTLENECK_THREADS: Method(prepare=per_window_in_threads(reducer(bottleneck)), side=128),
        f"numpy.nan{name} per window": Method(prepare=per_window(reducer(np)), side=128),
        f"numbagg.nan{name} per window": Method(prepare=per_window(reducer(numbagg)), side=128),
        XARRAY: Method(prepare=resampled(lambda g: getattr(g, name)()), side=64),
        DASK: Method(prepare=resampled_by_dask(lambda g: getattr(g, name)()), side=64),
    }


def _reduced(floats: Array, windows: tuple[Array, Array], reduce: Reducer) -> Array:
    out = np.empty((floats.shape[0], windows[0].size, floats.shape[2]), np.float32)
    for w, (start, stop) in enumerate(zip(*windows, strict=True)):
        out[:, w] = reduce(floats[:, start:stop])
    return out


def _pixels_last(cube: xr.DataArray) -> Array:
    array = cube.transpose("band", "time", "y", "x").to_numpy()
    return array.reshape(*array.shape[:2], -1)
