"""Windowed median over time of integer observations with a clear mask.

Observations that do not count are replaced, in turn, by the largest and the smallest number there
is. They then balance around the median, so that it always stands in the middle: a network that
brings out two ranks of a window serves every mask, no pixel needs a count, and whole rows of pixels
go through each step together. No float copy of the stack is made.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolkit.kernels.compiled import compiled
from toolkit.kernels.networks import BOTH, SMALLER, middle_networks
from toolkit.kernels.stacks import Mask, Numbers, Windows, check_out, check_stack, flags

BLOCK_PIXELS = 16384
"""Pixels per block: long runs of memory; 4096 took a quarter longer with two dates a window."""
LONG_WINDOW, LONG_BLOCK_PIXELS = 16, 4096
"""Dates of a window beyond which its rows no longer fit the cache, and the block then: with 146 dates,
16384 pixels took a tenth longer."""

HIGHEST = np.uint16(65535)


def windowed_median(
    values: npt.NDArray[np.uint16],
    clear: Mask,
    starts: Windows,
    stops: Windows,
    *,
    out: Numbers | None = None,
) -> Numbers:
    """Return the median of the clear observations in each window.

    Args:
        values: uint16 ``(time, pixel)``; 0 is nodata and never counted.
        clear: bool ``(time, pixel)``, True where the observation is usable.
        starts: int64 ``(window,)``, first date index of each window.
        stops: int64 ``(window,)``, one past the last date index.
        out: where to write, ``(window, pixel)``. float32 (the default) is exact, the mean of the two middle
            observations of even counts; uint16 rounds that mean half up.

    Returns:
        ``out``; NaN, in uint16 0, without observation.

    Raises:
        ValueError: shapes or types differ from the above, or a window leaves the stack.
    """
    check_stack(values, clear, starts, stops)
    out = check_out(out, (starts.size, values.shape[1]), (np.float32, np.uint16))
    steps, offsets = middle_networks(int((stops - starts).max(initial=1)))
    rounded = out.dtype == np.uint16
    _median_blocks(np.ascontiguousarray(values), flags(clear), starts, stops, steps, offsets, rounded, out)
    return out


@compiled
def _median_blocks(values, clear, starts, stops, steps, offsets, rounded, out):
    pixels = values.shape[1]
    longest = 2
    for w in range(starts.size):
        longest = max(longest, stops[w] - starts[w])
    block = LONG_BLOCK_PIXELS if longest > LONG_WINDOW else BLOCK_PIXELS
    width = min(block, pixels)
    rows = np.empty((longest, width), np.uint16)
    spare = np.empty(width, np.uint16)
    for first in range(0, pixels, block):
        last = min(first + block, pixels)
        for w in range(starts.size):
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
                spare[: last - first],
                rounded,
                out[w, first:last],
            )


@compiled
def median_row(values, clear, start, stop, first, last, steps, offsets, rows, spare, rounded, target):
    """Median of one window for the pixels from ``first`` to before ``last``."""
    n = stop - start
    if n == 0:
        target[:] = 0 if rounded else np.nan
        return
    if n == 1:
        if rounded:
            _one_rounded(values[start, first:last], clear[start, first:last], target)
        else:
            _one_exact(values[start, first:last], clear[start, first:last], target)
        return
    if n == 2:
        a, clear_a = values[start, first:last], clear[start, first:last]
        b, clear_b = values[start + 1, first:last], clear[start + 1, first:last]
        if rounded:
            _two_rounded(a, clear_a, b, clear_b, target)
        else:
            _two_exact(a, clear_a, b, clear_b, target)
        return
    m = last - first
    spare[:] = HIGHEST
    for i in range(n):
        _load(values[start + i, first:last], clear[start + i, first:last], rows[i, :m], spare)
    run_network(rows, m, steps[offsets[n] : offsets[n + 1]])
    low, high = rows[n // 2 - 1, :m], rows[n // 2, :m]
    if n % 2 == 1:
        _settle_odd(low, high, spare)
    else:
        _settle_even(low, high, spare)
    if rounded:
        _write_rounded(low, high, target)
    else:
        _write_exact(low, high, target)


@compiled
def run_network(rows, m, steps):
    """Send the first ``m`` pixels of rows through a network."""
    for q in range(steps.shape[0]):
        # Rows are cut from the whole array: a narrower view of it would hide that they are contiguous.
        a, b, keep = rows[steps[q, 0], :m], rows[steps[q, 1], :m], steps[q, 2]
        if keep == BOTH:
            _exchange(a, b)
        elif keep == SMALLER:
            _smaller(a, b)
        else:
            _larger(a, b)


# Each row operation below is a function of its own, not inlined: only then does LLVM see that the
# rows do not overlap and vectorises the loop. What a branch may leave out is read before it, for
# the same reason.


@compiled(inline="never")
def _one_exact(value, clear, target):
    for x in range(target.size):
        v = value[x]
        target[x] = np.float32(v) if (clear[x] != 0) & (v != 0) else np.float32(np.nan)


@compiled(inline="never")
def _one_rounded(value, clear, target):
    for x in range(target.size):
        v = value[x]
        target[x] = v if clear[x] != 0 else np.uint16(0)


@compiled(inline="never")
def _two_exact(value_a, clear_a, value_b, clear_b, target):
    for x in range(target.size):
        a = value_a[x]
        b = value_b[x]
        a = a if clear_a[x] != 0 else np.uint16(0)
        b = b if clear_b[x] != 0 else np.uint16(0)
        total = np.float32(np.uint32(a) + np.uint32(b))  # one of them 0: the other is the median
        median = total * np.float32(0.5) if (a != 0) & (b != 0) else total
        target[x] = median if total != 0 else np.float32(np.nan)


@compiled(inline="never")
def _two_rounded(value_a, clear_a, value_b, clear_b, target):
    for x in range(target.size):
        a = value_a[x]
        b = value_b[x]
        a = a if clear_a[x] != 0 else np.uint16(0)
        b = b if clear_b[x] != 0 else np.uint16(0)
        mean = np.uint16((np.uint32(a) + np.uint32(b) + np.uint32(1)) >> np.uint32(1))
        target[x] = mean if (a != 0) & (b != 0) else a | b


@compiled(inline="never")
def _load(value, clear, row, spare):
    for x in range(row.size):
        v = value[x]
        s = spare[x]
        usable = (clear[x] != 0) & (v != 0)
        row[x] = v if usable else s
        spare[x] = s if usable else ~s


@compiled(inline="never")
def _exchange(smaller, larger):
    for x in range(smaller.size):
        a, b = smaller[x], larger[x]
        smaller[x] = min(a, b)
        larger[x] = max(a, b)


@compiled(inline="never")
def _smaller(a, b):
    for x in range(a.size):
        a[x] = min(a[x], b[x])


@compiled(inline="never")
def _larger(a, b):
    for x in range(a.size):
        b[x] = max(a[x], b[x])


# ``spare`` is HIGHEST where an even number of observations was replaced. Else one more was made the
# highest than the lowest, and of the two middle ranks one or both move down by half a rank.


@compiled(inline="never")
def _settle_odd(low, high, spare):
    for x in range(low.size):
        h = high[x]
        low[x] = h if spare[x] != 0 else low[x]


@compiled(inline="never")
def _settle_even(low, high, spare):
    for x in range(low.size):
        h = high[x]
        high[x] = h if spare[x] != 0 else low[x]


# ``low`` is 0 exactly where nothing was observed: with no observation the middle is all replacements,
# the lower of them the smallest number; with one or more it is an observation.


@compiled(inline="never")
def _write_exact(low, high, target):
    for x in range(target.size):
        mean = (np.float32(low[x]) + np.float32(high[x])) * np.float32(0.5)
        target[x] = mean if low[x] != 0 else np.float32(np.nan)


@compiled(inline="never")
def _write_rounded(low, high, target):
    for x in range(target.size):
        mean = np.uint16((np.uint32(low[x]) + np.uint32(high[x]) + np.uint32(1)) >> np.uint32(1))
        target[x] = mean if low[x] != 0 else np.uint16(0)
