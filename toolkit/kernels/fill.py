"""Linear gap filling in time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

BLOCK_PIXELS = 1024
"""Pixels per block: four rows and the steps of a season stay in the L2 cache (best in the trials)."""


def fill_linear(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Fill steps without value linearly between their neighbours in time.

    Args:
        values: float32 ``(step, pixel)``, NaN where missing.

    Returns:
        float32 ``(step, pixel)``. Before the first and after the last value the nearest one is held;
        pixels without any value stay NaN.

    Raises:
        ValueError: the input is not float32 ``(step, pixel)``.
    """
    if values.dtype != np.float32 or values.ndim != 2:
        msg = f"Gap filling needs float32 (step, pixel), got {values.dtype} {values.shape}."
        raise ValueError(msg)
    values = np.ascontiguousarray(values)
    out = np.empty_like(values)
    _fill(values, out)
    return out


@njit(nogil=True, cache=True)
def _fill(values, out):
    steps, pixels = values.shape
    width = min(BLOCK_PIXELS, pixels)
    following = np.empty((steps, width), np.float32)
    ahead = np.empty((steps, width), np.float32)
    value = np.empty(width, np.float32)
    distance = np.empty(width, np.float32)
    for first in range(0, pixels, BLOCK_PIXELS):
        last = min(first + BLOCK_PIXELS, pixels)
        m = last - first
        value[:m] = np.nan
        distance[:m] = 0
        for step in range(steps - 1, -1, -1):
            _look_ahead(
                values[step, first:last],
                value[:m],
                distance[:m],
                following[step, :m],
                ahead[step, :m],
            )
        value[:m] = np.nan
        distance[:m] = 0
        for step in range(steps):
            _interpolate(
                values[step, first:last],
                value[:m],
                distance[:m],
                following[step, :m],
                ahead[step, :m],
                out[step, first:last],
            )


@njit(nogil=True, cache=True, inline="never")
def _look_ahead(row, value, distance, following, ahead):
    for x in range(row.size):
        v = row[x]
        missing = v != v  # NaN
        value[x] = value[x] if missing else v
        distance[x] = distance[x] + np.float32(1) if missing else np.float32(0)
        following[x] = value[x]
        ahead[x] = distance[x]


@njit(nogil=True, cache=True, inline="never")
def _interpolate(row, value, distance, following, ahead, target):
    for x in range(row.size):
        v = row[x]
        missing = v != v  # NaN
        before = value[x] if missing else v
        behind = distance[x] + np.float32(1) if missing else np.float32(0)
        after = following[x]
        held = after if before != before else before
        then = before if after != after else after
        weight = behind / max(behind + ahead[x], np.float32(1))
        target[x] = held + (then - held) * weight if missing else v
        value[x] = before
        distance[x] = behind
