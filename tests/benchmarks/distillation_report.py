"""The tables of DISTILLATION.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.benchmarks.distillation_data import FOLDS, REGIONS, TASKS, Task
from tests.benchmarks.mato_grosso import (
    confusions,
    interval_over_blocks,
    macro_f1,
    repeated_classes,
)
from tests.benchmarks.results import Outcome, table
from toolkit.learn.distill import STUDENT
from toolkit.learn.networks.compact import SHAPES
from toolkit.learn.operations import operations, parameters

RESULTS = Path(__file__).with_name("DISTILLATION.md")
FULL, SHAPE, N_CLASSES = "cropnet2d", (10, 43), 7
TEACHER = "teacher"
Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def whole(
    results: Sequence[Mapping[str, Any]], task: str, n: int, *, said_as: str = "said"
) -> dict[str, list[Labels]]:
    """Return, by model, the classes of all samples in each repeat, up to the first that lacks a fold.

    Args:
        results: of the jobs.
        task: name of the data set.
        n: its samples.
        said_as: ``said``, or ``said_bf16``.
    """
    mine = [one for one in results if one["task"] == task]
    found: dict[str, list[Labels]] = {}
    for model in dict.fromkeys(one["model"] for one in mine):
        for repeat in range(1 + max(one["repeat"] for one in mine)):
            parts = [one for one in mine if (one["model"], one["repeat"]) == (model, repeat)]
            if len(parts) < FOLDS:
                break  # later repeats too, so that those of all models are the same ones
            said = np.full(n, -1, np.int64)
            for part in parts:
                said[part["test"]] = part[said_as]
            found.setdefault(model, []).append(said)
    return found


def judged(task: Task, name: str) -> tuple[int, ...]:
    """Classes that count: of Mato Grosso those in several blocks, as in MATO_GROSSO.md."""
    return repeated_classes(task.samples) if name == "Mato Grosso" else tuple(range(N_CLASSES))


def by_group(task: Task, name: str, said: Labels) -> Floats:
    """Confusion matrices of groups drawn anew: blocks, or fields of the simulated regions."""
    if name == "Mato Grosso":
        return confusions(task.samples, said)
    n = len(task.samples.legend.names)
    _, field = np.unique(task.samples.field, return_inverse=True)
    out = np.zeros((field.max() + 1, n, n))
    np.add.at(out, (field, task.samples.crop, said), 1)
    return out


def accuracy_rows(
    task: Task, name: str, found: Mapping[str, list[Labels]], rough: Mapping[str, list[Labels]]
) -> list[dict[str, Any]]:
    """Macro F1 of each model and its distance to the teacher, with its spread.

    Args:
        task: the data set.
        name: of it.
        found: classes by model, one array for each repeat.
        rough: the same computed in bfloat16.
    """
    chosen = judged(task, name)
    teacher = np.stack([by_group(task, name, said) for said in found[TEACHER]])
    folds = [test for repeat in range(len(found[TEACHER])) for _, test in task.folds(repeat)]
    rows = []
    for model, all_said in found.items():
        n = min(len(all_said), len(teacher))
        ours = np.stack([by_group(task, name, said) for said in all_said[:n]])
        f1 = macro_f1(ours.sum(axis=1), chosen)
        in_bf16 = np.array(
            [macro_f1(by_group(task, name, said).sum(axis=0), chosen) for said in rough[model][:n]]
        )
        rows.append(
            {
                "model": model,
                "f1": f1.mean(),
                "less": (f1 - macro_f1(teacher[:n].sum(axis=1), chosen)).mean(),
                "less_bf16": (in_bf16 - macro_f1(teacher[:n].sum(axis=1), chosen)).mean(),
                "interval": interval_over_blocks(ours, teacher[:n], chosen),
                "folds": _fold_spread(task, all_said[:n], found[TEACHER], folds, chosen),
                "agreement": np.mean(
                    [np.mean(a == b) for a, b in zip(all_said, found[TEACHER], strict=False)]
                ),
            }
        )
    return rows


def _fold_spread(
    task: Task, said: list[Labels], teacher: list[Labels], folds: list[Labels], chosen: Sequence[int]
) -> float:
    """Standard deviation over folds of the difference in macro F1."""
    n = len(task.samples.legend.names)
    differences = []
    for k, test in enumerate(folds[: FOLDS * len(said)]):
        truth = task.samples.crop[test]
        pair = np.zeros((2, n, n))
        for row, model in zip(pair, (said, teacher), strict=True):
            np.add.at(row, (truth, model[k // FOLDS][test]), 1)
        ours, theirs = macro_f1(pair, chosen)
        differences.append(ours - theirs)
    return float(np.std(differences, ddof=1))


def accuracy_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Put rows of :func:`accuracy_rows` into a table."""
    columns = (
        *("model", "macro F1", "- teacher", "95 %", "sd over folds"),
        *("in bf16 - teacher", "same class as teacher"),
    )
    cells = [
        [
            row["model"],
            f"{row['f1']:.4f}",
            *(
                ["", "", "", f"{row['less_bf16']:+.4f}", ""]
                if row["model"] == TEACHER
                else [
                    f"{row['less']:+.4f}",
                    "{:+.4f} to {:+.4f}".format(*row["interval"]),
                    f"{row['folds']:.4f}",
                    f"{row['less_bf16']:+.4f}",
                    f"{row['agreement']:.3f}",
                ]
            ),
        ]
        for row in rows
    ]
    return table(columns, cells)


