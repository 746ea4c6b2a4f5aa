"""A compact student of a trained model, taught on labelled and unlabelled series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from toolkit.errors import InputError, LabelError
from toolkit.learn.accuracy import compare
from toolkit.learn.batches import Batches
from toolkit.learn.checkpoint import Checkpoint, normalise
from toolkit.learn.device import reproducible, resolve_device, seeded
from toolkit.learn.fit import class_weights, fit
from toolkit.learn.networks import build_network
from toolkit.learn.operations import NO_PRODUCTS, operations
from toolkit.learn.predict_samples import sample_probabilities
from toolkit.learn.resume import Journal
from toolkit.learn.samples import Samples
from toolkit.learn.soft_targets import UNLABELLED, SoftTargets, teacher_for
from toolkit.learn.splits import Split, split_samples
from toolkit.learn.train import FOREST, band_statistics, check_kind, count_classes
from toolkit.learn.train_config import Epoch, TrainConfig
from toolkit.learn.training_set import TrainingSet, training_set

Statistics = tuple[tuple[float, ...], tuple[float, ...]]

STUDENT = "compact_time"
"""The student that lost least of those at least 8 times as fast: ``tests/benchmarks/DISTILLATION.md``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    """How a student is taught."""

    training: TrainConfig = field(
        default_factory=lambda: TrainConfig(network=STUDENT, epochs=40, batch_size=256, learning_rate=4e-3)
    )
    """Its network and training. Which fields are held out is the teacher's affair: ``split`` and
    ``validation_share`` only serve where the teacher does not know its own."""
    temperature: float = 2.0
    """Of the soft targets, see :class:`toolkit.learn.soft_targets.SoftTargets`."""
    label_weight: float = 0.3
    """Share of the labels in the loss of a labelled series; 0: labels only choose the epoch."""

    def __post_init__(self) -> None:
        """Refuse values that cannot teach anything."""
        network, augmentation = self.training.network, self.training.augmentation
        checks = {
            "student": (network not in NO_PRODUCTS, network, "a network trained by gradient descent"),
            "temperature": (0 < self.temperature <= 20, self.temperature, "above 0, up to 20"),
            "label_weight": (0 <= self.label_weight <= 1, self.label_weight, "0 to 1"),
            "augmentation": (
                augmentation is None or not augmentation.published,
                "published",
                "one that is drawn anew in each epoch, as the teacher must see what the student sees",
            ),
        }
        for name, (fine, got, allowed) in checks.items():
            if not fine:
                msg = f"Distillation: {name} is {got!r}; allowed: {allowed}. Change it."
                raise InputError(msg)


DEFAULTS = DistillConfig()
"""What ``docs/distill.md`` describes."""


def distill(
    teacher: Checkpoint,
    samples: Samples,
    unlabelled: Sequence[Samples] = (),
    config: DistillConfig = DEFAULTS,
    *,
    progress: Callable[[Epoch], None] | None = None,
    journal: Journal | None = None,
) -> Checkpoint:
    """Teach a student what a model says of series; the weights of the best epoch are kept.

    The teacher answers the same varied series as the student gets, in every epoch anew. Fields that the
    teacher did not train on are held out from the student, too, and choose the epoch by macro F1. The same
    input gives the same checkpoint on one machine.

    Args:
        teacher: the model.
        samples: those that it was trained on.
        unlabelled: further series; their classes are not looked at.
        config: how to teach.
        progress: called after each epoch.
        journal: as for :func:`toolkit.learn.train.train_classifier`.

    Raises:
        RecipeMismatchError: samples that cannot give the teacher's features, or a student that cannot take
            them.
        LabelError: the teacher has other classes, or learnt from other samples; or unlabelled series of the
            season alone beside labelled ones of the year.
        ModelError: unknown device, the loss diverges, or memory does not suffice.
    """
    training = config.training
    check_kind(teacher.recipe, training.network)
    _check_teacher(teacher, samples)
    device = resolve_device(training.device)
    given = training_set(samples, teacher.recipe, training.augmentation)
    more = [_unlabelled(part, given, teacher) for part in unlabelled]
    split = split_samples(given.samples, **_split_of(teacher, training))
    statistics = _statistics(teacher, given, split)
    batches = _batches(given, split, more, training, statistics)
    crop = given.samples.crop
    n_classes = len(teacher.legend.names)
    targets = SoftTargets(
        teacher=teacher_for(teacher, *statistics, device=device, precision=training.precision),
        temperature=config.temperature,
        label_weight=config.label_weight,
        class_weights=class_weights(crop[split.training], n_classes).to(device),
    )
    provenance = _provenance(teacher, samples, unlabelled, config, device)
    with seeded(training.seed, device), reproducible(device):
        network = build_network(training.network, teacher.recipe.shape, n_classes).to(device)
        best, batch_size = fit(
            network,
            batches,
            (normalise(given.season[split.validation], *statistics), crop[split.validation]),
            training,
            n_classes=n_classes,
            loss_of=targets,
            progress=progress,
            journal=journal,
            meaning={"recipe": teacher.recipe.to_dict(), **provenance},
        )
    student = Checkpoint(
        network=training.network,
        state=dict(best.state),
        recipe=teacher.recipe,
        legend=teacher.legend,
        mean=statistics[0],
        std=statistics[1],
        provenance=provenance,
    )
    counts = {"training": split.training, "validation": split.validation}
    metrics = {
        **best.accuracy.to_dict(teacher.legend),
        "epoch": best.epoch,
        "loss": best.loss,
        "batch_size": batch_size,
        **compared(student, teacher, given.samples.select(split.validation), device=training.device),
        "split": split.by,
        f"{split.by}s" if split.by != "series" else "series": split.counts(),
        "samples": {
            **{key: count_classes(given.samples, part) for key, part in counts.items()},
            "unlabelled": sum(len(part.samples) for part in more),
        },
    }
    return replace(student, metrics=metrics)


