"""The STAC item of a model: valid, readable by pystac's extension, enough to use the model rightly."""

import hashlib
import importlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import numpy as np
import pystac
import pytest
import shapely
import torch
import xarray as xr
from odc.geo.xr import xr_coords
from pystac.extensions.file import FileExtension
from pystac.extensions.mlm import AssetGeneralMLMExtension, MLMExtension, ValueScaling
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from toolkit.cubes.recipe import FeatureRecipe, emit_recipe
from toolkit.errors import CheckpointError
from toolkit.learn.checkpoint import CARD, WEIGHTS, Checkpoint, read_checkpoint, write_checkpoint
from toolkit.learn.networks import NETWORKS, build_network
from toolkit.learn.predict import predict
from toolkit.legend import CropClass, Legend
from toolkit.maps.model_item import ARCHITECTURES, MODEL_ITEM, model_name, write_model_item

SAMPLE = Path(__file__).resolve().parents[2] / "sample_aoi"
LEGEND = Legend((CropClass("winter wheat", (1, 2, 3)), CropClass("rice", (4, 5, 6))))
RECIPE = FeatureRecipe(bands=("B02", "B04", "B08"), first_step=2, n_steps=8, step_days=30)
ARRAY = {
    "required": ["shape", "dim_order", "data_type"],
    "properties": {
        "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
        "dim_order": {"type": "array", "uniqueItems": True, "items": {"pattern": "^[a-z-_]+$"}},
        "data_type": {"const": "float32"},
    },
}
CONSTRAINTS = {
    # What the extension asks of an item, said anew from its README and schema, which lie on the network.
    "properties": {
        "stac_extensions": {
            "contains": {"const": "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"}
        },
        "properties": {
            "required": [
                *("mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"),
                "bands",  # that the input names
            ],
            "properties": {
                "mlm:name": {"pattern": r"^[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]$"},
                "mlm:architecture": {"type": "string"},
                "mlm:tasks": {"items": {"const": "semantic-segmentation"}, "minItems": 1},
                "mlm:framework": {"enum": ["PyTorch", "scikit-learn"]},
                "mlm:framework_version": {"pattern": r"^\d+\.\d+\.\d+(\+[0-9A-Za-z.-]+)?$"},
                "mlm:total_parameters": {"type": "integer", "minimum": 1},
                "mlm:accelerator": {"type": "null"},
                "mlm:accelerator_constrained": {"const": False},
                "mlm:pretrained": {"const": False},
                "mlm:pretrained_source": {"type": "null"},
                "mlm:hyperparameters": {"type": "object", "minProperties": 1},
                "mlm:input": {
                    "maxItems": 1,
                    "items": {
                        "required": ["name", "bands", "input"],
                        "properties": {
                            "input": ARRAY,
                            "bands": {"items": {"type": "string", "minLength": 1}},
                            "value_scaling": {
                                "type": ["array", "null"],
                                "items": {
                                    "required": ["type", "mean", "stddev"],
                                    "properties": {
                                        "type": {"const": "z-score"},
                                        "mean": {"type": "number"},
                                        "stddev": {"type": "number", "exclusiveMinimum": 0},
                                    },
                                },
                            },
                            "resize_type": {"type": "null"},
                            "pre_processing_function": {"required": ["format", "expression"]},
                        },
                    },
                },
                "mlm:output": {
                    "maxItems": 1,
                    "items": {
                        "required": ["name", "tasks", "result", "classification:classes"],
                        "properties": {"result": ARRAY},
                    },
                },
            },
            "dependencies": {"mlm:pretrained": ["mlm:pretrained_source"]},
            "patternProperties": {
                "^mlm:(?!name|architecture|tasks|framework|total_parameters|accelerator|pretrained"
                "|hyperparameters|input|output)": False,
            },
        },
        "assets": {
            "required": ["model"],
            "properties": {
                "model": {
                    "required": ["mlm:artifact_type"],
                    "properties": {"roles": {"contains": {"const": "mlm:model"}}},
                }
            },
            "additionalProperties": {
                "required": ["href", "type", "roles", "file:size", "file:checksum"],
                "properties": {
                    "href": {"pattern": "^[.]/[^/]+$"},
                    "file:checksum": {"pattern": "^1220[0-9a-f]{64}$"},
                },
            },
        },
    },
}


