"""Dask: a client or cluster given by the user, or workers of our own on this machine."""

from __future__ import annotations

import logging
import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.metadata import version

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Worker, WorkerPlugin
from distributed.deploy.cluster import Cluster
from distributed.system import MEMORY_LIMIT

from toolkit.catalog.guard import GDAL_ENVIRONMENT
from toolkit.catalog.redaction import redact_logs
from toolkit.errors import RemoteError, WorkerError
from toolkit.local_processes import main_script_left_alone
from toolkit.packages import SAME_EVERYWHERE
from toolkit.workers import replace_lost, workers_of

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""Every worker computes on one core; Dask owns the cores.

Not numba's: our kernels start no threads, and in a process that had started some it would refuse to compile.
"""
CONNECT_TIMEOUT_S = 10
WORKERS_TIMEOUT_S = 600
"""How long a cluster may take to give its first worker: batch systems let jobs wait."""
NOISY_LOGGERS = ("distributed", "odc.loader", "rasterio")
"""Libraries that print what we report ourselves: each failure ends as one sentence of ours."""
CLOSING_LOGGERS = ("tornado.application", "asyncio")
"""Event loops: while workers are killed, callbacks that talk to them fail, and say so with a traceback."""
NAMED = 5
"""Workers named in a message."""
ADDRESS = "DASK_SCHEDULER_ADDRESS"
"""Environment variable with the address of a scheduler."""

LOCAL_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,
    # A tile may take 0.9 of its worker's part of the machine. Dask pauses workers at 0.8: one that holds
    # so much between two tiles, too, would never go on.
    "distributed.worker.memory.pause": False,
}
"""Dask's settings for workers of ours. A task whose worker died is given back at once, not tried three times
more among others that it may kill: :func:`toolkit.maps.dispatch.run_tiles` tries it again alone."""

Connectable = Client | Cluster | str | None
"""What a run may be given to work with."""


def memory_bytes() -> int:
    """Memory that local workers may share, bytes."""
    return int(MEMORY_LIMIT)


def is_elsewhere(client: Connectable) -> bool:
    """Return whether a cluster of the user's works, instead of processes of our own."""
    return client is not None or bool(os.environ.get(ADDRESS))


def count_workers(client: Client) -> int:
    """Return how many workers there are."""
    return len(workers_of(client))


def least_memory(client: Client) -> int | None:
    """Return the memory of the smallest worker of a cluster, bytes; None if none has a limit."""
    limits = [int(worker["memory_limit"]) for worker in workers_of(client).values() if worker["memory_limit"]]
    return min(limits, default=None)


@contextmanager
def connect(client: Connectable = None, *, workers: int | None = None) -> Iterator[Client]:
    """Give a Dask client, and close it afterwards if it is ours.

    Args:
        client: a client or cluster (used as it is; clusters of dask-jobqueue, dask-gateway and Coiled too), a
            scheduler's address such as ``tcp://host:8786``, or None for ``DASK_SCHEDULER_ADDRESS`` or else
            local processes.
        workers: number of local processes, one thread each; default one per core.

    Raises:
        RemoteError: the scheduler does not answer, or has no worker.
        WorkerError: workers lack packages, or have them in other versions than this process.
    """
    if isinstance(client, Client):
        check_workers(client)
        client.register_plugin(Settings())
        yield client
        return
    address = client or os.environ.get(ADDRESS)
    if not logging.getLogger().isEnabledFor(logging.INFO):  # nobody asked to hear more
        _quieten()
    if address:
        with _connected(address) as connected:
            check_workers(connected)
            connected.register_plugin(Settings())
            yield connected
        return
    with ExitStack() as closed, _local(workers or cores()) as cluster, Client(cluster) as ours:
        ours.run(_quieten, on_error="ignore")  # a worker that dies now is replaced, and a little louder
        try:
            yield ours
        except BaseException:
            # Asked to close, a worker first ends its tile. What it writes is whole or absent: it may die.
            closed.enter_context(_silent(CLOSING_LOGGERS))
            _kill(cluster)
            raise


