"""Checkpoints: whole, unchanged and consistent, or refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.errors import CheckpointError, StorageError
from toolkit.learn.checkpoint import (
    CARD,
    WEIGHTS,
    Checkpoint,
    normalise,
    read_checkpoint,
    write_checkpoint,
)
from toolkit.legend import Legend


@pytest.fixture
def folder(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    return write_checkpoint(checkpoint, tmp_path / "model")


def test_a_checkpoint_comes_back_from_disk_as_it_was(checkpoint: Checkpoint, folder: Path) -> None:
    back = read_checkpoint(str(folder))
    assert back.state.keys() == checkpoint.state.keys()
    assert all(torch.equal(back.state[name], checkpoint.state[name]) for name in back.state)
    for name in ("network", "recipe", "legend", "mean", "std", "metrics", "provenance"):
        assert getattr(back, name) == getattr(checkpoint, name), name
    assert back.content_hash == checkpoint.content_hash
    assert back.simulated is True


def test_the_folder_holds_weights_and_a_readable_card_with_their_sha256(
    checkpoint: Checkpoint, folder: Path
) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [CARD, WEIGHTS]
    card = json.loads((folder / CARD).read_text())
    assert card["format"] == 1
    assert card["weights_sha256"] == hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    assert [entry["name"] for entry in card["legend"]] == list(checkpoint.legend.names)
    content = (folder / WEIGHTS).read_bytes() + (folder / CARD).read_bytes()
    assert checkpoint.content_hash == hashlib.sha256(content).hexdigest()


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Checkpoint, tmp_path: Path) -> None:
    shuffled = replace(checkpoint, state=dict(reversed(list(checkpoint.state.items()))))
    folders = [write_checkpoint(each, tmp_path / name) for each, name in ((checkpoint, "a"), (shuffled, "b"))]
    for name in (WEIGHTS, CARD):
        one, other = ((path / name).read_bytes() for path in folders)
        assert one == other


def test_the_network_is_built_with_its_weights_and_leaves_random_state_alone(
    checkpoint: Checkpoint,
) -> None:
    before = torch.get_rng_state()
    network = checkpoint.build()
    assert torch.equal(torch.get_rng_state(), before)
    assert not network.training
    assert all(torch.equal(t, checkpoint.state[name]) for name, t in network.state_dict().items())
    with torch.no_grad():
        network.get_parameter("classifier.bias").fill_(9)
    assert not (checkpoint.state["classifier.bias"] == 9).any()  # a copy of its own


def test_a_checkpoint_is_not_overwritten_unless_asked(checkpoint: Checkpoint, folder: Path) -> None:
    with pytest.raises(StorageError, match="exists already"):
        write_checkpoint(checkpoint, folder)
    other = replace(checkpoint, mean=(0.0,) * 4)
    write_checkpoint(other, folder, overwrite=True)
    assert read_checkpoint(folder).mean == (0.0,) * 4
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_write_that_fails_keeps_the_old_checkpoint(
    checkpoint: Checkpoint, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fails_into_place(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_into_place)
    with pytest.raises(StorageError, match="Input/output error"):
        write_checkpoint(replace(checkpoint, mean=(0.0,) * 4), folder, overwrite=True)
    assert read_checkpoint(folder).content_hash == checkpoint.content_hash
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def truncate(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1000])


def flip_one_bit(folder: Path) -> None:
    path = folder / WEIGHTS
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def pickle_instead(folder: Path) -> None:
    torch.save({"a": torch.zeros(2)}, folder / WEIGHTS)
    weights = (folder / WEIGHTS).read_bytes()
    change(weights_sha256=hashlib.sha256(weights).hexdigest())(folder)


def change(**values: Any) -> Callable[[Path], None]:
    """Rewrite keys of the card; None drops one."""

    def apply(folder: Path) -> None:
        card = json.loads((folder / CARD).read_text())
        card.update(values)
        card = {key: value for key, value in card.items() if value is not None}
        (folder / CARD).write_text(json.dumps(card))

    return apply


LEGEND = [{"name": name, "color": [0, 0, 0]} for name in ("corn", "rice")]
RECIPE = {"bands": ["B02"], "first_step": 2, "n_steps": 8, "step_days": 30}


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda f: (f / CARD).unlink(), "no card.json in .*cropglobe train --samples"),
        (lambda f: (f / WEIGHTS).unlink(), "no weights.safetensors in .*that is no model"),
        (truncate, "damaged or was changed: .* bytes with sha256"),
        (flip_one_bit, "damaged or was changed"),
        (pickle_instead, "cannot be read .*SafetensorError"),
        (lambda f: (f / CARD).write_text('{"format": 1'), "not readable as JSON"),
        (lambda f: (f / CARD).write_bytes(b"\xff\xfe\x00"), "not readable as JSON"),
        (lambda f: (f / CARD).write_text("[1]"), "layout None; readable: 1"),
        (change(format=2), "layout 2; readable: 1"),
        (change(recipe=None, normalisation=None), "lacks normalisation, recipe"),
        (change(network="resnet50"), "'resnet50' is unknown. Known: cropnet2d"),
        (change(network="cropnet1d"), "not those of 'cropnet1d'.*layer1.block.0.weight"),
        (change(legend=LEGEND), r"with 2 classes \(corn, rice\): classifier.* \(7, 128\)"),
        (change(legend=[{"name": "corn"}]), "cannot be read .*A legend is a list"),
        (change(recipe={"bands": 5}), "cannot be read"),
        (change(recipe={"bands": ["B02"], "when": 1}), "unknown keys"),
        (change(recipe=RECIPE), "normalisation .*needed: 1 finite numbers each"),
        (change(normalisation={"mean": [0] * 4, "std": [1, 1, 1, 0]}), "std above 0"),
        (change(normalisation={"mean": [float("nan")] * 4, "std": [1] * 4}), "std above 0"),
        (change(normalisation=[0, 1]), "cannot be read"),
        (change(provenance={}), "simulated=None; allowed: true, false"),
        (change(provenance={"simulated": "no"}), "simulated='no'"),
    ],
)
def test_a_damaged_checkpoint_is_refused(damage: Callable[[Path], object], match: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=match):
        read_checkpoint(folder)


def test_a_missing_checkpoint_says_how_to_train_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cropglobe train --samples SAMPLES --out MODEL"):
        read_checkpoint(tmp_path / "none")


def test_weights_that_do_not_fit_are_refused(checkpoint: Checkpoint) -> None:
    state = dict(checkpoint.state)
    bias = state.pop("classifier.bias")
    with pytest.raises(CheckpointError, match=r"missing or too many: classifier.bias"):
        replace(checkpoint, state=state)
    with pytest.raises(CheckpointError, match="missing or too many: extra"):
        replace(checkpoint, state={**checkpoint.state, "extra": bias})
    with pytest.raises(CheckpointError, match="float64"):
        replace(checkpoint, state={**checkpoint.state, "classifier.bias": bias.double()})
    with pytest.raises(CheckpointError, match=r"classifier.bias holds NaN"):
        replace(checkpoint, state={**checkpoint.state, "classifier.bias": bias * torch.nan})
    with pytest.raises(CheckpointError, match="with 3 classes"):
        replace(checkpoint, legend=Legend(checkpoint.legend.classes[:3]))


def test_normalising_is_by_band() -> None:
    series = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    out = normalise(series, (0.0, 4.0, 10.0), (1.0, 2.0, 4.0))
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out[0], [[0, 1, 2, 3], [0, 0.5, 1, 1.5], [-0.5, -0.25, 0, 0.25]])
