"""Import of published weights: a model like any other, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines import import_weights
from pipelines.cli import main
from pipelines.learn_config import ImportWeightsRequest
from tests.maps.test_model_item import check
from toolkit.errors import CheckpointError, InputError, StorageError
from toolkit.learn.checkpoint import read_checkpoint
from toolkit.learn.cropglobe_files import read_cropglobe
from toolkit.learn.networks import build_network
from toolkit.learn.samples import write_samples
from toolkit.maps.model_item import MODEL_ITEM, model_name


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "FRA_CropNet.pt"
    torch.manual_seed(0)
    torch.save({"state_dict": build_network("cropnet2d", (10, 43), 7).state_dict()}, path)
    return path


def run(weights: Path, out: Path, **values: object) -> import_weights.ImportedModel:
    return import_weights.run(ImportWeightsRequest.make({"weights": weights, "out": out, **values}))


def test_the_command_makes_a_model(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["import-weights", str(weights), "--out", str(tmp_path / "model"), "--scale", "10000"])
    said = capsys.readouterr().out
    assert "cropnet2d of published weights: 7 classes (corn, " in said
    checkpoint = read_checkpoint(tmp_path / "model")
    assert checkpoint.mean == (0.0,) * 10
    assert checkpoint.std == (1e-4,) * 10
    assert checkpoint.provenance["imported"]["file"] == "FRA_CropNet.pt"
    item = json.loads((tmp_path / "model" / MODEL_ITEM).read_text())
    check(item)
    assert item["id"] == model_name(checkpoint)
    assert item["properties"]["mlm:input"][0]["value_scaling"][0]["stddev"] == 1e-4
    assert str(tmp_path) not in json.dumps(item)
    again = ImportWeightsRequest.read(tmp_path / "model.yaml", {})
    assert again.weights == weights


def test_mean_and_deviation_may_be_given_as_options(weights: Path, tmp_path: Path) -> None:
    numbers = [f"{value:.3f}" for value in np.linspace(-0.1, 0.35, 10)]
    given = [part for value in numbers for part in ("--mean", value)]
    main(["import-weights", str(weights), "--out", str(tmp_path / "model"), *given])
    assert read_checkpoint(tmp_path / "model").mean == tuple(map(float, numbers))


@pytest.mark.parametrize("kind", ["npz", "store"])
def test_mean_and_deviation_may_come_from_samples(weights: Path, tmp_path: Path, kind: str) -> None:
    fea = np.random.default_rng(0).random((20, 10, 73))
    path = tmp_path / "median_S2_FRA_month1-12_day5.npz"
    np.savez(path, fea=np.round(fea * 10_000).astype(np.uint16), lbl=np.arange(20) % 7)
    if kind == "store":
        path = write_samples(read_cropglobe(path), tmp_path / "samples.zarr")
    checkpoint = run(weights, tmp_path / "model", samples=path, scale=10_000).checkpoint
    season = fea[:, :, 24:67]
    np.testing.assert_allclose(checkpoint.mean, season.mean(axis=(0, 2)), atol=1e-4)
    np.testing.assert_allclose(checkpoint.std, season.std(axis=(0, 2)), atol=1e-4)


def test_two_ways_to_say_the_same_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Give one of them"):
        run(weights, tmp_path / "model", samples=tmp_path, mean=(0.0,) * 10)


def test_what_is_no_model_leaves_no_model(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="cannot be read as tensors alone"):
        run(tmp_path / "weights.pt", tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pt"]


def test_a_folder_that_is_no_model_is_not_overwritten(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match="not overwritten"):
        run(weights, tmp_path / "model")
