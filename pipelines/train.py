"""Train workflow: samples in, checked model out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.emit_granules import trained_versions
from pipelines.folder import beside, prepare
from pipelines.learn_config import TrainRequest
from pipelines.progress import Progress
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import InputError, LabelError
from toolkit.learn.checkpoint import CARD, Checkpoint, write_checkpoint
from toolkit.learn.cropglobe_files import countries_in, load_cropglobe
from toolkit.learn.resume import Journal
from toolkit.learn.samples import Samples, join_samples, read_samples
from toolkit.learn.train import Epoch, TrainConfig, train_classifier
from toolkit.maps.model_item import write_model_item
from toolkit.storage import check_free

HELD_OUT = {
    "field": "fields held out",
    "block": "blocks held out",
    "series": "series held out (fields are not known: likely too good)",
}
"""How samples were split -> what the accuracy is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """Result of the workflow."""

    checkpoint: Checkpoint
    """The model."""
    path: Path
    """Folder it is saved in."""

    def lines(self) -> list[str]:
        """A few lines for a terminal."""
        metrics = self.checkpoint.metrics
        note = " (trained on simulated data)" if self.checkpoint.simulated else ""
        accuracy = f"macro F1 {metrics['macro_f1']:.3f}, overall accuracy {metrics['overall']:.3f}"
        return [
            f"{self.checkpoint.network}{note}: {accuracy} on {HELD_OUT[metrics['split']]}",
            f"saved in {self.path}",
        ]


def run(config: TrainRequest, *, progress: bool = True) -> TrainedModel:
    """Train a network on samples and save it.

    Args:
        config: the request; ``out`` becomes the model's folder.
        progress: whether to tell how far the run is.

    Raises:
        CropglobeError: see :mod:`toolkit.errors`; nothing half-written is left.
    """
    tell = Progress(quiet=not progress)
    prepare(config.out.parent)
    check_free(config.out, mark=CARD, overwrite=True)  # before hours of training, not after
    samples = labelled_samples(config.samples, config.data, config.countries)
    recipe = map_recipe(samples.recipe)
    versions = sorted(trained_versions(samples.provenance))
    if len(versions) > 1 and not config.mix_versions:
        msg = (
            f"The samples are of EMIT versions {', '.join(versions)}, whose spectra differ. Train on one of "
            "them, or insist with --mix-versions."
        )
        raise LabelError(msg)
    n_fields = len(set(samples.field.tolist()) - {0})
    tell.stage(f"{len(samples)} samples of {n_fields or 'unknown'} fields")
    start = time.perf_counter()

    def report(epoch: Epoch) -> None:
        note = f"loss {epoch.loss:.3f}, validation macro F1 {epoch.macro_f1:.3f}"
        tell.count("epochs", epoch.number, epoch.of, since=start, note=note)

    journal = Journal(path=beside(config.out, ".{}.training.safetensors"))
    if journal.path.is_file():
        tell.stage("an interrupted training is here; if it is this one, it goes on")
    checkpoint = train_classifier(
        samples,
        recipe,
        TrainConfig(
            network=config.network or ("cropnet1d" if recipe.kind == "emit" else "cropnet2d"),
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            schedule=config.schedule,
            augmentation=config.augmentation,
            validation_share=config.validation_share,
            split=config.split,
            patience=config.patience,
            seed=config.seed,
            device=config.device,
            precision=config.precision,
        ),
        progress=report,
        journal=journal,
    )
    path = write_checkpoint(checkpoint, config.out, overwrite=True)
    write_model_item(path)
    journal.remove()  # not before the model is safe
    config.write(beside(config.out, "{}.yaml"))
    return TrainedModel(checkpoint=checkpoint, path=path)


def labelled_samples(stores: Sequence[Path], data: Path | None, countries: Sequence[str]) -> Samples:
    """Read what is to be learnt from: samples of scenes, or packaged ones.

    Args:
        stores: samples made of scenes.
        data: folder of packaged samples.
        countries: of the packaged samples; none: all.

    Raises:
        InputError: both are given, or neither.
        LabelError: samples cannot be read.
    """
    if bool(stores) == (data is not None):
        given = "both" if stores else "neither"
        msg = (
            f"Train on samples (--samples SAMPLES) or on packaged ones (--data DIR); given: {given}. "
            "Make samples with 'cropglobe samples', or get packaged ones with 'cropglobe fetch'."
        )
        raise InputError(msg)
    if countries and data is None:
        msg = f"Countries {', '.join(countries)} are packaged samples. Give the folder: --data DIR."
        raise InputError(msg)
    if data is not None:
        return load_cropglobe(data, countries or countries_in(data))
    return join_samples([read_samples(path) for path in stores])


def map_recipe(stored: FeatureRecipe) -> FeatureRecipe:
    """Return the features of maps made with samples of a recipe.

    Args:
        stored: recipe of the samples: series of a full year, of which the default season is cut and filled,
            or spectra, which stay as they are.
    """
    if stored.kind == "emit":
        return stored
    season = FeatureRecipe()
    return replace(stored, first_step=season.first_step, n_steps=season.n_steps, fill=season.fill)
