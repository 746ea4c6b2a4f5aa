"""Median of spectra that several granules show of a place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolkit.kernels.compiled import compiled
from toolkit.kernels.stacks import Mask, flags


def median_spectra(stack: npt.NDArray[np.float32], clear: Mask) -> npt.NDArray[np.float32]:
    """Return the median of the clear spectra of each pixel, band by band.

    Args:
        stack: float32 ``(granule, pixel, band)``.
        clear: bool ``(granule, pixel)``, True where usable.

    Returns:
        float32 ``(pixel, band)``; of two middle values their mean; values that are NaN do not count; NaN
        where nothing is clear.

    Raises:
        ValueError: the mask does not fit the stack.
    """
    if stack.ndim != 3 or clear.shape != stack.shape[:2]:
        msg = f"Spectra {stack.shape} must be (granule, pixel, band) and clear {clear.shape} fit them."
        raise ValueError(msg)
    out = np.empty(stack.shape[1:], np.float32)
    _median(stack, flags(clear), out)
    return out


def complete(values: npt.NDArray[np.float32], bands: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Return which spectra have a number in all of some bands.

    Args:
        values: float32 ``(pixel, band)``.
        bands: positions of the bands, in ``values``; with none, no spectrum is complete.

    Raises:
        ValueError: a band is not there.
    """
    if bands.size and not (bands.min() >= 0 and bands.max() < values.shape[1]):
        msg = f"Bands {bands.min()} to {bands.max()} are not in spectra of {values.shape[1]} bands."
        raise ValueError(msg)
    out = np.zeros(len(values), np.bool_)
    if bands.size:
        _complete(values, bands, out)
    return out


@compiled
def _complete(values, bands, out):
    for p in range(out.size):
        whole = True
        for b in range(bands.size):
            value = values[p, bands[b]]
            whole = whole and value == value
        out[p] = whole


@compiled
def _median(stack, clear, out):
    granules, pixels, bands = stack.shape
    held = np.empty(granules, np.int64)
    values = np.empty(granules, np.float32)
    for p in range(pixels):
        n = 0
        for g in range(granules):
            if clear[g, p] != 0:
                held[n] = g
                n += 1
        for b in range(bands):
            out[p, b] = _middle(stack, held, n, p, b, values)


@compiled
def _middle(stack, held, n, p, b, values):
    count = 0
    for k in range(n):
        value = stack[held[k], p, b]
        if value != value:
            continue
        place = count  # insertion: a season holds a handful of granules
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value
        count += 1
    if count == 0:
        return np.float32(np.nan)
    if count % 2 == 1:
        return values[count // 2]
    return np.float32(0.5) * (values[count // 2 - 1] + values[count // 2])
