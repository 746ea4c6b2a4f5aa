"""Clear observations per window, and the longest gap between them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolkit.kernels.compiled import compiled
from toolkit.kernels.stacks import Mask, Windows, check_windows, flags

BLOCK_PIXELS = 16384
"""Pixels per block: the counts of a window stay in the L1 cache."""


def count_clear(clear: Mask, starts: Windows, stops: Windows) -> npt.NDArray[np.uint8]:
    """Count the clear observations in each window.

    Args:
        clear: bool ``(time, pixel)``, True where usable.
        starts: int64 ``(window,)``, first date index.
        stops: int64 ``(window,)``, one past the last date index.

    Returns:
        uint8 ``(window, pixel)``; counts above 255 are given as 255.

    Raises:
        ValueError: a window leaves the stack.
    """
    check_windows(starts, stops, clear.shape[0])
    out = np.zeros((starts.size, clear.shape[1]), np.uint8)
    _count_blocks(flags(clear), starts, stops, out)
    return out


def longest_gap(observed: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return the longest run of steps without observation.

    Args:
        observed: bool ``(step, pixel)``, True where the step has an observation.

    Returns:
        uint8 ``(pixel,)``, steps; gaps at either end of the season count too; at most 255.
    """
    out = np.zeros(observed.shape[1], np.uint8)
    _gap_blocks(flags(observed), out)
    return out


@compiled
def _count_blocks(clear, starts, stops, out):
    for first in range(0, out.shape[1], BLOCK_PIXELS):
        last = min(first + BLOCK_PIXELS, out.shape[1])
        for w in range(starts.size):
            for t in range(starts[w], stops[w]):
                _count(clear[t, first:last], out[w, first:last])


@compiled
def _gap_blocks(observed, out):
    width = min(BLOCK_PIXELS, out.size)
    run = np.empty(width, np.uint8)
    for first in range(0, out.size, BLOCK_PIXELS):
        last = min(first + BLOCK_PIXELS, out.size)
        run[:] = 0
        for step in range(observed.shape[0]):
            _lengthen(observed[step, first:last], run[: last - first])
            _keep_largest(run[: last - first], out[first:last])


@compiled(inline="never")
def _count(clear, count):
    for x in range(count.size):
        c = count[x]
        count[x] = c + np.uint8((clear[x] != 0) & (c < 255))


@compiled(inline="never")
def _lengthen(observed, run):
    for x in range(run.size):
        r = run[x]
        longer = np.uint8(r + np.uint8(r < 255))
        run[x] = np.uint8(0) if observed[x] != 0 else longer


@compiled(inline="never")
def _keep_largest(run, longest):
    for x in range(run.size):
        longest[x] = max(longest[x], run[x])
