"""Median, scale and gap filling in one pass, as a cube or as the series a model takes.

Each block of pixels goes through all three while it is in the cache, so that memory is read and
written once. The rows go through the functions of the single kernels: the results are the same bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolkit.kernels.compiled import compiled
from toolkit.kernels.fill import fill_rows
from toolkit.kernels.median import median_row
from toolkit.kernels.networks import middle_networks
from toolkit.kernels.stacks import Mask, Numbers, Windows, check_out, check_stack, flags

BLOCK_PIXELS = 1024
"""Pixels per block, as for gap filling: 43 steps of all its rows are 540 kB, about the L2 cache."""
STRIP = 16
"""Pixels turned at a time: 16 float32 are one cache line."""

NO_FILL, HELD, PERIODIC = 0, 1, 2
"""How gaps are filled: not at all, linearly with held ends, linearly across the turn of the year."""


def filled_median(
    values: npt.NDArray[np.uint16],
    clear: Mask,
    starts: Windows,
    stops: Windows,
    *,
    scale: float,
    fill: int,
    out: Numbers | None = None,
) -> Numbers:
    """Return the median of each window times a scale, gaps filled: ``(window, pixel)``.

    Args:
        values: uint16 ``(time, pixel)``; 0 is nodata and never counted.
        clear: bool ``(time, pixel)``, True where the observation is usable.
        starts: int64 ``(window,)``, first date index of each window.
        stops: int64 ``(window,)``, one past the last date index.
        scale: factor of the median, applied before gaps are filled.
        fill: NO_FILL, HELD or PERIODIC.
        out: where to write, float32 ``(window, pixel)``.

    Returns:
        ``out``; NaN without observation, and in all windows of a pixel without any.

    Raises:
        ValueError: shapes or types differ from the above, or a window leaves the stack.
    """
    check_stack(values, clear, starts, stops)
    out = check_out(out, (starts.size, values.shape[1]), (np.float32,))
    _run(values, clear, starts, stops, scale, fill, out, by_pixel=False)
    return out


def filled_series(
    values: npt.NDArray[np.uint16],
    clear: Mask,
    starts: Windows,
    stops: Windows,
    *,
    scale: float,
    fill: int,
    out: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Return the same numbers as :func:`filled_median`, ``(pixel, window)``.

    Args:
        values: uint16 ``(time, pixel)``; 0 is nodata and never counted.
        clear: bool ``(time, pixel)``, True where the observation is usable.
        starts: int64 ``(window,)``, first date index of each window.
        stops: int64 ``(window,)``, one past the last date index.
        scale: factor of the median, applied before gaps are filled.
        fill: NO_FILL, HELD or PERIODIC.
        out: where to write, float32 ``(pixel, window)``; one band of an array ``(pixel, band, window)``.

    Raises:
        ValueError: shapes or types differ from the above, or a window leaves the stack.
    """
    check_stack(values, clear, starts, stops)
    shape = (values.shape[1], starts.size)
    if out.dtype != np.float32 or out.shape != shape:
        msg = f"out must be float32 {shape}, got {out.dtype} {out.shape}."
        raise ValueError(msg)
    _run(values, clear, starts, stops, scale, fill, out, by_pixel=True)
    return out


def _run(
    values: npt.NDArray[np.uint16],
    clear: Mask,
    starts: Windows,
    stops: Windows,
    scale: float,
    fill: int,
    out: Numbers,
    *,
    by_pixel: bool,
) -> None:
    if fill not in (NO_FILL, HELD, PERIODIC):
        msg = f"fill is {fill!r}; allowed: {NO_FILL}, {HELD}, {PERIODIC}."
        raise ValueError(msg)
    steps, offsets = middle_networks(int((stops - starts).max(initial=1)))
    kernel = _series_blocks if by_pixel else _cube_blocks
    kernel(
        np.ascontiguousarray(values),
        flags(clear),
        starts,
        stops,
        steps,
        offsets,
        np.float32(scale),
        fill,
        out,
    )


@compiled
def _cube_blocks(values, clear, starts, stops, steps, offsets, scale, fill, out):
    pixels = values.shape[1]
    rows, spare, median, room = _room(starts, stops, pixels)
    for first in range(0, pixels, BLOCK_PIXELS):
        last = min(first + BLOCK_PIXELS, pixels)
        _medians(values, clear, starts, stops, first, last, steps, offsets, rows, spare, scale, median)
        if fill == NO_FILL:
            for w in range(starts.size):
                out[w, first:last] = median[w, : last - first]
        else:
            _filled(median, last - first, fill == PERIODIC, room, out, first)


@compiled
def _series_blocks(values, clear, starts, stops, steps, offsets, scale, fill, out):
    pixels = values.shape[1]
    rows, spare, median, room = _room(starts, stops, pixels)
    whole = np.empty_like(median)
    for first in range(0, pixels, BLOCK_PIXELS):
        last = min(first + BLOCK_PIXELS, pixels)
        _medians(values, clear, starts, stops, first, last, steps, offsets, rows, spare, scale, median)
        if fill == NO_FILL:
            _turn(median, last - first, out[first:last])
        else:
            _filled(median, last - first, fill == PERIODIC, room, whole, 0)
            _turn(whole, last - first, out[first:last])


@compiled
def _room(starts, stops, pixels):
    """Room for the rows of a window and for those of all steps."""
    longest = 2
    for w in range(starts.size):
        longest = max(longest, stops[w] - starts[w])
    width = min(BLOCK_PIXELS, pixels)
    rows = np.empty((longest, width), np.uint16)
    spare = np.empty(width, np.uint16)
    median = np.empty((starts.size, width), np.float32)
    room = np.empty((2, starts.size + 1, width), np.float32)
    return rows, spare, median, room


@compiled
def _medians(values, clear, starts, stops, first, last, steps, offsets, rows, spare, scale, median):
    m = last - first
    for w in range(starts.size):
        target = median[w, :m]
        median_row(
            values,
            clear,
            starts[w],
            stops[w],
            first,
            last,
            steps,
            offsets,
            rows,
            spare[:m],
            False,
            target,
        )
        _multiply(target, scale)


@compiled
def _filled(median, m, periodic, room, out, target):
    before = np.empty((2, m), np.float32)
    behind = np.empty((2, m), np.float32)
    fill_rows(median, 0, m, periodic, room[0], room[1], before, behind, out, target)


@compiled(inline="never")
def _multiply(row, scale):
    for x in range(row.size):
        row[x] *= scale


@compiled
def _turn(rows, m, out):
    """Write steps by pixels as pixels by steps, a strip of pixels at a time."""
    for start in range(0, m, STRIP):
        stop = min(start + STRIP, m)
        for w in range(rows.shape[0]):
            for x in range(start, stop):
                out[x, w] = rows[w, x]
