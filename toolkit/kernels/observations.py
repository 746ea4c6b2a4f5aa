"""Clear observations per window, and the longest gap between them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit


def count_clear(
    clear: npt.NDArray[np.bool_],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
) -> npt.NDArray[np.uint8]:
    """Count the clear observations in each window.

    Args:
        clear: bool ``(time, pixel)``, True where usable.
        starts: int64 ``(window,)``, first date index.
        stops: int64 ``(window,)``, one past the last date index.

    Returns:
        uint8 ``(window, pixel)``; counts above 255 are given as 255.
    """
    out = np.zeros((starts.size, clear.shape[1]), np.uint8)
    _count(np.ascontiguousarray(clear).view(np.uint8), starts, stops, out)
    return out


def longest_gap(observed: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return the longest run of steps without observation.

    Args:
        observed: bool ``(step, pixel)``, True where the step has an observation.

    Returns:
        uint8 ``(pixel,)``, steps; gaps at either end of the season count too; at most 255.
    """
    out = np.zeros(observed.shape[1], np.uint8)
    _gap(np.ascontiguousarray(observed).view(np.uint8), out)
    return out


@njit(nogil=True, cache=True)
def _count(clear, starts, stops, out):
    for w in range(starts.size):
        for t in range(starts[w], stops[w]):
            for x in range(out.shape[1]):
                c = out[w, x]
                out[w, x] = c + (clear[t, x] & np.uint8(c < 255))


@njit(nogil=True, cache=True)
def _gap(observed, out):
    run = np.zeros(out.size, np.uint8)
    for step in range(observed.shape[0]):
        for x in range(out.size):
            longer = np.uint8(min(run[x] + 1, 255))
            run[x] = np.uint8(0) if observed[step, x] != 0 else longer
            out[x] = max(out[x], run[x])
