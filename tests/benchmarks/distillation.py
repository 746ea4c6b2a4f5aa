"""Compact students beside their teacher: operations, speed, and what they lose on held-out fields.

``python -m tests.benchmarks.distillation --accuracy`` trains (hours of a core; minutes with ``--device cuda``
and several ``--workers``), ``--speed`` times on this processor; both write JSON, of which ``--report`` makes
DISTILLATION.md.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch

from tests.benchmarks.distillation_data import FOLDS, TASKS, Positions, Task, make_simulated
from tests.benchmarks.distillation_report import RESULTS, report
from tests.benchmarks.mato_grosso import DATA
from toolkit.learn.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from toolkit.learn.device import resolve_device
from toolkit.learn.distill import STUDENT, DistillConfig, distill
from toolkit.learn.networks.compact import SHAPES
from toolkit.learn.predict_samples import sample_probabilities
from toolkit.learn.samples import Samples
from toolkit.learn.train import train_classifier
from toolkit.storage import write_text

TEACHER = "teacher"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A student, and how it learns."""

    network: str
    taught: bool = True
    """Whether by a teacher; otherwise by labels alone, as long."""
    unlabelled: bool = True
    """Whether it sees unlabelled series, where there are."""
    temperature: float = DistillConfig().temperature
    label_weight: float = DistillConfig().label_weight


MODELS: Mapping[str, Model] = {
    **{name: Model(network=name) for name in SHAPES},
    f"{STUDENT}, labels alone": Model(network=STUDENT, taught=False),
    "compact2d, labels alone": Model(network="compact2d", taught=False),
    f"{STUDENT}, no unlabelled series": Model(network=STUDENT, unlabelled=False),
    f"{STUDENT}, teacher alone": Model(network=STUDENT, label_weight=0.0),
    f"{STUDENT}, temperature 1": Model(network=STUDENT, temperature=1.0),
    f"{STUDENT}, temperature 4": Model(network=STUDENT, temperature=4.0),
}
"""In the order in which they are trained."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training, on the training part of one fold."""

    task: str
    repeat: int
    fold: int
    model: str
    inputs: Path
    """Folder of the data files."""
    work: Path
    """Folder in which results are kept, and found again."""
    device: str
    quick: bool = False
    """Two epochs and few samples: to see that all runs."""

    @property
    def name(self) -> str:
        return f"{self.task}-{self.repeat}-{self.fold}-{self.model}".replace(" ", "_").replace(",", "")

    @property
    def teacher(self) -> Path:
        return self.work / replace(self, model=TEACHER).name

    @property
    def result(self) -> Path:
        return self.work / f"{self.name}.json"


def run_job(job: Job) -> Job:
    """Train a teacher or a student, and keep the classes it gives to the test part; nothing if it is done."""
    if job.result.is_file():
        return job
    torch.set_num_threads(1)
    read, file, _ = TASKS[job.task]
    task = read(job.inputs / file, job.device)
    training, test = task.folds(job.repeat)[job.fold]
    if job.quick:
        training, test = training[::8], test[::8]
        short = {"epochs": 2}
        task = replace(task, teacher=replace(task.teacher, **short), student=replace(task.student, **short))
    started = time.monotonic()
    trained = _trained(job, task, training)
    seconds = time.monotonic() - started
    if job.model == TEACHER:
        write_checkpoint(trained, job.teacher, overwrite=True)
    said, rough = _classes(trained, task.samples.select(test), job.device)
    values = {
        **{name: getattr(job, name) for name in ("task", "repeat", "fold", "model")},
        "test": test.tolist(),
        "said": said.tolist(),
        "said_bf16": rough.tolist(),
        "seconds": round(seconds, 1),
        "epoch": trained.metrics["epoch"],
        "macro_f1_validation": trained.metrics["macro_f1"],
    }
    write_text(json.dumps(values), job.result)
    return job


def _classes(model: Checkpoint, samples: Samples, device: str) -> tuple[Positions, Positions]:
    """Return the classes of samples by products in float32, and in bfloat16."""
    exact = sample_probabilities(samples, model, device=device).argmax(axis=1)
    with torch.autocast(resolve_device(device).type, torch.bfloat16):
        return exact, sample_probabilities(samples, model, device=device).argmax(axis=1)


