"""Wrong requests: one clear sentence, the right exit code, no traceback, nothing half-written."""

import json
import re
import shutil
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from shapely.geometry import Point, box, mapping, shape

from pipelines import crop_map
from pipelines.cli import main
from pipelines.config import MapRequest
from tests.conftest import footprint, make_scene, write_catalog
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.learn.checkpoint import Checkpoint, write_checkpoint
from toolkit.learn.networks import build_network
from toolkit.legend import CROPGLOBE

START = datetime(2021, 5, 2, 10, 50, tzinfo=UTC)


def checkpoint(*, simulated, recipe=None):
    """An untrained network of the right shape."""
    recipe = recipe or FeatureRecipe()
    return Checkpoint(
        network="cropnet2d",
        state=build_network("cropnet2d", recipe.shape, 7).state_dict(),
        recipe=recipe,
        legend=CROPGLOBE,
        mean=(0.0,) * len(recipe.bands),
        std=(1.0,) * len(recipe.bands),
        metrics={},
        provenance={"simulated": simulated},
    )


@pytest.fixture
def place(tmp_path, geobox):
    """A complete, valid request in files; tests spoil one thing each."""
    (tmp_path / "aoi.geojson").write_text(
        json.dumps({"type": "Feature", "properties": {}, "geometry": footprint(geobox)})
    )
    items = [make_scene(tmp_path, f"d{k}", START + timedelta(days=40 * k)) for k in range(4)]
    write_catalog(tmp_path, items)
    write_checkpoint(checkpoint(simulated=False), tmp_path / "model")
    return tmp_path


def request(place, **changes):
    options = {
        "aoi": place / "aoi.geojson",
        "catalog": place / "catalog.json",
        "year": 2021,
        "model": place / "model",
        "out": place / "result",
        "workers": 1,
        "radiometry": "trust",  # the pixels are those of no real surface
    }
    options.update(changes)
    flags = [(f"--{key.replace('_', '-')}", value) for key, value in options.items() if value is not None]
    return ["map", *(str(part) for pair in flags for part in pair if part is not True)]


def fails(arguments, capfd, *, code, saying):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capfd.readouterr()
    assert ended.value.code == code, err
    errors = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, err
    for text in saying if isinstance(saying, list) else [saying]:
        assert text in errors[0]
    assert "Traceback" not in err + out


def check_nothing_half_written(folder):
    """What a later run goes on from may stay, in a folder of its own; no file of a map may."""
    left = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    assert left <= {"items.json", ".cropglobe"}, left
    assert not [path for path in folder.rglob("*") if ".part" in path.name or path.name.startswith(".work")]


def geojson(path, geometry):
    path.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": geometry}))
    return path


def test_missing_area_file(place, capfd):
    fails(
        request(place, aoi=place / "no.geojson"),
        capfd,
        code=4,
        saying=["There is no file", "no.geojson"],
    )
    check_nothing_half_written(place / "result")


def test_a_season_moved_out_of_its_year(place, capfd):
    fails(
        request(place, season_shift=40),
        capfd,
        code=4,
        saying=["cannot be moved by 40 days: it would leave its year", "Allowed: -120 to 30 days"],
    )
    check_nothing_half_written(place / "result")


def test_a_season_is_moved_to_where_crops_grow_later(place, client):
    config = MapRequest(
        aoi=place / "aoi.geojson",
        catalog=str(place / "catalog.json"),
        year=2021,
        model=place / "model",
        out=place / "result",
        radiometry="trust",
        season_shift=24,
    )
    crop_map.run(config, client, progress=False)
    told = json.loads((place / "result" / "run.json").read_text())["sensors"]["sentinel-2"]
    assert told["season"] == {"first_day": "2021-05-26", "last_day": "2021-12-26"}
    assert told["model"]["recipe"]["first_step"] == 24  # that of the model stays


def test_area_without_polygons(place, capfd):
    points = geojson(place / "points.geojson", mapping(Point(4, 50)))
    fails(request(place, aoi=points), capfd, code=4, saying=["holds no polygon, only ['Point']", "Draw"])
    check_nothing_half_written(place / "result")


def test_longitude_and_latitude_swapped(place, geobox, capfd):
    ring = [[y, x] for x, y in footprint(geobox)["coordinates"][0]]
    swapped = geojson(place / "swapped.geojson", {"type": "Polygon", "coordinates": [ring]})
    fails(request(place, aoi=swapped), capfd, code=5, saying=["probably swapped", "[longitude, latitude]"])
    check_nothing_half_written(place / "result")


