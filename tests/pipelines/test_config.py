"""Requests: files and options merged, checked, saved."""

from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from pipelines.cli import cropglobe
from pipelines.config import (
    FeaturesRequest,
    MapRequest,
    SearchRequest,
    SimulateRequest,
)
from pipelines.learn_config import FetchRequest, ImportWeightsRequest, TrainRequest, TransferRequest
from pipelines.options import request_options
from pipelines.samples_config import SamplesRequest
from toolkit.errors import InputError

REQUESTS = (
    *(SearchRequest, FeaturesRequest, SamplesRequest, TrainRequest, MapRequest, SimulateRequest),
    *(FetchRequest, ImportWeightsRequest, TransferRequest),
)


def test_options_win_over_the_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("out: result\naoi: aoi.geojson\nyear: 2020\n")
    request = MapRequest.read(path, {"year": 2023, "crs": None, "bands": ()})
    assert request.year == 2023
    assert request.aoi == tmp_path / "aoi.geojson"
    assert request.crs == "utm"
    assert request.bands is None
    assert MapRequest.read(str(path)).year == 2020  # as a script gives it


def test_catalog_names_and_urls_stay_and_paths_count_from_the_file(tmp_path):
    (tmp_path / "catalog.json").write_text("{}")
    for catalog, expected in {
        "earth-search": "earth-search",
        "https://stac.example.org": "https://stac.example.org",
        "catalog.json": str(tmp_path / "catalog.json"),
    }.items():
        (tmp_path / "run.yaml").write_text(f"out: o\naoi: a\nyear: 2020\ncatalog: {catalog}\n")
        assert SearchRequest.read(tmp_path / "run.yaml", {}).catalog == expected


def test_saved_requests_mean_the_same_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = MapRequest.make({"out": "o", "aoi": "a.geojson", "year": 2020, "model": "m", "dilation": 20})
    path = request.write(tmp_path / "run.yaml")
    monkeypatch.chdir("/")
    again = MapRequest.read(path, {})
    assert again.model == tmp_path / "m"
    assert again.dilation == 20
    assert "catalog" not in yaml.safe_load(path.read_text())  # the sensor's, as before


def test_what_counts_for_one_run_is_not_saved(tmp_path):
    asked = {"out": "o", "aoi": "a", "year": 2020, "allow_change": True, "refresh": True}
    again = MapRequest.read(MapRequest.make(asked).write(tmp_path / "run.yaml"))
    assert (again.allow_change, again.refresh) == (False, False)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://10.0.0.1:8786",
        "tls://node.example.org:8786",
        "localhost:8786",
        "tcp://[::1]:8786",
        "inproc://1",
    ],
)
def test_addresses_of_schedulers(address):
    assert MapRequest(out="o", aoi="a", year=2020, scheduler=address).scheduler == address


@pytest.mark.parametrize("address", ["foo", "tcp://foo", "http//host:1", "host:port", "a b:80", ""])
def test_addresses_that_no_scheduler_can_have(address):
    with pytest.raises(InputError, match=r"scheduler is '.*': give host and port.*tcp://10.0.0.1:8786"):
        MapRequest.make({"out": "o", "aoi": "a", "year": 2020, "scheduler": address})


@pytest.mark.parametrize(
    ("given", "saved"), [("worldcover", "worldcover"), ("none", "none"), ("mask.tif", "{}/mask.tif")]
)
def test_masks_of_cropland_are_names_or_paths(tmp_path, monkeypatch, given, saved):
    monkeypatch.chdir(tmp_path)
    asked = {"out": "o", "aoi": "a.geojson", "year": 2020, "cropland": given, "cropland_values": ("40",)}
    path = MapRequest.make(asked).write(tmp_path / "run.yaml")
    monkeypatch.chdir("/")
    again = MapRequest.read(path, {})
    assert again.cropland == saved.format(tmp_path)
    assert again.cropland_values == (40,)


