"""Distillation workflow: a trained model and series in, a compact student out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.folder import beside, prepare
from pipelines.learn_config import DistillRequest
from pipelines.progress import Progress
from pipelines.train import HELD_OUT, labelled_samples
from toolkit.learn.checkpoint import CARD, Checkpoint, read_checkpoint, write_checkpoint
from toolkit.learn.distill import DEFAULTS, DistillConfig, distill
from toolkit.learn.resume import Journal
from toolkit.learn.samples import read_samples
from toolkit.learn.train_config import Epoch
from toolkit.maps.model_item import write_model_item
from toolkit.storage import check_free


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """Result of the workflow."""

    checkpoint: Checkpoint
    """The student."""
    path: Path
    """Folder it is saved in."""

    def lines(self) -> list[str]:
        """What it costs and loses, for a terminal."""
        metrics, teacher = self.checkpoint.metrics, self.checkpoint.provenance["teacher"]["network"]
        note = " (taught on simulated data)" if self.checkpoint.simulated else ""
        held_out = HELD_OUT[metrics["split"]]
        cost = f"{metrics['operations'] / 1e6:.2f} million operations a pixel"
        if metrics["teacher_operations"] is not None:
            fewer = metrics["teacher_operations"] / metrics["operations"]
            cost = f"{cost}, {fewer:.1f} times fewer than {teacher}"
        f1 = (
            f"macro F1 {metrics['macro_f1']:.3f} on {held_out}, its teacher {metrics['teacher_macro_f1']:.3f}"
        )
        agreed = f"the same class as its teacher for {100 * metrics['agreement']:.1f} % of them"
        return [
            f"{self.checkpoint.network}{note}: {cost}",
            f"{f1}; {agreed}",
            f"saved in {self.path}",
        ]


def run(config: DistillRequest, *, progress: bool = True) -> Student:
    """Teach a student and save it.

    Args:
        config: the request; ``out`` becomes the student's folder.
        progress: whether to tell how far the run is.

    Raises:
        CropglobeError: see :mod:`toolkit.errors`; nothing half-written is left.
    """
    tell = Progress(quiet=not progress)
    prepare(config.out.parent)
    check_free(config.out, mark=CARD, overwrite=True)  # before hours of training, not after
    teacher = read_checkpoint(config.teacher)
    samples = labelled_samples(config.samples, config.data, config.countries)
    unlabelled = [read_samples(path) for path in config.unlabelled]
    tell.stage(f"{len(samples)} labelled samples, {sum(map(len, unlabelled))} without labels")
    start = time.perf_counter()

    def report(epoch: Epoch) -> None:
        note = f"loss {epoch.loss:.3f}, validation macro F1 {epoch.macro_f1:.3f}"
        tell.count("epochs", epoch.number, epoch.of, since=start, note=note)

    journal = Journal(path=beside(config.out, ".{}.training.safetensors"))
    if journal.path.is_file():
        tell.stage("an interrupted training is here; if it is this one, it goes on")
    student = distill(teacher, samples, unlabelled, _asked(config), progress=report, journal=journal)
    path = write_checkpoint(student, config.out, overwrite=True)
    write_model_item(path)
    journal.remove()  # not before the model is safe
    config.write(beside(config.out, "{}.yaml"))
    return Student(checkpoint=student, path=path)


def _asked(config: DistillRequest) -> DistillConfig:
    training = replace(
        DEFAULTS.training,
        network=config.student or DEFAULTS.training.network,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        augmentation=config.augmentation,
        patience=config.patience,
        seed=config.seed,
        device=config.device,
        precision=config.precision,
    )
    return DistillConfig(training=training, temperature=config.temperature, label_weight=config.label_weight)
