"""Dask: a client given by the user, or workers of our own on this machine."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

from toolkit.catalog.guard import GDAL_ENVIRONMENT
from toolkit.catalog.redaction import redact_logs
from toolkit.errors import RemoteError

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
"""Every worker computes on one core; Dask owns the cores."""
CONNECT_TIMEOUT_S = 10
NOISY_LOGGERS = ("distributed", "odc.loader", "rasterio")
"""Libraries that print what we report ourselves: each failure ends as one sentence of ours."""


def memory_bytes() -> int:
    """Memory that local workers may share, bytes."""
    return int(MEMORY_LIMIT)


@contextmanager
def connect(client: Client | str | None = None, *, workers: int | None = None) -> Iterator[Client]:
    """Give a Dask client, and close it afterwards if it is ours.

    Args:
        client: a client (used as it is), a scheduler's address such as ``tcp://host:8786``, or None for
            ``DASK_SCHEDULER_ADDRESS`` or else local processes.
        workers: number of local processes, one thread each; default one per core.

    Raises:
        RemoteError: the scheduler does not answer.
    """
    if isinstance(client, Client):
        yield client
        return
    address = client or os.environ.get("DASK_SCHEDULER_ADDRESS")
    if address:
        try:
            connected = Client(address, timeout=CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError, ValueError) as error:
            msg = f"No Dask scheduler answers at {address!r} ({error}). Start it, or leave the address out."
            raise RemoteError(msg) from error
        with connected:
            yield connected
        return
    if not logging.getLogger().isEnabledFor(logging.INFO):  # nobody asked to hear more
        _quieten()
    with _local(workers or cores()) as cluster, Client(cluster) as ours:
        ours.run(_quieten)
        yield ours


def _quieten() -> None:
    """Keep libraries from printing into the user's terminal."""
    redact_logs()
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Dataset has no geotransform")  # of rasterio's own memory datasets


def _local(workers: int) -> LocalCluster:
    """Processes that listen on loopback only; without an address the dashboard would listen everywhere."""
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        env={**GDAL_ENVIRONMENT, **ONE_THREAD},
        silence_logs=logging.ERROR,
        memory_limit="auto",
    )


def cores() -> int:
    """Return the cores this process may use."""
    return int(CPU_COUNT)  # honours affinity and the limits of containers