def model(network="tempcnn", recipe=RECIPE, *, learnt=None, **more):
    """An untrained model as training leaves it; random, but always the same."""
    torch.manual_seed(3)
    n = len(recipe.bands)
    samples = {} if learnt is None else {"samples": learnt}
    values = {
        "mean": tuple(0.1 + 0.01 * k for k in range(n)),
        "std": tuple(0.2 + 0.01 * k for k in range(n)),
        "metrics": {"macro_f1": 0.9},
        "provenance": {
            "simulated": False,
            "config": {"network": network, "epochs": 3, "patience": None},
            "torch": "2.13.0+cpu",
            **samples,
        },
    }
    state = build_network(network, recipe.shape, 2).state_dict()
    return Checkpoint(network=network, state=state, recipe=recipe, legend=LEGEND, **{**values, **more})


def described(checkpoint, folder):
    """Write a model and its item; the document, valid."""
    write_checkpoint(checkpoint, folder, overwrite=True)
    document = json.loads(write_model_item(folder).read_text())
    check(document)
    return document


def check(document):
    """Validate against the core schema that pystac brings along, and against the constraints above."""
    JsonSchemaSTACValidator().validate_core(document, pystac.STACObjectType.ITEM, document["stac_version"])
    jsonschema.Draft7Validator(CONSTRAINTS).validate(document)
    (given,) = document["properties"]["mlm:input"]
    for bands in (document["properties"]["bands"], document["assets"]["model"]["bands"]):
        assert [band["name"] for band in bands] == given["bands"]
    assert dict(zip(given["input"]["dim_order"], given["input"]["shape"], strict=True))["bands"] == len(
        given["bands"]
    )
    assert given["value_scaling"] is None or len(given["value_scaling"]) == len(given["bands"])


def test_pystac_reads_every_field_back(tmp_path):
    checkpoint = model()
    described(checkpoint, tmp_path / "model")
    item = pystac.Item.from_file(str(tmp_path / "model" / MODEL_ITEM))
    told = MLMExtension.ext(item)
    assert told.mlm_name == item.id == model_name(checkpoint)
    assert told.mlm_name.startswith("cropglobe-tempcnn-")
    assert (told.architecture, told.tasks) == ("TempCNN", ["semantic-segmentation"])
    assert (told.framework, told.framework_version) == ("PyTorch", "2.13.0+cpu")
    counted = sum(weights.numel() for weights in checkpoint.build().parameters())
    assert told.total_parameters == counted > 0
    assert (told.pretrained, told.pretrained_source) == (False, None)
    assert (told.accelerator, told.accelerator_constrained) == (None, False)
    for unknown in ("memory_size", "batch_size_suggestion", "accelerator_summary", "accelerator_count"):
        assert getattr(told, unknown) is None
    assert told.hyperparameters.to_dict() == {"network": "tempcnn", "epochs": 3, "patience": None}

    (given,) = told.input
    assert given.bands == ["B02", "B04", "B08"]
    assert (given.input.shape, given.input.dim_order) == ([-1, 3, 8], ["batch", "bands", "time"])
    assert given.input.data_type == "float32"
    # pystac takes the list, one for each band, for a single one; the extension wants the list.
    scaling = [ValueScaling(one) for one in given.value_scaling.properties]
    assert [(one.type, one.mean, one.stddev) for one in scaling] == [
        ("z-score", mean, std) for mean, std in zip(checkpoint.mean, checkpoint.std, strict=True)
    ]
    assert given.resize_type is None
    assert given.pre_processing_function.format == "python"

    (result,) = told.output
    assert (result.result.shape, result.result.dim_order) == ([-1, 2], ["batch", "class"])
    assert (result.result.data_type, result.tasks) == ("float32", ["semantic-segmentation"])
    assert [(one.value, one.name, one.color_hint) for one in result.classes] == [
        (0, "winter_wheat", "010203"),
        (1, "rice", "040506"),
    ]
    assert AssetGeneralMLMExtension.ext(item.assets["model"]).artifact_type == "safetensors.torch.save"


def test_checksums_are_those_of_the_files_beside_it(tmp_path):
    described(model(), tmp_path)
    item = pystac.Item.from_file(str(tmp_path / MODEL_ITEM))
    for name, file in (("model", WEIGHTS), ("card", CARD)):
        asset, data = item.assets[name], (tmp_path / file).read_bytes()
        assert asset.get_absolute_href() == str(tmp_path / file)
        assert FileExtension.ext(asset).size == len(data)
        assert FileExtension.ext(asset).checksum == "1220" + hashlib.sha256(data).hexdigest()