@contextmanager
def connect_on_demand(
    client: Connectable = None,
    *,
    workers: int | None = None,
    check: Callable[[Client], None] | None = None,
) -> Iterator[Callable[[], Client]]:
    """Give what connects when it is first called, and close that afterwards.

    Args:
        client: as for :func:`connect`.
        workers: as for :func:`connect`.
        check: raises if the workers cannot do what is wanted of them.
    """
    with ExitStack() as stack:

        @cache
        def connected() -> Client:
            made = stack.enter_context(connect(client, workers=workers))
            if check is not None:
                check(made)
            return made

        yield connected


def check_workers(client: Client) -> None:
    """Wait for the first worker, and check that all have the packages of this process.

    Args:
        client: of a cluster that is not ours.

    Raises:
        RemoteError: there is no worker.
        WorkerError: packages are missing there, or are others than here.
    """

    def found(names: tuple[str, ...]) -> dict[str, str]:
        """Run on a worker; defined in here so that it travels whole, and needs none of our packages there."""
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as version_there

        versions = {}
        for name in names:
            try:
                versions[name] = version_there(name)
            except PackageNotFoundError:
                versions[name] = "missing"
        return versions

    replace_lost(client, count_workers(client))
    try:
        client.wait_for_workers(1, timeout=WORKERS_TIMEOUT_S)
    except TimeoutError as error:
        msg = (
            f"The Dask scheduler got no worker in {WORKERS_TIMEOUT_S} s. "
            "Start some, or leave the address out."
        )
        raise RemoteError(msg) from error
    here = {name: version(name) for name in SAME_EVERYWHERE}
    there = client.run(found, SAME_EVERYWHERE)
    wrong = [
        f"{worker}: {name} {versions[name]}"
        for worker, versions in there.items()
        for name in SAME_EVERYWHERE
        if versions[name] != here[name]
    ]
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        names = sorted({text.split()[1] for text in wrong})
        msg = (
            f"Workers differ from this process ({'; '.join(wrong[:NAMED])}{more}); here "
            f"{', '.join(f'{name} {here[name]}' for name in names)}. Install the same environment there."
        )
        raise WorkerError(msg)


class Settings(WorkerPlugin):
    """What a worker that is not ours is told once: GDAL's settings, one thread for each task."""

    name = "cropglobe-settings"

    def __init__(self) -> None:
        """Note which process starts the run."""
        self._started_by = socket.gethostname(), os.getpid()

    def setup(self, worker: Worker) -> None:
        """Set them; what the worker's owner set stays, and the user's own process is left alone."""
        del worker
        if (socket.gethostname(), os.getpid()) == self._started_by:
            return
        for name, value in {**GDAL_ENVIRONMENT, **ONE_THREAD}.items():
            os.environ.setdefault(name, value)


@contextmanager
def _connected(address: Cluster | str) -> Iterator[Client]:
    """Give a client of a scheduler, and close it afterwards."""
    try:
        connected = Client(address, timeout=CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError, ValueError) as error:
        msg = f"No Dask scheduler answers at {address!r} ({error}). Start it, or leave the address out."
        raise RemoteError(msg) from error
    with connected:
        yield connected


def _quieten() -> None:
    """Keep libraries from printing into the user's terminal."""
    redact_logs()
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Dataset has no geotransform")  # of rasterio's own memory datasets


@contextmanager
def _silent(names: tuple[str, ...]) -> Iterator[None]:
    """Keep loggers from printing until the block ends."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _local(workers: int) -> Iterator[LocalCluster]:
    """Processes that listen on loopback only; without an address the dashboard would listen everywhere."""
    with (
        dask.config.set(LOCAL_SETTINGS),
        main_script_left_alone(),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            env={**GDAL_ENVIRONMENT, **ONE_THREAD},
            silence_logs=logging.ERROR,
        ) as cluster,
    ):
        yield cluster


def _kill(cluster: LocalCluster) -> None:
    """End the processes of a local cluster at once."""
    for nanny in cluster.workers.values():
        process = getattr(nanny, "pid", None)
        if process:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def cores() -> int:
    """Return the cores this process may use."""
    return int(CPU_COUNT)  # honours affinity and the limits of containers
