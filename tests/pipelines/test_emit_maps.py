"""Maps of EMIT and of both sensors on simulated fields, and requests of EMIT that cannot be served."""

import json
import shutil

import numpy as np
import pystac
import pytest
import rasterio
import shapely
from rasterio.warp import transform

from pipelines import crop_map, samples, simulate, train
from pipelines.config import MapRequest, SimulateRequest
from pipelines.learn_config import TrainRequest
from pipelines.samples_config import SamplesRequest
from tests.maps.test_model_item import check
from tests.pipelines.test_bad_input import check_nothing_half_written, fails
from tests.pipelines.test_demo import SAMPLE
from tests.servers.ranges import serve
from tests.servers.worldcover import write_raster
from toolkit.area.aoi import read_aoi
from toolkit.area.season import season
from toolkit.catalog.search import search_items
from toolkit.errors import (
    AssetError,
    MissingMaskWarning,
    NothingMappedWarning,
    ProductVersionWarning,
    SensorMissingWarning,
)
from toolkit.learn.checkpoint import read_checkpoint
from toolkit.legend import Source, Status
from toolkit.maps.model_item import MODEL_ITEM, model_name

# A few granules, clouds in all of them.
pytestmark = pytest.mark.filterwarnings("ignore::toolkit.errors.PartlyMappedWarning")
SEED, SIZE = 11, 64


@pytest.fixture(scope="module")
def place(tmp_path_factory, client):
    """Simulated granules, samples of them and a model of two epochs; Sentinel-2 scenes of the same fields."""
    folder = tmp_path_factory.mktemp("emit")
    common = {"seed": SEED, "year": 2023, "size": SIZE, "area_share": 0.3}
    simulate.run(SimulateRequest(sensor="emit", out=folder / "granules", **common))
    simulate.run(SimulateRequest(out=folder / "scenes", **common))
    request = SamplesRequest(
        sensor="emit",
        aoi=folder / "granules" / "aoi.geojson",
        labels=folder / "granules" / "fields.geojson",
        catalog=str(folder / "granules"),
        year=2023,
        resolution=20,
        out=folder / "samples",
    )
    made = samples.run(request, client, progress=False)
    train.run(
        TrainRequest(samples=(made.path,), epochs=2, batch_size=32, out=folder / "model_emit"), progress=False
    )
    return folder


def request(place, out, **changes):
    return MapRequest(
        **{
            "sensor": "emit",
            "aoi": place / "granules" / "aoi.geojson",
            "catalog": str(place / "scenes" / "catalog.json"),
            "model": SAMPLE / "model",
            "emit_catalog": str(place / "granules"),
            "emit_model": place / "model_emit",
            "year": 2023,
            "workers": 1,
            "out": out,
            **changes,
        }
    )


def layers_of(result):
    found = {}
    for name, path in result.files.items():
        with rasterio.open(path) as file:
            found[name] = file.read(1)
    return found


def test_spectra_are_samples_of_one_step_and_train_the_1d_network(place):
    checkpoint = read_checkpoint(place / "model_emit")
    assert checkpoint.network == "cropnet1d"
    assert checkpoint.simulated
    assert checkpoint.recipe.sensor == "emit"
    assert checkpoint.recipe.shape == (244, 1)


def test_the_item_of_the_model_tells_where_and_when_it_was_trained(place):
    document = json.loads((place / "model_emit" / MODEL_ITEM).read_text())
    check(document)
    assert document["id"] == model_name(read_checkpoint(place / "model_emit"))
    area = read_aoi(place / "granules" / "aoi.geojson").geometry
    assert document["bbox"] == pytest.approx(area.bounds)
    assert shapely.geometry.shape(document["geometry"]).equals(area.envelope)
    days = [document["properties"][key][:10] for key in ("start_datetime", "end_datetime")]
    assert days == ["2023-07-01", "2023-08-31"]
    assert document["properties"]["cropglobe:simulated"] is True
    assert str(place) not in json.dumps(document)


