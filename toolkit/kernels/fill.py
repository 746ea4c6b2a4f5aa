"""Linear gap filling in time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolkit.kernels.compiled import compiled
from toolkit.kernels.stacks import Numbers, check_out

BLOCK_PIXELS = 2048
"""Pixels per block: with 43 steps, 1024 was slower by a tenth and 512 by a twentieth."""


def fill_linear(
    values: npt.NDArray[np.float32], *, periodic: bool = False, out: Numbers | None = None
) -> Numbers:
    """Fill steps without value linearly between their neighbours in time.

    Args:
        values: float32 ``(step, pixel)``, NaN where missing.
        periodic: the first step follows the last one, as in a full year: gaps at the ends are filled
            across the turn of the year. Otherwise the nearest value is held there.
        out: where to write, float32 ``(step, pixel)``; may be ``values`` itself.

    Returns:
        ``out``; pixels without any value stay NaN.

    Raises:
        ValueError: the input or ``out`` is not float32 ``(step, pixel)``.
    """
    if values.dtype != np.float32 or values.ndim != 2:
        msg = f"Gap filling needs float32 (step, pixel), got {values.dtype} {values.shape}."
        raise ValueError(msg)
    out = check_out(out, values.shape, (np.float32,))
    _fill_blocks(np.ascontiguousarray(values), periodic, out)
    return out


@compiled
def _fill_blocks(values, periodic, out):
    steps, pixels = values.shape
    width = min(BLOCK_PIXELS, pixels)
    following = np.empty((steps + 1, width), np.float32)
    ahead = np.empty((steps + 1, width), np.float32)
    before = np.empty((2, width), np.float32)
    behind = np.empty((2, width), np.float32)
    for first in range(0, pixels, BLOCK_PIXELS):
        last = min(first + BLOCK_PIXELS, pixels)
        fill_rows(values, first, last, periodic, following, ahead, before, behind, out, first)


@compiled
def fill_rows(values, first, last, periodic, following, ahead, before, behind, out, target):
    """Fill the pixels from ``first`` to before ``last``; the result starts at pixel ``target`` of ``out``.

    ``following`` and ``ahead`` (step + 1, pixel), ``before`` and ``behind`` (2, pixel) are room to work in.
    """
    steps = values.shape[0]
    m = last - first
    if periodic:  # what follows the last step is the first value of all, what comes before the first the last
        _seek(values, first, last, False, following[steps, :m], ahead[steps, :m])
        _seek(values, first, last, True, before[1, :m], behind[1, :m])
    else:
        following[steps, :m] = np.nan
        ahead[steps, :m] = 0
        before[1, :m] = np.nan
        behind[1, :m] = 0
    for step in range(steps - 1, -1, -1):
        _look(
            values[step, first:last],
            following[step + 1, :m],
            ahead[step + 1, :m],
            following[step, :m],
            ahead[step, :m],
        )
    for step in range(steps):  # two rows take turns: in place, the loop is three times as slow
        row, here, there = values[step, first:last], step % 2, 1 - step % 2
        _look(row, before[there, :m], behind[there, :m], before[here, :m], behind[here, :m])
        _blend(
            row,
            before[here, :m],
            behind[here, :m],
            following[step, :m],
            ahead[step, :m],
            out[step, target : target + m],
        )


@compiled
def _seek(values, first, last, from_end, value, distance):
    """Find the first value of each pixel, or the last one, and how many steps lie before it."""
    steps = values.shape[0]
    value[:] = np.nan
    distance[:] = 0
    for k in range(steps):
        row = values[steps - 1 - k if from_end else k, first:last]
        if _seek_row(row, value, distance) == 0:
            return  # usually after a few steps


# LLVM vectorises a loop only if few pairs of rows could overlap (eight checks): so these are three
# loops of two or fewer rows written each, not one.


@compiled(inline="never")
def _seek_row(row, value, distance):
    missing = 0
    for x in range(row.size):
        v = row[x]
        known = value[x]
        d = distance[x]
        now = v if known != known else known
        lacking = now != now
        value[x] = now
        distance[x] = d + np.float32(1) if lacking else d
        missing += int(lacking)
    return missing


@compiled(inline="never")
def _look(row, later, later_distance, following, ahead):
    for x in range(row.size):
        v = row[x]
        f = later[x]
        d = later_distance[x]
        missing = v != v  # NaN
        following[x] = f if missing else v
        ahead[x] = d + np.float32(1) if missing else np.float32(0)


@compiled(inline="never")
def _blend(row, before, behind, following, ahead, target):
    for x in range(row.size):
        v = row[x]
        b = before[x]
        f = following[x]
        d = behind[x]
        a = ahead[x]
        start = f if b != b else b
        end = b if f != f else f
        weight = d / max(d + a, np.float32(1))
        filled = start + (end - start) * weight
        target[x] = filled if v != v else v