def test_who_does_as_the_item_says_gets_the_classes_of_the_map(tmp_path, geobox):
    checkpoint = model()
    document = described(checkpoint, tmp_path)["properties"]
    cube = np.random.default_rng(0).random((3, 8, 32, 32)).astype(np.float32)
    coords = {"band": list(RECIPE.bands), **xr_coords(geobox, dims=("y", "x"))}
    features = xr.DataArray(cube, dims=("band", "step", "y", "x"), coords=coords)
    expected = predict(features, checkpoint, device="cpu")["crop"].to_numpy().ravel()
    assert len(np.unique(expected)) == 2

    given, result = document["mlm:input"][0], document["mlm:output"][0]
    series = cube.reshape(*given["input"]["shape"][1:], -1).transpose(2, 0, 1)
    for k, scaling in enumerate(given["value_scaling"]):
        series[:, k] = (series[:, k] - scaling["mean"]) / scaling["stddev"]
    with torch.no_grad():
        logits = checkpoint.build()(torch.from_numpy(series))
    assert logits.shape[1:] == torch.Size(result["result"]["shape"][1:])
    class_of = {one["value"]: one for one in result["classification:classes"]}
    in_maps = [class_of[k]["description"].rsplit("; ")[1] for k in logits.argmax(dim=1).tolist()]
    assert in_maps == [f"{value} in maps" for value in expected]


