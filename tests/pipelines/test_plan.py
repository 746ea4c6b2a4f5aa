"""A plan tells what a map will take, keeps the tile it tried, and refuses what cannot fit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import shapely
from distributed import LocalCluster

from pipelines import crop_map, plan
from pipelines.cli import main
from pipelines.config import PlanRequest
from pipelines.planning import bytes_of
from tests.catalog.stac_stand_in import page, stac_stand_in
from tests.conftest import write_catalog
from tests.pipelines.test_bad_input import geojson
from tests.pipelines.test_resume import GRID, files_of, footprint, model, request, scenes, tiles_told
from tests.pipelines.test_worker_deaths import Deadly, cluster_with
from toolkit.errors import MemoryBudgetError, NoItemsError, StorageError, WorkerError
from toolkit.learn.checkpoint import write_checkpoint
from toolkit.maps import plan as reckoning

ROOT = Path(__file__).resolve().parents[2]
N_PIXELS = 48 * 48


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 x 48 pixels, four dates, an untrained model; nine tiles of 16."""
    folder = tmp_path_factory.mktemp("place")
    geojson(folder / "aoi.geojson", footprint(GRID))
    write_catalog(folder, scenes(folder))
    write_checkpoint(model(), folder / "model")
    return folder


def asked(place: Path, out: Path, **more: Any) -> PlanRequest:
    return PlanRequest(**request(place, out).model_dump(), **more)


