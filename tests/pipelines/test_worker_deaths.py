"""Tiles on which workers die: left out and told, unless an earlier run made them."""

import json
import os
import signal
from contextlib import contextmanager

import dask
import numpy as np
import pytest
import rasterio
from distributed import Client, LocalCluster, WorkerPlugin

from pipelines import crop_map
from tests.conftest import footprint, write_catalog
from tests.pipelines.test_bad_input import geojson
from tests.pipelines.test_resume import GRID, files_of, model, request, scenes, tiles_told
from toolkit.errors import EngineTrialWarning, NothingMappedWarning, TileQuarantinedWarning, WorkerError
from toolkit.learn.checkpoint import write_checkpoint
from toolkit.legend import Status

# Sockets of killed workers are closed by the garbage collector, which warns: expected, and only here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
ONE_TILE = {"tile_size": 64, "max_failed": 50.0}


class Deadly(WorkerPlugin):
    """Kills its worker as soon as that begins with a task: with every one, or with the first few of all."""

    def __init__(self, deaths=None, most=0):
        self.deaths, self.most = deaths, most

    def transition(self, key, start, finish, **_):
        del key, start
        if finish == "executing":
            if self.deaths is not None:
                done = len(list(self.deaths.iterdir()))
                if done >= self.most:
                    return
                (self.deaths / str(done)).touch()
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def cluster_with(plugin, given_up_after="15s"):
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "threads_per_worker": 1}
    settings = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.deploy.lost-worker-timeout": given_up_after,
    }
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=1, processes=True, **options) as cluster,
        Client(cluster) as connected,
    ):
        connected.register_plugin(plugin)
        yield connected


@pytest.fixture
def deadly_workers():
    with cluster_with(Deadly()) as connected:
        yield connected


@pytest.fixture
def place(tmp_path):
    """A request in files, of one tile, one of whose scenes cannot be read."""
    geojson(tmp_path / "aoi.geojson", footprint(GRID))
    write_catalog(tmp_path, scenes(tmp_path))
    write_checkpoint(model(), tmp_path / "model")
    band = tmp_path / "pixels" / "d1" / "B04.tif"
    band.write_bytes(band.read_bytes()[:400])
    return tmp_path


def test_a_tile_of_an_earlier_run_is_used_where_workers_die_on_making_it_better(
    place, client, deadly_workers
):
    first = crop_map.run(request(place, place / "out", **ONE_TILE), client, progress=False)
    assert [one.item for one in first.failed] == ["d1"]
    before = files_of(place / "out")
    again = crop_map.run(request(place, place / "out", **ONE_TILE), deadly_workers, progress=False)
    assert tiles_told(place / "out") == {"made": 0, "kept": 1, "quarantined": []}
    assert [one.item for one in again.failed] == ["d1"]  # that is told still
    assert files_of(place / "out") == before


def test_a_tile_whose_scenes_changed_is_no_longer_that_of_the_earlier_run(place, client, deadly_workers):
    crop_map.run(request(place, place / "out", **ONE_TILE), client, progress=False)
    os.utime(place / "pixels" / "d2" / "B04.tif", ns=(1, 1))
    again = request(place, place / "out", refresh=True, **ONE_TILE)
    with (
        pytest.warns(NothingMappedWarning),
        pytest.warns(TileQuarantinedWarning, match=r"fewer --workers.*another --out"),
    ):
        crop_map.run(again, deadly_workers, progress=False)
    assert tiles_told(place / "out") == {"made": 0, "kept": 0, "quarantined": ["r000_c000"]}
    with rasterio.open(place / "out" / "status.tif") as file:
        assert set(np.unique(file.read(1))) <= {Status.FAILED, Status.OUTSIDE_AREA}


def test_where_workers_die_on_the_trial_of_engines_the_map_is_made_with_the_plainest(place, tmp_path, client):
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    with cluster_with(Deadly(deaths, most=2)) as twice:
        with pytest.warns(EngineTrialWarning, match="made with PyTorch in float32"):
            crop_map.run(request(place, place / "out", **ONE_TILE), twice, progress=False)
        tiles = tiles_told(place / "out")
        (chosen,) = json.loads((place / "out" / "run.json").read_text())["engines"]["tried"]
        crop_map.run(request(place, place / "out", **ONE_TILE), client, progress=False)
        (again,) = json.loads((place / "out" / "run.json").read_text())["engines"]["tried"]
    assert tiles == {"made": 1, "kept": 0, "quarantined": []}
    assert (chosen["setting"]["engine"], chosen["setting"]["precision"]) == ("torch", "fp32")
    assert again == chosen  # it is frozen as any other choice


def test_an_engine_that_is_asked_for_and_kills_workers_is_an_error(place, deadly_workers):
    asked = request(place, place / "out", precision="fp32", engine="torch", **ONE_TILE)
    with pytest.raises(WorkerError, match="died twice on trying --engine torch --precision fp32"):
        crop_map.run(asked, deadly_workers, progress=False)


def test_a_worker_that_dask_gave_up_is_replaced(place, tmp_path):
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    with cluster_with(Deadly(deaths, most=1), given_up_after="0s") as dying:
        crop_map.run(request(place, place / "out", **ONE_TILE), dying, progress=False)
    assert len(list(deaths.iterdir())) == 1
    assert tiles_told(place / "out") == {"made": 1, "kept": 0, "quarantined": []}
