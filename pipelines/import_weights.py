"""Import workflow: published weights in, checked model out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.folder import beside, prepare
from pipelines.learn_config import ImportWeightsRequest
from toolkit.errors import InputError
from toolkit.learn.checkpoint import CARD, Checkpoint, write_checkpoint
from toolkit.learn.cropglobe_files import read_cropglobe
from toolkit.learn.published_weights import band_statistics, import_weights
from toolkit.learn.samples import read_samples
from toolkit.maps.model_item import write_model_item
from toolkit.storage import check_free


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModel:
    """Result of the workflow."""

    checkpoint: Checkpoint
    """The model."""
    path: Path
    """Folder it is saved in."""

    def lines(self) -> list[str]:
        """A few lines for a terminal."""
        names = self.checkpoint.legend.names
        return [
            f"{self.checkpoint.network} of published weights: {len(names)} classes ({', '.join(names)})",
            f"saved in {self.path}; its accuracy is not known here",
        ]


def run(config: ImportWeightsRequest) -> ImportedModel:
    """Make a model of published weights and save it.

    Args:
        config: the request; ``out`` becomes the model's folder.

    Raises:
        CropglobeError: see :mod:`toolkit.errors`; nothing half-written is left.
    """
    if config.samples and (config.mean or config.std):
        msg = "--samples and --mean or --std say the same in two ways. Give one of them."
        raise InputError(msg)
    prepare(config.out.parent)
    check_free(config.out, mark=CARD, overwrite=True)
    mean, std = config.mean, config.std
    if config.samples:
        packaged = config.samples.suffix == ".npz"
        samples = read_cropglobe(config.samples) if packaged else read_samples(config.samples)
        in_reflectance = band_statistics(samples)
        mean, std = (tuple(value * config.scale for value in values) for values in in_reflectance)
    checkpoint = import_weights(
        config.weights,
        network=config.network,
        crops=config.crops,
        scale=config.scale,
        mean=mean,
        std=std,
    )
    path = write_checkpoint(checkpoint, config.out, overwrite=True)
    write_model_item(path)
    config.write(beside(config.out, "{}.yaml"))
    return ImportedModel(checkpoint=checkpoint, path=path)
