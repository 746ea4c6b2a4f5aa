"""Request for samples: labels, how their codes become classes, and the scenes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from pipelines.config import EmitRequest
from toolkit.catalog.layers import LABEL_LAYERS
from toolkit.cubes.recipe import emit_recipe
from toolkit.learn.code_classes import CodeClasses, UnknownCodes
from toolkit.learn.crosswalk import code_text
from toolkit.scenes.sensors import Statistic

SPECTRA = emit_recipe()
"""Defaults of features of EMIT."""


def _as_codes(value: Any) -> Any:
    """Take one code where several may stand, and numbers of a YAML file as text."""
    return [code_text(code) for code in (value if isinstance(value, list | tuple) else [value])]


class SamplesRequest(EmitRequest):
    """Labelled pixels for training."""

    paths: ClassVar[tuple[str, ...]] = ("out", "aoi", "catalog", "items", "labels", "labels_catalog")
    names: ClassVar[Mapping[str, tuple[str, ...]]] = {"labels": tuple(LABEL_LAYERS)}

    sensor: Literal["sentinel-2", "emit"] = Field(
        "sentinel-2", description="Series of Sentinel-2, or spectra of EMIT."
    )
    labels: Path = Field(
        description="Polygons or points with the property 'crop', a raster of codes, or a layer by name: "
        f"{', '.join(LABEL_LAYERS)}."
    )
    labels_property: str = Field("crop", description="Property of polygons or points that holds the crop.")
    labels_scheme: str | None = Field(
        None,
        description="Published scheme of the codes, e.g. usda-cdl or eurocrops-fr-2018 (docs/labels.md).",
    )
    labels_catalog: str | None = Field(
        None, description="Catalog of a layer by name. Default: the one that is known to have it."
    )
    classes: dict[int | str, str] | None = Field(
        None, description="Code -> crop, before the scheme's; '*' for every other code."
    )
    other_codes: Annotated[tuple[str, ...], BeforeValidator(_as_codes)] = Field(
        (), description="Code of the class 'other'; '*' for every code without a class."
    )
    unknown_codes: UnknownCodes = Field(
        "stop", description="Codes without a class: stop and name them, or drop their pixels."
    )
    inner_buffer: Annotated[float, Field(ge=0)] | None = Field(
        None,
        description="Field edges left out, m; default 10 for polygons, 0 for rasters, a pixel of a layer by "
        "name.",
    )
    cap_per_field: Annotated[int, Field(ge=1)] | None = Field(None, description="Most pixels per field.")
    balance: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Most pixels per class, from its fields as evenly as possible."
    )
    clear: str = Field("default", description="Clear-sky preset: default, strict or lenient.")
    dilation: Annotated[float, Field(ge=0)] = Field(0.0, description="Grow clouds and shadows, m.")
    first_day: Annotated[int, Field(ge=0, le=364)] = Field(
        SPECTRA.first_step, description="EMIT: first day of the window, counted from the year's start."
    )
    days: Annotated[int, Field(ge=1, le=365)] = Field(
        SPECTRA.n_steps, description="EMIT: days of the window."
    )
    statistic: Statistic = Field(
        SPECTRA.statistic, description="EMIT: median of several granules, or the clearest of them."
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of every draw.")

    def code_classes(self, *, scheme: str | None = None) -> CodeClasses:
        """Return how codes become classes.

        Args:
            scheme: of the labels, where the user names none.
        """
        return CodeClasses(
            classes=self.classes or {},
            other_codes=self.other_codes,
            scheme=self.labels_scheme or scheme,
            unknown_codes=self.unknown_codes,
        )