def compared(
    student: Checkpoint, teacher: Checkpoint, held_out: Samples, *, device: str = "auto"
) -> dict[str, Any]:
    """Return what a student costs and says beside its teacher, as plain values.

    Args:
        student: the student.
        teacher: its teacher.
        held_out: labelled samples that neither learnt from.
        device: where to compute.

    Returns:
        ``operations`` of a pixel and those of the teacher (None for a forest), the share of the samples to
        which both give the same class (``agreement``), and ``teacher_macro_f1``.
    """
    said = {
        key: sample_probabilities(held_out, model, device=device).argmax(axis=1)
        for key, model in (("student", student), ("teacher", teacher))
    }
    n_classes = len(teacher.legend.names)
    cost = {
        model.network: None
        if model.network in NO_PRODUCTS
        else operations(model.network, model.recipe.shape, n_classes)
        for model in (student, teacher)
    }
    return {
        "operations": cost[student.network],
        "teacher_operations": cost[teacher.network],
        "agreement": float(np.mean(said["student"] == said["teacher"])),
        "teacher_macro_f1": compare(held_out.crop, said["teacher"], n_classes).macro_f1,
    }


def _check_teacher(teacher: Checkpoint, samples: Samples) -> None:
    """Raise unless it is known which of the samples the teacher never saw."""
    if samples.legend != teacher.legend:
        msg = (
            f"The samples have the classes {', '.join(samples.legend.names)}; the teacher knows "
            f"{', '.join(teacher.legend.names)}. Use samples of the teacher's legend."
        )
        raise LabelError(msg)
    learnt = teacher.provenance.get("samples_sha256")
    if learnt is not None and learnt != samples.content_hash:
        msg = (
            f"The teacher was trained on samples with sha256 {learnt}, these have {samples.content_hash}: "
            "which of their fields it never saw is not known. Give the teacher's samples, and these as "
            "unlabelled ones."
        )
        raise LabelError(msg)


def _unlabelled(part: Samples, given: TrainingSet, teacher: Checkpoint) -> TrainingSet:
    """Return series that can stand in one batch with the labelled ones."""
    if given.window.moves and not part.recipe.covers_year:
        msg = (
            f"Unlabelled series hold steps {part.recipe.first_step} to "
            f"{part.recipe.first_step + part.recipe.n_steps - 1}, the labelled ones the full year, in which "
            "the season is moved. Make unlabelled ones of the full year, or do not move: augment 'none'."
        )
        raise LabelError(msg)
    return training_set(part, teacher.recipe, given.augmentation)


def _split_of(teacher: Checkpoint, training: TrainConfig) -> dict[str, Any]:
    """Return how the teacher's samples were split; the student's training says it if the teacher does not."""
    if "split" in teacher.provenance:  # a student that teaches
        return dict(teacher.provenance["split"])
    asked = {**asdict(training), **teacher.provenance.get("config", {})}
    return {"share": asked["validation_share"], "seed": asked["seed"], "by": asked["split"]}


def _statistics(teacher: Checkpoint, given: TrainingSet, split: Split) -> Statistics:
    """Return the teacher's normalisation; a forest has none."""
    if teacher.network == FOREST:
        return band_statistics(given.season[split.training])
    return teacher.mean, teacher.std


def _batches(
    given: TrainingSet,
    split: Split,
    more: Sequence[TrainingSet],
    training: TrainConfig,
    statistics: Statistics,
) -> Batches:
    """Return the training fields and the unlabelled series as one."""
    mean, std = statistics
    chosen = [(given, split.training), *((part, np.ones(len(part.year), np.bool_)) for part in more)]
    observed = [_observed(part)[index] for part, index in chosen]
    n_unlabelled = sum(len(part.year) for part in more)
    labels = [given.samples.crop[split.training], np.full(n_unlabelled, UNLABELLED, np.uint8)]
    return Batches(
        series=np.concatenate([part.year[index] for part, index in chosen]),
        crop=np.concatenate(labels),
        mean=mean,
        std=std,
        size=training.batch_size,
        seed=training.seed,
        observed=None if all(seen.all() for seen in observed) else np.concatenate(observed),
        window=given.window,
        augmentation=given.augmentation,
    )


def _observed(part: TrainingSet) -> npt.NDArray[np.bool_]:
    if part.observed is not None:
        return part.observed
    return np.ones((len(part.year), part.year.shape[2]), np.bool_)


def _provenance(
    teacher: Checkpoint,
    samples: Samples,
    unlabelled: Sequence[Samples],
    config: DistillConfig,
    device: torch.device,
) -> dict[str, Any]:
    return {
        "simulated": teacher.simulated or any(part.simulated for part in (samples, *unlabelled)),
        "teacher": {"sha256": teacher.content_hash, "network": teacher.network},
        "samples_sha256": samples.content_hash,
        "samples": samples.provenance,
        "unlabelled_sha256": [part.content_hash for part in unlabelled],
        "unlabelled": [part.provenance for part in unlabelled],
        "distillation": {"temperature": config.temperature, "label_weight": config.label_weight},
        "config": asdict(config.training),
        "split": _split_of(teacher, config.training),
        "device": device.type,
        "torch": torch.__version__,
    }
