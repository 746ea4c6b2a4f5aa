"""Requests: what each workflow can be asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from pipelines.config_file import Request
from toolkit.cubes.recipe import FeatureRecipe, Fill, SeriesKind

RECIPE = FeatureRecipe()
"""Defaults of features of Sentinel-2."""
MapSensor = Literal["sentinel-2", "emit", "both"]
SENSORS_OF: Mapping[MapSensor, tuple[str, ...]] = {
    "sentinel-2": ("sentinel-2",),
    "emit": ("emit",),
    "both": ("sentinel-2", "emit"),
}
"""What a map is asked for -> its sensors, in the order in which they are combined."""


ADDRESS = re.compile(r"([a-z]+://)?(\[[0-9a-fA-F:]+\]|[^:/\s]+):\d{1,5}(/\S*)?|inproc://\S+")
"""Of a scheduler: protocol (TCP where none is named), host and port."""


def _scheduler(address: str) -> str:
    if ADDRESS.fullmatch(address) is None:
        msg = "give host and port of a scheduler, such as tcp://10.0.0.1:8786"
        raise ValueError(msg)
    return address


class SearchRequest(Request):
    """Scenes of a season over an area."""

    paths: ClassVar[tuple[str, ...]] = ("out", "aoi", "catalog", "items")

    aoi: Path = Field(description="Vector file with the area of interest.")
    year: int = Field(description="Year of the season (south of the equator: the year it starts in).")
    catalog: str | None = Field(
        None,
        description="Known catalog, URL of a STAC API or catalog, or path. Default: earth-search, for EMIT "
        "lpcloud.",
    )
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
        host = urlsplit(self.catalog).hostname if self.catalog and "://" in self.catalog else None
        return (*self.allow_hosts, *([host] if host else []))


class FindRequest(SearchRequest):
    """Scenes of a season over an area, and how to save them."""

    sensor: Literal["sentinel-2", "emit"] = Field("sentinel-2", description="Whose scenes to search.")
    mix_versions: bool = Field(
        False, description="EMIT: keep granules of several product versions, whose spectra differ."
    )
    format: Literal["json", "parquet"] = Field(
        "json", description="Save the items as GeoJSON, or as GeoParquet (extra 'geoparquet')."
    )


class ScenesRequest(SearchRequest):
    """Scenes on a grid, and the machine to read them with."""

    resolution: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Pixel size in CRS units (m). Default: 10; for EMIT alone 60."
    )
    crs: str = Field(
        "utm", description="'utm' (the area's zone; of several a map each) or a code such as EPSG:32615."
    )
    tile_size: Annotated[int, Field(ge=16, le=8192)] | None = Field(
        None, description="Edge of a tile, pixels; default as --memory allows, 1024 at most."
    )
    workers: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="Local worker processes; default one per core, as far as memory allows."
    )
    scheduler: Annotated[str, AfterValidator(_scheduler)] | None = Field(
        None, description="Address of a Dask scheduler to use instead, such as tcp://10.0.0.1:8786."
    )
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

    @property
    def pixel_size_m(self) -> float:
        """Pixel size asked for, or that of the sensor."""
        return self.resolution or (60.0 if getattr(self, "sensor", None) == "emit" else 10.0)


class EmitRequest(ScenesRequest):
    """What may be asked of EMIT beside Sentinel-2, of tiles that fit into memory."""

    memory: Annotated[float, Field(gt=0, le=1024)] | None = Field(
        None,
        description="Memory that a worker may take, GiB: tiles are cut to fit. Default: 1.5; with "
        "--tile-size its share of the machine.",
    )

    mix_versions: bool = Field(
        False, description="EMIT: keep granules of several product versions, whose spectra differ."
    )

    without_mask: Literal["warn", "stop"] = Field(
        "warn",
        description="EMIT granules without a mask: take their pixels as clear and say so, or stop.",
    )


class FeaturesRequest(ScenesRequest):
    """A feature cube."""

    tile_size: Annotated[int, Field(ge=16, le=8192)] = Field(512, description="Edge of a tile, pixels.")
    # The recipe itself checks numbers and their combinations, for every way to ask for it.
    kind: SeriesKind = Field(
        "median2d", description="Medians by band and step, the same as one vector, or harmonics."
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


class MapRequest(EmitRequest):
    """A crop map."""

    paths: ClassVar[tuple[str, ...]] = (
        *("out", "aoi", "catalog", "items", "model", "fields", "zones"),
        *("emit_catalog", "emit_items", "emit_model", "cropland"),
    )
    for_one_run = frozenset({"allow_change", "refresh"})
    names: ClassVar[Mapping[str, tuple[str, ...]]] = {"cropland": ("worldcover", "none")}

    sensor: MapSensor = Field(
        "sentinel-2", description="Map with Sentinel-2, with EMIT, or with what both say."
    )
    model: Path | None = Field(None, description="Folder of a trained model.")
    emit_model: Path | None = Field(
        None, description="Model for EMIT; needed with --sensor both, default with emit: --model."
    )
    emit_catalog: str | None = Field(
        None,
        description="Catalog for EMIT, where --catalog is that of Sentinel-2. Default: lpcloud; with "
        "--sensor emit that of --catalog.",
    )
    emit_items: Path | None = Field(None, description="Items of EMIT saved by an earlier search.")
    fields: Path | None = Field(None, description="Polygons with the true 'crop', to report accuracy.")
    zones: Path | None = Field(
        None, description="Polygons (districts, fields) to tell the area of each crop in."
    )
    cropland: str | None = Field(
        None,
        description="Map cropland only: that of 'worldcover' (ESA WorldCover, from the scenes' catalog), of "
        "a raster or polygons in a FILE, or 'none' to map all of the area. Default: worldcover where the "
        "catalog offers it.",
    )
    cropland_values: tuple[int, ...] = Field(
        (), description="Values of that raster that are cropland. Default: of WorldCover 40, else all but 0."
    )
    mosaic_crs: str | None = Field(
        None,
        description="CRS of the one map that joins those of several UTM zones. Default: Lambert azimuthal "
        "equal-area around the area's centre.",
    )
    allow_simulated_model: bool = Field(
        False, description="Map real scenes with a model trained on simulated ones."
    )
    # What a user may ask for explicitly; it must be what the model was trained on.
    bands: tuple[str, ...] | None = Field(None, description="Bands; must be those of the model.")
    clear: str | None = Field(None, description="Clear-sky preset; must be the model's.")
    dilation: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Cloud dilation, m; must be the model's."
    )
    season_shift: Annotated[float, Field(ge=-365, le=365)] = Field(
        0.0,
        description="Days by which crops grow later here than where the model was trained ('cropglobe "
        "transfer' tells); the season is moved by whole steps.",
    )
    engine: Literal["auto", "torch", "compiled", "onnx", "openvino"] = Field(
        "auto", description="What computes the model; by default the fastest here that is exact enough."
    )
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        "auto", description="Numbers that the model is computed with."
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    allow_change: bool = Field(
        False,
        description="Make the map anew where --out holds one of another request; tiles that stay the same "
        "are kept.",
    )
    refresh: bool = Field(
        False, description="Search the scenes again, instead of going on with those of an earlier run."
    )
    results: Literal["stored", "returned"] = Field(
        "stored",
        description="Workers store tiles in --out, which all machines share; or give them back to be stored.",
    )
    first_step: int | None = Field(None, description="First step of the season; must be the model's.")
    n_steps: int | None = Field(None, description="Steps of the season; must be the model's.")

    @property
    def sensors(self) -> tuple[str, ...]:
        """Sensors of the map."""
        return SENSORS_OF[self.sensor]

    def of_sensor(self, sensor: str) -> Self:
        """Return the request as one sensor's: with its own catalog, items and model.

        Args:
            sensor: ``sentinel-2`` or ``emit``.
        """
        if sensor != "emit":
            return self
        own = {"catalog": self.emit_catalog, "items": self.emit_items, "model": self.emit_model}
        if self.sensor == "emit" and own["model"] is None:
            own["model"] = self.model
        if self.sensor == "emit" and own["catalog"] is None and own["items"] is None:
            return self.model_copy(update={"model": own["model"]})  # all else is given for EMIT, too
        others = {"bands", "clear", "dilation", "first_step", "n_steps", "collection", "assets"}
        return self.model_copy(update={**own, **dict.fromkeys(others)})


class PlanRequest(MapRequest):
    """What a map will take."""

    no_trial: bool = Field(
        False, description="Reckon roughly from the catalog alone: no pixel is read, no tile made."
    )


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
