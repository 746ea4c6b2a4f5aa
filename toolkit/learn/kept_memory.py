"""Memory that is freed between batches stays with the process while pixels are predicted."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

TRIM, MMAP = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"
"""Environment variables by which glibc is told at its start what it gives back."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Their names in ``malloc.h``."""
LARGE = 2**23
"""Bytes of the largest part that is kept: values between layers, as batches are sized to.

With the 28 MB of a chunk of pixels, too, workers grew by 50 MB.
"""
SMALL = 2**17
"""Bytes from which glibc gives parts back one by one, where it is not told otherwise."""


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep what is freed for the next batch, where Dask has told the process to give all back at once.

    Dask starts workers with ``MALLOC_TRIM_THRESHOLD_=65536``. Then each layer's values are new pages, which
    the system fills with zeros: on a processor with AMX one thread of PyTorch did 4,500 pixels a second of
    CropNet 2D in bfloat16 and 7,000 with this, two threads 5,900 and 12,500; in float32 830 and 960. A
    map of 600 x 600 pixels took 66 s, not 75, and its workers at most 907 MiB, not 888.

    Elsewhere, and without glibc, nothing is changed.
    """
    told = _told_to_trim()
    if told is None:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, LARGE)
    libc.mallopt(M_TRIM_THRESHOLD, 2 * LARGE)
    try:
        yield
    finally:
        libc.mallopt(M_TRIM_THRESHOLD, told)
        libc.mallopt(M_MMAP_THRESHOLD, SMALL)
        libc.malloc_trim(0)


@cache
def _told_to_trim() -> int | None:
    """Return from how many free bytes glibc gives memory back, if it was told so at its start, and no more.

    The environment as it is now may be of another Dask cluster that this process started.
    """
    try:
        environment = Path("/proc/self/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # not Linux
        return None
    first = dict(pair.split("=", 1) for pair in environment if "=" in pair)
    known = all(hasattr(ctypes.CDLL(None), name) for name in ("mallopt", "malloc_trim"))
    return int(first[TRIM]) if known and first.get(TRIM, "").isdecimal() and MMAP not in first else None
