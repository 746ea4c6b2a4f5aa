"""Threads that read: many for servers, as many as cores for disks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import rasterio

from toolkit.catalog.guard import GDAL_OPTIONS

READ_THREADS = 32
"""Threads that wait for a server, more than cores: in trials at 50 ms a request, 16 took
1.6 times as long as 32."""
LOCAL_THREADS = os.cpu_count() or 1
"""Threads that read from a disk: there decoding is all the time, and on two cores, 32 threads took
about twice as long."""

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_threads(function: Callable[[Job], Result], jobs: Iterable[Job], *, remote: bool) -> list[Result]:
    """Run reads in threads, under the GDAL settings of all reads.

    Args:
        function: what reads.
        jobs: its argument, one after the other.
        remote: whether reading is waiting for a server, for which threads beyond the cores are there.
    """

    def run(job: Job) -> Result:
        with rasterio.Env(**GDAL_OPTIONS):
            return function(job)

    with ThreadPoolExecutor(READ_THREADS if remote else LOCAL_THREADS) as pool:
        return list(pool.map(run, jobs))
