"""The benchmark of students: jobs that are found again, figures as scikit-learn has them, a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.benchmarks.distillation import MODELS, TEACHER, jobs
from tests.benchmarks.distillation_data import FOLDS, REGIONS, TASKS, mato_grosso, simulated
from tests.benchmarks.distillation_report import accuracy_rows, report, whole
from tests.benchmarks.distillation_speed import FULL, speed
from tests.benchmarks.mato_grosso import DATA, repeated_classes
from toolkit.learn.distill import STUDENT
from toolkit.learn.networks.compact import SHAPES


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real series, and a small file of series in the form of the simulated ones."""
    if not DATA.is_file():
        pytest.skip(f"the real series are not here: no file {DATA}")
    folder = tmp_path_factory.mktemp("inputs")
    (folder / DATA.name).write_bytes(DATA.read_bytes())
    rng = np.random.default_rng(0)
    arrays = {}
    for k, name in enumerate(REGIONS):
        for part in ("labelled", "unlabelled"):
            arrays |= {
                f"{part}.{name}.series": rng.integers(0, 5000, (70, 10, 73)).astype(np.uint16),
                f"{part}.{name}.crop": (np.arange(70) // 2 % 7).astype(np.uint8),
                f"{part}.{name}.field": (np.arange(70) // 2 + 1).astype(np.int32),
                f"{part}.{name}.lon": np.full(70, 10.0 * k),
                f"{part}.{name}.lat": np.linspace(40, 41, 70),
            }
    np.savez(folder / TASKS["simulated"][1], **arrays)
    return folder


def found(inputs: Path, right: float, models: Sequence[str] = (STUDENT,)) -> list[dict[str, object]]:
    """Results in which students are right as often as said, their teacher nine times of ten, by a draw."""
    rng = np.random.default_rng(1)
    results: list[dict[str, object]] = []
    for name, (read, file, repeats) in TASKS.items():
        task = read(inputs / file, "cpu")
        for model in (TEACHER, *models):
            share = 0.9 if model == TEACHER else right
            for repeat in range(repeats):
                for fold, (_, test) in enumerate(task.folds(repeat)):
                    truth = task.samples.crop[test]
                    said = np.where(rng.random(len(test)) < share, truth, (truth + 1) % 7)
                    place = {"task": name, "repeat": repeat, "fold": fold, "model": model}
                    results.append(
                        {**place, "test": test.tolist(), "said": said.tolist(), "said_bf16": said.tolist()}
                    )
    return results


def test_series_of_the_small_file_are_reflectance_with_their_gaps(inputs: Path) -> None:
    task = simulated(inputs / TASKS["simulated"][1], "cpu")
    with np.load(inputs / TASKS["simulated"][1]) as file:
        stored = file["labelled.early.series"]
    series = task.samples.series[:70]
    np.testing.assert_array_equal(np.isnan(series), stored == 0)
    np.testing.assert_allclose(np.nan_to_num(series), stored * 1e-4, rtol=1e-6)
    assert len(task.samples) == 350
    assert len(np.unique(task.samples.field)) == 175
    for training, test in task.folds(0):
        assert not set(task.samples.field[training]) & set(task.samples.field[test])


def test_every_fold_has_a_teacher_and_every_student_its_own(inputs: Path, tmp_path: Path) -> None:
    teachers, students = jobs(inputs, tmp_path, device="cpu")
    n_places = FOLDS * sum(repeats for _, _, repeats in TASKS.values())
    assert len(teachers) == n_places
    assert len(students) == n_places * len(MODELS)
    assert len({job.result for job in (*teachers, *students)}) == n_places * (1 + len(MODELS))
    assert {job.teacher for job in students} == {job.teacher for job in teachers}


def test_figures_are_those_of_scikit_learn_and_students_stand_below_their_teacher(inputs: Path) -> None:
    task = mato_grosso(inputs / DATA.name, "cpu")
    results = found(inputs, 0.8)
    by_model = whole(results, "Mato Grosso", len(task.samples))
    rows = {row["model"]: row for row in accuracy_rows(task, "Mato Grosso", by_model, by_model)}
    chosen = list(repeated_classes(task.samples))
    counted = np.isin(task.samples.crop, chosen)
    expected = {
        model: np.mean(
            [
                f1_score(task.samples.crop[counted], said[counted], labels=chosen, average="macro")
                for said in by_model[model]
            ]
        )
        for model in (TEACHER, STUDENT)
    }
    for model, f1 in expected.items():
        assert rows[model]["f1"] == pytest.approx(f1)
    assert rows[STUDENT]["less"] == pytest.approx(expected[STUDENT] - expected[TEACHER])
    low, high = rows[STUDENT]["interval"]
    assert low < rows[STUDENT]["less"] < high < 0
    assert rows[TEACHER]["interval"] == (0, 0)


def test_a_repeat_that_lacks_a_fold_does_not_count(inputs: Path) -> None:
    results = [one for one in found(inputs, 0.8) if not (one["model"] == STUDENT and one["fold"] == 2)]
    rng = np.random.default_rng(0)
    rng.shuffle(results)  # trainings end in any order
    n = len(mato_grosso(inputs / DATA.name, "cpu").samples)
    by_model = whole(results, "Mato Grosso", n)
    assert STUDENT not in by_model
    assert all(said.min() >= 0 for listed in by_model.values() for said in listed)
    late = [one for one in results if one["repeat"] == 2 or one["model"] != TEACHER]
    assert TEACHER not in whole(late, "Mato Grosso", n)  # repeats of two models are compared in pairs


def test_the_report_says_of_every_student_what_it_costs_and_whether_it_is_near_enough(inputs: Path) -> None:
    timed = {
        "machine": {"processor": "of a test"},
        "torch": "2",
        "busy": "idle",
        "found": {
            "1 bfloat16": {
                name: {"pixels_per_second": 5e4, "times_cropnet": 1.0 if name == FULL else 12.0}
                for name in (FULL, *SHAPES)
            }
        },
    }
    accuracy = json.loads(json.dumps({"device": "a test", "results": found(inputs, 0.8)}))
    text = report(accuracy, timed, inputs)
    assert text.count("**missed**") == 4  # macro F1 of both tasks, in float32 and in bfloat16
    assert text.count(", met") == 2  # operations and speed
    for name in SHAPES:
        assert f"| {name} |" in text


def test_speed_is_of_every_student_and_relative_to_cropnet() -> None:
    for figures in speed(quick=True)["found"].values():
        assert set(figures) == {FULL, *SHAPES}
        assert figures[FULL]["times_cropnet"] == 1
        assert all(one["pixels_per_second"] > 0 for one in figures.values())
