"""The STAC item of a model: valid, read back by pystac's extension, true to the files, free of places."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pystac
import pytest
import torch
from pystac.extensions.mlm import MLMExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from toolkit.cubes.recipe import FeatureRecipe, emit_recipe
from toolkit.learn.checkpoint import CARD, WEIGHTS, Checkpoint, write_checkpoint
from toolkit.learn.model_item import ITEM, described
from toolkit.learn.networks import build_network
from toolkit.legend import CropClass, Legend

LEGEND = Legend((CropClass("winter wheat", (255, 211, 0)), CropClass("other", (1, 2, 3))))


def model_of(network: str, recipe: FeatureRecipe) -> Checkpoint:
    torch.manual_seed(0)
    state = build_network(network, recipe.shape, len(LEGEND.names)).state_dict()
    mean = tuple(np.linspace(0.1, 0.4, len(recipe.bands)).tolist())
    return Checkpoint(
        network=network,
        state=state,
        recipe=recipe,
        legend=LEGEND,
        mean=mean,
        std=(0.05,) * len(recipe.bands),
        provenance={"simulated": True, "torch": "2.13.0", "samples": "/home/somebody/secret.zarr"},
    )


MODELS = {
    "cropnet2d": FeatureRecipe(bands=("B04", "B08"), n_steps=9),
    "mlp": FeatureRecipe(bands=("B04", "B08", "B11"), n_steps=12),
    "cropnet1d": emit_recipe(),
}


@pytest.fixture(params=MODELS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Checkpoint, Path]:
    checkpoint = model_of(request.param, MODELS[request.param])
    return checkpoint, write_checkpoint(checkpoint, tmp_path / "model", beside=described(checkpoint))


def test_the_item_is_valid_stac_and_pystac_reads_it_back(written: tuple[Checkpoint, Path]) -> None:
    checkpoint, folder = written
    document = json.loads((folder / ITEM).read_text())
    JsonSchemaSTACValidator().validate_core(document, pystac.STACObjectType.ITEM, "1.1.0")
    item = pystac.Item.from_file(str(folder / ITEM))
    told = MLMExtension.ext(item)
    assert (told.mlm_name, told.architecture, told.framework) == (checkpoint.network,) * 2 + ("PyTorch",)
    (taken,), (given,) = told.input, told.output
    assert taken.bands == list(checkpoint.recipe.bands)
    assert taken.input.shape == [-1, *checkpoint.recipe.shape]
    assert taken.input.dim_order == ["batch", "channel", "time"]
    scaling = taken.properties["value_scaling"]  # pystac reads a single one only
    assert [(one["mean"], one["stddev"]) for one in scaling] == list(
        zip(checkpoint.mean, checkpoint.std, strict=True)
    )
    assert given.result.shape == [-1, 2]
    assert given.properties["classification:classes"] == [
        {"value": 0, "name": "winter_wheat", "description": "winter wheat", "color_hint": "FFD300"},
        {"value": 1, "name": "other", "description": "other", "color_hint": "010203"},
    ]
    parameters = sum(one.numel() for one in checkpoint.build().parameters())
    assert told.total_parameters == parameters > 0


def test_files_are_named_with_size_and_checksum_and_nothing_else_of_the_machine(
    written: tuple[Checkpoint, Path],
) -> None:
    checkpoint, folder = written
    text = (folder / ITEM).read_text()
    assets = json.loads(text)["assets"]
    assert {asset["href"] for asset in assets.values()} == {f"./{WEIGHTS}", f"./{CARD}"}
    for asset in assets.values():
        content = (folder / asset["href"]).read_bytes()
        assert asset["file:size"] == len(content)
        assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
    assert "mlm:model" in assets["weights"]["roles"]
    bands = json.loads(text)["properties"]["bands"]
    assert [band["name"] for band in bands] == list(checkpoint.recipe.bands)
    assert "/home" not in text
    assert checkpoint.content_hash in text
