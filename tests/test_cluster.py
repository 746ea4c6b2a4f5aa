"""Dask: a client given is used, our own processes are closed and listen on loopback only."""

import logging
import os
import threading
import time
from contextlib import suppress
from functools import partial

import dask
import psutil
import pytest
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT
from tornado.ioloop import PeriodicCallback

from toolkit.cluster import connect, cores
from toolkit.errors import RemoteError
from toolkit.workers import workers_of


def environment(name):
    return os.environ.get(name)


def listening(pid):
    return [connection.laddr.ip for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN]  # fmt: skip


def test_own_workers_are_processes_with_our_settings_on_loopback_and_end():
    with connect(workers=1) as client:
        pid = client.submit(os.getpid).result()
        assert pid != os.getpid()
        assert client.submit(environment, "GDAL_NUM_THREADS").result() == "1"
        assert client.submit(environment, "OMP_NUM_THREADS").result() == "1"
        assert set(listening(pid) + listening(os.getpid())) <= {"127.0.0.1", "::1"}
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_own_workers_share_the_memory_of_the_machine_and_are_never_paused():
    with connect(workers=1) as client:
        (worker,) = workers_of(client).values()
        assert worker["memory_limit"] == MEMORY_LIMIT  # whatever the number of cores
        assert client.submit(dask.config.get, "distributed.worker.memory.pause").result() is False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets of a killed worker
def test_a_worker_that_dask_gave_up_between_two_runs_is_replaced():
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "threads_per_worker": 1}
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "0s"}),
        LocalCluster(n_workers=1, processes=True, **options) as cluster,
        Client(cluster) as client,
    ):
        psutil.Process(client.submit(os.getpid).result()).kill()
        before = time.monotonic()
        while cluster.workers and time.monotonic() < before + 30:  # given up while it is being replaced
            time.sleep(0.01)
        assert not cluster.workers
        with connect(client) as same:
            assert same.submit(abs, -1).result() == 1


def test_workers_are_told_while_the_client_asks_for_itself():
    options = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with (
        dask.config.set({"distributed.client.scheduler-info-interval": "1ms"}),
        LocalCluster(n_workers=1, **options) as cluster,
        Client(cluster) as client,
    ):
        (address,) = cluster.scheduler.workers
        assert {tuple(workers_of(client)) for _ in range(300)} == {(address,)}
    assert workers_of(client) == {}


def test_client_given_is_used_and_left_open(monkeypatch):
    monkeypatch.delenv("GDAL_DISABLE_READDIR_ON_OPEN", raising=False)
    with (
        LocalCluster(
            n_workers=1, processes=False, dashboard_address="127.0.0.1:0", protocol="tcp", host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):
        with connect(client) as same:
            assert same is client
        assert client.submit(abs, -1).result() == 1
        with connect(cluster.scheduler_address) as other:
            assert other.submit(abs, -2).result() == 2
        assert "GDAL_DISABLE_READDIR_ON_OPEN" not in os.environ  # its worker is in our process


def test_workers_of_a_client_given_get_our_settings():
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "threads_per_worker": 1}
    with LocalCluster(n_workers=1, **options) as cluster, Client(cluster) as client, connect(client):
        assert client.submit(environment, "GDAL_DISABLE_READDIR_ON_OPEN").result() == "EMPTY_DIR"


def test_address_from_the_environment_is_used(monkeypatch):
    with LocalCluster(
        n_workers=1, processes=False, dashboard_address="127.0.0.1:0", protocol="tcp", host="127.0.0.1"
    ) as cluster:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
        with connect() as client:
            assert client.scheduler.address == cluster.scheduler_address


def test_unreachable_scheduler_is_a_remote_error(monkeypatch):
    monkeypatch.setattr("toolkit.cluster.CONNECT_TIMEOUT_S", 1)
    with (
        pytest.raises(RemoteError, match=r"No Dask scheduler answers at 'tcp://127.0.0.1:9'"),
        connect("tcp://127.0.0.1:9"),
    ):
        pass


def test_at_least_one_core_is_found():
    assert cores() >= 1


def test_callbacks_that_fail_while_workers_are_killed_print_nothing_and_later_ones_do(caplog):
    failed = threading.Event()

    def fail_once_killed(cluster):
        if all(nanny.pid and psutil.pid_exists(nanny.pid) for nanny in cluster.workers.values()):
            return
        failed.set()
        raise ConnectionError

    with suppress(KeyboardInterrupt), connect(workers=1) as client:
        often = PeriodicCallback(partial(fail_once_killed, client.cluster), callback_time=1)
        client.loop.add_callback(often.start)
        raise KeyboardInterrupt
    assert failed.is_set()
    assert "ConnectionError" not in caplog.text
    assert logging.getLogger("tornado.application").isEnabledFor(logging.ERROR)