def test_empty_search(place, capfd):
    elsewhere = geojson(place / "sea.geojson", mapping(Point(-30, 40).buffer(0.01)))
    fails(request(place, aoi=elsewhere), capfd, code=5, saying=["No scenes in", "4 outside_area"])
    check_nothing_half_written(place / "result")


def test_season_without_scenes(place, capfd):
    fails(request(place, year=2012), capfd, code=5, saying=["2012-04-30 to 2012-11-30", "4 outside_season"])
    check_nothing_half_written(place / "result")


@pytest.mark.parametrize(
    ("changes", "saying"),
    [
        ({"year": 2020}, ["None of the 4 scenes in", "2020-04-30 to 2020-11-30: 4 outside_season"]),
        ({"max_cloud_cover": 1}, ["None of the 4 scenes in", "4 too_cloudy", "Search again"]),
    ],
)
def test_saved_items_that_do_not_belong_to_the_request(place, capfd, changes, saying):
    main_ok(["search", *request(place, model=None, workers=None, radiometry=None)[1:]])
    items = (place / "result" / "items.json").rename(place / "items.json")
    told = json.loads(items.read_text())
    told["skipped"] = {"outside_season": ["another"], "too_cloudy": ["one more"]}  # of that search
    for feature in told["features"]:
        feature["properties"]["eo:cloud_cover"] = 30
    items.write_text(json.dumps(told))
    capfd.readouterr()
    fails(request(place, items=items, catalog=None, **changes), capfd, code=5, saying=saying)
    check_nothing_half_written(place / "result")


@pytest.mark.parametrize("command", ["map", "plan"])
def test_saved_items_that_are_not_there(place, capfd, command):
    for wrong in (place / "nope.json", place):
        arguments = request(place, items=wrong, catalog=None)[1:]
        fails([command, *arguments], capfd, code=4, saying=["saved items", str(wrong), "cropglobe search"])


def test_a_search_does_not_replace_the_items_it_is_given(place, capfd):
    options = request(place, model=None, workers=None, radiometry=None)[1:]
    main_ok(["search", *options])
    items = place / "result" / "items.json"
    before = items.read_bytes()
    capfd.readouterr()
    arguments = ["search", *options, "--items", str(items), "--max-cloud-cover", "1"]
    fails(arguments, capfd, code=4, saying=["given as --items, and would be replaced", "another --out"])
    assert items.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "saying"),
    [
        ({"device": "cuda:99"}, "Device 'cuda:99' is not there"),
        ({"device": "gpu"}, "Device 'gpu' is unknown. Known: auto, cpu, cuda"),
        ({"engine": "torch", "precision": "int8"}, "Engine 'torch' computes in fp32, bf16, not in 'int8'"),
        ({"engine": "compiled", "device": "cpu"}, ["No engine asked for can serve here", "on GPUs only"]),
        ({"scheduler": "foo"}, "scheduler is 'foo': give host and port"),
    ],
)
def test_what_cannot_compute_is_told_before_any_search(place, capfd, changes, saying):
    unreachable = "http://127.0.0.1:9/v1"
    arguments = request(place, catalog=unreachable, **changes)
    for command in ("map", "plan"):
        fails([command, *arguments[1:]], capfd, code=4, saying=saying)
        assert not (place / "result").exists()


def test_zones_of_another_place(place, capfd):
    far = geojson(place / "far.geojson", mapping(box(9, 50, 9.1, 50.1)))
    fails(request(place, zones=far), capfd, code=4, saying=["No polygon of", "lies in the area"])
    assert not (place / "result").exists()


def test_an_area_that_holds_no_centre_of_a_pixel(place, geobox, capfd):
    west, south, _, _ = footprint_bounds(geobox)
    speck = geojson(place / "speck.geojson", mapping(box(west, south, west + 1e-6, south + 1e-6)))
    fails(request(place, aoi=speck), capfd, code=4, saying=["No centre of a pixel of 10 m lies in its"])
    assert not (place / "result").exists()


def footprint_bounds(geobox):
    return shape(footprint(geobox)).bounds


def test_weeks_without_any_scene_are_told(place, capfd):
    with warnings.catch_warnings(action="default"):
        main_ok(request(place))
    told = capfd.readouterr()
    assert "Warning: No scene from 2021-08-31 to 2021-12-01 (93 days of the season 2021-05-01" in told.err
    assert "longest time without a clear date: " in told.out