def _trained(job: Job, task: Task, training: Positions) -> Checkpoint:
    """Train what a job asks for; the seed is that of the fold, also for the teacher's split."""
    samples, seed = task.samples.select(training), job.repeat * FOLDS + job.fold
    if job.model == TEACHER:
        return train_classifier(samples, task.recipe, replace(task.teacher, seed=seed))
    model = MODELS[job.model]
    if not model.taught:
        # As many steps as taught students take; varied as the teacher's, as labels do not follow the teacher.
        config = replace(
            task.student, augmentation=task.teacher.augmentation, network=model.network, seed=seed
        )
        return train_classifier(samples, task.recipe, config)
    config = replace(task.student, network=model.network, seed=seed)
    asked = DistillConfig(training=config, temperature=model.temperature, label_weight=model.label_weight)
    more = task.unlabelled if model.unlabelled else ()
    return distill(read_checkpoint(job.teacher), samples, more, asked)


def jobs(
    inputs: Path, work: Path, *, device: str, quick: bool = False, models: Sequence[str] = tuple(MODELS)
) -> tuple[list[Job], list[Job]]:
    """Return the trainings of teachers, and those of students, the first models first."""
    places = [
        (task, repeat, fold)
        for task, (_, _, repeats) in TASKS.items()
        for repeat in range(1 if quick else repeats)
        for fold in range(2 if quick else FOLDS)
    ]

    def listed(name: str) -> Iterator[Job]:
        for task, repeat, fold in places:
            yield Job(
                task=task,
                repeat=repeat,
                fold=fold,
                model=name,
                inputs=inputs,
                work=work,
                device=device,
                quick=quick,
            )

    return list(listed(TEACHER)), [job for name in models for job in listed(name)]


def train_all(parts: Sequence[Sequence[Job]], *, workers: int, minutes: float) -> None:
    """Run jobs in processes, part after part; after some minutes none is begun."""
    started, done = time.monotonic(), 0
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for part in parts:
            futures = [pool.submit(run_job, job) for job in part]
            for future in as_completed(futures):
                if future.cancelled():
                    continue
                try:
                    job = future.result()
                except Exception as error:  # hours of others are not lost for one
                    click.echo(f"a training failed: {error!r}", err=True)
                    continue
                done += 1
                spent = (time.monotonic() - started) / 60
                click.echo(f"{done} of {sum(map(len, parts))}, {spent:.1f} min: {job.name}", err=True)
                if spent > minutes:  # those that run come to their end
                    for other in futures:
                        other.cancel()


@click.command()
@click.option("--accuracy", is_flag=True, help="Train teachers and students.")
@click.option("--speed", "timed", is_flag=True, help="Time them on this processor; it must be quiet.")
@click.option("--report", "written", is_flag=True, help="Write DISTILLATION.md of both files in OUT.")
@click.option("--inputs", default="build/distillation", type=click.Path(path_type=Path), help="Data files.")
@click.option("--out", default="build/distillation", type=click.Path(path_type=Path), help="For JSON files.")
@click.option("--device", default="cpu")
@click.option("--workers", default=1, type=click.IntRange(1), help="Processes that train.")
@click.option("--minutes", default=1e9, help="Begin no training after that.")
@click.option("--quick", is_flag=True, help="Few samples and epochs: to see that all runs.")
def main(  # one for each option
    *,
    accuracy: bool,
    timed: bool,
    written: bool,
    inputs: Path,
    out: Path,
    device: str,
    workers: int,
    minutes: float,
    quick: bool,
) -> None:
    """Train, time, or write the tables."""
    out.mkdir(parents=True, exist_ok=True)
    if accuracy:
        make_simulated(inputs)
        if not (inputs / DATA.name).is_file():
            (inputs / DATA.name).write_bytes(DATA.read_bytes())
        work = out / ("quick" if quick else "trained")
        work.mkdir(exist_ok=True)
        parts = jobs(inputs, work, device=device, quick=quick)
        train_all(parts, workers=workers, minutes=minutes)
        done = [job.result for part in parts for job in part if job.result.is_file()]
        results = [json.loads(path.read_text()) for path in done]
        card = torch.cuda.get_device_name() if device.startswith("cuda") else "a processor"
        write_text(json.dumps({"device": card, "results": results}), out / "accuracy.json")
    if timed:
        from tests.benchmarks.distillation_speed import (
            speed,  # what describes the machine needs more packages
        )

        write_text(json.dumps(speed(quick=quick), indent=1), out / "speed.json")
    if written:
        said, seen = (json.loads((out / f"{name}.json").read_text()) for name in ("accuracy", "speed"))
        write_text(report(said, seen, inputs), RESULTS)


if __name__ == "__main__":
    main()