def test_a_map_goes_on_with_the_tile_that_its_plan_tried(place: Path, tmp_path: Path, client: Any) -> None:
    told = plan.run(asked(place, tmp_path / "out"), client, progress=False)
    assert (told.scenes, told.tiles, told.tile_size) == (4, 9, 16)
    assert told.extent.pixels == pytest.approx(N_PIXELS, rel=0.01)
    assert told.extent.scene_pixels == pytest.approx(4 * N_PIXELS, rel=0.02)
    assert told.seconds
    assert told.seconds > 0
    saved = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert saved["bytes_to_read"] == told.bytes_to_read
    again = plan.run(asked(place, tmp_path / "out"), client, progress=False)
    assert again.tiles == 9  # another tile is tried
    crop_map.run(request(place, tmp_path / "out"), client, progress=False)
    assert tiles_told(tmp_path / "out") == {"made": 7, "kept": 2, "quarantined": []}
    crop_map.run(request(place, tmp_path / "other"), client, progress=False)
    of_other = files_of(tmp_path / "other")
    assert {name: files_of(tmp_path / "out")[name] for name in of_other} == of_other
    done = plan.run(asked(place, tmp_path / "out"), client, progress=False)
    assert (done.seconds, done.bytes_to_read) == (0.0, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets of killed workers
def test_a_plan_whose_tile_kills_its_workers_is_an_error(place: Path, tmp_path: Path, client: Any) -> None:
    plan.run(asked(place, tmp_path / "out"), client, progress=False)
    (tmp_path / "out" / "plan.json").unlink()
    with cluster_with(Deadly()) as deadly, pytest.raises(WorkerError, match="Workers died twice on tile r00"):
        plan.run(asked(place, tmp_path / "out"), deadly, progress=False)
    assert not (tmp_path / "out" / "plan.json").exists()


@pytest.mark.filterwarnings("ignore::toolkit.errors.PartlyMappedWarning")  # it sticks out of the scenes
def test_a_tile_that_hardly_lies_in_the_area_says_nothing_of_others(
    place: Path, tmp_path: Path, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    crop_map.run(request(place, tmp_path / "whole"), client)
    assert capsys.readouterr().err.count("as a tile took") == 1
    west, south, east, north = shapely.geometry.shape(footprint(GRID)).bounds
    column = shapely.box(west, south, west + 0.08 * (east - west), north)  # four pixels of 16 are in the area
    row = shapely.box(west, south, east, south + 0.08 * (north - south))
    aoi = geojson(tmp_path / "thin.geojson", json.loads(shapely.to_geojson(shapely.union(column, row))))
    crop_map.run(request(place, tmp_path / "thin").model_copy(update={"aoi": aoi}), client)
    told = capsys.readouterr().err
    assert tiles_told(tmp_path / "thin")["made"] > 1
    assert "to read:" in told  # before any tile
    assert "as a tile took" not in told


def test_of_an_area_that_scenes_show_in_part_a_tile_is_tried_that_they_show(
    place: Path, tmp_path: Path, client: Any
) -> None:
    west, south, east, north = shapely.geometry.shape(footprint(GRID)).bounds
    wide = shapely.box(west, south, east + 9 * (east - west), north)  # its middle lies beyond them
    aoi = geojson(tmp_path / "wide.geojson", json.loads(shapely.to_geojson(wide)))
    told = plan.run(asked(place, tmp_path / "out").model_copy(update={"aoi": aoi}), client, progress=False)
    assert told.tiles > 80
    assert told.seconds is not None


def test_a_rough_plan_reads_no_pixel_and_writes_nothing_but_itself(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--aoi", str(place / "aoi.geojson"), "--year", "2021", "--model", str(place / "model")]
    out = tmp_path / "out"
    main(["plan", *options, "--catalog", str(place / "catalog.json"), "--out", str(out), "--no-trial"])
    told = capsys.readouterr().out
    assert "4 scenes, 1 tile of 512 pixels at most" in told
    assert "no tile was tried" in told
    assert "time" not in told
    assert [path.name for path in out.iterdir()] == ["plan.json"]


def test_tiles_beyond_a_workers_memory_are_refused_before_any_is_made(place: Path, tmp_path: Path) -> None:
    with pytest.raises(MemoryBudgetError, match=r"A worker has 0.5 GiB.*Give --memory"):
        plan.run(asked(place, tmp_path / "a").model_copy(update={"tile_size": None, "memory": 0.5}))
    tight = asked(place, tmp_path / "b").model_copy(update={"memory": 0.5})
    with pytest.raises(MemoryBudgetError, match=r"A worker has 0.5 GiB|--memory"):
        plan.run(tight, progress=False)
    assert not list((tmp_path / "b").rglob("r*.tif"))


def test_a_disk_that_is_too_small_is_told_before_any_tile_is_made(
    place: Path, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reckoning, "DISK_PIXEL_BYTES", 1e15)  # no disk has that many
    with pytest.raises(StorageError, match=r"needs about .* TB of disk"):
        crop_map.run(request(place, tmp_path / "out"), client, progress=False)
    assert not list(tmp_path.rglob("r*.tif"))


def test_no_scene_is_told_by_a_rough_plan_too(place: Path, tmp_path: Path) -> None:
    other_year = asked(place, tmp_path / "out", no_trial=True).model_copy(update={"year": 1999})
    with pytest.raises(NoItemsError, match="No scene of the season"):
        plan.run(other_year, progress=False)


SQUARES = [shapely.box(x, y, x + 1.3, y + 0.95) for x in range(8) for y in range(44, 49)]
COUNTRY = shapely.box(0.1, 44.1, 7.9, 48.9)
MEASURED = """
import sys
from pathlib import Path
from pipelines.config import PlanRequest
from pipelines.planning import bytes_of
from pipelines.plan import run

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1000

for name in ("farm", "country"):
    told = run(PlanRequest(**eval(sys.argv[1]), aoi=f"{name}.geojson", out=name), progress=False)
    print(told.scenes, told.tiles, round(told.extent.pixels / 1e6), peak())
"""


def passes(first: datetime, last: datetime) -> Iterator[datetime]:
    day = datetime(2023, 1, 1, 10, tzinfo=UTC)
    while day <= last:
        if day >= first:
            yield day
        day += timedelta(days=5)


def item(number: int, square: Any, when: datetime, url: str) -> dict[str, Any]:
    name = f"S2A_31T{number:02d}_{when:%Y%m%d}_0_L2A"
    keys = ("blue", "green", "red", "nir", "scl")
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "sentinel-2-l2a",
        "bbox": list(square.bounds),
        "geometry": json.loads(shapely.to_geojson(square)),
        "properties": {
            "datetime": when.isoformat(),
            "proj:epsg": 32631,
            "s2:processing_baseline": "05.11",
            "platform": "sentinel-2a",
            "earthsearch:boa_offset_applied": True,
            "eo:cloud_cover": 10.0,
            "grid:code": f"MGRS-31T{number:02d}",
        },
        "assets": {key: {"href": f"{url}/{name}/{key}.tif", "type": "image/tiff"} for key in keys},
        "links": [],
    }


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_country_is_planned_in_bounded_memory(place: Path, tmp_path: Path) -> None:
    """3,290 million pixels and 1,720 scenes beside a farm: the memory of both must be nearly the same."""

    def search(body: dict[str, Any], url: str) -> dict[str, Any]:
        sought = shapely.geometry.shape(body["intersects"])
        first, last = (datetime.fromisoformat(one) for one in body["datetime"].split("/"))
        here = [(k, square) for k, square in enumerate(SQUARES) if square.intersects(sought)]
        return page([item(k, square, when, url) for when in passes(first, last) for k, square in here], url)

    geojson(tmp_path / "country.geojson", json.loads(shapely.to_geojson(COUNTRY)))
    geojson(tmp_path / "farm.geojson", json.loads(shapely.to_geojson(shapely.box(3, 46, 3.02, 46.02))))
    with stac_stand_in(search) as server:
        options = {
            "year": 2023,
            "catalog": server.url,
            "model": str(place / "model"),
            "no_trial": True,
            "crs": "EPSG:3035",
        }
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", MEASURED, repr(options)],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
    farm, country = ([float(part) for part in line.split()] for line in done.stdout.splitlines())
    assert country[0] == len(SQUARES) * 43
    assert country[1] > 10_000
    assert country[2] == pytest.approx(3290, rel=0.05)
    assert country[3] - farm[3] < 100  # MB


def test_a_cluster_whose_workers_are_too_small_is_refused(place: Path, tmp_path: Path) -> None:
    options = {"n_workers": 1, "threads_per_worker": 1, "memory_limit": "0.75GiB", "host": "127.0.0.1"}
    refused = pytest.raises(
        MemoryBudgetError, match=r"need \d\.\d GiB .* a worker of the cluster has 0\.8 GiB"
    )
    with LocalCluster(**options, dashboard_address="127.0.0.1:0") as cluster, refused:
        crop_map.run(request(place, tmp_path / "out"), cluster, progress=False)
    assert not list(tmp_path.rglob("r*.tif"))


def test_a_plan_counts_the_workers_of_a_cluster_once_they_are_there(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"processes": False, "protocol": "tcp", "host": "127.0.0.1"}
    with LocalCluster(n_workers=3, **options, dashboard_address="127.0.0.1:0") as cluster:
        assert plan.run(asked(place, tmp_path / "plan"), cluster, progress=False).workers == 3
        crop_map.run(request(place, tmp_path / "out"), cluster)
        assert "GiB at most in each worker\n" in capsys.readouterr().err
        address = {"no_trial": True, "scheduler": cluster.scheduler_address}
        rough = plan.run(asked(place, tmp_path / "rough").model_copy(update=address), progress=False)
    assert rough.workers is None


def test_files_that_workers_rename_meanwhile_count_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(bytes(10))
    assert bytes_of([tmp_path / "there", tmp_path / "renamed"]) == 10
