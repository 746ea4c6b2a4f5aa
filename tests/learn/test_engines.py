"""Engines: the same classes as float32, chosen by what was seen, refused by name where they cannot serve."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from toolkit.errors import EngineError, InputError, ModelError
from toolkit.learn.checkpoint import Checkpoint, normalise, read_checkpoint
from toolkit.learn.engines.agreement import compare
from toolkit.learn.engines.openvino_engine import calibrate
from toolkit.learn.engines.setting import EngineSetting
from toolkit.learn.engines.table import CANDIDATES, ENGINES, engine_packages, prepare
from toolkit.learn.engines.torch_engine import bringer
from toolkit.learn.engines.trial import choose_engine
from toolkit.learn.networks import build_network
from toolkit.learn.predict import Predictor, class_probabilities, label, make_predictor, predict
from toolkit.legend import Status

SAMPLE = Path(__file__).resolve().parents[2] / "sample_aoi" / "model"
FAST = [one for one in CANDIDATES if one[0] != "compiled"]


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    """CropNet 2D of the sample area."""
    return read_checkpoint(SAMPLE)


@pytest.fixture(scope="module")
def series(model: Checkpoint) -> np.ndarray:
    """256 smooth series around the model's mean: green up, then down, at different times."""
    draw = np.random.default_rng(5)
    n_bands, n_steps = model.recipe.shape
    when, width = draw.uniform(5, 38, (256, 1, 1)), draw.uniform(3, 12, (256, 1, 1))
    bump = np.exp(-(((np.arange(n_steps) - when) / width) ** 2))
    height = draw.normal(0, 2, (256, n_bands, 1)) * np.asarray(model.std)[:, None]
    noise = draw.normal(0, 0.1, (256, n_bands, n_steps)) * np.asarray(model.std)[:, None]
    values = np.asarray(model.mean)[:, None] + height * (bump - 0.5) + noise
    return values.astype(np.float32)


def setting_of(name: str, precision: str, model: Checkpoint, series: np.ndarray) -> EngineSetting:
    setting = EngineSetting(engine=name, precision=precision, batch_size=64)
    if reason := ENGINES[name].lacks(model.network, setting):
        pytest.skip(f"{name} {precision} cannot be tested here: {reason}")
    if precision == "int8":
        setting = replace(setting, ranges=calibrate(model, normalised(model, series), 64))
    return setting


def normalised(model: Checkpoint, series: np.ndarray) -> np.ndarray:
    return normalise(series, model.mean, model.std)


@pytest.fixture(scope="module")
def exact(model: Checkpoint, series: np.ndarray) -> np.ndarray:
    """Logits of the network as it was trained, nothing folded, in double precision."""
    network = model.build().double()
    with torch.inference_mode():
        return network(torch.from_numpy(normalised(model, series)).double()).numpy()


@pytest.mark.parametrize(("name", "precision"), FAST)
def test_each_engine_gives_the_classes_of_double_precision(
    name: str, precision: str, model: Checkpoint, series: np.ndarray, exact: np.ndarray
) -> None:
    setting = setting_of(name, precision, model, series)
    classifier = prepare(model, setting)
    rows = normalised(model, series)
    logits = np.concatenate([classifier(rows[k : k + 64]) for k in range(0, 256, 64)])
    assert logits.dtype == np.float32
    if precision == "fp32":
        np.testing.assert_allclose(logits, exact, atol=2e-4, rtol=1e-4)
    agreement = compare(logits, exact.astype(np.float32))
    assert agreement.widest_margin <= 0.1
    assert agreement.different <= (4 if precision == "int8" else 2)
    again = classifier(np.ascontiguousarray(rows[64:128][::-1]))
    assert again[::-1].tobytes() == logits[64:128].tobytes()  # whatever the place in the batch


@pytest.mark.parametrize("network", ["cropnet1d", "mlp", "tempcnn", "attention"])
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_graphs_of_all_networks_compute_the_same(network: str, name: str, checkpoint: Checkpoint) -> None:
    state = build_network(network, checkpoint.recipe.shape, len(checkpoint.legend.names)).state_dict()
    checkpoint = replace(checkpoint, network=network, state=state)
    setting = EngineSetting(engine=name, batch_size=32)
    if reason := ENGINES[name].lacks(checkpoint.network, setting):
        pytest.skip(f"{name} cannot be tested here: {reason}")
    rows = np.random.default_rng(1).normal(size=(32, *checkpoint.recipe.shape)).astype(np.float32)
    expected = prepare(checkpoint, EngineSetting(batch_size=32))(rows)
    np.testing.assert_allclose(prepare(checkpoint, setting)(rows), expected, atol=1e-4, rtol=1e-3)


