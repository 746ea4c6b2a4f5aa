"""Training: learns, validates on other fields, repeats to the byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils.class_weight import compute_class_weight

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import EngineError, InputError, LabelError, ModelError, RecipeMismatchError
from toolkit.learn import fit
from toolkit.learn.accuracy import compare, split_fields
from toolkit.learn.augmentations import AUGMENTATIONS, Augmentation
from toolkit.learn.batches import Batches
from toolkit.learn.checkpoint import CARD, WEIGHTS, Checkpoint, write_checkpoint
from toolkit.learn.device import resolve_device
from toolkit.learn.samples import Samples
from toolkit.learn.train import Epoch, TrainConfig, train_classifier

MakeSamples = Callable[..., Samples]

QUICK = TrainConfig(epochs=1, batch_size=16, schedule="constant", augmentation=None, device="cpu")


def test_separable_classes_are_learnt(checkpoint: Checkpoint) -> None:
    validation = checkpoint.metrics
    assert validation["macro_f1"] > 0.95
    assert validation["overall"] > 0.95
    assert validation["classes"]["corn"]["f1"] > 0.95
    assert validation["classes"]["wheat"] == {"n": 0, "precision": None, "recall": None, "f1": None}
    assert checkpoint.state["classifier.bias"].shape == (7,)  # absent classes keep their neuron


def test_fields_are_divided_not_pixels(checkpoint: Checkpoint) -> None:
    assert checkpoint.metrics["fields"] == {"training": 12, "validation": 3}
    samples = checkpoint.metrics["samples"]
    assert [samples["training"][crop] for crop in ("corn", "soybeans", "rice")] == [16] * 3
    assert [samples["validation"][crop] for crop in ("corn", "soybeans", "rice")] == [4] * 3


def test_the_normalisation_is_that_of_the_training_samples(
    checkpoint: Checkpoint, make_samples: MakeSamples, recipe: FeatureRecipe
) -> None:
    season = make_samples().series[:, :, 2:10]  # all samples: about the same in this set
    np.testing.assert_allclose(checkpoint.mean, season.mean(axis=(0, 2)), atol=0.01)
    np.testing.assert_allclose(checkpoint.std, season.std(axis=(0, 2)), atol=0.01)
    flat = make_samples(24)
    flat.series[:, 1] = 0.25
    trained = train_classifier(flat, recipe, QUICK)
    assert trained.mean[1] == pytest.approx(0.25)
    assert trained.std[1] == 1.0


def test_the_checkpoint_says_what_it_was_trained_from(
    checkpoint: Checkpoint, make_samples: MakeSamples, recipe: FeatureRecipe
) -> None:
    assert checkpoint.recipe == recipe
    assert checkpoint.simulated
    assert checkpoint.provenance["samples_sha256"] == make_samples().content_hash
    assert checkpoint.provenance["samples"] == {"made_by": "test", "n": 60}
    assert checkpoint.provenance["config"]["epochs"] == 8
    assert not train_classifier(make_samples(24, simulated=False), recipe, QUICK).simulated


def test_the_same_seed_gives_the_same_bytes_and_leaves_random_state_alone(
    make_samples: MakeSamples, recipe: FeatureRecipe, tmp_path: Path
) -> None:
    samples = make_samples(24)
    folders = []
    for name, other_seed in (("a", 1), ("b", 2)):
        torch.manual_seed(other_seed)  # the caller's own draws must not matter
        np.random.seed(other_seed)  # noqa: NPY002  # the global state is what is tested
        state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002  # as above
        trained = train_classifier(samples, recipe, QUICK)
        assert torch.equal(torch.get_rng_state(), state[0])
        assert np.random.get_state()[1].tolist() == state[1]  # noqa: NPY002  # as above
        folders.append(write_checkpoint(trained, tmp_path / name))
    for name in (WEIGHTS, CARD):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    other = train_classifier(samples, recipe, replace(QUICK, seed=1))
    assert not torch.equal(other.state["classifier.weight"], trained.state["classifier.weight"])


def test_samples_of_the_season_train_the_same_as_those_of_the_year(
    make_samples: MakeSamples, recipe: FeatureRecipe
) -> None:
    year = make_samples(24)
    season = replace(year, series=year.series[:, :, 2:10].copy(), recipe=recipe)
    states = [train_classifier(each, recipe, QUICK).state for each in (year, season)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    with pytest.raises(RecipeMismatchError, match="hold steps 2 to 9"):
        train_classifier(season, replace(recipe, first_step=1), QUICK)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace what the epochs are worth: right answers of ten, and loss."""

    def script(*worth: tuple[int, float]) -> None:
        validate = fit._validate

        def as_told(*args: Any, number: int, **options: Any) -> fit.Best:
            right, loss = worth[number - 1]
            predicted = np.r_[np.zeros(right, int), np.ones(10 - right, int)]
            accuracy = compare(np.zeros(10, int), predicted, 7)
            this = validate(*args, number=number, **options)
            return replace(this, accuracy=accuracy, loss=loss)

        monkeypatch.setattr(fit, "_validate", as_told)

    return script


