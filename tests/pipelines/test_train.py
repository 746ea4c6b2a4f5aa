"""Training by command: packaged samples, any model, stopped and taken up; what cannot be trained on."""

from __future__ import annotations

import filecmp
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.cli import main
from pipelines.learn_config import MODELS, STUDENTS, AugmentationName, TrainRequest
from tests.maps.test_model_item import check
from tests.pipelines.test_bad_input import fails
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.learn.augmentations import AUGMENTATIONS
from toolkit.learn.checkpoint import CARD, WEIGHTS, read_checkpoint
from toolkit.learn.cropglobe_files import write_cropglobe
from toolkit.learn.networks import NETWORKS
from toolkit.learn.samples import Samples, write_samples
from toolkit.maps.model_item import MODEL_ITEM, model_name

N = 90


def sample_set(*, seed: int = 0, simulated: bool = True) -> Samples:
    """Full-year series of three classes, one wave a year of different phase; three samples a field."""
    rng = np.random.default_rng(seed)
    field = (np.arange(N) // 3 + 1).astype(np.int32)
    crop = (field % 3).astype(np.uint8)
    wave = np.sin(2 * np.pi * np.arange(73) / 73 + 2.1 * crop[:, None])[:, None, :]
    series = 0.3 + 0.15 * wave + rng.normal(0, 0.01, (N, 10, 73))
    return Samples(
        series=series.astype(np.float32),
        crop=crop,
        field=field,
        lon=np.linspace(2, 3, N),
        lat=np.linspace(50, 51, N),
        recipe=FeatureRecipe().full_year(),
        simulated=simulated,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(sample_set(), tmp_path_factory.mktemp("train") / "samples.zarr")


def arguments(store: Path, out: Path, *more: str, epochs: int = 1) -> list[str]:
    quick = ["--epochs", str(epochs), "--batch-size", "32", "--learning-rate", "0.001"]
    return ["train", "--samples", str(store), "--out", str(out), *quick, *more]


def test_names_of_the_command_are_those_of_the_toolkit() -> None:
    assert set(AugmentationName.__args__) == set(AUGMENTATIONS)  # type: ignore[attr-defined]  # of a Literal
    assert [*MODELS.split(", "), *STUDENTS.split(", ")] == list(NETWORKS)


def test_packaged_countries_train_a_model_and_say_that_fields_are_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for seed, country in enumerate(("FRA", "BEL")):
        samples = replace(sample_set(seed=seed), simulated=False)
        write_cropglobe(samples, data / f"median_S2_{country}_month1-12_day5.npz")
    quick = ["--epochs", "1", "--network", "mlp"]
    main(["train", "--data", str(data), *quick, "--out", str(tmp_path / "all")])
    said = capsys.readouterr()
    assert "180 samples of unknown fields" in said.err
    assert "on series held out (fields are not known: likely too good)" in said.out
    both = read_checkpoint(tmp_path / "all")
    assert both.metrics["split"] == "series"
    main(["train", "--data", str(data), "--countries", "BEL", *quick, "--out", str(tmp_path / "one")])
    one = read_checkpoint(tmp_path / "one")
    assert sum(one.metrics["samples"]["training"].values()) < 90
    assert not one.simulated


@pytest.mark.parametrize("network", list(NETWORKS))
def test_every_model_is_trained_described_and_read_back(network: str, store: Path, tmp_path: Path) -> None:
    main(arguments(store, tmp_path / "model", "--network", network, "--augment", "clouds"))
    trained = read_checkpoint(tmp_path / "model")
    assert trained.network == network
    assert trained.provenance["config"]["augmentation"]["gap_probability"] == 0.5
    item = json.loads((tmp_path / "model" / MODEL_ITEM).read_text())
    check(item)
    assert item["id"] == model_name(trained)
    assert item["properties"]["mlm:hyperparameters"]["augmentation"]["gap_probability"] == 0.5
    assert TrainRequest.read(tmp_path / "model.yaml", {}).network == network


def test_a_training_that_is_interrupted_goes_on_to_the_same_model(store: Path, tmp_path: Path) -> None:
    """Each in a process of its own, as the command is: tests before this one may have changed arithmetic."""
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    state = tmp_path / ".disturbed.training.safetensors"
    with training(store, disturbed) as process:
        while not state.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130, said
    assert "Interrupted." in said
    assert state.exists()
    assert not disturbed.exists()
    with training(store, disturbed) as again, training(store, undisturbed) as whole:
        said, _ = (process.communicate()[1] for process in (again, whole))
    assert "an interrupted training is here; if it is this one, it goes on" in said
    assert not state.exists()
    same, _, _ = filecmp.cmpfiles(disturbed, undisturbed, (WEIGHTS, CARD), shallow=False)
    assert same == [WEIGHTS, CARD]


def training(store: Path, out: Path) -> subprocess.Popen[str]:
    """Start a training that takes seconds beyond its first epoch."""
    command = [sys.executable, "-m", "pipelines.cli", *arguments(store, out, epochs=24)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # sums in the same order
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=one_thread)


def test_what_cannot_be_trained_on_is_refused(
    store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "model")]
    fails(["train", *out], capfd, code=4, saying=["--samples SAMPLES", "given: neither"])
    both = ["train", "--samples", str(store), "--data", str(tmp_path), *out]
    fails(both, capfd, code=4, saying=["--data DIR", "given: both"])
    fails(
        ["train", "--data", str(tmp_path), "--countries", "FRA", *out],
        capfd,
        code=4,
        saying=["no file of country 'FRA'", "Countries there: none", "cropglobe fetch"],
    )
    holes = sample_set()
    holes.series[:, :, 40] = np.nan
    path = write_samples(holes, tmp_path / "holes.zarr")
    fails(arguments(path, tmp_path / "model"), capfd, code=4, saying=f"{N} of {N} samples hold NaN")
    path = write_samples(holes.select(holes.crop == 1), tmp_path / "one.zarr")
    one_class = ["Training needs fields of two classes or more; got fields: soybeans 10", "Add some"]
    clean = write_samples(sample_set().select(holes.crop == 1), tmp_path / "clean.zarr")
    fails(arguments(clean, tmp_path / "model"), capfd, code=4, saying=one_class)
    assert not (tmp_path / "model").exists()
