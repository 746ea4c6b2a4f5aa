"""What teachers and students of the benchmark learn from, and the folds they are tested on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold

from tests.benchmarks.mato_grosso import DATA, read_mato_grosso
from tests.benchmarks.mato_grosso import folds as blocks_apart
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.learn.augmentations import AUGMENTATIONS
from toolkit.learn.samples import Samples, join_samples
from toolkit.learn.train import TrainConfig

Positions = npt.NDArray[np.int64]

REGIONS = ("early", "late", "short_season", "southern", "bright_soil")
LABELLED, UNLABELLED = (201, 202), (203,)
"""Seeds of the landscapes of each region; the labels of the last one are used by nobody."""
SCALE = 1e4
"""Numbers on disk for reflectance 1, as medians have four decimals; 0 is a gap."""
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Task:
    """A data set with its way of training and testing."""

    samples: Samples
    unlabelled: tuple[Samples, ...]
    recipe: FeatureRecipe
    teacher: TrainConfig
    """Also for students on labels alone, but for their network and epochs."""
    student: TrainConfig
    """Of students that are taught, but for their network."""
    folds: Callable[[int], list[tuple[Positions, Positions]]]
    """Repeat -> positions to train on and to test on."""


def make_simulated(folder: Path) -> Path:
    """Simulate landscapes of five regions, and keep their series in one small file."""
    path = folder / "simulated.npz"
    if path.is_file():
        return path
    # Scenes are simulated by the workflows, which need more packages than the trainings do.
    from pipelines.progress import Progress
    from pipelines.transfer_inputs import simulated_region

    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for part, landscapes in (("labelled", LABELLED), ("unlabelled", UNLABELLED)):
        for name in REGIONS:
            tell = Progress(quiet=False)
            one = simulated_region(name, folder / part, landscapes=landscapes, tell=tell)
            key = f"{part}.{name}"
            arrays[f"{key}.series"] = np.rint(np.nan_to_num(one.series) * SCALE).astype(np.uint16)
            arrays |= {f"{key}.{what}": getattr(one, what) for what in ("crop", "field", "lon", "lat")}
    np.savez_compressed(path, **arrays)
    return path


@cache
def simulated(path: Path, device: str) -> Task:
    """All five regions as one: a teacher knows them all."""
    with np.load(path) as file:
        parts = {
            part: [_region(file, f"{part}.{name}") for name in REGIONS] for part in ("labelled", "unlabelled")
        }
    samples = join_samples(parts["labelled"])
    teacher = TrainConfig(device=device)
    return Task(
        samples=samples,
        unlabelled=(join_samples(parts["unlabelled"]),),
        recipe=FeatureRecipe(),
        teacher=teacher,
        student=replace(teacher, epochs=40, batch_size=256, learning_rate=4e-3),
        folds=lambda repeat: list(
            GroupKFold(FOLDS, shuffle=True, random_state=repeat).split(samples.crop, groups=samples.field)
        ),
    )


def _region(file: Mapping[str, npt.NDArray[np.generic]], key: str) -> Samples:
    series = file[f"{key}.series"].astype(np.float32) / np.float32(SCALE)
    series[series == 0] = np.nan
    others = {what: file[f"{key}.{what}"] for what in ("crop", "field", "lon", "lat")}
    recipe = replace(FeatureRecipe().full_year(), fill="none")
    return Samples(series=series, recipe=recipe, simulated=True, **others)


@cache
def mato_grosso(path: Path, device: str) -> Task:
    """Real series: the teacher is trained as in MATO_GROSSO.md, and nothing is left to be unlabelled."""
    samples = read_mato_grosso(path)
    teacher = TrainConfig(epochs=20, augmentation=None, split="block", device=device)
    mild = AUGMENTATIONS["mild"]
    return Task(
        samples=samples,
        unlabelled=(),
        recipe=samples.recipe,
        teacher=teacher,
        student=replace(teacher, epochs=40, learning_rate=2e-3, augmentation=mild),
        folds=lambda repeat: blocks_apart(samples, repeat),
    )


TASKS: Mapping[str, tuple[Callable[[Path, str], Task], str, int]] = {
    "simulated": (simulated, "simulated.npz", 1),
    "Mato Grosso": (mato_grosso, DATA.name, 3),
}
"""Name -> how it is read, its file, and repeats of the cross-validation."""
