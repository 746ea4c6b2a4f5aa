"""The sample area: what is committed fits together, and the road runs on it."""

import json
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
import rasterio
import yaml
from nbclient import NotebookClient

from pipelines import demo
from pipelines.cli import main
from toolkit.learn.checkpoint import read_checkpoint
from toolkit.legend import Status
from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.outlines import area_of_interest, feature, feature_collection, field_features

SAMPLE = Path(__file__).resolve().parents[2] / "sample_aoi"


@pytest.fixture(scope="module")
def small_sample(tmp_path_factory):
    """The sample's model and run, on a landscape of 64 x 64 pixels that the model never saw."""
    folder = tmp_path_factory.mktemp("sample")
    for model in ("model", "model_emit"):
        shutil.copytree(SAMPLE / model, folder / model)
    run = yaml.safe_load((SAMPLE / "run.yaml").read_text())
    run |= {"aoi": "scenes/aoi.geojson", "fields": "scenes/fields.geojson", "tile_size": 32}
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    for name in ("scenes.yaml", "granules.yaml"):
        scenes = yaml.safe_load((SAMPLE / name).read_text())
        (folder / name).write_text(yaml.safe_dump(scenes | {"seed": 11, "size": 64, "area_share": 0.6}))
    return folder


@pytest.fixture(scope="module")
def result(small_sample):
    return demo.run(sample=small_sample, progress=False)


def test_fields_and_area_of_the_sample_are_those_of_its_seed():
    scenes = yaml.safe_load((SAMPLE / "scenes.yaml").read_text())
    landscape = make_landscape(scenes["seed"], region=scenes["region"], shape=(scenes["size"],) * 2)
    assert landscape.n_fields >= 150
    assert json.loads((SAMPLE / "fields.geojson").read_text()) == json.loads(
        json.dumps(field_features(landscape))
    )
    outline = area_of_interest(landscape, share=scenes["area_share"])
    expected = feature_collection(
        [feature(outline, landscape.geobox, {"name": "simulated area", "simulated": True})]
    )
    assert json.loads((SAMPLE / "aoi.geojson").read_text()) == json.loads(json.dumps(expected))


def test_the_models_fields_are_not_those_of_the_sample():
    line = next(line for line in (SAMPLE / "train.sh").read_text().splitlines() if line.startswith("seeds="))
    seeds = {int(word) for word in line.removeprefix("seeds=(").removesuffix(")").split()}
    assert len(seeds) >= 4
    for scenes in ("scenes.yaml", "granules.yaml"):
        assert yaml.safe_load((SAMPLE / scenes).read_text())["seed"] not in seeds


def test_scenes_and_granules_of_the_sample_show_the_same_fields():
    scenes, granules = (
        yaml.safe_load((SAMPLE / name).read_text()) for name in ("scenes.yaml", "granules.yaml")
    )
    assert granules.pop("sensor") == "emit"
    assert {**scenes, "out": ""} == {**granules, "out": ""}


def test_the_model_says_that_it_is_simulated():
    checkpoint = read_checkpoint(SAMPLE / "model")
    assert checkpoint.simulated
    assert checkpoint.network == "cropnet2d"
    assert checkpoint.recipe.shape == (10, 43)
    assert checkpoint.metrics["n_unmapped"] == 0


def test_the_model_of_emit_is_of_one_spectrum_and_says_that_it_is_simulated():
    checkpoint = read_checkpoint(SAMPLE / "model_emit")
    assert checkpoint.simulated
    assert checkpoint.network == "cropnet1d"
    assert checkpoint.recipe.shape == (244, 1)
    assert checkpoint.metrics["macro_f1"] > 0.7
    assert checkpoint.metrics["fields"]["validation"] > 200
    card = (SAMPLE / "model_emit" / "card.json").read_text()
    assert '"catalog": "/' not in card  # of the machine it was trained on


@pytest.mark.filterwarnings("ignore::toolkit.errors.PartlyMappedWarning")  # few granules, clouds in all
def test_demo_maps_with_emit_from_the_same_run_file(small_sample):
    main(["simulate", str(small_sample / "scenes.yaml")])  # outlines of area and fields
    result = demo.run(sample=small_sample, sensor="emit", progress=False)
    assert result.folder == small_sample / "result_emit"
    assert result.accuracy.n > 20  # pixels of 60 m within eleven fields: too few to judge a model by
    assert sum(result.areas.values()) > 5
    assert result.inputs[0].sensor == "emit"
    with rasterio.open(result.files["crop"]) as file:
        assert file.res == (60, 60)


def test_demo_maps_fields_it_has_never_seen(result):
    assert result.accuracy.overall > 0.75  # 64 x 64 pixels, eleven fields
    assert result.accuracy.n > 500
    assert sum(result.areas.values()) == pytest.approx(0.6 * 64 * 64 / 100, rel=0.15)


