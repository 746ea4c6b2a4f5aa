"""A map that is killed anywhere goes on, and ends with the same bytes; nothing is made twice."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from distributed import LocalCluster

from pipelines import crop_map, engine_choice
from pipelines.config import MapRequest
from tests.conftest import ASSETS, GEOBOX, footprint, make_scene, write_catalog
from tests.pipelines.test_bad_input import START, geojson
from toolkit.cluster import check_workers
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import (
    ChangedRequestError,
    FolderInUseError,
    LedgerDamagedWarning,
    TileDamagedWarning,
    WorkerError,
)
from toolkit.learn.checkpoint import Checkpoint, write_checkpoint
from toolkit.learn.networks import build_network
from toolkit.learn.predict import COMPARED
from toolkit.legend import CROPGLOBE
from toolkit.maps.lock import locked

EXACT = ("run.json", "run.yaml")
"""Files of a map that tell times and folders; all others must be the same, byte for byte."""
KILLED = -signal.SIGKILL
FEW_STEPS = 5


GRID = GEOBOX.expand((48, 48))


def scenes(folder):
    """Four dates of random values, so that no two tiles are alike."""
    draw = np.random.default_rng(7)
    values = [draw.integers(1, 8000, GRID.shape.yx).astype(np.uint16) for _ in range(4)]
    return [
        make_scene(
            folder,
            f"d{k}",
            START + timedelta(days=40 * k),
            geobox=GRID,
            value=dict.fromkeys(ASSETS, 500) | {"B04": value, "B08": value[::-1], "B03": value.T},
        )
        for k, value in enumerate(values)
    ]


def model():
    """An untrained network that is quick: the protocol is under test, not the map."""
    recipe = FeatureRecipe(bands=("B02", "B03", "B04", "B08"))
    network = build_network("mlp", recipe.shape, 7)
    return Checkpoint(
        network="mlp",
        state=network.state_dict(),
        recipe=recipe,
        legend=CROPGLOBE,
        mean=(0.4,) * 4,
        std=(0.1,) * 4,
        metrics={},
        provenance={"simulated": False},
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A request in files: 48 x 48 pixels, four dates, an untrained model; nine tiles of 16."""
    folder = tmp_path_factory.mktemp("place")
    geojson(folder / "aoi.geojson", footprint(GRID))
    write_catalog(folder, scenes(folder))
    write_checkpoint(model(), folder / "model")
    return folder


@contextmanager
def maps_made_in_children(place):
    """A warm process that makes maps in forked children, see :mod:`tests.pipelines.killing`."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.pipelines.killing", str(place)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:

        def run(out, **job):
            process.stdin.write(json.dumps({"out": str(out), **job}) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield run
        process.stdin.close()


@pytest.fixture(scope="module")
def runner(place):
    with maps_made_in_children(place) as run:
        yield run


@pytest.fixture(scope="module")
def whole(place, runner):
    """Files of a map that nobody disturbed, and the steps that it took."""
    told = runner(place / "whole")
    assert told["status"] == 0
    return files_of(place / "whole"), told["steps"]


@pytest.fixture
def finished(whole, place, tmp_path):
    """Output folder of a map that is done, free to spoil."""
    assert whole
    return shutil.copytree(place / "whole", tmp_path / "out")


def files_of(folder):
    """Name -> bytes of what must be the same in each run."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in EXACT
    }


def request(place, out, **more):
    return MapRequest(
        aoi=place / "aoi.geojson",
        catalog=str(place / "catalog.json"),
        year=2021,
        model=place / "model",
        out=out,
        **{"radiometry": "trust", "tile_size": 16, **more},
    )


def tiles_told(folder):
    return json.loads((folder / "run.json").read_text())["tiles"]


def leftovers(folder):
    """Files of an interrupted step."""
    return [path for path in folder.rglob("*") if ".part" in path.name or path.name.startswith(".work")]


def killed_at(runner, whole, out, step):
    files, _ = whole
    assert runner(out, kill_at=step)["status"] == KILLED
    assert runner(out)["status"] == 0
    assert files_of(out) == files, f"killed before step {step}"
    assert not leftovers(out)


