"""A student: learns from its teacher's answers, with and without labels; what cannot be taught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from toolkit.cubes.recipe import FeatureRecipe, emit_recipe
from toolkit.errors import InputError, LabelError, RecipeMismatchError
from toolkit.learn.accuracy import compare
from toolkit.learn.augmentations import AUGMENTATIONS, Augmentation
from toolkit.learn.checkpoint import CARD, WEIGHTS, Checkpoint, read_checkpoint, write_checkpoint
from toolkit.learn.distill import STUDENT, DistillConfig, distill
from toolkit.learn.networks import build_network
from toolkit.learn.operations import operations
from toolkit.learn.predict import predict
from toolkit.learn.predict_samples import sample_probabilities
from toolkit.learn.resume import Journal
from toolkit.learn.samples import Samples
from toolkit.learn.soft_targets import UNLABELLED, SoftTargets, Teacher, teacher_for
from toolkit.learn.splits import split_samples
from toolkit.learn.train import TrainConfig, train_classifier
from toolkit.learn.train_config import Epoch
from toolkit.legend import CropClass, Legend

MakeSamples = Callable[..., Samples]

TRAINING = TrainConfig(
    network="compact_time_small",
    epochs=6,
    batch_size=16,
    learning_rate=4e-3,
    augmentation=None,
    device="cpu",
    precision="fp32",
)
QUICK = DistillConfig(training=replace(TRAINING, epochs=1))
UNTAUGHT_BY_LABELS = DistillConfig(training=TRAINING, label_weight=0.0)


@pytest.fixture(scope="module")
def student(checkpoint: Checkpoint, make_samples: MakeSamples) -> Checkpoint:
    return distill(checkpoint, make_samples(), (), DistillConfig(training=TRAINING))


def relabelled(samples: Samples, where: np.ndarray) -> Samples:
    """One pixel of four has a wrong class: its field keeps its own, and the split stays as it is."""
    crop = samples.crop.copy()
    wrong = where & (np.arange(len(samples)) % 4 == 0)
    crop[wrong] = (crop[wrong] + 1) % 3
    return replace(samples, crop=crop)


def test_the_student_knows_what_its_teacher_knows_and_says_what_it_costs(
    student: Checkpoint, checkpoint: Checkpoint, make_samples: MakeSamples
) -> None:
    metrics = student.metrics
    assert metrics["macro_f1"] > 0.95
    assert metrics["agreement"] > 0.95
    assert metrics["teacher_macro_f1"] == checkpoint.metrics["macro_f1"]
    assert metrics["operations"] == operations("compact_time_small", (4, 8), 7)
    assert metrics["teacher_operations"] == operations("cropnet2d", (4, 8), 7)
    assert student.provenance["teacher"] == {"sha256": checkpoint.content_hash, "network": "cropnet2d"}
    assert student.provenance["samples_sha256"] == make_samples().content_hash
    assert student.simulated
    assert (student.recipe, student.legend) == (checkpoint.recipe, checkpoint.legend)


def test_a_student_reads_back_and_maps_like_any_model(
    student: Checkpoint,
    recipe: FeatureRecipe,
    make_features: Callable[..., xr.DataArray],
    tmp_path: Path,
) -> None:
    truth = np.random.default_rng(3).integers(0, 3, (6, 9))
    features = make_features(truth, recipe)
    layers = predict(features, student, device="cpu", batch_size=16)
    assert (layers["crop"].to_numpy() == truth + 1).mean() > 0.95
    read = read_checkpoint(write_checkpoint(student, tmp_path / "student"))
    assert read.content_hash == student.content_hash
    xr.testing.assert_identical(predict(features, read, device="cpu", batch_size=16), layers)


def test_labels_of_the_training_fields_are_not_used_where_they_have_no_weight(
    checkpoint: Checkpoint, make_samples: MakeSamples
) -> None:
    """Wrong labels there give the same weights; with a weight they give others."""
    samples = make_samples()
    split = split_samples(samples, share=0.2, seed=0)
    wrong = relabelled(samples, split.training)
    # The teacher knows these samples by their hash.
    ignorant = replace(checkpoint, provenance={**checkpoint.provenance, "samples_sha256": wrong.content_hash})
    config = replace(UNTAUGHT_BY_LABELS, training=replace(TRAINING, epochs=2))
    right_state = distill(checkpoint, samples, (), config).state
    wrong_state = distill(ignorant, wrong, (), config).state
    assert all(torch.equal(right_state[name], wrong_state[name]) for name in right_state)
    told = replace(config, label_weight=0.5)
    told_states = [distill(t, s, (), told).state for t, s in ((checkpoint, samples), (ignorant, wrong))]
    assert any(not torch.equal(told_states[0][name], told_states[1][name]) for name in right_state)


def test_unlabelled_series_teach_what_labelled_ones_cannot(
    checkpoint: Checkpoint, make_samples: MakeSamples
) -> None:
    """Labelled series of two classes alone: the third is learnt from series without a label."""
    labelled = make_samples()
    labelled = labelled.select(labelled.crop != 2)
    teacher = replace(
        checkpoint, provenance={**checkpoint.provenance, "samples_sha256": labelled.content_hash}
    )
    more = make_samples(90, seed=7)
    hidden = replace(more, crop=np.zeros_like(more.crop))
    unseen = make_samples(60, seed=11)

    def right(model: Checkpoint) -> float:
        third = unseen.select(unseen.crop == 2)
        return float((sample_probabilities(third, model, device="cpu").argmax(axis=1) == 2).mean())

    without = distill(teacher, labelled, (), UNTAUGHT_BY_LABELS)
    students = [distill(teacher, labelled, [part], UNTAUGHT_BY_LABELS) for part in (hidden, more)]
    assert right(without) < 0.5
    assert right(students[0]) > 0.95
    for name, tensor in students[0].state.items():  # their classes are not looked at
        assert torch.equal(tensor, students[1].state[name])
    assert students[0].metrics["samples"]["unlabelled"] == 90


def test_the_same_seed_gives_the_same_bytes_also_when_interrupted(
    checkpoint: Checkpoint, make_samples: MakeSamples, tmp_path: Path
) -> None:
    samples, more = make_samples(), make_samples(30, seed=4)
    config = DistillConfig(training=replace(TRAINING, epochs=3, augmentation=Augmentation()))
    write_checkpoint(distill(checkpoint, samples, [more], config), tmp_path / "a")
    journal = Journal(path=tmp_path / "state.safetensors")

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(checkpoint, samples, [more], config, journal=journal, progress=stop)
    heard: list[int] = []
    resumed = distill(
        checkpoint, samples, [more], config, journal=journal, progress=lambda e: heard.append(e.number)
    )
    assert heard == [3]
    write_checkpoint(resumed, tmp_path / "b")
    for name in (WEIGHTS, CARD):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    other = distill(checkpoint, samples, [more], replace(config, training=replace(config.training, seed=5)))
    assert not torch.equal(other.state["classifier.weight"], resumed.state["classifier.weight"])


def test_the_fields_held_out_are_the_teachers_also_from_a_student_that_teaches(
    make_samples: MakeSamples, recipe: FeatureRecipe
) -> None:
    samples = make_samples()
    teacher = train_classifier(
        samples, recipe, replace(TRAINING, network="mlp", epochs=1, seed=3, validation_share=0.4)
    )
    split = split_samples(samples, share=0.4, seed=3)
    first = distill(teacher, samples, (), replace(QUICK, training=replace(TRAINING, epochs=1, seed=8)))
    second = distill(first, samples, (), QUICK)
    for model in (first, second):
        assert model.metrics["fields"] == split.counts()
        expected = compare(
            samples.crop[split.validation],
            sample_probabilities(samples.select(split.validation), model, device="cpu").argmax(axis=1),
            7,
        )
        assert model.metrics["macro_f1"] == expected.macro_f1


def test_a_forest_teaches_a_network(make_samples: MakeSamples, recipe: FeatureRecipe) -> None:
    samples = make_samples()
    forest = train_classifier(samples, recipe, replace(TRAINING, network="random_forest"))
    taught = distill(forest, samples, (), DistillConfig(training=replace(TRAINING, epochs=10)))
    assert taught.metrics["teacher_operations"] is None
    assert taught.metrics["agreement"] > 0.9
    assert all(std < 1 for std in taught.std)  # reflectance is normalised for the student


def test_the_teacher_answers_what_a_map_with_it_would_say(
    checkpoint: Checkpoint, make_samples: MakeSamples
) -> None:
    series = make_samples().series[:, :, 2:10]
    mean, std = np.full((4, 1), 0.1, np.float32), np.full((4, 1), 0.5, np.float32)
    teacher = teacher_for(checkpoint, (0.1,) * 4, (0.5,) * 4, device=torch.device("cpu"), precision="fp32")
    logits = teacher.logits(torch.from_numpy((series - mean) / std))
    expected = sample_probabilities(series, checkpoint, device="cpu")
    np.testing.assert_allclose(logits.softmax(dim=1).numpy(), expected, atol=1e-4)


def test_the_loss_is_the_distance_of_both_with_labels_where_there_are() -> None:
    """Against sums in float64 over the classes."""
    rng = np.random.default_rng(0)
    student, asked = rng.normal(0, 2, (2, 5, 3))
    crop, weights = np.array([0, 2, UNLABELLED, 1, UNLABELLED]), np.array([0.5, 1.5, 1.0])

    class Fixed(torch.nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(asked).float()

    one = torch.ones(1, 1)
    teacher = Teacher(network=Fixed(), factor=one, offset=one, bf16=False)

    def softmax(values: np.ndarray) -> np.ndarray:
        return np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)

    for temperature, share in ((1.0, 0.3), (3.0, 0.0), (2.0, 1.0)):
        p, q = softmax(asked / temperature), softmax(student / temperature)
        soft = temperature**2 * (p * np.log(p / q)).sum(axis=1)
        known = crop != UNLABELLED
        true = np.where(known, crop, 0)
        hard = -np.log(softmax(student)[np.arange(5), true]) * weights[true]
        expected = np.where(known, (1 - share) * soft + share * hard, soft).mean()
        loss_of = SoftTargets(
            teacher=teacher,
            temperature=temperature,
            label_weight=share,
            class_weights=torch.from_numpy(weights).float(),
        )
        loss = loss_of(torch.from_numpy(student).float(), torch.zeros(5, 2, 2), torch.from_numpy(crop))
        assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_samples_that_the_teacher_did_not_learn_from_are_refused_but_taken_without_labels(
    checkpoint: Checkpoint, make_samples: MakeSamples
) -> None:
    others = make_samples(60, seed=9)
    with pytest.raises(LabelError, match="which of their fields it never saw is not known"):
        distill(checkpoint, others, (), QUICK)
    taken = distill(checkpoint, make_samples(), [others], QUICK)
    assert taken.metrics["samples"]["unlabelled"] == 60
    assert taken.provenance["unlabelled_sha256"] == [others.content_hash]
    imported = replace(checkpoint, provenance={"simulated": False})  # published weights name no samples
    assert distill(imported, others, (), QUICK).metrics["fields"]["validation"] == 3


def test_simulated_is_handed_on_from_any_part(checkpoint: Checkpoint, make_samples: MakeSamples) -> None:
    real = make_samples(simulated=False)
    teacher = replace(checkpoint, provenance={"simulated": False})
    assert not distill(teacher, real, (), QUICK).simulated
    assert distill(teacher, real, [make_samples(30, seed=2)], QUICK).simulated


def test_other_classes_features_and_students_are_refused(
    checkpoint: Checkpoint, make_samples: MakeSamples
) -> None:
    samples = make_samples()
    other = Legend(tuple(CropClass(name, (0, 0, 0)) for name in ("oats", "rye", "vines")))
    with pytest.raises(LabelError, match="the teacher knows corn"):
        distill(checkpoint, replace(samples, legend=other), (), QUICK)
    fewer = replace(samples.recipe, bands=("B02", "B04"))
    ignorant = replace(checkpoint, provenance={"simulated": True})
    two_bands = replace(samples, series=samples.series[:, :2].copy(), recipe=fewer)
    with pytest.raises(RecipeMismatchError, match="bands"):
        distill(ignorant, two_bands, (), QUICK)
    with pytest.raises(RecipeMismatchError, match="bands"):
        distill(checkpoint, samples, [two_bands], QUICK)
    with pytest.raises(RecipeMismatchError, match="a spectrum has none"):
        distill(_of_spectra(checkpoint, emit_recipe()), samples, (), QUICK)


def _of_spectra(checkpoint: Checkpoint, recipe: FeatureRecipe) -> Checkpoint:
    n_bands = len(recipe.bands)
    return Checkpoint(
        network="mlp",
        state=build_network("mlp", recipe.shape, 7).state_dict(),
        recipe=recipe,
        legend=checkpoint.legend,
        mean=(0.0,) * n_bands,
        std=(1.0,) * n_bands,
        provenance={"simulated": True},
    )


def test_unlabelled_series_of_the_season_alone_are_refused_where_it_is_moved(
    checkpoint: Checkpoint, make_samples: MakeSamples, recipe: FeatureRecipe
) -> None:
    year = make_samples(30, seed=2)
    season = replace(year, series=year.series[:, :, 2:10].copy(), recipe=recipe)
    moved = replace(QUICK, training=replace(QUICK.training, augmentation=Augmentation()))
    with pytest.raises(LabelError, match="hold steps 2 to 9, the labelled ones the full year"):
        distill(checkpoint, make_samples(), [season], moved)
    assert distill(checkpoint, make_samples(), [season], QUICK).metrics["samples"]["unlabelled"] == 30


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; allowed: above 0, up to 20"),
        ({"label_weight": 1.5}, "label_weight is 1.5; allowed: 0 to 1"),
        ({"training": TrainConfig(network="random_forest")}, "student is 'random_forest'"),
        ({"training": TrainConfig(augmentation=AUGMENTATIONS["published"])}, "augmentation is 'published'"),
    ],
)
def test_amounts_that_cannot_teach_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        DistillConfig(**values)  # type: ignore[arg-type]  # wrong on purpose


def test_the_default_student_is_a_compact_network() -> None:
    assert DistillConfig().training.network == STUDENT
