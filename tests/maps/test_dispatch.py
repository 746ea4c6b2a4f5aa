"""Dispatch: every tile is made once, whatever becomes of the workers; neighbours by one of them."""

import gc
import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster, Status, get_worker

from toolkit.cluster import connect
from toolkit.errors import InputError, RemoteError, WorkerError
from toolkit.maps import crew, dispatch
from toolkit.maps.dispatch import run_tiles

# Sockets of killed workers are closed by the garbage collector, which warns: expected, and only here.
KILLED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
IN_PROCESS = {
    "processes": False,
    "protocol": "tcp",
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
}


@pytest.fixture(scope="module")
def client():
    """Two threads in this process: the protocol is the same, the start is fast."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, **IN_PROCESS) as cluster,
        Client(cluster) as connected,
    ):
        yield connected


def test_first_failure_is_raised_as_it_was(client):
    def fail(place):
        if place == 5:
            msg = f"tile {place} is bad"
            raise InputError(msg)
        return place

    with pytest.raises(InputError, match="tile 5 is bad"):
        list(run_tiles(range(12), fail, client=client))


def test_more_tiles_than_the_window_are_all_made(client):
    assert sorted(run_tiles(range(100), abs, client=client)) == list(range(100))


def die_on_seven(place):
    """Kill the worker on one place."""
    if place == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return place


def worker_of(tile):
    time.sleep(0.02)
    return tile, get_worker().address


def four(tile):
    return tile // 4


def test_tiles_of_a_group_go_to_one_worker_and_groups_to_all():
    with (
        dask.config.set({"distributed.scheduler.work-stealing": False}),
        LocalCluster(n_workers=2, threads_per_worker=1, **IN_PROCESS) as cluster,
        Client(cluster) as connected,
    ):
        found = dict(run_tiles(range(24), worker_of, client=connected, near=four))
    groups = [{found[tile] for tile in range(4 * group, 4 * group + 4)} for group in range(6)]
    assert sum(len(workers) == 1 for workers in groups) >= 5  # the last may be shared when none is left
    assert len(set(found.values())) == 2


def test_workers_that_come_later_get_tiles(monkeypatch):
    monkeypatch.setattr(dispatch, "LOOK_S", 0.1)
    with (
        dask.config.set({"distributed.scheduler.work-stealing": False}),
        LocalCluster(n_workers=1, threads_per_worker=1, **IN_PROCESS) as cluster,
        Client(cluster) as connected,
    ):
        reports = run_tiles(range(80), worker_of, client=connected, near=four)
        found = dict([next(reports)])
        cluster.scale(3)
        found |= dict(reports)
    assert len(found) == 80
    assert len(set(found.values())) == 3


_AT_WORK = []


def alone(tile):
    _AT_WORK.append(tile)
    together = len(_AT_WORK)
    time.sleep(0.01)
    _AT_WORK.remove(tile)
    return together


def test_a_worker_with_two_threads_makes_one_tile_after_the_other(client):
    assert set(run_tiles(range(20), alone, client=client)) == {1}


def test_a_worker_with_other_packages_makes_no_tile(tmp_path, monkeypatch):
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "threads_per_worker": 1}
    with (
        LocalCluster(n_workers=1, processes=True, **options) as cluster,
        Client(cluster) as connected,
    ):
        older = tmp_path / "odc_stac-0.0.1.dist-info"  # found by this process alone, before what is installed
        older.mkdir()
        (older / "METADATA").write_text("Metadata-Version: 2.1\nName: odc-stac\nVersion: 0.0.1\n")
        monkeypatch.syspath_prepend(tmp_path)
        said = r"process \d+ on .* odc-stac \d.*, not 0\.0\.1\. Install the same"
        with pytest.raises(WorkerError, match=said):
            list(run_tiles(range(4), abs, client=connected))


def test_workers_that_are_all_paused_end_the_run(monkeypatch):
    monkeypatch.setattr(dispatch, "LOOK_S", 0.1)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, memory_limit=0, **IN_PROCESS) as cluster,
        Client(cluster) as connected,
    ):
        reports = run_tiles(range(400), worker_of, client=connected)
        next(reports)
        (worker,) = cluster.workers.values()
        worker.status = Status.paused
        with pytest.raises(WorkerError, match="All workers are paused"):
            list(reports)


def test_a_cluster_that_has_no_worker_for_long_ends_the_run(monkeypatch):
    monkeypatch.setattr(dispatch, "LOOK_S", 0.1)
    monkeypatch.setattr(crew, "ALONE_S", 0.5)
    with (
        LocalCluster(n_workers=0, **IN_PROCESS) as cluster,
        Client(cluster) as connected,
        pytest.raises(RemoteError, match="had no worker for"),
    ):
        list(run_tiles(range(4), worker_of, client=connected))


@KILLED
def test_the_only_worker_is_lost_and_the_next_one_makes_what_was_meant_for_it(monkeypatch):
    """Dask leaves tasks that preferred a worker without one, if there was none when they came."""
    monkeypatch.setattr(dispatch, "LOOK_S", 0.5)
    with connect(workers=1) as client:
        made = sorted(
            run_tiles(range(16), die_on_seven, client=client, instead=lambda tile: -tile, near=four)
        )
    assert made == [-7, *(k for k in range(16) if k != 7)]
    gc.collect()


@dataclass
class Fatal:
    """Ends its worker when it is fetched for the first time."""

    tile: int
    mark: Path

    def __reduce__(self):
        if self.tile == 7 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Fatal, (self.tile, self.mark)


@KILLED
def test_what_is_lost_between_a_tile_and_its_report_is_made_again(monkeypatch, tmp_path):
    monkeypatch.setattr(dispatch, "LOOK_S", 0.5)
    monkeypatch.setattr(dispatch, "FETCH_S", 0.5)
    work = partial(Fatal, mark=tmp_path / "mark")
    with connect(workers=1) as client:
        made = sorted(one.tile for one in run_tiles(range(12), work, client=client, near=four, instead=work))
    assert made == list(range(12))
    assert (tmp_path / "mark").exists()
    gc.collect()


@KILLED
def test_a_place_on_which_workers_die_is_set_apart_and_its_neighbours_are_made():
    with connect(workers=2) as client:
        made = sorted(run_tiles(range(12), die_on_seven, client=client, instead=lambda place: -place))
        assert made == [-7, *(k for k in range(12) if k != 7)]
        with pytest.raises(WorkerError, match="died on one tile twice"):
            list(run_tiles(range(6, 8), die_on_seven, client=client))
    gc.collect()  # sockets of the killed workers end here, where their warning is expected