def test_a_map_of_emit_is_made_at_its_own_resolution(place, tmp_path, client):
    result = crop_map.run(request(place, tmp_path / "map"), client, progress=False)
    layers = layers_of(result)
    with rasterio.open(result.files["crop"]) as file:
        assert file.res == (60, 60)
        assert "Simulated" in file.tags()["TIFFTAG_COPYRIGHT"]
    mapped = layers["status"] == Status.MAPPED
    assert mapped.any()
    np.testing.assert_array_equal(mapped, layers["crop"] > 0)
    assert layers["observations"][mapped].min() >= 1
    assert "sensor" not in layers
    record = json.loads((result.folder / "run.json").read_text())["sensors"]["emit"]
    assert {item["id"] for item in record["items"]} <= {p.stem for p in (place / "granules").glob("*RFL*")}
    assert record["without_mask"] == []
    assert "offsets" not in record
    assert sorted(path.name for path in result.folder.glob("*items*")) == ["emit_items.json"]


def test_a_mask_of_cropland_decides_by_the_centre_of_pixels_of_60_m(place, tmp_path, client):
    whole = crop_map.run(request(place, tmp_path / "whole"), client, progress=False)
    west, south, east, north = read_aoi(place / "granules" / "aoi.geojson").bounds
    values = np.random.default_rng(0).integers(0, 2, (60, 80)).astype(np.uint8)
    pixel = (east - west + 0.002) / 80, (north - south + 0.002) / 60
    mask = write_raster(
        tmp_path / "mask.tif",
        values,
        0,
        0,
        nodata=None,
        transform=rasterio.Affine(pixel[0], 0, west - 0.001, 0, -pixel[1], north + 0.001),
    )
    masked = crop_map.run(request(place, tmp_path / "masked", cropland=str(mask)), client, progress=False)
    found, expected = layers_of(masked), layers_of(whole)
    with rasterio.open(masked.files["crop"]) as file:
        rows, columns = np.indices(file.shape)
        x, y = rasterio.transform.xy(file.transform, rows.ravel(), columns.ravel())
        lon, lat = (np.reshape(v, file.shape) for v in transform(file.crs, "EPSG:4326", x, y))
    column, row = (lon - west + 0.001) / pixel[0], (north + 0.001 - lat) / pixel[1]
    inside = expected["status"] != Status.OUTSIDE_AREA
    row, column = (
        np.clip(row.astype(int), 0, 59),
        np.clip(column.astype(int), 0, 79),
    )  # outside: not looked at
    removed = inside & (values[row, column] == 0)
    assert 0.2 < removed[inside].mean() < 0.8
    status = np.where(removed, Status.NOT_CROPLAND, expected["status"])
    np.testing.assert_array_equal(found["status"], status)
    np.testing.assert_array_equal(found["crop"], np.where(removed, 0, expected["crop"]))


def test_both_sensors_make_one_map_and_tell_which_said_what(place, tmp_path, client):
    both, emit, optical = (
        layers_of(
            crop_map.run(
                request(place, tmp_path / sensor, sensor=sensor, resolution=20, tile_size=16),
                client,
                progress=False,
            )
        )
        for sensor in ("both", "emit", "sentinel-2")
    )
    seen = {Source.EMIT: emit["crop"] > 0, Source.SENTINEL_2: optical["crop"] > 0}
    wanted = sum(np.where(where, np.uint8(source), 0) for source, where in seen.items())
    np.testing.assert_array_equal(both["sensor"], wanted)
    np.testing.assert_array_equal(both["crop"] > 0, wanted > 0)
    total = emit["observations"].astype(int) + optical["observations"]
    expected = np.where(both["status"] == Status.OUTSIDE_AREA, 255, total)
    np.testing.assert_array_equal(both["observations"], expected)
    alone = wanted == Source.SENTINEL_2
    np.testing.assert_array_equal(both["crop"][alone], optical["crop"][alone])
    agreed = (wanted == Source.BOTH) & (emit["crop"] == optical["crop"])
    np.testing.assert_array_equal(both["crop"][agreed], emit["crop"][agreed])


