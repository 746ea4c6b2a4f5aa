"""As many Python threads as there are cores: how our kernels, which start none, use them all."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

Part = TypeVar("Part")
Result = TypeVar("Result")


def on_all_cores(function: Callable[[Part], Result], parts: list[Part]) -> list[Result]:
    """Apply a function to each part, one thread per core."""
    return list(_pool().map(function, parts))


def touched(shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Return an array whose memory pages are there already."""
    array = np.empty(shape, dtype)
    array.fill(1)
    return array


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CORES)
