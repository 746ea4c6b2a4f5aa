"""The trial: what is slow or inexact is left out, what is clearly fastest is chosen."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.errors import ModelError
from toolkit.learn.checkpoint import Checkpoint, normalise, read_checkpoint
from toolkit.learn.engines import table
from toolkit.learn.engines.openvino_engine import calibrate
from toolkit.learn.engines.race import TooSlowError, logits_unless_slow, speeds
from toolkit.learn.engines.setting import Classifier, EngineSetting, Series
from toolkit.learn.engines.table import CANDIDATES, ENGINES, Engine
from toolkit.learn.engines.torch_engine import torch_classifier
from toolkit.learn.engines.trial import CLEARLY_FASTER, LEAST_SERIES, choose_engine
from toolkit.learn.networks import build_network
from toolkit.learn.samples import Samples

SAMPLE = Path(__file__).resolve().parents[2] / "sample_aoi" / "model"


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    """CropNet 2D of the sample area."""
    return read_checkpoint(SAMPLE)


@pytest.fixture(scope="module")
def small(model: Checkpoint) -> Checkpoint:
    """A compact network with drawn weights: it takes a hundredth of the time."""
    torch.manual_seed(0)
    network = build_network("compact_time", model.recipe.shape, len(model.legend.names))
    return replace(model, network="compact_time", state=network.state_dict())


@pytest.fixture(scope="module")
def series(model: Checkpoint) -> Series:
    """256 series drawn around the model's mean."""
    mean, std = (np.asarray(one)[:, None] for one in (model.mean, model.std))
    drawn = np.random.default_rng(5).normal(size=(256, *model.recipe.shape))
    return (mean + std * drawn).astype(np.float32)


def in_the_table(monkeypatch: pytest.MonkeyPatch, stand_in: Callable[..., Classifier]) -> None:
    """Put another engine, which computes in float32, beside PyTorch, and no others."""
    others = {name: replace(engine, lacks=lambda *_: "not here") for name, engine in ENGINES.items()}
    onnx = Engine(("fp32",), stand_in, lambda *_: "")
    monkeypatch.setattr(table, "ENGINES", {**others, "torch": ENGINES["torch"], "onnx": onnx})


def hurried(factor: float, change: Callable[[Series], Series]) -> Callable[..., Classifier]:
    """An engine whose time and logits are those of PyTorch, changed."""

    def stand_in(checkpoint: Checkpoint, setting: EngineSetting) -> Classifier:
        plain = torch_classifier(checkpoint, replace(setting, engine="torch"))
        known: dict[bytes, Series] = {}

        def logits_of(rows: Series) -> Series:
            if rows.tobytes() not in known:
                known[rows.tobytes()] = change(plain(rows))
            time.sleep(factor)
            return known[rows.tobytes()]

        return logits_of

    return stand_in


def test_a_trial_names_all_candidates_and_takes_the_clearly_fastest(
    model: Checkpoint, series: np.ndarray
) -> None:
    choice = choose_engine(model, series, device="cpu")
    told = {**choice.pixels_per_second, **choice.left_out}
    assert set(told) == {f"{name} {precision}" for name, precision in CANDIDATES}
    speeds = choice.pixels_per_second
    chosen = f"{choice.setting.engine} {choice.setting.precision}"
    assert speeds[chosen] * CLEARLY_FASTER >= max(speeds.values())
    assert choice.agreement.close
    assert EngineSetting.from_dict(json.loads(json.dumps(choice.setting.to_dict()))) == choice.setting


