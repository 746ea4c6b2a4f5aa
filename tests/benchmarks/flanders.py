"""Accuracy on real fields: Flanders, split by field, beside what a split by pixel pretends.

``python -m tests.benchmarks.flanders`` makes the samples from the scenes and writes FLANDERS.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from pipelines import samples as samples_workflow
from pipelines.samples_config import SamplesRequest
from pipelines.train import map_recipe
from tests.benchmarks.machine import surroundings
from tests.benchmarks.models import Model, predicted
from tests.benchmarks.results import table
from toolkit.learn.accuracy import compare, split_fields
from toolkit.learn.samples import Samples
from toolkit.learn.train import TrainConfig
from toolkit.storage import write_text

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "flanders_2019"
RESULTS = Path(__file__).with_name("FLANDERS.md")
SPLITS, CAP = 5, 100
MODELS: Mapping[str, Model] = {
    "random forest": Model(network="random_forest"),
    "CropNet 2D": Model(network="cropnet2d"),
    "CropNet 2D, mild": Model(network="cropnet2d", augmentation="mild"),
    "CropNet 2D, phenology": Model(network="cropnet2d", augmentation="phenology"),
    "CropNet 2D, clouds": Model(network="cropnet2d", augmentation="clouds"),
}
# With nine training fields none can be spared to choose an epoch; a tenth of the series does, which says
# little, so that in effect the last epochs are taken.
CONFIG = TrainConfig(
    batch_size=64,
    learning_rate=1e-3,
    schedule="cosine",
    split="series",
    validation_share=0.1,
    device="cpu",
)
Flags = npt.NDArray[np.bool_]


def read_flanders(folder: Path) -> Samples:
    """Return all labelled pixels of the 19 fields, made from the scenes by the workflow."""
    classes = {"1110": "wheat", "1200": "corn", "*": "other"}
    request = SamplesRequest(
        aoi=DATA / "aoi.geojson",
        catalog=str(DATA / "catalog.json"),
        year=2019,
        labels=DATA / "labels.tif",
        classes=classes,
        workers=1,
        out=folder,
    )
    return samples_workflow.run(request, progress=False).samples


def halves(samples: Samples, seed: int, *, by: str) -> tuple[Flags, Flags]:
    """Return which samples train and which test, half of the fields or of the pixels each."""
    if by == "pixel":
        training = np.random.default_rng(seed).random(len(samples)) < 0.5
        return training, ~training
    fields, others = split_fields(samples.field, samples.crop, share=0.5, seed=seed)
    return np.isin(samples.field, fields), np.isin(samples.field, others)


def capped(samples: Samples, seed: int) -> Samples:
    """Return at most so many pixels of each field."""
    rng = np.random.default_rng(seed)
    fields = np.unique(samples.field)
    drawn = [rng.permutation(np.flatnonzero(samples.field == field))[:CAP] for field in fields]
    return samples.select(np.sort(np.concatenate(drawn)))


def scores(samples: Samples, *, by: str) -> Iterator[tuple[str, int, float]]:
    """Yield model, split and macro F1 of wheat, corn and other."""
    recipe = map_recipe(samples.recipe)
    for seed in range(SPLITS):
        training, test = halves(samples, seed, by=by)
        for name, model in MODELS.items():
            forest = model.network == "random_forest"
            if by == "pixel" and not forest:
                continue  # one is enough to show it
            part = samples.select(training)
            part = part if forest else capped(part, seed)  # pixels cost a forest nothing
            said = predicted(model, CONFIG, part, recipe, samples.select(test), seed)
            accuracy = compare(samples.crop[test], said, len(samples.legend.names))
            click.echo(f"split {seed} by {by}, {name}: {accuracy.macro_f1:.3f}", err=True)
            yield name, seed, accuracy.macro_f1


def report(samples: Samples, by_field: Mapping[str, list[float]], by_pixel: Mapping[str, list[float]]) -> str:
    """Put the accuracy of all models into words and a table."""
    rows = [
        [f"{name}, split by {unit}", *(f"{f1:.2f}" for f1 in values), f"**{np.mean(values):.3f}**"]
        for unit, found in (("field", by_field), ("pixel", by_pixel))
        for name, values in found.items()
    ]
    n_fields = len(np.unique(samples.field))
    facts = "\n".join(f"- {key}: {value}" for key, value in surroundings().items())
    return f"""# Real fields: Flanders

Written by `make accuracy`. {len(samples):,} pixels of {n_fields} fields (64 x 64 pixels of tile 31UES, season
2019, labels of the Flemish LPIS: wheat, corn, other), made into samples from 72 real scenes by `cropglobe
samples`. Macro F1 of the three classes on the half of the fields that was not trained on, five splits, the
same for all models. The forest has 500 trees and all pixels of its fields, networks at most {CAP} of a field
and 20 epochs.

{facts}

{table(("model", *(f"split {k + 1}" for k in range(SPLITS)), "mean"), rows)}

The last row is no accuracy: a split by pixel puts neighbours of one field on both sides, and the forest knows
the field again. It shows how far such a figure lies from what a map of other fields would reach.
"""


@click.command()
def main() -> None:
    """Compare the models and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        samples = read_flanders(Path(folder))
    found: dict[str, dict[str, list[float]]] = {"field": {}, "pixel": {}}
    for by, into in found.items():
        for name, _, f1 in scores(samples, by=by):
            into.setdefault(name, []).append(f1)
    write_text(report(samples, found["field"], found["pixel"]), RESULTS)


if __name__ == "__main__":
    main()