def test_the_best_epoch_is_kept_and_among_equals_the_surest(
    scripted: Callable[..., None], make_samples: MakeSamples, recipe: FeatureRecipe
) -> None:
    scripted((3, 1.0), (8, 0.5), (8, 0.2), (8, 0.2), (5, 0.1))
    trained = train_classifier(make_samples(24), recipe, replace(QUICK, epochs=5))
    assert trained.metrics["epoch"] == 3
    assert trained.metrics["loss"] == 0.2
    three = train_classifier(make_samples(24), recipe, replace(QUICK, epochs=3))
    assert all(torch.equal(t, three.state[name]) for name, t in trained.state.items())


def test_progress_hears_every_epoch_and_patience_ends_early(
    scripted: Callable[..., None], make_samples: MakeSamples, recipe: FeatureRecipe
) -> None:
    scripted((3, 1.0), (8, 0.5), (7, 0.5), (8, 0.6), (10, 0.1))
    heard: list[Epoch] = []
    config = replace(QUICK, epochs=5, patience=2)
    trained = train_classifier(make_samples(24), recipe, config, progress=heard.append)
    assert trained.metrics["epoch"] == 2
    assert [epoch.number for epoch in heard] == [1, 2, 3, 4]
    assert [epoch.macro_f1 for epoch in heard] == pytest.approx([6 / 13, 16 / 18, 14 / 17, 16 / 18])
    assert all(epoch.of == 5 and epoch.seconds > 0 and epoch.loss > 0 for epoch in heard)


def test_the_cosine_schedule_slows_learning(
    make_samples: MakeSamples, recipe: FeatureRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def remember(self: torch.optim.Adam, *args: Any, **options: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", remember)
    config = replace(QUICK, epochs=4, batch_size=64, schedule="cosine", learning_rate=1e-2)
    train_classifier(make_samples(24), recipe, config)
    expected = 0.5e-2 * (1 + np.cos(np.pi * np.arange(4) / 4))
    np.testing.assert_allclose(rates, expected)


@pytest.mark.parametrize("network", ["cropnet1d", "mlp", "tempcnn", "attention"])
def test_other_networks_train_too(network: str, make_samples: MakeSamples, recipe: FeatureRecipe) -> None:
    trained = train_classifier(make_samples(24), recipe, replace(QUICK, network=network))
    assert trained.network == network


def test_a_forest_is_trained_like_any_other_model(make_samples: MakeSamples, recipe: FeatureRecipe) -> None:
    samples = make_samples(48)
    forest = train_classifier(samples, recipe, replace(QUICK, network="random_forest"))
    assert forest.metrics["macro_f1"] > 0.95
    assert forest.metrics["trees"] == 500
    ids, _ = split_fields(samples.field, samples.crop, share=0.2, seed=0)
    seen = np.isin(samples.field, ids)
    vectors = samples.series[:, :, 2:10].reshape(48, -1)
    reference = RandomForestClassifier(500, class_weight="balanced", random_state=0)
    reference.fit(vectors[seen], samples.crop[seen])
    with torch.inference_mode():
        ours = forest.build()(torch.from_numpy(vectors.reshape(48, 4, 8))).softmax(dim=1).numpy()
    np.testing.assert_allclose(ours[:, :3], reference.predict_proba(vectors), atol=1e-6)
    varied = train_classifier(
        samples, recipe, replace(QUICK, network="random_forest", augmentation=Augmentation())
    )
    assert len(varied.state["feature"]) > len(forest.state["feature"])  # copies beside the originals
    assert varied.metrics["macro_f1"] > 0.9


def test_published_copies_are_drawn_once_and_trained_on_beside_the_originals(
    make_samples: MakeSamples, recipe: FeatureRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Batches] = []
    epoch = Batches.epoch

    def remember(self: Batches, *args: Any) -> Any:
        seen.append(self)
        return epoch(self, *args)

    monkeypatch.setattr(Batches, "epoch", remember)
    config = replace(QUICK, epochs=2, augmentation=AUGMENTATIONS["published"])
    train_classifier(make_samples(24), recipe, config)
    first, second = seen
    assert first.series is second.series
    assert first.augmentation is None
    assert len(first.series) == 3 * 12
    season = make_samples(24).series[:, :, 2:10]
    assert all((season == one).all(axis=(1, 2)).any() for one in first.series[:12])


def test_unusable_samples_are_refused(make_samples: MakeSamples, recipe: FeatureRecipe) -> None:
    samples = make_samples(24)
    holes = make_samples(24)
    holes.series[[3, 7], 0, 4] = np.nan
    one_field_each = replace(samples, field=(samples.crop + 1).astype(np.int32))
    bad = {
        "2 of 24 samples hold NaN": holes,
        "two classes or more; got fields: rice 2": samples.select(samples.crop == 2),
        "got fields: corn 1, soybeans 1, rice 1": one_field_each,
        "got fields: none": samples.select(samples.crop == 6),
    }
    for match, given in bad.items():
        with pytest.raises(LabelError, match=match):
            train_classifier(given, recipe, QUICK)


def test_holes_outside_the_season_do_not_matter(make_samples: MakeSamples, recipe: FeatureRecipe) -> None:
    samples = make_samples(24)
    samples.series[:, :, 11] = np.nan
    train_classifier(samples, recipe, QUICK)


def test_a_diverging_loss_is_an_error(make_samples: MakeSamples, recipe: FeatureRecipe) -> None:
    samples = make_samples(24)
    samples.series[:] = np.where(samples.crop[:, None, None] == 0, 3e38, -3e38)
    with pytest.raises(ModelError, match="Training diverged: the loss on training samples"):
        train_classifier(samples, recipe, QUICK)
    samples = make_samples(24)
    _, held_out = split_fields(samples.field, samples.crop, share=0.2, seed=0)
    samples.series[np.isin(samples.field, held_out)] = 3e38
    with pytest.raises(ModelError, match="Training diverged: the loss on validation samples"):
        train_classifier(samples, recipe, QUICK)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "resnet"),
        ("epochs", 0),
        ("batch_size", 1),
        ("learning_rate", 0.0),
        ("schedule", "step"),
        ("validation_share", 1.0),
        ("seed", -1),
        ("patience", 0),
        ("split", "pixel"),
        ("precision", "fp16"),
    ],
)
def test_impossible_configs_are_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"Training: {name} is {value!r}; allowed:"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("name", ["tpu", "cpu:0", "cuda:x", "cuda:99", ""])
def test_devices_that_are_not_there_are_refused(name: str) -> None:
    with pytest.raises(EngineError, match="Device"):
        resolve_device(name)


