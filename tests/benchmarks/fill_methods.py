"""Linear gap filling in time: ours, and what numpy, bottleneck, numbagg, pandas and xarray offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import bottleneck
import numbagg
import numpy as np
import pandas as pd
import xarray as xr

from tests.benchmarks.methods import Call, Method, in_parts
from tests.benchmarks.stacks import Array, Gaps
from tests.benchmarks.threads import touched
from toolkit.kernels.fill import fill_linear

OURS = "ours"

Push = Callable[[Array], Array]
"""Takes ``(band, step, pixel)`` and carries each value on until the next."""


def ours(*, periodic: bool) -> Callable[[Gaps], Call]:
    def work(part: Gaps, out: Array) -> Array:
        for values, target in zip(part.data, out, strict=True):
            fill_linear(values, periodic=periodic, out=target)
        return out

    return in_parts(work, lambda part: touched(part.data.shape, np.float32))


def filled_by_indices(values: Array, *, periodic: bool = False) -> Array:
    """Numpy without loops: positions of the neighbours by accumulation, then their values."""
    steps = values.shape[1]
    known = ~np.isnan(values)
    here = np.arange(steps, dtype=np.int32)[:, None]
    left = np.where(known, here, np.int32(-steps))
    right = np.where(known, here, np.int32(2 * steps))
    if periodic:
        left[:, 0] = np.maximum(left[:, 0], left.max(axis=1) - steps)
        right[:, -1] = np.minimum(right[:, -1], right.min(axis=1) + steps)
    left = np.maximum.accumulate(left, axis=1)
    right = np.minimum.accumulate(right[:, ::-1], axis=1)[:, ::-1]
    if not periodic:
        left, right = np.where(left < 0, right, left), np.where(right >= steps, left, right)
    before = np.take_along_axis(values, left % steps, axis=1)
    after = np.take_along_axis(values, right % steps, axis=1)
    weight = (here - left).astype(np.float32) / np.maximum(right - left, 1).astype(np.float32)
    return np.where(known, values, before + (after - before) * weight)


def by_indices(*, periodic: bool) -> Callable[[Gaps], Call]:
    return lambda gaps: lambda: filled_by_indices(gaps.data, periodic=periodic)


def by_push(forward: Push, backward: Push) -> Callable[[Gaps], Call]:
    """Values and steps of the neighbours by carrying them forward and backward."""

    def prepare(gaps: Gaps) -> Call:
        values = gaps.data

        def call() -> Array:
            here = np.arange(values.shape[1], dtype=np.float32)[:, None]
            steps = np.where(np.isnan(values), np.float32(np.nan), here)
            before, left = forward(values), forward(steps)
            after, right = backward(values), backward(steps)
            blend = before + (after - before) * ((here - left) / np.maximum(right - left, 1))
            return np.where(np.isnan(before), after, np.where(np.isnan(after), before, blend))

        return call

    return prepare


def by_interp(*, periodic: bool) -> Callable[[Gaps], Call]:
    """``numpy.interp`` for each pixel and band."""

    def prepare(gaps: Gaps) -> Call:
        bands, steps, pixels = gaps.data.shape
        series = np.ascontiguousarray(gaps.data.transpose(0, 2, 1)).reshape(-1, steps)
        here = np.arange(steps)

        def call() -> Array:
            out = series.copy()
            for row in out:
                known = ~np.isnan(row)
                if known.any():
                    row[:] = np.interp(here, here[known], row[known], period=steps if periodic else None)
            return out.reshape(bands, pixels, steps).transpose(0, 2, 1)

        return call

    return prepare


def by_pandas(gaps: Gaps) -> Call:
    """``DataFrame.interpolate`` down the columns, one per pixel and band."""
    bands, steps, pixels = gaps.data.shape
    frame = pd.DataFrame(np.ascontiguousarray(gaps.data.transpose(1, 0, 2)).reshape(steps, -1))

    def call() -> Array:
        filled = frame.interpolate(limit_direction="both").to_numpy()
        return filled.reshape(steps, bands, pixels).transpose(1, 0, 2)

    return call


def by_xarray(gaps: Gaps) -> Call:
    """``interpolate_na``, then the ends."""
    cube = gaps.cube

    def call() -> Array:
        filled = cube.interpolate_na("time", use_coordinate=False).ffill("time").bfill("time")
        return _pixels_last(filled)

    return call


def by_xarray_across_the_year(gaps: Gaps) -> Call:
    """``interpolate_na`` on a year between its two copies."""
    cube, steps = gaps.cube, gaps.data.shape[1]

    def call() -> Array:
        years = xr.concat([cube, cube, cube], "time").interpolate_na("time", use_coordinate=False)
        return _pixels_last(years.isel(time=slice(steps, 2 * steps)))

    return call


HELD_METHODS: Mapping[str, Method] = {
    OURS: Method(prepare=ours(periodic=False)),
    "bottleneck.push formula": Method(
        prepare=by_push(
            lambda x: bottleneck.push(x, axis=1), lambda x: bottleneck.push(x[:, ::-1], axis=1)[:, ::-1]
        ),
        side=64,
        tolerance=1e-6,
    ),
    "numbagg.ffill/bfill formula": Method(
        prepare=by_push(lambda x: numbagg.ffill(x, axis=1), lambda x: numbagg.bfill(x, axis=1)),
        side=64,
        tolerance=1e-6,
    ),
    "numpy accumulate + take_along_axis": Method(prepare=by_indices(periodic=False), side=64, tolerance=1e-6),
    "numpy.interp per pixel": Method(prepare=by_interp(periodic=False), side=32, tolerance=1e-6),
    "xarray interpolate_na + ffill + bfill": Method(prepare=by_xarray, side=32, tolerance=1e-6),
    "pandas interpolate": Method(prepare=by_pandas, side=32, tolerance=1e-6),
}

PERIODIC_METHODS: Mapping[str, Method] = {
    OURS: Method(prepare=ours(periodic=True)),
    "numpy accumulate + take_along_axis": Method(prepare=by_indices(periodic=True), side=64, tolerance=1e-6),
    "numpy.interp(period=...) per pixel": Method(prepare=by_interp(periodic=True), side=32, tolerance=1e-6),
    "xarray interpolate_na on three years": Method(
        prepare=by_xarray_across_the_year, side=32, tolerance=1e-6
    ),
}


def _pixels_last(cube: xr.DataArray) -> Array:
    array = cube.transpose("band", "time", "y", "x").to_numpy()
    return array.reshape(*array.shape[:2], -1)
