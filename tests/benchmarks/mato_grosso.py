"""Accuracy on real labels: Mato Grosso, all models on the same folds, whole blocks held out.

``python -m tests.benchmarks.mato_grosso --work DIR`` runs what is not in DIR yet and writes MATO_GROSSO.md;
several processes may share a folder. About an hour of one core in all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.model_selection import GroupKFold

from tests.benchmarks.machine import surroundings
from tests.benchmarks.models import Model, predicted
from tests.benchmarks.results import table
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.learn.samples import Samples
from toolkit.learn.train import TrainConfig
from toolkit.legend import CropClass, Legend
from toolkit.storage import write_text

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "mato_grosso" / "modis_mt_9classes.npz"
RESULTS = Path(__file__).with_name("MATO_GROSSO.md")
REPEATS, FOLDS, DRAWS = 10, 5, 2000
FOREST = "random forest"
Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


MODELS: Mapping[str, Model] = {
    FOREST: Model(network="random_forest"),
    "random forest, mild copies": Model(network="random_forest", augmentation="mild"),
    "CropNet 2D": Model(network="cropnet2d"),
    "CropNet 2D, mild": Model(network="cropnet2d", augmentation="mild"),
    "TempCNN": Model(network="tempcnn", epochs=40, precision="fp32"),
    "TempCNN, mild": Model(network="tempcnn", augmentation="mild", epochs=40, precision="fp32"),
    "attention": Model(network="attention", epochs=40, precision="fp32"),
    "attention, mild": Model(network="attention", augmentation="mild", epochs=40, precision="fp32"),
    "MLP": Model(network="mlp", epochs=100, precision="fp32"),
    "MLP, mild": Model(network="mlp", augmentation="mild", epochs=100, precision="fp32"),
}
"""The networks were given epochs by what they need: the small ones learn slowly and cost little."""

CONFIG = TrainConfig(batch_size=64, learning_rate=1e-3, schedule="cosine", split="block", device="cpu")
"""The training that all networks share; a fifth of the training blocks chooses the epoch, by macro F1."""


def read_mato_grosso(path: Path = DATA) -> Samples:
    """Return the 2,115 series as samples: a field is a place."""
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    lon, lat = arrays["lon"].astype(np.float64), arrays["lat"].astype(np.float64)
    _, place = np.unique(np.stack([lon, lat]), axis=1, return_inverse=True)
    return Samples(
        series=arrays["fea"].astype(np.float32),
        crop=arrays["lbl"].astype(np.uint8),
        field=(place.ravel() + 1).astype(np.int32),
        lon=lon,
        lat=lat,
        recipe=FeatureRecipe(
            sensor="modis", bands=tuple(map(str, arrays["bands"])), first_step=0, n_steps=23, step_days=16
        ),
        legend=Legend(tuple(CropClass(str(name).lower(), (0, 0, 0)) for name in arrays["classes"])),
        simulated=False,
    )


def repeated_classes(samples: Samples) -> tuple[int, ...]:
    """Classes that occur in several blocks: only those can be learnt in one and found in another."""
    n_classes = len(samples.legend.names)
    return tuple(k for k in range(n_classes) if len(np.unique(samples.block[samples.crop == k])) > 1)


def folds(samples: Samples, repeat: int) -> list[tuple[Labels, Labels]]:
    """Return positions to train on and to test on; no block is on both sides, and all models get the same."""
    # Not StratifiedGroupKFold: of its folds less than a twentieth changes with the seed.
    splitter = GroupKFold(FOLDS, shuffle=True, random_state=repeat)
    return list(splitter.split(np.zeros(len(samples)), samples.crop, samples.block))


def cross_validated(name: str, samples: Samples, repeat: int, work: Path) -> Labels:
    """Return the class of each sample, predicted by a model that saw none of its block; kept in a folder."""
    path = work / f"{name.replace(' ', '_').replace(',', '')}-{repeat}.json"
    if path.is_file():
        return np.array(json.loads(path.read_text()), np.int64)
    classes = np.full(len(samples), -1, np.int64)
    for training, test in folds(samples, repeat):
        classes[test] = predicted(
            MODELS[name], CONFIG, samples.select(training), samples.recipe, samples.select(test), repeat
        )
    write_text(json.dumps(classes.tolist()), path)
    return classes


def confusions(samples: Samples, classes: Labels) -> Floats:
    """Confusion matrix of each block, float64 ``(block, reference, prediction)``."""
    n = len(samples.legend.names)
    _, block = np.unique(samples.block, return_inverse=True)
    out = np.zeros((block.max() + 1, n, n))
    np.add.at(out, (block, samples.crop, classes), 1)
    return out


def macro_f1(confusion: Floats, chosen: Sequence[int]) -> Floats:
    """Mean F1 of some classes over the samples of these classes, of ``(..., reference, prediction)``."""
    part = confusion[..., list(chosen), :]
    right = np.stack([part[..., k, c] for k, c in enumerate(chosen)], axis=-1)
    reference = part.sum(axis=-1)
    said = part.sum(axis=-2)[..., list(chosen)]
    return (2 * right / np.maximum(reference + said, 1e-9)).mean(axis=-1)


def overall(confusion: Floats, chosen: Sequence[int]) -> Floats:
    """Share of the samples of some classes that are right."""
    part = confusion[..., list(chosen), :]
    right = sum(part[..., k, c] for k, c in enumerate(chosen))
    return np.asarray(right / part.sum(axis=(-1, -2)))


def interval_over_repeats(differences: Floats) -> tuple[float, float]:
    """95 % interval of the mean by Student's t: how much the draw of folds and weights matters."""
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    return float(differences.mean() - half), float(differences.mean() + half)


