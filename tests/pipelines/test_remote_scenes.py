"""Scenes on a server that loses some: left out and told, or the run stops; never holes unseen."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from pipelines import features, search
from pipelines.cli import main
from pipelines.config import FeaturesRequest, FindRequest
from tests.conftest import GEOBOX, footprint, make_scene, write_catalog
from tests.pipelines.test_bad_input import check_nothing_half_written, geojson
from tests.servers.faults import Fault, serve_with_faults
from toolkit.errors import RemoteError, UnsafeReferenceError
from toolkit.scenes.sensors import SENTINEL2_BANDS

START = datetime(2021, 5, 2, 10, 50, tzinfo=UTC)
GONE = Fault(path=r"/d3/B04\.tif", kind="status", status=404)
LOGIN = Fault(path=r"/d3/SCL\.tif", kind="html")
N = 12


@pytest.fixture(scope="module")
def client():
    options = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster, Client(cluster) as connected:
        yield connected


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve scenes of random numbers, a catalog of all of them and one without the fourth."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    items = [
        make_scene(
            folder,
            f"d{k}",
            START + timedelta(days=10 * k),
            value={band: rng.integers(1, 9000, GEOBOX.shape.yx) for band in SENTINEL2_BANDS},
        )
        for k in range(N)
    ]
    write_catalog(folder, items)
    (folder / "rest").mkdir()
    geojson(folder / "aoi.geojson", footprint(GEOBOX))
    return folder


def request(folder, out, **changes):
    options = {
        "aoi": folder / "aoi.geojson",
        "catalog": str(folder / "catalog.json"),
        "year": 2021,
        "bands": ("B04", "B8A"),
        "step_days": 30,
        "first_step": 4,
        "n_steps": 4,
        "fill": "none",
        "tile_size": 32,
        "out": out,
    }
    return FeaturesRequest.make({**options, **changes})


def without(folder, out, name):
    """Items of the catalog on disk without one."""
    found = search.run(
        FindRequest.make(
            {"aoi": folder / "aoi.geojson", "catalog": str(folder / "catalog.json"), "year": 2021, "out": out}
        )
    )
    document = json.loads(found.path.read_text())
    document["features"] = [one for one in document["features"] if one["id"] != name]
    found.path.write_text(json.dumps(document))
    return found.path


@pytest.mark.parametrize("fault", [GONE, LOGIN], ids=["missing band", "login page"])
def test_a_scene_that_cannot_be_read_is_left_out_with_all_its_bands_and_told(folder, client, tmp_path, fault):
    items = without(folder, tmp_path / "search", "d3")
    expected = features.run(request(folder, tmp_path / "rest", items=items), client, progress=False)
    with serve_with_faults(folder, replace(fault)) as server:
        result = features.run(
            request(folder, tmp_path / "out", catalog=f"{server.url}/catalog.json"), client, progress=False
        )
    with xr.open_zarr(result.path) as found, xr.open_zarr(expected.path) as wanted:
        xr.testing.assert_equal(found.load(), wanted.load())
    assert not result.complete
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    (failed,) = record["items_failed"]
    reason = "asset_missing" if fault is GONE else "login_page"
    assert (failed["item"], failed["reason"]) == ("d3", reason)
    assert record["items_found"] == len(record["items"]) == N
    assert any("not read, left out: d3" in line for line in result.lines())


def test_the_command_ends_with_a_code_of_its_own_when_scenes_were_left_out(folder, tmp_path, capfd):
    with serve_with_faults(folder, replace(GONE)) as server:
        options = {"aoi": folder / "aoi.geojson", "catalog": f"{server.url}/catalog.json", "year": 2021}
        options |= {"out": tmp_path / "out", "workers": 1, "n-steps": 24}
        with pytest.raises(SystemExit) as ended:
            main(["features", *(str(part) for key, value in options.items() for part in (f"--{key}", value))])
    assert ended.value.code == 3
    assert "not read, left out: d3 B04: " in capfd.readouterr().out


def test_a_run_may_be_told_to_stop_instead(folder, client, tmp_path):
    with serve_with_faults(folder, replace(GONE)) as server:
        asked = request(folder, tmp_path / "out", catalog=f"{server.url}/catalog.json", on_error="stop")
        with pytest.raises(RemoteError, match=r"d3 B04: .*404.*--max-failed"):
            features.run(asked, client, progress=False)
    check_nothing_half_written(tmp_path / "out")


def test_more_failures_than_the_limit_stop_the_run(folder, client, tmp_path):
    fault = Fault(path=r"/d[357]/B04\.tif", kind="status", status=404)
    with serve_with_faults(folder, fault) as server:
        url = f"{server.url}/catalog.json"
        with pytest.raises(RemoteError, match="2 of 12 scenes could not be read"):
            features.run(request(folder, tmp_path / "out", catalog=url), client, progress=False)
        result = features.run(
            request(folder, tmp_path / "out", catalog=url, max_failed=25), client, progress=False
        )
    assert {one.item for one in result.failed} == {"d3", "d5", "d7"}


def test_a_storm_of_short_failures_changes_no_value(folder, client, tmp_path):
    expected = features.run(request(folder, tmp_path / "disk"), client, progress=False)
    storm = [
        Fault(path=r"/pixels/d1/", kind="status", status=503, times=2),
        Fault(path=r"/pixels/d2/", kind="reset", times=1),
        Fault(path=r"/pixels/d4/", kind="short", times=1),
        Fault(path=r"/pixels/d5/", kind="spoilt", times=1),
        Fault(path=r"/pixels/d6/", kind="status", status=404, times=1),
        Fault(path=r"/pixels/d7/", kind="cut", times=1),
    ]
    with serve_with_faults(folder, *storm) as server:
        asked = request(folder, tmp_path / "out", catalog=f"{server.url}/catalog.json")
        result = features.run(asked, client, progress=False)
    assert result.complete
    assert all(fault.seen > fault.times for fault in storm)
    with xr.open_zarr(result.path) as found, xr.open_zarr(expected.path) as wanted:
        xr.testing.assert_equal(found.load(), wanted.load())


def test_saved_items_are_read_again_without_a_search_but_reach_no_private_host_unnamed(
    folder, client, tmp_path
):
    with serve_with_faults(folder) as server:
        url = f"{server.url}/catalog.json"
        asked = FindRequest.make(
            {"aoi": folder / "aoi.geojson", "catalog": url, "year": 2021, "out": tmp_path}
        )
        items = search.run(asked).path
        before = len(server.log)
        again = request(folder, tmp_path / "a", items=items, catalog="earth-search")
        with pytest.raises(UnsafeReferenceError, match="private network"):
            features.run(again, client, progress=False)
        named = request(folder, tmp_path / "b", items=items, allow_hosts=("127.0.0.1",))
        assert features.run(named, client, progress=False).complete
        assert not any(one.path.endswith(".json") for one in server.log[before:])