def test_class_weights_are_balanced_over_the_classes_present() -> None:
    crop = np.array([0] * 6 + [2] * 3 + [3], np.uint8)
    weights = fit.class_weights(crop, 5).numpy()
    expected = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=crop)
    np.testing.assert_allclose(weights[[0, 2, 3]], expected, rtol=1e-6)
    assert weights[[1, 4]].tolist() == [0, 0]


def test_the_loss_is_weighted_by_the_training_samples(
    make_samples: MakeSamples, recipe: FeatureRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[np.ndarray] = []
    loss = torch.nn.CrossEntropyLoss

    def remember(weight: torch.Tensor) -> torch.nn.Module:
        weights.append(weight.numpy())
        return loss(weight)

    monkeypatch.setattr(torch.nn, "CrossEntropyLoss", remember)
    samples = make_samples(48)
    uneven = samples.select((samples.crop != 2) | (np.arange(48) % 4 == 0))
    train_classifier(uneven, recipe, QUICK)
    (weight,) = weights
    assert weight[2] == pytest.approx(4 * weight[0], rel=0.5)
    assert (weight[3:] == 0).all()


@pytest.mark.parametrize(("n", "sizes"), [(9, [4, 5]), (10, [4, 4, 2]), (8, [4, 4]), (3, [3])])
def test_an_epoch_draws_every_sample_once_and_never_a_batch_of_one(n: int, sizes: list[int]) -> None:
    series = np.arange(n, dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), np.float32)
    crop = np.arange(n, dtype=np.uint8)
    batches = Batches(series=series, crop=crop, mean=(0.0, 1.0), std=(1.0, 2.0), size=4)
    drawn = list(batches.epoch(1))
    assert [len(x) for x, _ in drawn] == sizes
    order = np.concatenate([y.numpy() for _, y in drawn])
    assert sorted(order) == list(range(n))
    x = np.concatenate([x.numpy() for x, _ in drawn])
    np.testing.assert_array_equal(x[:, 0, 0], order)
    np.testing.assert_array_equal(x[:, 1, 0], (order - 1) / 2)
    again = np.concatenate([y.numpy() for _, y in batches.epoch(1)])
    assert again.tolist() == order.tolist()