@pytest.mark.parametrize(
    ("option", "value", "saying"),
    [
        ("clear", "strict", "clear: asked 'strict', trained 'default'"),
        ("n_steps", 30, "n_steps: asked 30, trained 43"),
        ("bands", "B02", "bands: asked ['B02'], trained"),
    ],
)
def test_model_whose_recipe_does_not_fit_the_request(place, capfd, option, value, saying):
    fails(request(place, **{option: value}), capfd, code=8, saying=saying)
    check_nothing_half_written(place / "result")


def test_no_model_at_all_says_how_to_get_one(place, capfd):
    fails(
        request(place, model=None),
        capfd,
        code=8,
        saying=["No model is given", "cropglobe train", "--model DIR"],
    )
    fails(request(place, model=place / "nowhere"), capfd, code=8, saying=["nowhere", "cropglobe train"])
    check_nothing_half_written(place / "result")


def test_damaged_model(place, capfd):
    weights = place / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    fails(request(place), capfd, code=8, saying="sha256")
    check_nothing_half_written(place / "result")


def test_simulated_model_on_real_scenes(place, capfd):
    write_checkpoint(checkpoint(simulated=True), place / "toy")
    fails(
        request(place, model=place / "toy"),
        capfd,
        code=8,
        saying=["trained on simulated data", "4 scenes are real", "--allow-simulated-model"],
    )
    check_nothing_half_written(place / "result")


def test_unknown_band(place, capfd):
    fails(
        request(place, bands="B99"), capfd, code=4, saying=["Bands ['B99'] are unknown", "Known bands: B02"]
    )
    check_nothing_half_written(place / "result")


@pytest.mark.parametrize("folder", ["file/result", "/proc/cropglobe"])
def test_output_folder_that_cannot_be_written(place, capfd, folder):
    (place / "file").write_text("")
    out = place / folder  # an absolute folder replaces the place
    fails(request(place, out=out), capfd, code=7, saying=["The output folder", "cannot be written", "--out"])


def test_unknown_catalog(place, capfd):
    fails(
        request(place, catalog="earthsearch"), capfd, code=4, saying=["There is no catalog", "earth-search"]
    )


def test_unknown_collection_of_a_known_catalog(place, capfd):
    arguments = request(place, catalog="earth-search", collection="sentinel-2")
    fails(arguments, capfd, code=4, saying=["no collection 'sentinel-2'", "sentinel-2-c1-l2a"])


def test_catalog_without_the_sensor(place, capfd):
    arguments = request(place, catalog="lpcloud")
    fails(arguments, capfd, code=4, saying=["EARTHDATA_TOKEN is not set", "earth-search"])


def test_catalog_that_needs_an_account(place, capfd, monkeypatch):
    monkeypatch.delenv("CDSE_S3_ACCESS_KEY", raising=False)
    said = ["CDSE_S3_ACCESS_KEY is not set", "CDSE_S3_SECRET_KEY", "cropglobe catalogs"]
    fails(request(place, catalog="cdse"), capfd, code=4, saying=said)


def test_catalog_that_looks_right_and_is_not(place, capfd):
    arguments = request(place, catalog="https://catalogue.dataspace.copernicus.eu/stac")
    fails(arguments, capfd, code=4, saying=["cannot be used", "--catalog cdse"])


def test_catalog_that_is_down(place, capfd):
    arguments = request(place, catalog="http://127.0.0.1:9/v1")
    fails(arguments, capfd, code=6, saying=["127.0.0.1:9", "tried 2 times", "Check the address"])


def test_area_in_the_sea(place, capfd):
    aoi = geojson(place / "sea.geojson", mapping(box(-30, 40, -29.9, 40.1)))
    fails(request(place, aoi=aoi), capfd, code=5, saying=["No scenes", "4 outside_area", "Check area"])


def test_mapping_of_bands_to_nothing_known(place, capfd):
    fails(request(place, assets="B99=blue"), capfd, code=4, saying=["['B99']", "no bands", "B8A"])


def test_scene_that_cannot_be_read(place, capfd):
    path = next((place / "pixels" / "d1").glob("B04.tif"))
    path.write_bytes(path.read_bytes()[:200])
    fails(request(place), capfd, code=6, saying="could not be read")
    check_nothing_half_written(place / "result")