@pytest.mark.parametrize("model", REQUESTS)
def test_every_field_says_what_it_is(model):
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize("model", REQUESTS)
def test_every_key_is_an_option_too(model):
    command = click.command()(request_options(model)(lambda _: None))
    assert {option.name for option in command.params} == {*model.model_fields, "run_file"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "out is missing"),
        ({"out": "o", "aoi": "a", "year": 2020, "max_cloud_cover": 140}, "max_cloud_cover is 140"),
        ({"out": "o", "aoi": "a", "year": 2020, "tile_size": 4}, "tile_size is 4"),
        ({"out": "o", "aoi": "a", "year": 2020, "coulour": 1}, "coulour is not a known key"),
    ],
)
def test_problems_name_key_value_and_what_to_do(values, message):
    with pytest.raises(InputError, match=message):
        MapRequest.make(values)


def test_repeated_options_and_mappings_are_understood():
    seen = []
    command = click.command()(request_options(SamplesRequest)(seen.append))
    arguments = ["--aoi", "a", "--labels", "l.tif", "--year", "2020", "--out", "o"]
    CliRunner().invoke(
        command, [*arguments, "--classes", "1=wheat", "--classes", "*=other"], catch_exceptions=False
    )
    assert seen[0].classes == {"1": "wheat", "*": "other"}
    assert seen[0].labels == Path("l.tif")


def test_help_of_every_command_ends_well():
    for name in cropglobe.commands:
        result = CliRunner().invoke(cropglobe, [name, "--help"])
        assert result.exit_code == 0
        assert "Options:" in result.output


def test_training_from_a_file_takes_one_or_several_samples_from_its_folder(tmp_path):
    for text, names in (("samples: a.zarr", ["a.zarr"]), ("samples: [a.zarr, b.zarr]", ["a.zarr", "b.zarr"])):
        (tmp_path / "train.yaml").write_text(f"{text}\nout: model\n")
        request = TrainRequest.read(tmp_path / "train.yaml", {})
        assert request.samples == tuple(tmp_path / name for name in names)
        again = TrainRequest.read(request.write(tmp_path / "saved.yaml"), {})
        assert again == request


def test_labels_of_a_layer_by_name_are_no_path_unless_there_is_such_a_file(tmp_path):
    text = "aoi: a\nlabels: usda-cdl\nlabels_catalog: http://127.0.0.1/api\nyear: 2020\nout: o\n"
    (tmp_path / "run.yaml").write_text(text)
    request = SamplesRequest.read(tmp_path / "run.yaml", {})
    assert request.labels == Path("usda-cdl")
    assert SamplesRequest.read(request.write(tmp_path / "saved.yaml"), {}) == request
    assert SamplesRequest.read(tmp_path / "run.yaml", {}).out == tmp_path / "o"
    (tmp_path / "usda-cdl").touch()
    assert SamplesRequest.read(tmp_path / "run.yaml", {}).labels == tmp_path / "usda-cdl"


def test_other_codes_may_be_one_or_several_numbers_or_text(tmp_path):
    for text, codes in (("61", ("61",)), ("[61, '007', '*']", ("61", "007", "*"))):
        (tmp_path / "run.yaml").write_text(
            f"aoi: a\nlabels: l.tif\nyear: 2020\nout: o\nother_codes: {text}\n"
        )
        assert SamplesRequest.read(tmp_path / "run.yaml", {}).other_codes == codes
    with pytest.raises(InputError, match=r"unknown_codes is 'guess'.*'stop' or 'drop'"):
        SamplesRequest.read(tmp_path / "run.yaml", {"unknown_codes": "guess"})


def test_classes_may_be_numbers_in_a_file(tmp_path):
    (tmp_path / "run.yaml").write_text(
        "aoi: a\nlabels: l.tif\nyear: 2020\nout: o\nclasses: {1110: wheat, '*': other}\n"
    )
    assert SamplesRequest.read(tmp_path / "run.yaml", {}).classes == {1110: "wheat", "*": "other"}