def test_killed_at_steps_from_first_to_last_a_map_goes_on_to_the_same_bytes(runner, whole, tmp_path):
    _, steps = whole
    for step in np.unique(np.linspace(1, steps, FEW_STEPS).astype(int)):
        killed_at(runner, whole, tmp_path / f"step{step}", int(step))


@pytest.mark.slow
def test_killed_at_each_step_a_map_goes_on_to_the_same_bytes(runner, whole, tmp_path):
    _, steps = whole
    for step in range(1, steps + 1):
        out = tmp_path / "out"
        killed_at(runner, whole, out, step)
        shutil.rmtree(out)


def test_killed_again_and_again_a_map_comes_to_its_end(runner, whole, tmp_path):
    out = tmp_path / "out"
    for step in (2, 9, 16, 16, 21, 30):
        assert runner(out, kill_at=step)["status"] == KILLED
    assert runner(out)["status"] == 0
    assert files_of(out) == whole[0]
    assert not leftovers(out)


def test_only_tiles_that_were_not_done_are_made(runner, whole, place, tmp_path, client):
    _, steps = whole
    out = tmp_path / "out"
    runner(out, kill_at=steps // 2)
    done = len(list((out / ".cropglobe" / "tiles").glob("r*.tif")))
    result = crop_map.run(request(place, out), client, progress=False)
    assert 0 < done < 9
    assert done - 1 <= result.tiles.n_kept <= done  # the last may lack its row
    assert tiles_told(out) == {
        "made": 9 - result.tiles.n_kept,
        "kept": result.tiles.n_kept,
        "quarantined": [],
    }


def test_the_record_tells_the_engine_and_its_agreement(place, tmp_path, client):
    options = {"engine": "onnx", "precision": "fp32"}
    crop_map.run(request(place, tmp_path / "out", **options), client, progress=False)
    told = json.loads((tmp_path / "out" / "run.json").read_text())["engines"]
    assert told["tried"][0]["setting"]["engine"] == "onnx"
    assert told["agreement"]["pixels"] == 9 * COMPARED[0]  # the least of each tile
    assert (told["agreement"]["different"], told["agreement"]["tiles_made_in_fp32_instead"]) == (0, 0)
    assert files_of(tmp_path / "out").keys() >= {"crop_map.tif"}


def test_an_engine_that_was_chosen_with_another_version_is_chosen_anew(place, tmp_path, client):
    out = tmp_path / "out"
    asked = request(place, out, engine="onnx", precision="fp32")
    crop_map.run(asked, client, progress=False)
    path = out / ".cropglobe" / "engines.json"
    now = json.loads(path.read_text())
    then = json.loads(path.read_text())
    then["chosen"][0]["setting"]["packages"]["onnxruntime"] = "1.0"
    path.write_text(json.dumps(then))
    crop_map.run(asked, client, progress=False)
    assert json.loads(path.read_text()) == now
    assert tiles_told(out)["kept"] == 9  # made with the version that is here
    path.write_text(json.dumps({**now, "chosen": [{"setting": {"engine": "onnx"}}]}))  # of an older layout
    crop_map.run(asked, client, progress=False)
    assert json.loads(path.read_text()) == now


def test_a_finished_map_repeated_reads_nothing(place, tmp_path, client):
    first = crop_map.run(request(place, tmp_path / "out"), client, progress=False)
    before = files_of(tmp_path / "out")
    again = crop_map.run(request(place, tmp_path / "out"), client, progress=False)
    assert first.reads.bytes > 0
    assert first.reads.files > 0
    assert (again.reads.bytes, again.reads.files, again.tiles.n_kept) == (0, 0, 9)
    assert again.areas == first.areas
    assert files_of(tmp_path / "out") == before


def test_what_the_trial_of_engines_reads_is_told_once(place, tmp_path, client, monkeypatch):
    monkeypatch.setattr(engine_choice, "FEW_PIXELS", 0)
    first = crop_map.run(request(place, tmp_path / "out"), client, progress=False)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    (trial,) = (one["reads"] for one in record["engines"]["tried"])
    assert trial["blocks"] > 0
    of_tiles = sum(report.reads.blocks for report in first.tiles.reports)
    assert first.reads.blocks == record["reads"]["blocks"] == of_tiles + trial["blocks"]
    again = crop_map.run(request(place, tmp_path / "out"), client, progress=False)
    assert (again.reads.blocks, again.reads.bytes) == (0, 0)


def test_another_request_in_the_folder_is_refused_and_named(place, whole, finished, client):
    with pytest.raises(
        ChangedRequestError, match=r"max_cloud_cover: not given then, 50\.0 now.*--allow-change"
    ):
        crop_map.run(request(place, finished, max_cloud_cover=50.0), client, progress=False)
    assert files_of(finished) == whole[0]


def test_what_is_known_by_its_content_is_named_without_it(place, tmp_path, client):
    out = tmp_path / "out"
    crop_map.run(request(place, out), client, progress=False)
    aoi = geojson(tmp_path / "part.geojson", footprint(GRID[:20, :20]))
    with pytest.raises(ChangedRequestError, match=r"another request \(aoi: another\)"):
        crop_map.run(request(place, out).model_copy(update={"aoi": aoi}), client, progress=False)


def test_what_holds_anyway_may_be_asked_for(place, finished, client):
    recipe = model().recipe
    asked = request(place, finished, resolution=10.0, bands=recipe.bands, n_steps=recipe.n_steps)
    assert crop_map.run(asked, client, progress=False).tiles.n_kept == 9


def test_what_no_pixel_depends_on_may_change(place, finished, client):
    asked = request(place, finished, zones=place / "aoi.geojson", workers=1)
    assert crop_map.run(asked, client, progress=False).tiles.n_kept == 9
    assert (finished / "areas_by_zone.csv").is_file()


def test_a_changed_scene_remakes_only_the_tiles_that_it_touches(place, tmp_path, client):
    folder = tmp_path / "place"
    shutil.copytree(place, folder)
    far = GRID.pad(400)[:16, :16]  # 4 km: footprints count as touching within 2 km
    both = shapely.union_all([shapely.geometry.shape(footprint(one)) for one in (far, GRID)])
    geojson(folder / "aoi.geojson", shapely.geometry.mapping(both))
    corner = make_scene(folder, "corner", START + timedelta(days=20), geobox=far)
    write_catalog(folder, [*scenes(folder), corner])
    out, options = tmp_path / "out", {"tile_size": 128, "engine": "torch", "precision": "fp32"}
    made = crop_map.run(request(folder, out, **options), client, progress=False).tiles
    band = folder / "pixels" / "corner" / "B04.tif"
    os.utime(band, ns=(time.time_ns(), time.time_ns()))
    again = crop_map.run(request(folder, out, refresh=True, **options), client, progress=False).tiles
    assert 0 < again.n_kept < len(made.made)


def test_a_tile_damaged_on_the_disk_is_made_again(whole, place, finished, client):
    tile = sorted((finished / ".cropglobe" / "tiles").glob("r*.tif"))[3]
    content = bytearray(tile.read_bytes())
    content[len(content) // 2] ^= 1
    tile.write_bytes(content)
    with pytest.warns(TileDamagedWarning, match=r"1 finished tiles"):
        result = crop_map.run(request(place, finished), client, progress=False)
    assert result.tiles.n_kept == 8
    assert files_of(finished) == whole[0]


@pytest.mark.parametrize("damage", ["garbage", "empty", "cut"])
def test_a_damaged_ledger_is_set_aside_and_made_anew_from_the_tiles(damage, whole, place, finished, client):
    ledger = finished / ".cropglobe" / "ledger.sqlite"
    content = ledger.read_bytes()
    harmed = {"garbage": b"\xa5" * len(content), "empty": b"", "cut": content[: len(content) // 2]}[damage]
    ledger.write_bytes(harmed)
    if damage == "empty":  # that is a new database, and nothing warns
        result = crop_map.run(request(place, finished), client, progress=False)
    else:
        with pytest.warns(LedgerDamagedWarning, match="set aside"):
            result = crop_map.run(request(place, finished), client, progress=False)
        assert (finished / ".cropglobe" / "ledger.damaged-1.sqlite").read_bytes() == harmed
    assert result.tiles.n_kept == 9
    assert files_of(finished) == whole[0]


def test_two_runs_in_one_folder_the_second_names_the_first(place, finished, client):
    with (
        locked(finished / ".cropglobe" / "lock"),
        pytest.raises(FolderInUseError, match=rf"process {os.getpid()} on .*, since 20"),
    ):
        crop_map.run(request(place, finished), client, progress=False)
    crop_map.run(request(place, finished), client, progress=False)  # the lock is free again


def test_results_given_back_are_the_same_bytes(whole, place, tmp_path, client):
    crop_map.run(request(place, tmp_path / "out", results="returned"), client, progress=False)
    assert files_of(tmp_path / "out") == whole[0]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_asked_to_stop_a_run_ends_within_five_seconds_and_can_go_on(
    number, code, place, whole, tmp_path, client
):
    """With worker processes, as the command starts them."""
    out = tmp_path / "out"
    options = {"aoi": "aoi.geojson", "catalog": "catalog.json", "model": "model"}
    command = [sys.executable, "-m", "pipelines.cli", "map", "--out", str(out), "--year", "2021"]
    command += ["--radiometry", "trust", "--tile-size", "16", "--workers", "1"]
    command += [word for key, name in options.items() for word in (f"--{key}", str(place / name))]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        limit = time.monotonic() + 60
        while not list(out.glob(".cropglobe/tiles/r*.tif")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < limit
            time.sleep(0.02)
        asked = time.monotonic()
        process.send_signal(number)
        process.wait(timeout=30)
        took = time.monotonic() - asked
        told = process.stderr.read()
    assert process.returncode == code, told
    assert took < 5
    assert "Run the same command again to go on" in told
    assert "Traceback" not in told
    crop_map.run(request(place, out), client, progress=False)
    assert files_of(out) == whole[0]


@pytest.mark.parametrize("limit", [300, 5_000, 12_000])
def test_a_full_disk_stops_the_map_and_a_later_run_goes_on(limit, runner, whole, tmp_path):
    """Files may grow to some bytes only: items, ledger or tiles are what cannot be written."""
    out = tmp_path / "out"
    told = runner(out, largest_file=limit)
    assert told["status"] == 7
    assert "cannot be written" in told["error"]
    assert not (out / "run.json").exists()
    assert runner(out)["status"] == 0
    assert files_of(out) == whole[0]
    assert not leftovers(out)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_foreign_workers_one_of_them_killed_make_the_same_bytes(place, whole, tmp_path):
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "threads_per_worker": 1}
    with LocalCluster(n_workers=3, processes=True, **options) as cluster:
        address = cluster.scheduler_address
        victim = next(iter(cluster.workers.values())).pid
        killer = threading.Timer(0.5, os.kill, (victim, signal.SIGKILL))
        killer.start()
        crop_map.run(request(place, tmp_path / "address"), address, progress=False)
        killer.join()
        crop_map.run(request(place, tmp_path / "object"), cluster, progress=False)
    assert files_of(tmp_path / "address") == whole[0]
    assert files_of(tmp_path / "object") == whole[0]
    gc.collect()  # sockets of the killed worker end here, where their warning is expected


@pytest.mark.slow
def test_four_workers_make_the_bytes_of_one(place, whole, tmp_path):
    crop_map.run(request(place, tmp_path / "four", workers=4), progress=False)
    assert files_of(tmp_path / "four") == whole[0]


def test_workers_with_other_packages_are_refused_by_name(client, monkeypatch):
    monkeypatch.setattr("toolkit.cluster.version", lambda name: "0.0" if name == "torch" else version(name))
    with pytest.raises(WorkerError, match=r"127\.0\.0\.1:\d+: torch .*; here torch 0\.0") as raised:
        check_workers(client)
    assert "numpy" not in str(raised.value)


def test_pixels_of_a_map_that_went_on_are_those_of_its_tiles(runner, whole, tmp_path):
    out = tmp_path / "out"
    runner(out, kill_at=whole[1] // 3)
    runner(out)
    with rasterio.open(out / "status.tif") as joined:
        status = joined.read(1)
    parts = [rasterio.open(path) for path in (out / ".cropglobe" / "tiles").glob("r*.tif")]
    assert sum(part.width * part.height for part in parts) == status.size
    for part in parts:
        with part:
            assert part.count == 5
