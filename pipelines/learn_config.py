"""Requests around learning: data and weights that others have published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipelines.config_file import Request


class FetchRequest(Request):
    """Published samples, onto the disk."""

    argument: ClassVar[str | None] = "data_set"

    data_set: Literal["cropglobe"] = Field(description="Data set by name.")
    countries: tuple[str, ...] = Field((), description="Countries, codes of three letters; default all.")
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
    crops: tuple[str, ...] = Field(
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
    mean: tuple[float, ...] = Field(
        (), description="Per band, subtracted in training (after scale); default nothing."
    )
    std: tuple[float, ...] = Field(
        (), description="Per band, divided by in training (after scale); default nothing."
    )
