"""Series that are the same in every value."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def group_equal(series: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Group series that are the same; digests of 16 bytes are compared, so that memory stays small.

    Args:
        series: float32 ``(sample, band, step)``; -0 is 0, and one NaN is like another.

    Returns:
        Position of the first series of each group, and the group of each series, int ``(sample,)``.
    """
    digests = bytearray()
    for one in series:
        plain = one + np.float32(0)
        plain[np.isnan(plain)] = np.nan
        digests += hashlib.blake2b(plain.tobytes(), digest_size=16).digest()
    keys = np.frombuffer(bytes(digests), np.uint64).reshape(-1, 2)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return first, group.ravel()
