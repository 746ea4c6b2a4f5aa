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
        float32 ``(pixel, band)``; of two middle values their mean; NaN where nothing is clear, and in
        bands that are NaN in some clear spectrum.

    Raises:
        ValueError: the mask does not fit the stack.
    """
    if stack.ndim != 3 or clear.shape != stack.shape[:2]:
        msg = f"Spectra {stack.shape} must be (granule, pixel, band) and clear {clear.shape} fit them."
        raise ValueError(msg)
    out = np.empty(stack.shape[1:], np.float32)
    _median(stack, flags(clear), out)
    return out


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
    if n == 0:
        return np.float32(np.nan)
    for k in range(n):
        value = stack[held[k], p, b]
        if value != value:
            return value
        place = k  # insertion: a season holds a handful of granules
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value
    if n % 2 == 1:
        return values[n // 2]
    return np.float32(0.5) * (values[n // 2 - 1] + values[n // 2])
