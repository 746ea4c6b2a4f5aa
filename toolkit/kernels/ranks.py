"""Windowed minimum, maximum and percentile over time of masked integer observations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolkit.kernels.compiled import compiled
from toolkit.kernels.median import HIGHEST, run_network
from toolkit.kernels.networks import sorting_networks
from toolkit.kernels.stacks import Mask, Numbers, Windows, check_out, check_stack, flags

BLOCK_PIXELS = 4096
"""Pixels per block: long runs of memory, few rows in the cache."""

ALLOWED = (np.float32, np.uint16)


def windowed_minimum(
    values: npt.NDArray[np.uint16],
    clear: Mask,
    starts: Windows,
    stops: Windows,
    *,
    out: Numbers | None = None,
) -> Numbers:
    """Return the smallest clear observation of each window.

    Arguments, result and errors are those of :func:`toolkit.kernels.median.windowed_median`.
    """
    check_stack(values, clear, starts, stops)
    out = check_out(out, (starts.size, values.shape[1]), ALLOWED)
    _extremes(np.ascontiguousarray(values), flags(clear), starts, stops, True, out.dtype == np.uint16, out)
    return out


def windowed_maximum(
    values: npt.NDArray[np.uint16],
    clear: Mask,
    starts: Windows,
    stops: Windows,
    *,
    out: Numbers | None = None,
) -> Numbers:
    """Return the largest clear observation of each window.

    Arguments, result and errors are those of :func:`toolkit.kernels.median.windowed_median`.
    """
    check_stack(values, clear, starts, stops)
    out = check_out(out, (starts.size, values.shape[1]), ALLOWED)
    _extremes(np.ascontiguousarray(values), flags(clear), starts, stops, False, out.dtype == np.uint16, out)
    return out


def windowed_percentile(
    values: npt.NDArray[np.uint16],
    clear: Mask,
    starts: Windows,
    stops: Windows,
    percent: float,
    *,
    out: Numbers | None = None,
) -> Numbers:
    """Return a percentile of the clear observations of each window.

    Between two observations it is linear, as numpy's default (Hyndman & Fan 1996, type 7).

    Args:
        values: uint16 ``(time, pixel)``; 0 is nodata and never counted.
        clear: bool ``(time, pixel)``, True where the observation is usable.
        starts: int64 ``(window,)``, first date index of each window.
        stops: int64 ``(window,)``, one past the last date index.
        percent: 0 (minimum) to 100 (maximum).
        out: where to write, ``(window, pixel)``; float32 (the default), or uint16 rounded half up.

    Returns:
        ``out``; NaN, in uint16 0, without observation.

    Raises:
        ValueError: shapes, types or the percentage differ from the above, or a window leaves the stack.
    """
    if not 0 <= percent <= 100:
        msg = f"percent is {percent!r}; allowed: 0 to 100."
        raise ValueError(msg)
    check_stack(values, clear, starts, stops)
    out = check_out(out, (starts.size, values.shape[1]), ALLOWED)
    steps, offsets = sorting_networks(int((stops - starts).max(initial=1)))
    rounded = out.dtype == np.uint16
    share = percent / 100
    _percentiles(
        np.ascontiguousarray(values), flags(clear), starts, stops, steps, offsets, share, rounded, out
    )
    return out


@compiled
def _extremes(values, clear, starts, stops, smallest, rounded, out):
    pixels = values.shape[1]
    best = np.empty(min(BLOCK_PIXELS, pixels), np.uint16)
    for first in range(0, pixels, BLOCK_PIXELS):
        last = min(first + BLOCK_PIXELS, pixels)
        row = best[: last - first]
        for w in range(starts.size):
            row[:] = HIGHEST if smallest else 0
            for t in range(starts[w], stops[w]):
                if smallest:
                    _keep_smallest(values[t, first:last], clear[t, first:last], row)
                else:
                    _keep_largest(values[t, first:last], clear[t, first:last], row)
            if smallest:
                _one_more(row)
            if rounded:
                out[w, first:last] = row
            else:
                _write(row, out[w, first:last])


@compiled(inline="never")
def _keep_smallest(value, clear, best):
    """One less than each value, so that 65535 can only mean that there is none."""
    for x in range(best.size):
        v = np.uint16(value[x] - np.uint16(1))
        v = v if clear[x] != 0 else HIGHEST
        best[x] = min(best[x], v)


@compiled(inline="never")
def _one_more(row):
    for x in range(row.size):
        row[x] = np.uint16(row[x] + np.uint16(1))


@compiled(inline="never")
def _keep_largest(value, clear, best):
    for x in range(best.size):
        v = value[x]
        v = v if clear[x] != 0 else np.uint16(0)
        best[x] = max(best[x], v)


@compiled(inline="never")
def _write(row, target):
    for x in range(target.size):
        v = row[x]
        target[x] = np.float32(v) if v != 0 else np.float32(np.nan)


@compiled
def _percentiles(values, clear, starts, stops, steps, offsets, share, rounded, out):
    pixels = values.shape[1]
    longest = 1
    for w in range(starts.size):
        longest = max(longest, stops[w] - starts[w])
    width = min(BLOCK_PIXELS, pixels)
    rows = np.empty((longest, width), np.uint16)
    count = np.empty(width, np.uint16)
    place = np.empty(width, np.float64)
    low = np.empty(width, np.float64)
    high = np.empty(width, np.float64)
    for first in range(0, pixels, BLOCK_PIXELS):
        last = min(first + BLOCK_PIXELS, pixels)
        m = last - first
        for w in range(starts.size):
            n = stops[w] - starts[w]
            count[:m] = 0
            for i in range(n):
                t = starts[w] + i
                _load(values[t, first:last], clear[t, first:last], rows[i, :m], count[:m])
            run_network(rows, m, steps[offsets[n] : offsets[n + 1]])
            _place(count[:m], share, place[:m])
            low[:m] = 0
            high[:m] = 0
            for i in range(n):
                _pick(rows[i, :m], place[:m], np.float64(i), low[:m], high[:m])
            _between(count[:m], place[:m], low[:m], high[:m], rounded, out[w, first:last])


@compiled(inline="never")
def _load(value, clear, row, count):
    """Observations that do not count sort behind all others."""
    for x in range(row.size):
        v = value[x]
        usable = (clear[x] != 0) & (v != 0)
        row[x] = v if usable else HIGHEST
        count[x] += np.uint16(usable)


@compiled(inline="never")
def _place(count, share, place):
    """Rank of the percentile, counted from 0."""
    for x in range(count.size):
        place[x] = max(np.float64(count[x]) - 1.0, 0.0) * share


@compiled(inline="never")
def _pick(row, place, i, low, high):
    for x in range(row.size):
        v = np.float64(row[x])
        rank = np.floor(place[x])
        low[x] = v if rank == i else low[x]
        high[x] = v if np.ceil(place[x]) == i else high[x]


@compiled(inline="never")
def _between(count, place, low, high, rounded, target):
    for x in range(target.size):
        value = low[x] + (high[x] - low[x]) * (place[x] - np.floor(place[x]))
        if rounded:
            # A millionth more: halves that float64 shows a rounding error low still go up.
            target[x] = np.floor(value + 0.500001) if count[x] != 0 else 0.0
        else:
            target[x] = value if count[x] != 0 else np.nan