def test_the_same_request_gives_the_same_bytes_on_one_worker_and_two(place, tmp_path, client):
    configs = [request(place, tmp_path / name, workers=2, tile_size=16, resolution=20) for name in "ab"]
    one = crop_map.run(configs[0], client, progress=False)
    two = crop_map.run(configs[1], progress=False)
    for name in one.files:
        assert one.files[name].read_bytes() == two.files[name].read_bytes()


@pytest.fixture
def granules(place, tmp_path):
    """A copy of the granules, to be spoiled."""
    return shutil.copytree(place / "granules", tmp_path / "granules")


def masks(folder):
    return sorted(folder.glob("*_MASK_*"))


def test_granules_without_a_mask_are_told_recorded_or_stop_the_run(place, granules, tmp_path, capfd, client):
    for path in masks(granules):
        path.unlink()
    with pytest.warns(MissingMaskWarning, match=r"EMIT granules have no mask \(EMIT_L2A_RFL_001_"):
        result = crop_map.run(
            request(place, tmp_path / "map", emit_catalog=str(granules)), client, progress=False
        )
    record = json.loads((result.folder / "run.json").read_text())["sensors"]["emit"]
    assert record["without_mask"] == [item["id"] for item in record["items"]]
    fails(
        command(place, tmp_path / "other", emit_catalog=granules, without_mask="stop"),
        capfd,
        code=4,
        saying=["have no mask", "--without-mask warn"],
    )
    check_nothing_half_written(tmp_path / "other")


def command(place, out, **changes):
    options = {
        "sensor": "emit",
        "aoi": place / "granules" / "aoi.geojson",
        "emit_catalog": place / "granules",
        "emit_model": place / "model_emit",
        "year": 2023,
        "workers": 1,
        "out": out,
        **changes,
    }
    flags = [
        (f"--{key.replace('_', '-')}", str(value)) for key, value in options.items() if value is not None
    ]
    return ["map", *(part for pair in flags for part in pair)]


