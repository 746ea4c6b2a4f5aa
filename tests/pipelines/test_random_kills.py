"""A hundred kills at random moments, of the process that makes a map and of its workers: nothing is lost."""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from pipelines import crop_map
from tests.pipelines.test_resume import (  # noqa: F401  # fixtures are used by name
    KILLED,
    files_of,
    leftovers,
    place,
    request,
    runner,
    tiles_told,
    whole,
)
from toolkit.maps.ledger import open_ledger

KILLS = 50
"""Of each kind."""


def done(out: Path, scratch: Path) -> dict[str, str]:
    """Tiles that a killed run has committed, with their checksums; the ledger itself is left as it is."""
    shutil.rmtree(scratch, ignore_errors=True)
    if not (out / ".cropglobe" / "ledger.sqlite").exists():
        return {}
    shutil.copytree(out / ".cropglobe", scratch)
    with open_ledger(scratch / "ledger.sqlite") as ledger:
        return {row.name: row.sha256 for row in ledger.rows()}


@pytest.mark.slow
def test_killed_at_random_moments_a_map_never_loses_a_tile(
    runner: Any,  # noqa: F811  # the fixture
    whole: Any,  # noqa: F811  # the fixture
    tmp_path: Path,
) -> None:
    draw, kills, maps = random.Random(11), 0, 0
    start = time.perf_counter()
    runner(tmp_path / "timed")
    takes = time.perf_counter() - start
    while kills < KILLS:
        out, before = tmp_path / f"map{maps}", {}
        while True:
            told = runner(out, kill_after=draw.uniform(0.02, 1.0) * takes)
            if told["status"] == 0:
                break
            assert told["status"] == KILLED
            kills += 1
            now = done(out, tmp_path / "copy")
            assert before.items() <= now.items()  # what was done stays, unchanged
            before = now
        assert tiles_told(out)["kept"] >= len(before)
        assert files_of(out) == whole[0]
        assert not leftovers(out)
        shutil.rmtree(out)
        maps += 1
    assert maps > 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_workers_killed_at_random_moments_change_no_byte(
    place: Path,  # noqa: F811  # the fixture
    whole: Any,  # noqa: F811  # the fixture
    tmp_path: Path,
) -> None:
    draw, started = random.Random(12), time.perf_counter()
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "threads_per_worker": 1}
    with LocalCluster(n_workers=3, processes=True, **options) as cluster:
        crop_map.run(request(place, tmp_path / "timed"), cluster, progress=False)
        started = time.perf_counter()
        crop_map.run(request(place, tmp_path / "again"), cluster, progress=False)
        takes = time.perf_counter() - started
        for number in range(KILLS):
            alive = [nanny.pid for nanny in cluster.workers.values() if nanny.pid]
            killer = threading.Timer(draw.uniform(0, 1) * takes, kill, (draw.choice(alive),))
            killer.start()
            out = tmp_path / f"map{number}"
            crop_map.run(request(place, out), cluster, progress=False)
            killer.join()
            assert tiles_told(out) == {"made": 9, "kept": 0, "quarantined": []}
            assert files_of(out) == whole[0]
            shutil.rmtree(out)
    gc.collect()  # sockets of killed workers end here, where their warning is expected


def kill(process: int) -> None:
    """Kill a worker, unless it has gone already."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return
