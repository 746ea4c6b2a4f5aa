"""Requests: options and YAML files, checked at the door."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from toolkit.cubes.recipe import FeatureRecipe, Fill, Kind
from toolkit.errors import InputError
from toolkit.storage import write_text

MAX_YAML_BYTES = 1_000_000
RECIPE = FeatureRecipe()
"""Defaults of features."""


def _as_list(value: Any) -> Any:
    """Take one path where several may stand."""
    return [value] if isinstance(value, str | Path) else value


class Request(BaseModel):
    """What every workflow needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    paths: ClassVar[tuple[str, ...]] = ("out",)
    """Keys that are paths: in a YAML file they count from its folder."""

    out: Path = Field(description="Folder for the results.")

    @classmethod
    def read(cls, path: Path | None, options: dict[str, Any]) -> Self:
        """Merge a YAML file and options; options win.

        Args:
            path: YAML file, or None.
            options: values by key; None and empty tuples count as not given.

        Raises:
            InputError: the file or a value cannot be used; names key, value and what is allowed.
        """
        values = {} if path is None else cls._from_file(path)
        values.update({key: value for key, value in options.items() if value not in (None, ())})
        return cls.make(values)

    @classmethod
    def make(cls, values: dict[str, Any]) -> Self:
        """Check values.

        Raises:
            InputError: a key is missing or unknown, or a value cannot be used.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = "; ".join(_problem(cls, entry) for entry in error.errors())
            raise InputError(problems) from error

    @classmethod
    def _from_file(cls, path: Path) -> dict[str, Any]:
        try:
            if path.stat().st_size > MAX_YAML_BYTES:
                msg = f"{str(path)!r} is larger than {MAX_YAML_BYTES} bytes; give a run file in YAML."
                raise InputError(msg)
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            first = str(error).splitlines()[0]
            msg = f"The run file {str(path)!r} cannot be read ({first}). Give YAML with 'key: value' lines."
            raise InputError(msg) from error
        if not isinstance(values, dict):
            found = type(values).__name__
            msg = f"The run file {str(path)!r} holds {found}. Give YAML with 'key: value' lines."
            raise InputError(msg)
        here = path.resolve().parent
        for key in cls.paths:
            values[key] = _from(here, key, values.get(key))
        return {key: value for key, value in values.items() if value is not None}

    def write(self, path: Path) -> Path:
        """Save the request as YAML; read back from any folder it means the same."""
        values = self.model_dump(mode="json", exclude_none=True)
        for key in self.paths:
            if key in values:
                values[key] = _from(Path.cwd(), key, values[key])
        return write_text(yaml.safe_dump(values, sort_keys=False), path)


class SearchRequest(Request):
    """Scenes of a season over an area."""

    paths: ClassVar[tuple[str, ...]] = ("out", "aoi", "catalog", "items")

    aoi: Path = Field(description="Vector file with the area of interest.")
    year: int = Field(description="Year of the season (south of the equator: the year it starts in).")
    catalog: str = Field("earth-search", description="Known catalog, URL of a STAC API or catalog, or path.")
    items: Path | None = Field(
        None, description="Items saved by an earlier search; nothing is searched then."
    )
    max_cloud_cover: Annotated[float, Field(ge=0, le=100)] | None = Field(
        None, description="Leave out scenes with more cloud, percent."
    )
    collection: str | None = Field(None, description="Collection to search; default the catalog's first.")
    assets: dict[str, str] | None = Field(
        None, description="Band -> asset key, where a catalog has names of its own (B02=blue_band)."
    )
    allow_hosts: tuple[str, ...] = Field((), description="Further hosts that may be read.")

    @property
    def named_hosts(self) -> tuple[str, ...]:
        """Hosts that the user named: these may lie in a private network."""
        host = urlsplit(self.catalog).hostname if "://" in self.catalog else None
        return (*self.allow_hosts, *([host] if host else []))


class FindRequest(SearchRequest):
    """Scenes of a season over an area, and how to save them."""

    format: Literal["json", "parquet"] = Field(
        "json", description="Save the items as GeoJSON, or as GeoParquet (extra 'geoparquet')."
    )


class ScenesRequest(SearchRequest):
    """Scenes on a grid, and the machine to read them with."""

    resolution: Annotated[float, Field(gt=0)] = Field(10.0, description="Pixel size in CRS units (m).")
    crs: str = Field("utm", description="'utm' or a code such as EPSG:32615.")
    tile_size: Annotated[int, Field(ge=16, le=8192)] | None = Field(
        None, description="Edge of a tile, pixels; default as memory allows, 1024 at most."
    )
    workers: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="Local worker processes; default one per core."
    )
    scheduler: str | None = Field(None, description="Address of a Dask scheduler to use instead.")
    offset: Annotated[float, Field(ge=-0.1, le=0.1)] | None = Field(
        None, description="Reflectance to add to every scene, instead of what metadata and pixels say."
    )
    radiometry: Literal["correct", "stop", "trust"] = Field(
        "correct",
        description="Where pixels contradict the offset of the metadata: correct it, stop, or trust the "
        "metadata unchecked.",
    )
    on_error: Literal["skip", "stop"] = Field(
        "skip", description="A scene that cannot be read: leave it out and say so, or stop."
    )
    max_failed: Annotated[float, Field(ge=0, le=100)] = Field(
        10.0, description="Most scenes that may be left out so before the run stops, percent."
    )


class FeaturesRequest(ScenesRequest):
    """A feature cube."""

    tile_size: Annotated[int, Field(ge=16, le=8192)] = Field(512, description="Edge of a tile, pixels.")
    # The recipe itself checks numbers and their combinations, for every way to ask for it.
    kind: Kind = Field(
        RECIPE.kind, description="Medians by band and step, the same as one vector, or harmonics."
    )
    bands: tuple[str, ...] | None = Field(None, description="Bands; default all ten.")
    first_step: int = Field(RECIPE.first_step, description="First step, counted from the year's start.")
    n_steps: int = Field(RECIPE.n_steps, description="Steps of the season.")
    step_days: int = Field(RECIPE.step_days, description="Length of a step, days.")
    clear: str = Field(RECIPE.clear, description="Clear-sky preset: default, strict or lenient.")
    dilation: float = Field(RECIPE.dilation_m, description="Grow clouds and shadows, m.")
    fill: Fill = Field(RECIPE.fill, description="How medians fill steps without observation.")
    order: int = Field(RECIPE.order, description="Order of the harmonics, 0 to 6.")
    format: Literal["zarr", "cog"] = Field(
        "zarr", description="One Zarr store, or a cloud-optimised GeoTIFF per band."
    )


class SamplesRequest(ScenesRequest):
    """Labelled pixels for training."""

    paths: ClassVar[tuple[str, ...]] = ("out", "aoi", "catalog", "items", "labels")

    labels: Path = Field(description="Polygons with the property 'crop', or a raster of codes.")
    classes: dict[int | str, str] | None = Field(
        None, description="Raster code -> crop; '*' for every other code."
    )
    inner_buffer: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Field edges left out, m; default 10 for polygons, 0 for rasters."
    )
    cap_per_field: Annotated[int, Field(ge=1)] | None = Field(None, description="Most pixels per field.")
    clear: str = Field("default", description="Clear-sky preset: default, strict or lenient.")
    dilation: Annotated[float, Field(ge=0)] = Field(0.0, description="Grow clouds and shadows, m.")
    seed: int = Field(0, description="Seed of every draw.")


class TrainRequest(Request):
    """A model from samples."""

    paths: ClassVar[tuple[str, ...]] = ("out", "samples")

    samples: Annotated[tuple[Path, ...], BeforeValidator(_as_list)] = Field(
        description="Samples made by 'cropglobe samples'.", min_length=1
    )
    network: str = Field("cropnet2d", description="Network, a name in the table of networks.")
    epochs: Annotated[int, Field(ge=1)] = Field(50, description="Passes over the samples.")
    batch_size: Annotated[int, Field(ge=2)] = Field(256, description="Samples per step.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="Step size of Adam.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Learning rate over time: constant or cosine."
    )
    validation_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="Share of fields held out."
    )
    patience: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Stop after so many epochs without gain."
    )
    seed: int = Field(0, description="Seed of every draw.")


class MapRequest(ScenesRequest):
    """A crop map."""

    paths: ClassVar[tuple[str, ...]] = ("out", "aoi", "catalog", "items", "model", "fields")

    model: Path | None = Field(None, description="Folder of a trained model.")
    fields: Path | None = Field(None, description="Polygons with the true 'crop', to report accuracy.")
    allow_simulated_model: bool = Field(
        False, description="Map real scenes with a model trained on simulated ones."
    )
    # What a user may ask for explicitly; it must be what the model was trained on.
    bands: tuple[str, ...] | None = Field(None, description="Bands; must be those of the model.")
    clear: str | None = Field(None, description="Clear-sky preset; must be the model's.")
    dilation: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Cloud dilation, m; must be the model's."
    )
    first_step: int | None = Field(None, description="First step of the season; must be the model's.")
    n_steps: int | None = Field(None, description="Steps of the season; must be the model's.")


class SimulateRequest(Request):
    """Simulated scenes with known crops."""

    sensor: Literal["sentinel-2", "emit"] = Field(
        "sentinel-2", description="Sentinel-2 scenes behind a catalog, or EMIT granules."
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of every draw.")
    year: int = Field(description="Year of the season.")
    region: str = Field("reference", description="Region, a name in the table of regions.")
    size: Annotated[int, Field(ge=64, le=2048)] = Field(256, description="Edge of the landscape, pixels.")
    full_year: bool = Field(False, description="Scenes of the whole year instead of the season only.")
    area_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Share of the landscape that aoi.geojson covers; default nearly all."
    )


def _from(here: Path, key: str, value: Any) -> Any:
    """Let a path, or each of several, count from a folder."""
    if isinstance(value, list):
        return [_from(here, key, part) for part in value]
    return (
        str((here / value).resolve()) if isinstance(value, str) and not _is_name(key, value, here) else value
    )


def _is_name(key: str, value: Any, here: Path) -> bool:
    """Whether a catalog is given by name or URL rather than by path."""
    return key == "catalog" and ("://" in str(value) or not (here / str(value)).exists())


def _problem(model: type[BaseModel], entry: Any) -> str:
    """One sentence for one problem pydantic found."""
    key = ".".join(str(part) for part in entry["loc"]) or "the request"
    known = ", ".join(model.model_fields)
    if entry["type"] == "missing":
        field = model.model_fields.get(key)
        return (
            f"{key} is missing ({field.description if field else 'required'}) Give --{key.replace('_', '-')}."
        )
    if entry["type"] == "extra_forbidden":
        return f"{key} is not a known key. Known keys: {known}."
    return f"{key} is {entry['input']!r}: {entry['msg']}."
