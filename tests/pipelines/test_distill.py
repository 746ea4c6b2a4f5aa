"""Distillation by command: a student beside its teacher, stopped and taken up; what cannot be taught."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import distill as workflow
from pipelines.cli import main
from pipelines.learn_config import STUDENTS, DistillRequest
from tests.maps.test_model_item import check
from tests.pipelines.test_bad_input import fails
from tests.pipelines.test_train import sample_set
from toolkit.errors import StorageError
from toolkit.learn.checkpoint import read_checkpoint
from toolkit.learn.cropglobe_files import write_cropglobe
from toolkit.learn.distill import DEFAULTS
from toolkit.learn.networks.compact import COMPACT
from toolkit.learn.operations import operations
from toolkit.learn.samples import write_samples
from toolkit.maps.model_item import MODEL_ITEM, model_name

QUICK = ["--epochs", "2", "--batch-size", "32", "--device", "cpu"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labelled samples, further ones, and a teacher."""
    folder = tmp_path_factory.mktemp("distill")
    write_samples(sample_set(), folder / "samples.zarr")
    write_samples(sample_set(seed=1), folder / "more.zarr")
    train = ["train", "--samples", str(folder / "samples.zarr"), "--network", "tempcnn", *QUICK]
    main([*train, "--augment", "none", "--out", str(folder / "teacher")])
    return folder


def arguments(place: Path, out: Path, *more: str) -> list[str]:
    given = ["--teacher", str(place / "teacher"), "--samples", str(place / "samples.zarr")]
    return ["distill", *given, *QUICK, "--out", str(out), *more]


def test_names_and_defaults_of_the_command_are_those_of_the_toolkit() -> None:
    assert STUDENTS.split(", ") == list(COMPACT)
    request = DistillRequest(teacher=Path("teacher"), out=Path("student"))
    assert workflow._asked(request) == DEFAULTS  # what a command without options asks for
    assert DEFAULTS.training.network in (DistillRequest.model_fields["student"].description or "")


def test_a_student_is_saved_with_what_it_costs_and_loses(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "student"
    main(arguments(place, out, "--unlabelled", str(place / "more.zarr"), "--student", "compact2d"))
    said = capsys.readouterr()
    assert "90 labelled samples, 90 without labels" in said.err
    student, teacher = read_checkpoint(out), read_checkpoint(place / "teacher")
    needed = [operations(name, (10, 43), 7) for name in ("compact2d", "tempcnn")]
    assert student.metrics["operations"] == needed[0]
    first, second, _ = said.out.splitlines()
    assert first.startswith("compact2d (taught on simulated data): 5.74 million operations a pixel")
    assert f"{needed[1] / needed[0]:.1f} times fewer than tempcnn" in first
    assert f"macro F1 {student.metrics['macro_f1']:.3f} on fields held out" in second
    assert f"its teacher {teacher.metrics['macro_f1']:.3f}" in second
    assert student.provenance["teacher"]["sha256"] == teacher.content_hash
    item = json.loads((out / MODEL_ITEM).read_text())
    check(item)
    assert item["id"] == model_name(student)
    assert f"Taught by tempcnn, sha256 {teacher.content_hash}" in item["properties"]["processing:lineage"]
    assert item["properties"]["mlm:hyperparameters"]["temperature"] == DEFAULTS.temperature
    again = DistillRequest.read(tmp_path / "student.yaml", {})
    assert again.student == "compact2d"
    assert again.unlabelled == (place / "more.zarr",)
    assert {path.name for path in tmp_path.iterdir()} == {"student", "student.yaml"}


def test_a_teacher_of_packaged_samples_has_students_of_them(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    samples = replace(sample_set(), simulated=False)
    write_cropglobe(samples, data / "median_S2_FRA_month1-12_day5.npz")
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    main(["train", "--data", str(data), "--network", "mlp", *QUICK, "--out", str(teacher)])
    main(["distill", "--teacher", str(teacher), "--data", str(data), *QUICK, "--out", str(student)])
    assert read_checkpoint(student).metrics["split"] == "series"
    assert not read_checkpoint(student).simulated


def test_what_cannot_be_taught_is_told_in_a_sentence_and_leaves_nothing(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "student"
    none = ["--teacher", str(tmp_path / "none"), "--samples", str(place / "samples.zarr")]
    fails(["distill", *none, "--out", str(out)], capfd, code=8, saying="There is no model folder")
    others = ["--teacher", str(place / "teacher"), "--samples", str(place / "more.zarr"), *QUICK]
    fails(["distill", *others, "--out", str(out)], capfd, code=4, saying="which of their fields it never saw")
    without = ["distill", "--teacher", str(place / "teacher"), "--out", str(out)]
    fails(without, capfd, code=4, saying="given: neither")
    fails(arguments(place, out, "--student", "thesis"), capfd, code=4, saying=["thesis", "compact2d"])
    forest = arguments(place, out, "--student", "random_forest")
    fails(forest, capfd, code=4, saying="a network trained by gradient descent")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_things_is_left_alone(place: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    request = DistillRequest(
        teacher=place / "teacher", samples=(place / "samples.zarr",), out=tmp_path / "thesis"
    )
    with pytest.raises(StorageError):
        workflow.run(request, progress=False)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"
