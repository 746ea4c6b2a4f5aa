"""Counts of clear dates and the longest gap between them: ours and those of numpy, flox and xarray."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import dask
import flox
import numpy as np
import xarray as xr

from tests.benchmarks.methods import Call, Method
from tests.benchmarks.stacks import Array, Stack
from tests.benchmarks.threads import CORES, on_all_cores
from toolkit.kernels.observations import count_clear, longest_gap

OURS = "ours"


def counted(stack: Stack) -> Call:
    parts = stack.parts(CORES)
    return lambda: on_all_cores(lambda part: count_clear(part.clear, *part.windows), parts)


def counted_by_reduceat(stack: Stack) -> Call:
    starts = stack.windows[0]
    return lambda: np.add.reduceat(stack.clear.view(np.uint8), starts, axis=0, dtype=np.uint8)


def counted_by_flox(stack: Stack) -> Call:
    times_last = np.moveaxis(stack.clear, 0, -1)
    return lambda: flox.groupby_reduce(times_last, stack.labels, func="sum")[0].T


def counted_by_xarray(stack: Stack) -> Call:
    cube = stack.clear_cube
    return lambda: _pixels_last(cube.resample(time=stack.bins).sum())


def counted_by_dask(stack: Stack) -> Call:
    half = -(-stack.clear_cube.sizes["y"] // 2)
    lazy = stack.clear_cube.chunk(time=-1, y=half, x=half)

    def call() -> Array:
        with dask.config.set(scheduler="threads", num_workers=CORES):
            return _pixels_last(lazy.resample(time=stack.bins).sum().compute())

    return call


def gap(stack: Stack) -> Call:
    parts = stack.parts(CORES)
    return lambda: on_all_cores(lambda part: longest_gap(part.clear), parts)


def gap_by_accumulate(stack: Stack) -> Call:
    """Steps since the last observation, and their maximum."""
    steps = np.arange(1, stack.clear.shape[0] + 1, dtype=np.int16)[:, None]

    def call() -> Array:
        last = np.maximum.accumulate(np.where(stack.clear, steps, np.int16(0)), axis=0)
        return (steps - last).max(axis=0)

    return call


def gap_by_rows(stack: Stack) -> Call:
    """The same, a date at a time."""

    def call() -> Array:
        run = np.zeros(stack.clear.shape[1], np.uint8)
        longest = np.zeros_like(run)
        for clear in stack.clear:
            run += 1
            run[clear] = 0
            np.maximum(longest, run, out=longest)
        return longest

    return call


def gap_by_xarray(stack: Stack) -> Call:
    """Cumulated cloudy dates, less those up to the last clear one."""
    cube = stack.clear_cube

    def call() -> Array:
        cloudy = (~cube).cumsum("time")
        gaps = cloudy - cloudy.where(cube).ffill("time").fillna(0)
        return gaps.max("time").to_numpy().ravel()

    return call


def gap_by_groupby(stack: Stack) -> Call:
    """``itertools.groupby`` for each pixel."""
    series = np.ascontiguousarray(stack.clear.T)

    def call() -> Array:
        longest = [
            max((sum(1 for _ in run) for clear, run in groupby(row) if not clear), default=0)
            for row in series.tolist()
        ]
        return np.array(longest)

    return call


COUNT_METHODS: Mapping[str, Method] = {
    OURS: Method(prepare=counted),
    "numpy add.reduceat": Method(prepare=counted_by_reduceat, side=256),
    "flox.groupby_reduce": Method(prepare=counted_by_flox, side=128),
    "xarray resample (flox)": Method(prepare=counted_by_xarray, side=128),
    "Dask + xarray resample": Method(prepare=counted_by_dask, side=128),
}

GAP_METHODS: Mapping[str, Method] = {
    OURS: Method(prepare=gap),
    "numpy accumulate": Method(prepare=gap_by_accumulate, side=256),
    "numpy, a date at a time": Method(prepare=gap_by_rows, side=256),
    "xarray cumsum + ffill": Method(prepare=gap_by_xarray, side=128),
    "itertools.groupby per pixel": Method(prepare=gap_by_groupby, side=64),
}


def _pixels_last(cube: xr.DataArray) -> Array:
    array = cube.transpose("time", "y", "x").to_numpy()
    return array.reshape(array.shape[0], -1)
