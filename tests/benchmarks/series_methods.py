"""From a stack to the gap-filled series a model takes: fused, by our separate kernels, and by libraries."""

from __future__ import annotations

from collections.abc import Mapping

import bottleneck
import numpy as np

from tests.benchmarks.fill_methods import filled_by_indices
from tests.benchmarks.methods import Call, Method, in_parts
from tests.benchmarks.stacks import Array, Stack
from tests.benchmarks.threads import CORES, on_all_cores, touched
from toolkit.kernels.fill import fill_linear
from toolkit.kernels.median import windowed_median
from toolkit.kernels.series import HELD, filled_median, filled_series

FUSED, CUBE, SEPARATE = "ours, fused", "ours, fused, as a cube", "ours, separate kernels"
SCALE = 1e-4


def fused(stack: Stack) -> Call:
    """One pass per band into ``(pixel, band, step)``."""

    def work(part: Stack, out: Array) -> Array:
        for band, values in enumerate(part.data):
            filled_series(values, part.clear, *part.windows, scale=SCALE, fill=HELD, out=out[:, band])
        return _pixels_last(out)

    return in_parts(work, _room)(stack)


def fused_cube(stack: Stack) -> Call:
    """The same, not turned: ``(band, step, pixel)``."""

    def work(part: Stack, out: Array) -> Array:
        for values, target in zip(part.data, out, strict=True):
            filled_median(values, part.clear, *part.windows, scale=SCALE, fill=HELD, out=target)
        return out

    def room(part: Stack) -> Array:
        return touched((part.data.shape[0], part.windows[0].size, part.data.shape[2]), np.float32)

    return in_parts(work, room)(stack)


def separate(stack: Stack) -> Call:
    """Median, scale, gap filling and turning, one after the other."""
    parts = [(part, touched((part.windows[0].size, part.data.shape[2]), np.float32), _room(part))
             for part in stack.parts(CORES)]  # fmt: skip

    def work(part: Stack, median: Array, out: Array) -> Array:
        for band, values in enumerate(part.data):
            windowed_median(values, part.clear, *part.windows, out=median)
            np.multiply(median, np.float32(SCALE), out=median)
            fill_linear(median, out=median)
            out[:, band] = median.T
        return _pixels_last(out)

    return lambda: on_all_cores(lambda part: work(*part), parts)


def by_libraries(stack: Stack) -> Call:
    """bottleneck and numpy without loops over pixels."""
    floats, windows = stack.floats, stack.windows

    def call() -> Array:
        median = np.empty((floats.shape[0], windows[0].size, floats.shape[2]), np.float32)
        for w, (start, stop) in enumerate(zip(*windows, strict=True)):
            median[:, w] = bottleneck.nanmedian(floats[:, start:stop], axis=1)
        median *= np.float32(SCALE)
        return _pixels_last(np.ascontiguousarray(filled_by_indices(median).transpose(2, 0, 1)))

    return call


def by_xarray(stack: Stack) -> Call:
    """The chain an analyst writes."""
    cube = stack.cube

    def call() -> Array:
        median = cube.resample(time=stack.bins).median() * np.float32(SCALE)
        filled = median.interpolate_na("time", use_coordinate=False).ffill("time").bfill("time")
        array = filled.transpose("y", "x", "band", "time").to_numpy()
        return _pixels_last(np.ascontiguousarray(array.reshape(-1, *array.shape[2:])))

    return call


METHODS: Mapping[str, Method] = {
    FUSED: Method(prepare=fused),
    CUBE: Method(prepare=fused_cube),
    SEPARATE: Method(prepare=separate),
    "bottleneck + numpy accumulate": Method(prepare=by_libraries, side=64, tolerance=1e-6),
    "xarray resample + interpolate_na": Method(prepare=by_xarray, side=32, tolerance=1e-6),
}


def _room(part: Stack) -> Array:
    return touched((part.data.shape[2], part.data.shape[0], part.windows[0].size), np.float32)


def _pixels_last(series: Array) -> Array:
    """``(pixel, band, step)`` seen as ``(band, step, pixel)``."""
    return series.transpose(1, 2, 0)