def interval_over_blocks(ours: Floats, theirs: Floats, chosen: Sequence[int]) -> tuple[float, float]:
    """95 % interval of the mean difference over blocks drawn anew: how much the places matter.

    Args:
        ours: ``(repeat, block, reference, prediction)``.
        theirs: the same of the model compared with.
        chosen: classes that count.
    """
    rng = np.random.default_rng(0)
    n_blocks = ours.shape[1]
    weights = rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=DRAWS).astype(np.float64)
    f1, f1_theirs = (
        macro_f1(np.einsum("db,rbij->drij", weights, one), chosen).mean(axis=1) for one in (ours, theirs)
    )
    low, high = np.quantile(f1 - f1_theirs, [0.025, 0.975])
    return float(low), float(high)


def report(samples: Samples, found: Mapping[str, Floats]) -> str:
    """Put the accuracy of all models into words and a table."""
    chosen = repeated_classes(samples)
    names = [samples.legend.names[k] for k in chosen]
    forest = found[FOREST]
    rows = []
    for name, matrices in found.items():
        whole = matrices.sum(axis=1)
        f1, right = macro_f1(whole, chosen), overall(whole, chosen)
        gain = f1 - macro_f1(forest.sum(axis=1), chosen)
        row = [
            name,
            f"{right.mean():.3f} ({right.std(ddof=1):.3f})",
            f"{f1.mean():.3f} ({f1.std(ddof=1):.3f})",
        ]
        intervals = (interval_over_repeats(gain), interval_over_blocks(matrices, forest, chosen))
        paired = [f"{gain.mean():+.3f}", *(f"{low:+.3f} to {high:+.3f}" for low, high in intervals)]
        rows.append(row + (["", "", ""] if name == FOREST else paired))
    columns = (
        "model",
        "overall (sd)",
        "macro F1 (sd)",
        "F1 - forest",
        "95 % over repeats",
        "95 % over blocks",
    )
    per_class = [
        [name, *(f"{macro_f1(matrices.sum(axis=1), [k]).mean():.3f}" for k in chosen)]
        for name, matrices in found.items()
    ]
    facts = "\n".join(f"- {key}: {value}" for key, value in surroundings().items())
    n_places, n_blocks = (len(np.unique(groups)) for groups in (samples.field, samples.block))
    return f"""# Real labels: Mato Grosso

Written by `make accuracy`. {len(samples):,} MODIS series at {n_places:,} places (Picoli et al. 2018,
PANGAEA, CC-BY; from the test data of the R package sits), 6 bands x 23 steps. {len(forest)} repeats of
{FOLDS}-fold cross-validation over {n_blocks} blocks of half a degree: no block is on both sides, and all
models get the same folds. Judged on the classes that occur in several blocks: {", ".join(names)}.

The forest has 500 trees, balanced weights, and all training samples. Networks hold a fifth of the training
blocks out to choose their epoch ({CONFIG.learning_rate:g}, {CONFIG.schedule}, batches of {CONFIG.batch_size};
20 epochs, TempCNN and attention 40, the MLP 100). `mild` is the augmentation of that name; copies are two,
drawn once. CropNet is trained in bf16 where the processor has units for it.

{facts}

{table(columns, rows)}

Over repeats: Student's t on the paired differences, the draw of folds and weights. Over blocks: {DRAWS:,}
draws of the blocks with replacement, the choice of places; go by this one.

F1 by class, mean over repeats:

{table(("model", *names), per_class)}
"""


@click.command()
@click.option(
    "--work", default="build/mato_grosso", type=click.Path(path_type=Path), help="Where parts are kept."
)
@click.option("--repeats", default=REPEATS, type=click.IntRange(2))
@click.option("--models", default=None, help="Only these, separated by ';'; nothing is written then.")
def main(work: Path, repeats: int, models: str | None) -> None:
    """Train all models on all folds and write the table."""
    work.mkdir(parents=True, exist_ok=True)
    samples = read_mato_grosso()
    names = models.split(";") if models else list(MODELS)
    found: dict[str, list[Floats]] = {name: [] for name in names}
    for repeat in range(repeats):
        for name in names:
            found[name].append(confusions(samples, cross_validated(name, samples, repeat, work)))
            f1 = float(macro_f1(found[name][-1].sum(axis=0), repeated_classes(samples)))
            click.echo(f"{repeat} {name}: macro F1 {f1:.3f}", err=True)
    if models is None:
        write_text(report(samples, {name: np.stack(parts) for name, parts in found.items()}), RESULTS)


if __name__ == "__main__":
    main()
