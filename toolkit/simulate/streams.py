"""Seeded random streams and spatially correlated noise.

Every random draw of the simulation comes from a stream named by what it is for, so that a new
draw in one place never changes the numbers of another, and the order of calls does not matter.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from toolkit.errors import InputError

Floats = npt.NDArray[np.floating]


def stream(seed: int, *keys: str | int) -> np.random.Generator:
    """Return the random generator of a purpose.

    Args:
        seed: seed of the simulation, 0 or more.
        *keys: what the numbers are for: names and numbers (year, day).

    Raises:
        InputError: a negative seed or number.
    """
    words = [zlib.crc32(key.encode()) if isinstance(key, str) else key for key in keys]
    if seed < 0 or any(word < 0 for word in words):
        msg = f"Seeds are 0 or more, got: {seed} with {keys}. Give a whole number, e.g. 0."
        raise InputError(msg)
    return np.random.default_rng([seed, *words])


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], *, length_px: float
) -> npt.NDArray[np.float32]:
    """Return noise with mean 0 and standard deviation about 1 that varies over a given length.

    Args:
        rng: random generator.
        shape: rows and columns.
        length_px: standard deviation of the Gaussian that smooths white noise, in pixels.

    Returns:
        float32 ``(y, x)``.
    """
    # White noise smoothed by a Gaussian of width s keeps the standard deviation 1 / (2 sqrt(pi) s).
    white = rng.standard_normal(shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, length_px, mode="wrap", truncate=3.0)
    return np.asarray(smooth * (2 * np.sqrt(np.pi) * length_px), dtype=np.float32)