def region_table(task: Task, found: Mapping[str, list[Labels]]) -> str:
    """Macro F1 minus the teacher's, region by region."""
    region = np.repeat(np.arange(len(REGIONS)), len(task.samples) // len(REGIONS))
    n, chosen = len(task.samples.legend.names), tuple(range(N_CLASSES))

    def f1(said: Labels) -> Floats:
        out = np.zeros((len(REGIONS), n, n))
        np.add.at(out, (region, task.samples.crop, said), 1)
        return macro_f1(out, chosen)

    teacher = np.stack([f1(said) for said in found[TEACHER]])
    rows = [[TEACHER, *(f"{value:.4f}" for value in teacher.mean(axis=0))]]
    for model in (name for name in SHAPES if name in found):
        ours = np.stack([f1(said) for said in found[model]])
        less = (ours - teacher[: len(ours)]).mean(axis=0)
        rows.append([model, *(f"{value:+.4f}" for value in less)])
    return table(("model", *REGIONS), rows)


def cost_table(speed: Mapping[str, Any]) -> str:
    """Operations, parameters and speed of each network."""
    full = operations(FULL, SHAPE, N_CLASSES)
    timed = speed["found"]
    kinds = [key for key in ("1 bfloat16", "2 bfloat16", "1 float32", "2 float32") if key in timed]
    rows = []
    for name in (FULL, *SHAPES):
        needed = operations(name, SHAPE, N_CLASSES)
        rows.append(
            [
                name,
                f"{needed / 1e6:.2f}",
                f"{full / needed:.1f}",
                f"{parameters(name, SHAPE, N_CLASSES):,}",
                *(
                    f"{one['pixels_per_second'] / 1e3:.1f} ({one['times_cropnet']:.1f} x)"
                    for one in (timed[key][name] for key in kinds)
                ),
            ]
        )
    heads = [
        f"{key.split()[1].replace('bfloat16', 'bf16').replace('float32', 'fp32')}, {key[0]} thread"
        for key in kinds
    ]
    return table(("network", "MFLOP", "x fewer", "parameters", *heads), rows)


def outcomes(rows: Mapping[str, list[dict[str, Any]]], speed: Mapping[str, Any]) -> list[Outcome]:
    """What was to be shown of the default student."""
    fewer = operations(FULL, SHAPE, N_CLASSES) / operations(STUDENT, SHAPE, N_CLASSES)
    out = [Outcome(what="times fewer operations than CropNet 2D", measured=fewer, limit=10, at_most=False)]
    out += [
        Outcome(
            what=f"times as fast in {key.split()[1]}, threads: {key[0]}",
            measured=found[STUDENT]["times_cropnet"],
            limit=8,
            at_most=False,
        )
        for key, found in speed["found"].items()
    ]
    for name, listed in rows.items():
        student = next(row for row in listed if row["model"] == STUDENT)
        out += [
            Outcome(
                what=f"macro F1 below the teacher's{said}, {name}",
                measured=-student[key],
                limit=0.01,
                at_most=True,
            )
            for key, said in (("less", ""), ("less_bf16", " in float32, itself in bf16"))
        ]
    return out


def report(accuracy: Mapping[str, Any], speed: Mapping[str, Any], inputs: Path) -> str:
    """Put all into words and tables."""
    rows, regions = {}, ""
    for name, (read, file, _) in TASKS.items():
        task = read(inputs / file, "cpu")
        found, rough = (
            whole(accuracy["results"], name, len(task.samples), said_as=key) for key in ("said", "said_bf16")
        )
        rows[name] = accuracy_rows(task, name, found, rough)
        if name == "simulated":
            regions = region_table(task, found)
    facts = "\n".join(f"- {key}: {value}" for key, value in speed["machine"].items())
    decided = "\n".join(outcome.line for outcome in outcomes(rows, speed))
    return f"""# Compact students beside their teacher

Written by `python -m tests.benchmarks.distillation --report` of what `--accuracy` and `--speed` of the same
command found. The teacher is CropNet 2D; how a student learns: [distill](../../docs/distill.md). The default
student is `{STUDENT}`.

{decided}

## Cost

Operations of a pixel of ten bands and 43 steps, two for each multiply-add. Thousands of pixels a second
and, in brackets, times CropNet 2D in the same process: normalisations folded, channels last, batches of
256, all in turns, medians. The processor was {speed["busy"]}.

{facts}
- torch: {speed["torch"]}

{cost_table(speed)}

## Held-out fields of five simulated regions

14,560 pixels of 1,820 fields, two landscapes a region; 7,280 more pixels of a third landscape are seen
without labels. Five folds of whole fields; one teacher a fold for all regions (30 epochs, `phenology`), which
holds a fifth of its training fields out, as do its students. 95 %: fields drawn anew with replacement.
`bf16`: products of the student in bfloat16, the teacher's in float32. **Simulated data**: the figures say
nothing of real fields. Trained on {accuracy["device"]}. 'Labels alone' has no teacher, as many epochs, and
no unlabelled series.

{accuracy_table(rows["simulated"])}

By region, macro F1 of the teacher, and of students minus that:

{regions}

## Held-out blocks of Mato Grosso

The 2,115 real series, folds and classes of [MATO_GROSSO.md](MATO_GROSSO.md), three repeats. The teacher sees
the series as they are, 20 epochs; taught students see them varied (`mild`), 40 epochs. There are no
unlabelled series. 95 %: blocks drawn anew.

{accuracy_table(rows["Mato Grosso"])}
"""