def test_demo_leaves_the_named_files_and_nothing_else(result):
    names = sorted(path.name for path in result.folder.iterdir())
    layers = ["confidence", "crop_map", "longest_gap", "observations", "status"]
    tables = ["crop_map.tif.aux.xml", "status.tif.aux.xml"]
    products = ["areas.csv", "confidence.qml", "crop_map.qml", "crop_map.stac.json", "status.qml"]
    assert names == sorted(
        [f"{layer}.tif" for layer in layers]
        + tables
        + products
        + [".cropglobe", "items.json", "offset_checks.json", "run.json", "run.yaml"]
    )


def test_layers_of_the_map_agree_with_each_other(result):
    layers = {}
    for name, path in result.files.items():
        with rasterio.open(path) as file:
            layers[name] = file.read(1)
    mapped = layers["status"] == Status.MAPPED
    assert mapped.any()
    np.testing.assert_array_equal(mapped, layers["crop"] > 0)
    np.testing.assert_array_equal(mapped, layers["confidence"] <= 100)
    assert (layers["observations"][mapped] > 0).all()
    assert (layers["confidence"][mapped] >= 100 / 7 - 1).all()
    assert (layers["status"][~mapped] == Status.OUTSIDE_AREA).all()


def test_the_record_names_every_scene_and_says_simulated(result):
    record = json.loads((result.folder / "run.json").read_text())
    assert record["simulated_scenes"] is True
    record = {**record, **record["sensors"]["sentinel-2"]}
    assert record["model"]["simulated"] is True
    assert "Simulated" in record["attribution"]
    assert len(record["items"]) == result.n_scenes
    used_and_left = len(record["items"]) + sum(map(len, record["items_left_out"].values()))
    assert used_and_left == 45  # a season, one overpass before and one after it
    assert record["hectares"] == result.areas
    with rasterio.open(result.files["crop"]) as file:
        assert file.tags()["MODEL_NOTE"] == "The model was trained on simulated data"


def test_saved_request_runs_again_from_anywhere(result, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["search", str(_search_only(result.folder / "run.yaml", tmp_path))])
    assert f"{result.n_scenes} scenes" in capsys.readouterr().out


def _search_only(run_file, folder):
    """The part of a saved map request that a search understands."""
    saved = yaml.safe_load(run_file.read_text())
    kept = {key: saved[key] for key in ("aoi", "catalog", "year")} | {"out": str(folder / "again")}
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump(kept))
    return path


def test_summary_fits_a_screen_and_html_is_escaped(result):
    lines = result.lines()
    assert len(lines) < 35
    assert any("overall accuracy" in line for line in lines)
    shown = result._repr_html_()
    assert "<table>" in shown
    assert "mapped: " in shown


def test_demo_without_a_sample_says_where_it_is(tmp_path, capfd):
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--sample", str(tmp_path)])
    assert ended.value.code == 4
    assert "There is no sample area" in capfd.readouterr().err


def test_tour_notebook_runs_cell_by_cell(tmp_path):
    for name in ("aoi.geojson", "fields.geojson", "tour.ipynb"):
        shutil.copy(SAMPLE / name, tmp_path / name)
    shutil.copytree(SAMPLE / "model", tmp_path / "model")
    if (SAMPLE / "scenes").is_dir():  # made already: only copied
        shutil.copytree(SAMPLE / "scenes", tmp_path / "scenes")
    notebook = nbformat.read(tmp_path / "tour.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) == 10
    assert all(len(cell.source.splitlines()) <= 11 for cell in cells)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2
    assert (tmp_path / "result" / "tour_map.tif").is_file()


@pytest.mark.slow
def test_the_sample_map_is_right_on_nine_of_ten_pixels_inside_fields(tmp_path):
    result = demo.run(out=tmp_path / "result", progress=False)
    assert result.accuracy.overall >= 0.90
    assert result.accuracy.n > 15_000


def test_two_runs_on_one_cluster_do_not_mix_their_scenes(small_sample, tmp_path):
    """Workers that live on must not use the scenes of the run before."""
    from distributed import Client, LocalCluster

    from pipelines import crop_map
    from pipelines.config import MapRequest

    options = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    aoi = json.loads((small_sample / "scenes" / "aoi.geojson").read_text())
    ring = np.array(aoi["features"][0]["geometry"]["coordinates"][0])
    west, south = ring.min(axis=0)
    corner = [
        [west + x * 0.0012, south + 0.002 + y * 0.0012] for x, y in [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]
    ]
    (tmp_path / "corner.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [corner]}))
    request = MapRequest.make(
        {
            "aoi": tmp_path / "corner.geojson",
            "catalog": str(small_sample / "scenes" / "catalog.json"),
            "year": 2023,
            "model": small_sample / "model",
            "out": tmp_path / "result",
        }
    )
    with LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
        everything = crop_map.run(request, client, progress=False)
        changed = {"max_cloud_cover": 30.0, "allow_change": True}
        clearer = crop_map.run(request.model_copy(update=changed), client, progress=False)
    assert clearer.n_scenes < everything.n_scenes
    with rasterio.open(clearer.files["observations"]) as file:
        assert file.read(1, masked=True).max() <= clearer.n_scenes
    record = json.loads((tmp_path / "result" / "run.json").read_text())["sensors"]["sentinel-2"]
    assert len(record["items"]) == clearer.n_scenes
    assert not list((tmp_path / "result").rglob(".work*"))
