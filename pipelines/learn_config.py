"""Requests of what learns: the transfer benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from pipelines.config_file import Request


def _as_names(value: Any) -> Any:
    """Take one name where several may stand."""
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_names)]


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
    models: Names = Field(("cropnet2d",), description="Models by name.")
    features: Names = Field(
        (), description="Features: median2d, median1d, harmonic; default the medians that each model takes."
    )
    augmentations: Names = Field(("none",), description="Augmentations by name.")
    seeds: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="Trainings of each cell.")
    epochs: Annotated[int, Field(ge=1)] = Field(50, description="Passes over the samples.")
    batch_size: Annotated[int, Field(ge=2)] = Field(256, description="Samples per step.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="Step size of Adam.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Learning rate over time: constant or cosine."
    )
    protocol: Literal["plain", "published"] = Field(
        "plain",
        description="What is shown; the files hold both. Published: predictions of classes absent from the "
        "target count as 'other'.",
    )