def test_the_function_that_makes_the_input_can_be_imported(tmp_path):
    (given,) = described(model(), tmp_path)["properties"]["mlm:input"]
    module, _, name = given["pre_processing_function"]["expression"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    assert FeatureRecipe.from_dict(_properties(tmp_path)["cropglobe:recipe"]) == RECIPE


def _properties(folder):
    return json.loads((folder / MODEL_ITEM).read_text())["properties"]


def test_a_model_is_the_same_with_and_without_its_item(tmp_path):
    write_checkpoint(model(), tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    sha256 = read_checkpoint(tmp_path / "model").content_hash
    write_model_item(tmp_path / "model")
    for name, data in before.items():
        assert (tmp_path / "model" / name).read_bytes() == data
    assert read_checkpoint(tmp_path / "model").content_hash == sha256
    assert _properties(tmp_path / "model")["cropglobe:sha256"] == sha256


def test_the_same_model_gives_the_same_bytes_wherever_it_lies(tmp_path):
    write_checkpoint(model(), tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "elsewhere" / "b")
    texts = [
        write_model_item(folder).read_text() for folder in (tmp_path / "a", tmp_path / "elsewhere" / "b")
    ]
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[0]
    assert write_model_item(tmp_path / "a").read_text() == texts[0]


def test_another_model_has_another_name():
    assert model_name(model()) == model_name(model())
    assert model_name(model()) != model_name(model(metrics={}))


def test_a_folder_without_a_model_gets_no_item(tmp_path):
    with pytest.raises(CheckpointError, match=r"no card\.json"):
        write_model_item(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "random_forest"])
def test_every_network_has_an_item(network, tmp_path):
    document = described(model(network), tmp_path)
    assert document["properties"]["mlm:architecture"] == ARCHITECTURES[network]


def test_every_network_has_a_name_in_the_literature():
    assert set(ARCHITECTURES) == set(NETWORKS)


def test_a_forest_is_of_scikit_learn_and_takes_reflectance_as_it_is(tmp_path):
    state = build_network("random_forest", RECIPE.shape, 2).state_dict()
    told = described(model("random_forest", mean=(0.0,) * 3, std=(1.0,) * 3), tmp_path)["properties"]
    assert state.keys() == read_checkpoint(tmp_path).state.keys()
    assert told["mlm:framework"] == "scikit-learn"
    assert not {"mlm:framework_version", "mlm:total_parameters"} & set(told)
    assert told["mlm:input"][0]["value_scaling"] is None


def test_a_model_of_spectra_is_described(tmp_path):
    told = described(model("mlp", emit_recipe(bands=("500.0", "865.1"))), tmp_path)["properties"]
    assert told["mlm:input"][0]["bands"] == ["500.0", "865.1"]
    assert told["mlm:input"][0]["input"]["shape"] == [-1, 2, 1]


def test_of_published_weights_only_what_is_known_is_told(tmp_path):
    made = {"simulated": False, "imported": {"file": "FRA.pt", "sha256": "ab12", "scale": 1.0}}
    document = described(model(metrics={}, provenance={**made, "torch": "2.11.0a0+git12"}), tmp_path)
    told = document["properties"]
    unknown = {"mlm:pretrained", "mlm:pretrained_source", "mlm:hyperparameters", "mlm:framework_version"}
    assert not unknown & set(told)  # the version of a build from source is none that the extension takes
    assert told["processing:lineage"] == "Published weights, sha256 of their file ab12."
    assert document["geometry"] is None


def test_a_student_names_its_teacher_and_a_simulated_model_says_so(tmp_path):
    made = {
        "simulated": True,
        "teacher": {"sha256": "cd34", "network": "cropnet2d"},
        "config": {"epochs": 2},
        "distillation": {"temperature": 2.0, "label_weight": 0.3},
    }
    told = described(model("compact_time", provenance=made), tmp_path)["properties"]
    lineage = "Taught by cropnet2d, sha256 cd34, on simulated data. Macro F1 0.900 on samples held out."
    assert told["processing:lineage"] == lineage
    assert told["mlm:hyperparameters"] == {"epochs": 2, "temperature": 2.0, "label_weight": 0.3}
    assert told["cropglobe:simulated"] is True


SOUTH = {"start": "2020-07-01", "end": "2021-06-30", "bbox": [178.0, -20.0, -179.0, -18.0]}
NORTH = {"start": "2021-01-01", "end": "2021-12-31", "bbox": [2.0, 50.0, 3.0, 51.0]}


def test_place_and_time_are_those_of_all_that_was_learnt_from(tmp_path):
    document = described(model(learnt={"joined": [NORTH, {"joined": [SOUTH]}]}), tmp_path)
    item = pystac.Item.from_dict(document)
    assert item.common_metadata.start_datetime == datetime(2020, 7, 1, tzinfo=UTC)
    assert item.common_metadata.end_datetime == datetime(2021, 12, 31, 23, 59, 59, tzinfo=UTC)
    boxes = [shapely.box(2, 50, 3, 51), shapely.box(178, -20, 180, -18), shapely.box(-180, -20, -179, -18)]
    assert shapely.geometry.shape(item.geometry).equals(shapely.union_all(boxes))
    assert document["bbox"] == [2, -20, -179, 51]  # over 180 degrees: RFC 7946, section 5.2


def test_unlabelled_series_of_a_student_count_too(tmp_path):
    made = model(learnt=NORTH).provenance
    document = described(
        model(provenance={**made, "unlabelled": [{**NORTH, "start": "2019-01-01"}]}), tmp_path
    )
    assert document["properties"]["start_datetime"] == "2019-01-01T00:00:00Z"
    assert document["bbox"] == [2, 50, 3, 51]


@pytest.mark.parametrize(
    "learnt",
    [
        None,
        {},
        {"joined": []},
        {"joined": [NORTH, {"file": "median_S2_FRA.npz"}]},
        {"joined": "no list", "start": "spring", "end": None, "bbox": "here"},
        {"start": 2021, "end": 2022, "bbox": [1, 2]},
    ],
)
def test_where_a_part_does_not_say_place_or_time_none_is_claimed(learnt, tmp_path):
    document = described(model(learnt=learnt), tmp_path)
    assert document["geometry"] is None
    assert "bbox" not in document
    days = [document["properties"][key][:10] for key in ("start_datetime", "end_datetime")]
    assert days == ["1900-01-01", "9999-12-31"]


@pytest.mark.parametrize("name", ["model", "model_emit"])
def test_items_of_the_sample_models_are_those_of_their_files(name, tmp_path):
    shutil.copytree(SAMPLE / name, tmp_path / name)
    (tmp_path / name / MODEL_ITEM).unlink()
    written = write_model_item(tmp_path / name).read_text()
    assert written == (SAMPLE / name / MODEL_ITEM).read_text()
    check(json.loads(written))


def test_other_metrics_do_not_change_what_goes_in(tmp_path):
    one, two = (described(replace(model(), metrics=metrics), tmp_path) for metrics in ({}, {"macro_f1": 0.5}))
    assert one["properties"]["mlm:input"] == two["properties"]["mlm:input"]
    assert one["id"] != two["id"]