def test_a_precision_that_is_slow_here_is_not_chosen(tmp_path: Path, series: Series) -> None:
    """oneDNN held to AVX-512, where bfloat16 is emulated, several times slower: only the trial can see it."""
    np.save(tmp_path / "series.npy", np.resize(series, (400, *series.shape[1:])))
    program = (
        "import sys, json, numpy as np, torch\n"
        "torch.set_num_threads(1)\n"
        "from toolkit.learn.checkpoint import read_checkpoint\n"
        "from toolkit.learn.engines.trial import choose_engine\n"
        f"choice = choose_engine(read_checkpoint({str(SAMPLE)!r}), np.load(sys.argv[1]), device='cpu',"
        " engine='torch')\n"
        "print(json.dumps(choice.to_dict()))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "series.npy")],
        env={"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "PATH": "/usr/bin:/bin"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    choice = json.loads(told.stdout.splitlines()[-1])
    assert choice["setting"]["precision"] == "fp32"
    if "torch bf16" in choice["pixels_per_second"]:  # other work hides how slow it is
        speeds = choice["pixels_per_second"]
        assert speeds["torch bf16"] < speeds["torch fp32"] * CLEARLY_FASTER
        return
    reason = choice["left_out"]["torch bf16"]
    assert "times as long" in reason or "no units" in reason or "fails here" in reason


def test_another_engine_must_agree_in_float32_too(
    small: Checkpoint, series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_table(monkeypatch, hurried(0, lambda logits: logits))
    right = choose_engine(small, series, device="cpu", precision="fp32")
    assert (right.setting.engine, right.agreement.pixels) == ("onnx", 128)  # the second half
    in_the_table(monkeypatch, hurried(0, np.negative))
    wrong = choose_engine(small, series, device="cpu", precision="fp32")
    assert wrong.setting.engine == "torch"
    assert "pixels get another class than in fp32" in wrong.left_out["onnx fp32"]
    assert "onnx fp32" not in wrong.pixels_per_second


def test_an_engine_that_fails_or_is_slow_is_left_out_with_the_reason(
    small: Checkpoint, series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> Classifier:
        msg = "no such instruction"
        raise RuntimeError(msg)

    in_the_table(monkeypatch, failing)
    told = choose_engine(small, series, device="cpu", precision="fp32")
    assert told.left_out["onnx fp32"] == "it fails here: RuntimeError"
    in_the_table(monkeypatch, hurried(1.2, lambda logits: logits))
    told = choose_engine(small, series, device="cpu", precision="fp32")
    assert "times as long as with PyTorch in fp32" in told.left_out["onnx fp32"]


def test_int8_is_judged_on_other_series_than_it_is_calibrated_on(
    checkpoint: Checkpoint, make_samples: Callable[..., Samples]
) -> None:
    setting = EngineSetting(engine="openvino", precision="int8")
    if reason := ENGINES["openvino"].lacks(checkpoint.network, setting):
        pytest.skip(f"int8 cannot be tested here: {reason}")
    series = make_samples(256, simulated=False).series[:, :, 2:10]  # the season of the checkpoint
    choice = choose_engine(checkpoint, series, device="cpu", precision="int8")
    assert choice.agreement.pixels == 128
    size = choice.setting.batch_size
    halves = [normalise(half, checkpoint.mean, checkpoint.std) for half in (series[:128], series[128:])]
    first, second = (calibrate(checkpoint, np.resize(half, (size, 4, 8)), size) for half in halves)
    assert choice.setting.ranges == first != second


def test_few_series_are_not_worth_a_trial(small: Checkpoint, series: Series) -> None:
    few = series[: LEAST_SERIES - 1]
    choice = choose_engine(small, few, device="cpu")
    assert (choice.setting.engine, choice.setting.precision) == ("torch", "fp32")
    assert not choice.pixels_per_second
    if not ENGINES["openvino"].lacks(small.network, EngineSetting(engine="openvino", precision="int8")):
        with pytest.raises(ModelError, match="127 were found, 128 are needed"):
            choose_engine(small, few, device="cpu", precision="int8")


def test_the_choice_tells_threads_and_versions(small: Checkpoint, series: Series) -> None:
    choice = choose_engine(small, series, device="cpu", precision="fp32").to_dict()
    assert choice["threads"] == torch.get_num_threads()
    assert choice["packages"]["torch"] == torch.__version__
    for name in ("onnx", "openvino"):
        if not ENGINES[name].lacks(small.network, EngineSetting(engine=name)):
            assert set(ENGINES[name].packages) <= choice["packages"].keys()
    chosen = choice["setting"]
    assert set(chosen["packages"]) == set(ENGINES[chosen["engine"]].packages)


def test_a_slow_candidate_costs_three_batches() -> None:
    calls = []

    def slow(rows: Series) -> Series:
        calls.append(len(rows))
        time.sleep(0.02)
        return rows[:, :, 0]

    rows = np.zeros((80, 2, 1), np.float32)
    with pytest.raises(TooSlowError):
        logits_unless_slow(slow, rows, 8, slow=0.01)
    assert calls == [8, 8, 8]
    logits, seconds = logits_unless_slow(slow, rows, 8)
    assert logits.shape == (80, 2)
    assert seconds == pytest.approx(0.02, rel=0.5)


def test_a_stall_does_not_decide_a_race() -> None:
    """The faster one is delayed in nearly all of its batches."""
    turns = iter(range(10_000))

    def steady(rows: Series) -> Series:
        time.sleep(0.006)
        return rows

    def stalled(rows: Series) -> Series:
        time.sleep(0.003 if next(turns) % 5 == 4 else 0.012)
        return rows

    told = speeds(
        {"steady": steady, "stalled": stalled, "lost": lambda rows: time.sleep(0.06) or rows},
        np.zeros((8, 1, 1), np.float32),
        seen={"steady": 1, "stalled": 1, "lost": 1},
    )
    assert told["stalled"] > CLEARLY_FASTER * told["steady"] > told["lost"]
