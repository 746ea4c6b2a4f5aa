"""Requests of the workflows that learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from pipelines.config_file import Request
from toolkit.learn.augmentations import AUGMENTATIONS, Augmentation

AugmentationName = Literal["none", "phenology", "mild", "clouds", "published"]
"""Names in :data:`toolkit.learn.augmentations.AUGMENTATIONS`."""


MODELS = "cropnet2d, cropnet1d, mlp, tempcnn, attention, random_forest"
"""Names in :data:`toolkit.learn.networks.NETWORKS`, which takes seconds to import."""

STUDENTS = (
    "compact_time, compact_time_wide, compact_time_small, compact_time_grouped, "
    "compact2d, compact2d_deep, compact2d_separable"
)
"""Further names there: compact networks."""


def as_list(value: Any) -> Any:
    """Return one value as a list, where several may stand."""
    return [value] if isinstance(value, str | Path | int | float) else value


Names = Annotated[tuple[str, ...], BeforeValidator(as_list)]
"""One name or several."""


class TrainRequest(Request):
    """A model from samples."""

    paths: ClassVar[tuple[str, ...]] = ("out", "samples", "data")

    samples: Annotated[tuple[Path, ...], BeforeValidator(as_list)] = Field(
        (), description="Samples made by 'cropglobe samples'."
    )
    data: Path | None = Field(
        None, description="Folder of packaged samples (from 'cropglobe fetch') to train on instead."
    )
    countries: Names = Field((), description="Countries of the packaged samples. Default: all.")
    mix_versions: bool = Field(
        False, description="EMIT: train on samples of several product versions, whose spectra differ."
    )
    network: str | None = Field(
        None,
        description=f"Model: {MODELS}; or a compact one (see distill). "
        "Default: cropnet2d; for spectra cropnet1d.",
    )
    augment: AugmentationName = Field(
        "phenology",
        description="Vary the series in each epoch: none; phenology: shift, scale and warp, as in other "
        "regions; mild: a third of that; clouds: with gaps and noise; published: as the published code.",
    )
    epochs: Annotated[int, Field(ge=1)] = Field(30, description="Passes over the samples.")
    batch_size: Annotated[int, Field(ge=2)] = Field(64, description="Samples per step.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-3, description="Step size of Adam.")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="Learning rate over time: constant, or falling to zero as a cosine."
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


class DistillRequest(Request):
    """A compact student of a trained model."""

    paths: ClassVar[tuple[str, ...]] = ("out", "teacher", "samples", "data", "unlabelled")

    teacher: Path = Field(description="Folder of the trained model.")
    samples: Annotated[tuple[Path, ...], BeforeValidator(as_list)] = Field(
        (), description="The samples that the teacher was trained on, in the same order."
    )
    data: Path | None = Field(
        None, description="Folder of packaged samples instead, if the teacher was trained on those."
    )
    countries: Names = Field((), description="Countries of the packaged samples. Default: all.")
    unlabelled: Annotated[tuple[Path, ...], BeforeValidator(as_list)] = Field(
        (), description="Further samples, of any place; their labels are not looked at."
    )
    student: str | None = Field(
        None, description=f"Network: {STUDENTS}; or another one but a forest. Default: compact_time."
    )
    temperature: Annotated[float, Field(gt=0, le=20)] = Field(
        2.0, description="Logits are divided by it, so that the teacher tells which classes are alike."
    )
    label_weight: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3, description="Share of the labels in the loss, where there are labels."
    )
    augment: Literal["none", "phenology", "mild", "clouds"] = Field(
        "phenology", description="Vary the series in each epoch, as for 'cropglobe train'."
    )
    epochs: Annotated[int, Field(ge=1)] = Field(40, description="Passes over the samples.")
    batch_size: Annotated[int, Field(ge=2)] = Field(256, description="Samples per step.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        4e-3, description="Step size of Adam, falling to zero as a cosine."
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


class TransferRequest(Request):
    """Which source region suits which target."""

    paths: ClassVar[tuple[str, ...]] = ("out", "samples", "data")

    samples: dict[str, Path] | None = Field(
        None, description="Region and its samples, made by 'cropglobe samples' (FRA=fra/samples.zarr)."
    )
    data: Path | None = Field(None, description="Folder of the packaged CropGlobe files (.npz).")
    simulated: bool = Field(False, description="Make and use samples of five simulated regions.")
    source: Names = Field((), description="Regions to train on; default all.")
    targets: Names = Field((), description="Regions to test on; default all.")
    models: Names = Field(
        ("cropnet2d",),
        description=f"Models: {MODELS}, {STUDENTS}.",
    )
    features: Names = Field(
        (), description="Features: median2d, median1d, harmonic; default the medians that each model takes."
    )
    augmentations: Names = Field(
        ("phenology",),
        description=f"Augmentations: {', '.join(AUGMENTATIONS)}. Harmonic coefficients are never augmented; "
        "'published', which trains on two copies beside the originals, gets a third of the epochs.",
    )
    seeds: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="Trainings of each cell.")
    epochs: Annotated[int, Field(ge=1)] = Field(30, description="Passes over the samples.")
    batch_size: Annotated[int, Field(ge=2)] = Field(64, description="Samples per step.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-3, description="Step size of Adam.")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="Learning rate over time: constant, or falling to zero as a cosine."
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="fp32, or products in bf16; auto: bf16 where the processor has units for it."
    )
    protocol: Literal["plain", "published"] = Field(
        "plain",
        description="What is shown; the files hold both. Published: predictions of classes absent from the "
        "target count as 'other'.",
    )


class FetchRequest(Request):
    """Published samples, onto the disk."""

    argument: ClassVar[str | None] = "data_set"

    data_set: Literal["cropglobe"] = Field(description="Data set by name.")
    countries: Names = Field((), description="Countries, codes of three letters; default all.")
    files: Literal["median", "all"] = Field(
        "median", description="Median series that models are trained on, or all files, embeddings too."
    )
    revision: str = Field("main", description="Branch, tag or commit of the data set.")
    endpoint: str | None = Field(
        None,
        description="Address of the hub or a mirror. Default: HF_ENDPOINT of the environment, or the hub.",
    )
    allow_hosts: tuple[str, ...] = Field((), description="Further hosts that files may come from.")


class ImportWeightsRequest(Request):
    """A model out of published weights."""

    argument: ClassVar[str | None] = "weights"
    paths: ClassVar[tuple[str, ...]] = ("out", "weights", "samples")

    weights: Path = Field(description="State dict of PyTorch (.pt, .pth) of a published CropNet.")
    network: Literal["cropnet2d", "cropnet1d"] | None = Field(
        None, description="Network of the weights. Default: told from their shapes."
    )
    crops: Names = Field(
        (),
        description="Classes in the order of the outputs, of weights that know fewer than CropGlobe has.",
    )
    scale: Annotated[float, Field(gt=0)] = Field(
        1.0,
        description="Number that stood for reflectance 1 in training; 10000 for digital numbers.",
    )
    samples: Path | None = Field(
        None, description="Samples whose mean and deviation per band the weights were trained with."
    )
    mean: Annotated[tuple[float, ...], BeforeValidator(as_list)] = Field(
        (), description="Per band, subtracted in training (after scale); default nothing."
    )
    std: Annotated[tuple[float, ...], BeforeValidator(as_list)] = Field(
        (), description="Per band, divided by in training (after scale); default nothing."
    )
