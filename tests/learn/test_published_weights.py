"""Published weights: the same logits here as there, and no code of strangers."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import CheckpointError, LabelError
from toolkit.learn.checkpoint import normalise, read_checkpoint, write_checkpoint
from toolkit.learn.published_weights import band_statistics, import_weights, read_published_weights
from toolkit.learn.samples import Samples

State = dict[str, torch.Tensor]


class Published(nn.Module):
    """CropNet as the paper lists its layers, written down here anew; ``data`` has one channel."""

    def __init__(self, dimensions: int, n_classes: int = 7) -> None:
        super().__init__()
        conv, norm, drop, pool = {
            1: (nn.Conv1d, nn.BatchNorm1d, nn.Dropout1d, nn.AdaptiveAvgPool1d),
            2: (nn.Conv2d, nn.BatchNorm2d, nn.Dropout2d, nn.AdaptiveAvgPool2d),
        }[dimensions]

        def block(channels: int, stride: int, dropout: float) -> nn.Module:
            holder = nn.Module()
            holder.block = nn.Sequential(
                conv(channels, 128, 3, stride, 1, bias=False), norm(128), nn.ReLU(),
                conv(128, 128, 3, 1, 1, bias=False), norm(128), nn.ReLU(), drop(dropout),
            )  # fmt: skip
            return holder

        self.layer1, self.layer2 = block(1, 2, 0.2), block(128, 1, 0.3)
        self.layer3, self.layer4 = block(128, 1, 0.3), block(128, 1, 0.4)
        self.pool, self.classifier = pool(1), nn.Linear(128, n_classes)

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            data = layer.block(data)
        return self.classifier(self.pool(data).flatten(1))


def published(dimensions: int = 2, n_classes: int = 7) -> Published:
    """A network after some batches: its statistics are not those of the start."""
    torch.manual_seed(3)
    network = Published(dimensions, n_classes)
    shape = (4, 1, 10, 43) if dimensions == 2 else (4, 1, 430)
    with torch.no_grad():
        for _ in range(2):
            network(0.1 + 0.3 * torch.rand(shape))
    return network.eval()


STATE: State = published().state_dict()
SERIES = (0.1 + 0.3 * np.random.default_rng(0).random((5, 10, 43))).astype(np.float32)


def saved(path: Path, value: Any, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


@pytest.mark.parametrize("dimensions", [1, 2])
def test_logits_are_those_of_the_published_layers(tmp_path: Path, dimensions: int) -> None:
    network = published(dimensions)
    path = saved(tmp_path / "weights.pt", network.state_dict())
    checkpoint = import_weights(path)
    assert checkpoint.network == f"cropnet{dimensions}d"
    assert checkpoint.recipe == FeatureRecipe()
    x = torch.from_numpy(SERIES)
    with torch.no_grad():
        expected = network(x[:, None] if dimensions == 2 else x.reshape(5, 1, 430))
        found = checkpoint.build()(torch.from_numpy(normalise(SERIES, checkpoint.mean, checkpoint.std)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    again = read_checkpoint(write_checkpoint(checkpoint, tmp_path / "model"))
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(again.state[name], tensor, atol=0, rtol=0)
    assert again.provenance["imported"]["file"] == "weights.pt"
    assert not again.simulated


def test_weights_for_other_inputs_see_what_they_saw(tmp_path: Path) -> None:
    network, path = published(), saved(tmp_path / "weights.pt", STATE)
    mean, std = tuple(np.linspace(300, 3000, 10)), tuple(np.linspace(100, 1000, 10))
    checkpoint = import_weights(path, scale=10_000, mean=mean, std=std)
    seen = (SERIES * 10_000 - np.array(mean)[:, None]) / np.array(std)[:, None]
    with torch.no_grad():
        expected = network(torch.from_numpy(seen.astype(np.float32))[:, None])
        found = checkpoint.build()(torch.from_numpy(normalise(SERIES, checkpoint.mean, checkpoint.std)))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert import_weights(path, scale=10_000).std == (1e-4,) * 10


WRAPPED = {
    "state_dict": {"state_dict": STATE, "epoch": 3},
    "training": {"epoch": 3, "model_state_dict": STATE, "optimizer": {"lr": 1e-4, "state": {}}},
    "model": {"model": {"state_dict": STATE}},
    "module.": {f"module.{name}": tensor for name, tensor in STATE.items()},
    "model.module.": {"state_dict": {f"model.module.{name}": tensor for name, tensor in STATE.items()}},
    "half": {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in STATE.items()},
    "parameters": {
        name: nn.Parameter(tensor) if tensor.is_floating_point() else tensor for name, tensor in STATE.items()
    },
}


@pytest.mark.parametrize("form", WRAPPED)
@pytest.mark.parametrize("as_zip", [True, False])
def test_the_usual_forms_are_unwrapped(tmp_path: Path, form: str, *, as_zip: bool) -> None:
    path = saved(tmp_path / "weights.pt", WRAPPED[form], _use_new_zipfile_serialization=as_zip)
    state = read_published_weights(path)
    assert set(state) == set(STATE)
    for name, tensor in state.items():
        assert tensor.dtype == STATE[name].dtype
        assert not tensor.requires_grad
        torch.testing.assert_close(tensor, STATE[name], atol=1e-2 if form == "half" else 0, rtol=0)


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("hidden", ["alone", "beside weights", "as a tensor"])
def test_a_pickle_with_code_is_refused_and_nothing_runs(tmp_path: Path, hidden: str, *, as_zip: bool) -> None:
    marker = tmp_path / "code-has-run"
    value = {
        "alone": Evil(marker),
        "beside weights": {"state_dict": STATE, "optimizer": Evil(marker)},
        "as a tensor": {**STATE, "classifier.bias": Evil(marker)},
    }[hidden]
    path = saved(tmp_path / "weights.pt", value, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(
        CheckpointError, match=r"holds more than tensors \((posix|nt)\.mkdir\).*nothing of it was"
    ):
        import_weights(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the file is as bad as it should be
    assert marker.exists()


def test_a_bare_pickle_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    marker, path = tmp_path / "code-has-run", tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(Evil(marker)))
    with pytest.raises(CheckpointError, match=r"more than tensors|tensors alone") as refused:
        import_weights(path)
    assert not marker.exists()
    assert "weights_only" not in str(refused.value)  # PyTorch's advice to trust the file


def test_a_whole_model_is_refused_with_what_to_save(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pt", nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear.*model\.state_dict\(\)"):
        import_weights(path)


def test_a_file_that_unpacks_to_more_than_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights/data/0", bytes(1000))
        archive.infolist()[0].file_size = 2_000_000_000  # as a list of contents says it, before it unpacks
    with pytest.raises(CheckpointError, match=r"holds 2 GB; allowed: 1 GB"):
        import_weights(path)


def test_a_tensor_that_repeats_one_value_is_refused(tmp_path: Path) -> None:
    grown = torch.zeros(1).expand(10_000_000, 1000)
    path = saved(tmp_path / "weights.pt", {**STATE, "classifier.weight": grown})
    assert path.stat().st_size < 10_000_000
    with pytest.raises(
        CheckpointError, match=r"classifier\.weight is torch\.float32 \(10000000, 1000\); needed: a dense"
    ):
        import_weights(path)


@pytest.mark.parametrize(
    "value", [torch.zeros(2), [1, 2], {}, {"epoch": 3}, {1: torch.zeros(2)}, {"state_dict": {"a": "b"}}]
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"needed: a (state dict|dense tensor)"):
        import_weights(saved(tmp_path / "weights.pt", value))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no file"):
        import_weights(tmp_path / "weights.pt")


BYTES = io.BytesIO()
torch.save({name: tensor for name, tensor in STATE.items() if "classifier" in name}, BYTES)


@given(at=st.integers(0, len(BYTES.getvalue()) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_gives_our_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, *, cut: bool
) -> None:
    good = BYTES.getvalue()
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(good[:at] if cut else good[:at] + bytes([byte]) + good[at + 1 :])
    with pytest.raises(CheckpointError):  # whole or not, most of the network is missing
        import_weights(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer2.block.0.weight": None}, r"missing layer2\.block\.0\.weight; unknown none"),
        ({"layer5.block.0.weight": torch.zeros(2)}, r"missing none; unknown layer5\.block\.0\.weight"),
        ({"layer2.block.1.bias": torch.zeros(64)}, r"layer2\.block\.1\.bias \(64,\) instead of \(128,\)"),
        ({"layer1.block.0.weight": None}, r"holds no CropNet: layer1\.block\.0\.weight is missing"),
        ({"layer1.block.0.weight": torch.zeros(2)}, r"holds no CropNet: layer1\.block\.0\.weight is \(2,\)"),
        ({"classifier.bias": torch.full((7,), torch.nan)}, r"classifier\.bias holds NaN or infinity"),
    ],
)
def test_other_names_and_shapes_are_named(
    tmp_path: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    state = {name: tensor for name, tensor in {**STATE, **change}.items() if tensor is not None}
    with pytest.raises(CheckpointError, match=message):
        import_weights(saved(tmp_path / "weights.pt", state))


def test_the_other_network_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pt", STATE)
    with pytest.raises(
        CheckpointError, match=r"weights of cropnet1d.*\(128, 1, 3, 3\) instead of \(128, 1, 3\)"
    ):
        import_weights(path, network="cropnet1d")


def test_classes_of_one_country_must_be_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pt", published(n_classes=3).state_dict())
    with pytest.raises(LabelError, match=r"has 3 outputs .*and 7 classes are named.*--crops"):
        import_weights(path)
    checkpoint = import_weights(path, crops=("corn", "wheat", "other"))
    assert checkpoint.legend.names == ("corn", "wheat", "other")
    with pytest.raises(LabelError, match="not in the legend"):
        import_weights(path, crops=("corn", "wheat", "barley"))


@pytest.mark.parametrize(
    "wrong", [{"scale": 0}, {"scale": np.nan}, {"mean": (0.1,) * 9}, {"std": (1.0,) * 11}]
)
def test_a_normalisation_that_does_not_fit_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="10 numbers each"):
        import_weights(saved(tmp_path / "weights.pt", STATE), **wrong)
    with pytest.raises(CheckpointError, match="std above 0"):
        import_weights(tmp_path / "weights.pt", std=(0.0,) * 10)


def test_band_statistics_are_those_of_the_season(tmp_path: Path) -> None:
    recipe = FeatureRecipe()
    year = np.random.default_rng(0).random((6, 10, 73)).astype(np.float32)
    year[:, :, :24] = 50  # outside the season
    samples = Samples(
        series=year,
        crop=np.zeros(6, np.uint8),
        field=np.zeros(6, np.int32),
        lon=np.full(6, np.nan),
        lat=np.full(6, np.nan),
        recipe=recipe.full_year(),
        simulated=False,
    )
    mean, std = band_statistics(samples, recipe)
    season = year[:, :, 24:67].astype(np.float64)
    np.testing.assert_allclose(mean, [season[:, band].mean() for band in range(10)])
    np.testing.assert_allclose(std, [season[:, band].std() for band in range(10)])


def test_a_mapping_that_holds_itself_ends(tmp_path: Path) -> None:
    endless: dict[str, object] = {}
    endless["state_dict"] = endless
    torch.save(endless, tmp_path / "endless.pt")
    with pytest.raises(CheckpointError):
        read_published_weights(tmp_path / "endless.pt")