def test_a_granule_that_is_cut_off_is_left_out_and_named(place, granules, tmp_path, client):
    broken = next(granules.glob("*_RFL_*_202307*"))
    with broken.open("r+b") as file:
        file.truncate(broken.stat().st_size // 2)
    config = request(place, tmp_path / "map", emit_catalog=str(granules))
    result = crop_map.run(config, client, progress=False)
    assert not result.complete
    assert f"not usable: {broken.name}" in result.lines()
    record = json.loads((result.folder / "run.json").read_text())["sensors"]["emit"]
    assert record["items_left_out"]["item_invalid"] == [broken.name]
    assert broken.stem not in {item["id"] for item in record["items"]}


def test_a_granule_that_breaks_after_the_search_is_left_out_or_stops_the_run(
    place, granules, tmp_path, client, capfd
):
    config = request(place, tmp_path / "map", emit_catalog=str(granules))
    whole = crop_map.run(config, client, progress=False)
    broken = next(granules.glob("*_MASK_*_202307*"))
    broken.write_bytes(b"no mask")
    items = whole.folder / "emit_items.json"
    again = config.model_copy(update={"emit_items": items, "max_failed": 60.0, "out": tmp_path / "again"})
    result = crop_map.run(again, client, progress=False)
    assert [(one.band, one.reason) for one in result.failed] == [("mask", "damaged")]
    assert not result.complete
    strict = again.model_copy(update={"on_error": "stop", "out": tmp_path / "strict"})
    with pytest.raises(AssetError, match=r"mask: .*could not be read .*--on-error skip"):
        crop_map.run(strict, client, progress=False)
    check_nothing_half_written(tmp_path / "strict")


def test_a_mask_of_another_swath_stops_or_leaves_out_its_granule(place, granules, tmp_path, client):
    july = [path for path in masks(granules) if "_202307" in path.name]
    other = next(path for path in masks(granules) if "_202306" in path.name)
    shutil.copyfile(other, july[0])
    config = request(place, tmp_path / "map", emit_catalog=str(granules), on_error="stop")
    with pytest.raises(AssetError, match="belongs to another granule") as error:
        crop_map.run(config, client, progress=False)
    assert error.value.reason == "mask_mismatch"
    check_nothing_half_written(tmp_path / "map")


def test_an_area_beside_the_granules_finds_none(place, tmp_path, capfd):
    area = json.loads((place / "granules" / "aoi.geojson").read_text())
    geometry = area["features"][0]["geometry"]
    geometry["coordinates"] = json.loads(
        json.dumps(geometry["coordinates"]), parse_float=lambda text: float(text) + 1.0
    )
    (tmp_path / "far.geojson").write_text(json.dumps(area))
    fails(
        command(place, tmp_path / "map", aoi=tmp_path / "far.geojson"),
        capfd,
        code=5,
        saying="outside_area",
    )


def test_a_season_under_cloud_gives_an_empty_map_that_says_so(place, granules, tmp_path, client):
    import h5py

    for path in masks(granules):
        with h5py.File(path, "r+") as file:
            file["mask"][..., 0] = 1
    with pytest.warns(NothingMappedWarning, match="none was seen clear"):
        result = crop_map.run(
            request(place, tmp_path / "map", emit_catalog=str(granules)), client, progress=False
        )
    assert set(np.unique(layers_of(result)["status"])) <= {Status.OUTSIDE_AREA, Status.NOT_OBSERVED}


def test_the_live_catalog_wants_a_token_and_says_where_to_get_it(place, tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    fails(
        command(place, tmp_path / "map", emit_catalog=None),
        capfd,
        code=4,
        saying=["EARTHDATA_TOKEN", "urs.earthdata.nasa.gov"],
    )


def test_models_of_the_wrong_sensor_or_none_are_named(place, tmp_path, capfd):
    fails(
        command(place, tmp_path / "map", emit_model=SAMPLE / "model"),
        capfd,
        code=8,
        saying=["was trained on sentinel-2, the map is asked for with emit", "--sensor sentinel-2"],
    )
    fails(
        command(place, tmp_path / "map", emit_model=None, model=None),
        capfd,
        code=8,
        saying="No model is given",
    )
    fails(
        command(
            place,
            tmp_path / "map",
            sensor="both",
            emit_model=None,
            model=SAMPLE / "model",
            catalog=place / "scenes" / "catalog.json",
        ),
        capfd,
        code=8,
        saying=["No model for EMIT", "--emit-model"],
    )


def test_a_network_over_time_is_not_trained_on_spectra(place, tmp_path, capfd):
    arguments = ["train", "--samples", str(place / "samples" / "samples.zarr"), "--network", "cropnet2d"]
    fails([*arguments, "--out", str(tmp_path / "model")], capfd, code=8, saying="a spectrum has none")


def test_both_go_on_with_one_sensor_if_the_other_finds_nothing(place, tmp_path, client):
    lonely = tmp_path / "june"
    lonely.mkdir()
    for path in (place / "granules").glob("*_202306*"):
        shutil.copy(path, lonely)
    config = request(place, tmp_path / "map", sensor="both", emit_catalog=str(lonely), resolution=20)
    with pytest.warns(SensorMissingWarning, match="made of sentinel-2 alone: .*outside_season"):
        result = crop_map.run(config, client, progress=False)
    assert "sensor" not in result.files
    assert list(json.loads((result.folder / "run.json").read_text())["sensors"]) == ["sentinel-2"]


def test_layers_of_an_earlier_map_do_not_stay_beside_a_new_one(place, tmp_path, client):
    config = request(place, tmp_path / "map", sensor="both", resolution=20)
    crop_map.run(config, client, progress=False)
    assert {path.suffix for path in config.out.glob("sensor.*")} == {".tif", ".xml", ".qml"}
    item = pystac.Item.from_file(str(config.out / "crop_map.stac.json"))
    models = {"sentinel-2": SAMPLE / "model", "emit": place / "model_emit"}
    assert {one["sensor"]: one["mlm:name"] for one in item.properties["cropglobe:models"]} == {
        sensor: model_name(read_checkpoint(folder)) for sensor, folder in models.items()
    }
    changed = {"sensor": "emit", "allow_change": True}
    crop_map.run(config.model_copy(update=changed), client, progress=False)
    left = {path.name for path in config.out.iterdir()}
    assert not left & {"sensor.tif", "sensor.tif.aux.xml", "sensor.qml", "items.json", "offset_checks.json"}
    assert {"crop_map.tif", "emit_items.json"} <= left


def test_what_is_meant_for_sentinel_2_does_not_reach_emit(place, tmp_path):
    config = request(
        place, tmp_path / "map", items=tmp_path / "s2.json", collection="sentinel-2-c1-l2a", first_step=24
    )
    own = config.of_sensor("emit")
    assert (own.items, own.collection, own.first_step) == (None, None, None)
    assert own.catalog == str(place / "granules")
    assert own.model == place / "model_emit"
    plain = request(place, tmp_path / "map", emit_catalog=None, emit_model=None, catalog="somewhere")
    assert plain.of_sensor("emit") == plain
    assert config.model_copy(update={"sensor": "both"}).of_sensor("sentinel-2").items == tmp_path / "s2.json"


def test_emit_has_no_offset(place, tmp_path, capfd):
    fails(
        command(place, tmp_path / "map", offset=-0.1),
        capfd,
        code=4,
        saying=["offset of -0.1", "EMIT's reflectance has none"],
    )


def test_a_model_of_another_version_of_the_product_is_told(place, granules, tmp_path, client):
    for path in granules.glob("*_001_*.nc"):
        parts = path.name.split("_")
        mask = "003" if parts[2] == "MASK" else "002"
        path.rename(path.with_name("_".join([*parts[:3], mask, parts[4]]) + ".nc"))
    with pytest.warns(
        ProductVersionWarning, match="trained on EMIT version 001, the granules are of version 002"
    ):
        result = crop_map.run(
            request(place, tmp_path / "map", emit_catalog=str(granules)), client, progress=False
        )
    items = json.loads((result.folder / "run.json").read_text())["sensors"]["emit"]["items"]
    assert {(item["emit:product_version"], item["emit:mask_version"]) for item in items} == {("002", "003")}


def test_granules_of_a_catalog_on_a_server_that_the_user_named_are_mapped(place, tmp_path, client):
    folder = shutil.copytree(place / "granules", tmp_path / "served")
    found = search_items(
        str(folder), read_aoi(folder / "aoi.geojson"), season(2023, hemisphere="north"), sensor="emit"
    )
    with serve(folder) as server:
        features = []
        for item in found:
            copy = item.full_copy()
            copy.assets = {}
            for asset in item.assets.values():
                name = asset.href.rpartition("/")[2]
                copy.add_asset(f"001/{name}", pystac.Asset(f"{server.url}/{name}"))
            features.append(copy.to_dict(include_self_link=False))
        collection = {"type": "FeatureCollection", "features": features}
        (folder / "catalog.json").write_text(json.dumps(collection))
        config = request(place, tmp_path / "map", emit_catalog=f"{server.url}/catalog.json")
        remote = layers_of(crop_map.run(config, client, progress=False))
        assert sum(request.path.endswith(".nc") for request in server.log) > 0
    local = layers_of(crop_map.run(request(place, tmp_path / "local"), client, progress=False))
    for name, layer in local.items():
        np.testing.assert_array_equal(remote[name], layer)
