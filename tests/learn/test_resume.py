"""Training that stops and goes on: the same bytes as undisturbed; memory that does not suffice."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.learn.checkpoint import CARD, WEIGHTS, write_checkpoint
from toolkit.learn.resume import Journal
from toolkit.learn.samples import Samples
from toolkit.learn.train import Epoch, TrainConfig, train_classifier

MakeSamples = Callable[..., Samples]

CONFIG = TrainConfig(
    epochs=5, batch_size=16, learning_rate=1e-3, schedule="cosine", device="cpu", precision="fp32"
)


class Stop(Exception):  # noqa: N818  # stands for a Ctrl-C, which is no error
    """Ends a training from outside."""


def stop_after(number: int) -> Callable[[Epoch], None]:
    def progress(epoch: Epoch) -> None:
        if epoch.number == number:
            raise Stop

    return progress


@pytest.mark.parametrize("augment", [True, False])
def test_an_interrupted_training_ends_with_the_same_bytes(
    *, augment: bool, make_samples: MakeSamples, recipe: FeatureRecipe, tmp_path: Path
) -> None:
    samples = make_samples(48)
    config = CONFIG if augment else replace(CONFIG, augmentation=None)
    write_checkpoint(train_classifier(samples, recipe, config), tmp_path / "undisturbed")
    journal = Journal(path=tmp_path / "state.safetensors")
    heard: list[int] = []
    for number in (2, 4):
        with pytest.raises(Stop):
            train_classifier(samples, recipe, config, journal=journal, progress=stop_after(number))
        assert journal.path.is_file()
    resumed = train_classifier(
        samples, recipe, config, journal=journal, progress=lambda epoch: heard.append(epoch.number)
    )
    assert heard == [5]
    journal.remove()
    assert not journal.path.exists()
    write_checkpoint(resumed, tmp_path / "resumed")
    for name in (WEIGHTS, CARD):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_the_state_of_another_training_or_a_damaged_one_is_not_taken_up(
    make_samples: MakeSamples, recipe: FeatureRecipe, tmp_path: Path
) -> None:
    journal = Journal(path=tmp_path / "state.safetensors")
    samples = make_samples(24)

    def first_epoch(config: TrainConfig) -> int:
        heard: list[int] = []
        train_classifier(
            samples, recipe, config, journal=journal, progress=lambda epoch: heard.append(epoch.number)
        )
        return heard[0]

    def leave_state() -> None:
        with pytest.raises(Stop):
            train_classifier(samples, recipe, CONFIG, journal=journal, progress=stop_after(2))

    leave_state()
    assert first_epoch(replace(CONFIG, seed=1)) == 1
    leave_state()
    whole = journal.path.read_bytes()
    for damaged in (whole[:100], whole[:-1], b"", b"\x00" * 64):
        journal.path.write_bytes(damaged)
        assert first_epoch(replace(CONFIG, epochs=1)) == 1
    leave_state()
    assert first_epoch(CONFIG) == 3


def test_patience_counts_on_after_an_interruption(
    make_samples: MakeSamples, recipe: FeatureRecipe, tmp_path: Path
) -> None:
    samples = make_samples(24)
    config = replace(
        CONFIG, epochs=40, patience=2, learning_rate=1e-6, schedule="constant", augmentation=None
    )
    undisturbed: list[int] = []
    train_classifier(samples, recipe, config, progress=lambda epoch: undisturbed.append(epoch.number))
    journal = Journal(path=tmp_path / "state.safetensors")
    with pytest.raises(Stop):
        train_classifier(samples, recipe, config, journal=journal, progress=stop_after(undisturbed[-1]))
    heard: list[int] = []
    train_classifier(
        samples, recipe, config, journal=journal, progress=lambda epoch: heard.append(epoch.number)
    )
    assert heard == []


def test_where_memory_does_not_suffice_batches_are_halved_and_it_is_recorded() -> None:
    """In a process that may have no more than 400 MB beyond what it has, batches of 512 need 1 GB."""
    code = """
        import resource, warnings
        import numpy as np, torch
        from pathlib import Path
        from toolkit.cubes.recipe import FeatureRecipe
        from toolkit.errors import BatchHalvedWarning
        from toolkit.learn.samples import Samples
        from toolkit.learn.train import TrainConfig, train_classifier

        torch.set_num_threads(1)
        recipe = FeatureRecipe()
        n, rng = 640, np.random.default_rng(0)
        samples = Samples(
            series=rng.random((n, *recipe.shape), np.float32), crop=(np.arange(n) % 2).astype(np.uint8),
            field=np.arange(1, n + 1, dtype=np.int32), lon=np.zeros(n), lat=np.zeros(n),
            recipe=recipe, simulated=True,
        )
        small = TrainConfig(epochs=1, batch_size=64, augmentation=None, device="cpu", precision="fp32")
        train_classifier(samples.select(np.arange(64)), recipe, small)  # libraries take their memory
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            config = TrainConfig(epochs=1, batch_size=512, augmentation=None, device="cpu", precision="fp32")
            trained = train_classifier(samples, recipe, config)
        told = [str(w.message) for w in caught if w.category is BatchHalvedWarning]
        print(trained.metrics["batch_size"], len(told), told[0])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    size, halvings, message = done.stdout.split(" ", 2)
    assert int(size) == 512 >> int(halvings) < 512
    assert message.startswith("Memory does not suffice: batches are halved to 256 samples")


def test_bf16_learns_the_same_as_fp32(make_samples: MakeSamples, recipe: FeatureRecipe) -> None:
    """Emulated where the processor has no units for it; weights stay float32 everywhere."""
    config = replace(CONFIG, epochs=8, batch_size=8, schedule="constant", precision="bf16")
    trained = train_classifier(make_samples(), recipe, config)
    assert trained.metrics["macro_f1"] > 0.95
    assert all(t.dtype in (torch.float32, torch.int64) for t in trained.state.values())
    fp32 = train_classifier(make_samples(), recipe, replace(config, precision="fp32"))
    assert not torch.equal(fp32.state["classifier.weight"], trained.state["classifier.weight"])
