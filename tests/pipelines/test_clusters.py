"""Clusters of other processes: a scheduler that is lost, workers that do not share the output folder."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from distributed import Client

from pipelines import crop_map
from pipelines.cli import main
from pipelines.config import MapRequest
from tests.pipelines.far_scenes import far_options, far_scenes, far_words, tiles_begun
from tests.pipelines.test_bad_input import check_nothing_half_written
from tests.pipelines.test_resume import files_of, tiles_told
from toolkit.errors import StorageError
from toolkit.maps.shared_folder import check_shared_folder

LONGEST_END_S = 30
EDGE = 4
"""Tiles along each side: more than two workers are given at a time."""
WORKER = """
import ctypes, runpy, sys
for capability in (1, 2):  # root may write anywhere; without CAP_DAC_OVERRIDE and _READ_SEARCH it may not
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
import os
os.execv(sys.executable, [sys.executable, "-m", "dask", "worker", *sys.argv[1:]])
"""
"""Starts a worker that has no more rights than a plain user, whoever runs the tests."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with far_scenes(tmp_path_factory.mktemp("far"), edge=EDGE) as running:
        yield running


@contextmanager
def separate_cluster(folder):
    """A scheduler and two workers, each a process of its own; gives the scheduler's process and address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    host = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    scheduler = [sys.executable, "-m", "dask", "scheduler", *host, "--port", address.rpartition(":")[2]]
    worker = [sys.executable, "-c", WORKER, address, *host, "--nthreads", "1", "--no-nanny"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    with ExitStack() as stack:
        log = stack.enter_context((folder / "cluster.log").open("wb"))
        processes = [
            stack.enter_context(subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, env=environment))
            for words in (scheduler, worker, worker)
        ]
        try:
            with Client(address, timeout=60) as client:
                client.wait_for_workers(2, timeout=60)
            yield processes[0], address
        finally:
            for process in processes:
                process.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with separate_cluster(tmp_path_factory.mktemp("cluster")) as scheduler_and_address:
        yield scheduler_and_address


def ends(words, capfd, *, code):
    """Run the command to its end with a code, and return what it told."""
    with pytest.raises(SystemExit) as ended:
        main(["map", *words])
    told = capfd.readouterr().err
    assert ended.value.code == code, told
    assert "Traceback" not in told
    return told


def test_workers_that_may_not_write_are_named_before_any_tile_is_made(server, cluster, tmp_path, capfd):
    out = tmp_path / "out"
    tiles = out / ".cropglobe" / "tiles"
    tiles.mkdir(parents=True)
    tiles.chmod(0o555)
    begun = tiles_begun(server)
    try:
        told = ends(far_words(server, out, "--scheduler", cluster[1]), capfd, code=7)
    finally:
        tiles.chmod(0o755)
    assert f"Workers cannot write to {str(tiles)!r}: tcp://127.0.0.1:" in told
    assert "(Permission denied)" in told
    assert "--results returned" in told
    assert tiles_begun(server) == begun


def test_workers_that_do_not_see_the_folder_are_named(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the workers have another folder of this name, or none
    folder = tmp_path / "tiles"
    folder.mkdir()
    with Client(cluster[1]) as client:
        check_shared_folder(client, folder, written=True)
        for written in (True, False):
            with pytest.raises(StorageError, match=r"do not see .*: tcp://127.*, tcp://127.*machines share"):
                check_shared_folder(client, folder.relative_to(tmp_path), written=written)
    assert not list(folder.iterdir())


def test_a_scheduler_that_does_not_answer_ends_the_map_before_it_begins(server, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("toolkit.cluster.CONNECT_TIMEOUT_S", 1)
    words = far_words(server, tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9")
    assert "No Dask scheduler answers at 'tcp://127.0.0.1:9'" in ends(words, capfd, code=6)
    check_nothing_half_written(tmp_path / "out")


# Connections to the killed scheduler are closed by the garbage collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_scheduler_lost_midway_ends_the_map_and_local_workers_go_on(
    server, cluster, tmp_path, capfd, client
):
    """The last test here, as the others need the scheduler."""
    out, (scheduler, address) = tmp_path / "out", cluster
    lost_at = []

    def kill():
        while not list(out.glob(".cropglobe/tiles/r*.tif")):
            time.sleep(0.02)
        scheduler.kill()
        lost_at.append(time.monotonic())

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    told = ends(far_words(server, out, "--scheduler", address), capfd, code=6)
    assert time.monotonic() - lost_at[0] < LONGEST_END_S
    assert "The Dask scheduler was lost while tiles were made" in told
    done = len(list(out.glob(".cropglobe/tiles/r*.tif")))
    assert 0 < done < EDGE**2
    main(["map", *far_words(server, out, "--workers", "1")])
    assert tiles_told(out)["made"] < EDGE**2
    crop_map.run(MapRequest.make(far_options(server, tmp_path / "whole")), client, progress=False)
    assert files_of(out) == files_of(tmp_path / "whole")