def test_an_area_that_scenes_show_in_part(place, geobox, capfd):
    west, south, east, north = footprint_bounds(geobox)
    wide = geojson(place / "wide.geojson", mapping(box(west, south, 2 * east - west, north)))
    with warnings.catch_warnings(action="default"):
        main_ok(request(place, aoi=wide))
    told = capfd.readouterr()
    assert re.search(r"Warning: 5\d% of the area has no class: not observed [\d.]+ ha\. See status", told.err)
    assert "; without a class not observed " in told.out
    coverage = json.loads((place / "result" / "run.json").read_text())["coverage"]
    assert coverage["share_without_class"] == pytest.approx(0.51, abs=0.02)
    assert coverage["hectares"]["mapped"] == pytest.approx(coverage["hectares"]["not observed"], rel=0.1)


def test_wrong_fields_are_told_before_the_map_is_made(place, capfd):
    fields = geojson(place / "fields.geojson", footprint_of_place(place))
    fails(request(place, fields=fields), capfd, code=4, saying="no property 'crop'")
    assert not (place / "result").exists()


def footprint_of_place(place):
    return json.loads((place / "aoi.geojson").read_text())["geometry"]


def test_folder_with_other_things_is_refused_before_training(tmp_path, capfd):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("precious")
    fails(
        ["train", "--samples", str(tmp_path / "none.zarr"), "--out", str(tmp_path / "thesis")],
        capfd,
        code=7,
        saying="is not overwritten",
    )
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "precious"


def test_no_arguments_show_the_help(capfd):
    main_ok([])
    assert "Commands:" in capfd.readouterr().out


def test_scenes_without_a_band_are_left_out_told_and_change_the_exit_code(place, geobox, capfd):
    items = [make_scene(place, f"e{k}", START + timedelta(days=40 * k)) for k in range(3)]
    del items[1].assets["nir08"]
    (place / "partial").mkdir()
    for item in items:
        for asset in item.assets.values():
            asset.href = str(
                shutil.move(asset.href, place / "partial" / f"{item.id}_{Path(asset.href).name}")
            )
    catalog = write_catalog(place / "partial", items)
    corner = geojson(place / "corner.geojson", footprint(geobox[:16, :16]))
    with pytest.raises(SystemExit) as ended:
        main(request(place, catalog=catalog, aoi=corner))
    assert ended.value.code == 3
    assert "2 scenes used, left out: 1 asset_missing" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["map"], ["out is missing", "Give --out"]),
        (["map", "--year", "abc"], "'abc' is not a valid integer"),
        (["mapp"], "No such command 'mapp'"),
        (["map", "no.yaml", "--out", "x"], "There is no run file 'no.yaml'"),
        (["map", "n" * 300, "--out", "x"], "cannot be read ([Errno 36] File name too long"),
        (["samples", "--out", "x", "--classes", "1110"], "is not KEY=VALUE"),
    ],
)
def test_wrong_command_lines(arguments, saying, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails(arguments, capfd, code=4, saying=saying)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("[1, 2]", "holds list"),
        ("aoi: [", "cannot be read"),
        ("colour: red\nout: x", "colour is not a known key"),
        ("colour: red\nshape: x\nout: x", "colour, shape are not known keys. Known keys: out, aoi, "),
        ("out: x\naoi: a\nyear: never", "year is 'never'"),
    ],
)
def test_wrong_run_files(text, saying, capfd, tmp_path):
    (tmp_path / "run.yaml").write_text(text)
    fails(["map", str(tmp_path / "run.yaml")], capfd, code=4, saying=saying)


def test_faults_of_ours_are_a_sentence_too(place, capfd, monkeypatch):
    def broken(*_, **__):
        msg = "unforeseen"
        raise RuntimeError(msg)

    monkeypatch.setattr("pipelines.search.run", broken)
    arguments = ["search", "--aoi", "a", "--year", "2021", "--out", str(place / "x")]
    fails(arguments, capfd, code=10, saying=["unforeseen", "This is a fault of cropglobe"])


def test_paths_in_a_run_file_count_from_its_folder(place, capfd, monkeypatch):
    (place / "run.yaml").write_text("aoi: aoi.geojson\ncatalog: catalog.json\nyear: 2021\nout: found\n")
    monkeypatch.chdir("/")
    main_ok(["search", str(place / "run.yaml")])
    assert (place / "found" / "items.json").is_file()
    assert "4 scenes" in capfd.readouterr().out


def main_ok(arguments):
    main(arguments)
    assert Path.cwd().exists()