def test_what_cannot_serve_is_refused_by_name(model: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="Engine 'tensorrt' is unknown"):
        choose_engine(model, np.empty((0, 10, 43), np.float32), engine="tensorrt")
    with pytest.raises(EngineError, match="'onnx' computes in fp32, not in 'int8'"):
        choose_engine(model, np.empty((0, 10, 43), np.float32), engine="onnx", precision="int8")
    monkeypatch.setattr("toolkit.learn.engines.onnx_graph.find_spec", lambda _: None)
    with pytest.raises(EngineError, match=r"openvino in bf16 cannot serve here: .*(not installed|no units)"):
        prepare(model, EngineSetting(engine="openvino", precision="bf16"))
    with pytest.raises(EngineError, match="not installed: onnx, onnxruntime"):
        make_predictor(model, EngineSetting(engine="onnx"))
    with pytest.raises(InputError, match="batch_size is 0"):
        make_predictor(model, EngineSetting(batch_size=0))


def test_an_engine_of_another_version_than_was_chosen_is_refused(model: Checkpoint) -> None:
    setting = EngineSetting(engine="onnx", packages=(("onnx", "1.0"), ("onnxruntime", "1.0")))
    if reason := ENGINES["onnx"].lacks(model.network, setting):
        pytest.skip(f"onnx cannot be tested here: {reason}")
    with pytest.raises(ModelError, match=r"with onnx 1.0, onnxruntime 1.0, here is onnx \d.*Install"):
        prepare(model, setting)
    prepare(model, replace(setting, packages=engine_packages("onnx")))


def test_ranges_of_another_network_are_refused(model: Checkpoint) -> None:
    setting = EngineSetting(engine="openvino", precision="int8", ranges=((0.0, 1.0),))
    if reason := ENGINES["openvino"].lacks(model.network, setting):
        pytest.skip(f"openvino cannot be tested here: {reason}")
    with pytest.raises(ModelError, match="Ranges of 1 convolutions are given, the network has 8"):
        prepare(model, setting)


def test_a_tile_on_which_an_engine_is_wrong_is_computed_in_float32(
    make_features: Callable[..., xr.DataArray],
) -> None:
    """An engine that turns all scores round is caught on the tile's own pixels."""
    model = read_checkpoint(SAMPLE)
    features = make_features(np.zeros((8, 8), int), model.recipe)
    plain = make_predictor(model, EngineSetting(batch_size=64))
    wrong = Predictor(
        checkpoint=model,
        setting=plain.setting,
        logits_of=lambda rows: -plain.logits_of(rows),
        exact=plain.logits_of,
    )
    told = class_probabilities(features, wrong)
    assert not told.attrs["agreement"].close
    assert label(told).identical(predict(features, model, device="cpu", batch_size=64))
    assert (told["status"] == Status.MAPPED).all()


@pytest.mark.parametrize(
    ("n", "sizes"), [(4096, [1024] * 4), (16384, [4096] * 4), (4092, [4092]), (4098, [4098]), (1, [1])]
)
def test_series_come_to_a_device_part_by_part_in_their_order(n: int, sizes: list[int]) -> None:
    """The parts of one batch do not share memory, as a GPU reads the first while the last is written."""
    brought = bringer(torch.device("cpu"), pinned=False)
    for batch in np.random.default_rng(1).normal(size=(2, n, 2, 3)).astype(np.float32):
        parts = list(brought(batch))
        assert [len(part) for part in parts] == sizes
        np.testing.assert_array_equal(np.concatenate([part.numpy() for part in parts]), batch)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
@pytest.mark.parametrize("name", ["torch", "compiled"])
def test_a_gpu_gives_the_classes_of_double_precision(
    name: str, model: Checkpoint, series: np.ndarray, exact: np.ndarray
) -> None:
    setting = EngineSetting(engine=name, precision="bf16", device="cuda", batch_size=4096)
    many = np.tile(normalised(model, series), (16, 1, 1))  # enough to go there part by part
    logits = prepare(model, setting)(many)
    assert compare(logits, np.tile(exact.astype(np.float32), (16, 1))).close


LISTENED = """
import sys

def refuse(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect"):
        with open(sys.argv[2], "a") as log:
            log.write(f"{event} {arguments}\\n")
        raise OSError("refused by the test")

sys.addaudithook(refuse)  # holds in forked children, too: OpenVINO sends from one
from toolkit.learn.checkpoint import read_checkpoint
from toolkit.learn.engines.setting import EngineSetting
from toolkit.learn.engines.table import prepare

prepare(read_checkpoint(sys.argv[1]), EngineSetting(engine="openvino", batch_size=1))
"""


def test_openvino_tells_nobody_that_it_is_used(model: Checkpoint, tmp_path: Path) -> None:
    if reason := ENGINES["openvino"].lacks(model.network, EngineSetting(engine="openvino")):
        pytest.skip(f"OpenVINO cannot be tested here: {reason}")
    log = tmp_path / "calls"
    quiet = ("CI", "TF_BUILD", "JENKINS_URL")  # with these OpenVINO sends nothing of itself
    kept = {name: value for name, value in os.environ.items() if name not in quiet}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LISTENED, str(SAMPLE), str(log)],
        env={**kept, "HOME": str(tmp_path), "PYTHONPATH": str(SAMPLE.parents[1])},
        cwd=tmp_path,
        check=True,
    )
    assert not log.exists(), log.read_text()
    assert not list(tmp_path.iterdir())
