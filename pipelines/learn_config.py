"""Requests of the workflows that learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from pipelines.config_file import Request
from toolkit.learn.augmentations import AUGMENTATIONS, Augmentation

AugmentationName = Literal["none", "phenology", "clouds", "published"]
"""Names in :data:`toolkit.learn.augmentations.AUGMENTATIONS`."""


def as_list(value: Any) -> Any:
    """Return one value as a list, where several may stand."""
    return [value] if isinstance(value, str | Path) else value


class TrainRequest(Request):
    """A model from samples."""

    paths: ClassVar[tuple[str, ...]] = ("out", "samples")

    samples: Annotated[tuple[Path, ...], BeforeValidator(as_list)] = Field(
        description="Samples made by 'cropglobe samples'.", min_length=1
    )
    mix_versions: bool = Field(
        False, description="EMIT: train on samples of several product versions, whose spectra differ."
    )
    network: str | None = Field(
        None,
        description="Model by name. Default: cropnet2d; for spectra cropnet1d.",
    )
    augment: AugmentationName = Field(
        "phenology",
        description="Vary the series in each epoch: none; phenology: shift, scale and warp, as in other "
        "regions; clouds: that, and gaps and noise; published: as the published code.",
    )
    epochs: Annotated[int, Field(ge=1)] = Field(50, description="Passes over the samples.")
    batch_size: Annotated[int, Field(ge=2)] = Field(256, description="Samples per step.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="Step size of Adam.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Learning rate over time: constant or cosine."
    )
    validation_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="Share of fields held out."
    )
    split: Literal["auto", "field", "block", "series"] = Field(
        "auto",
        description="What is held out whole: fields, half-degree blocks, or single series. auto: as known.",
    )
    patience: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Stop after so many epochs without gain."
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of every draw.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="fp32, or products in bf16; auto: bf16 where the processor has units for it."
    )

    @property
    def augmentation(self) -> Augmentation | None:
        """What the name stands for."""
        return AUGMENTATIONS[self.augment]
