"""What a map is made of, sensor by sensor: model, season, scenes, and what was settled."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pystac
from odc.geo.geobox import GeoBox

from pipelines.config import MapRequest
from pipelines.emit_granules import VERSIONS, check_versions, refuse_offset, settle_masks
from pipelines.progress import Progress
from pipelines.radiometry import OffsetRecord, as_record, settle
from pipelines.search import FoundScenes, find, left_out
from toolkit.area.aoi import AOI
from toolkit.area.season import Season
from toolkit.catalog.items import is_simulated
from toolkit.cubes.features import recipe_season
from toolkit.cubes.recipe import check_same_recipe
from toolkit.errors import (
    ModelError,
    NoItemsError,
    SeasonGapWarning,
    SensorMissingWarning,
    SimulatedModelError,
)
from toolkit.learn.alignment import moved
from toolkit.learn.checkpoint import Checkpoint, read_checkpoint
from toolkit.scenes.sensors import resolve_bands

NO_MODEL = (
    "No model is given. Train one ('cropglobe samples', then 'cropglobe train') and name its folder with "
    "--model DIR; 'cropglobe demo' shows the whole road with a model trained on simulated fields."
)
LONG_GAP_DAYS = 60
"""Days without any scene that are worth a warning: Sentinel-2 passes every 2 to 5 days, and in two months a
crop may come up, or ripen and be harvested."""
NO_EMIT_MODEL = (
    "No model for EMIT is given beside that for Sentinel-2. Train one ('cropglobe samples --sensor emit', "
    "then 'cropglobe train') and name its folder with --emit-model DIR."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorInput:
    """What one sensor gives to a map."""

    model: Path
    """Folder of the checkpoint."""
    checkpoint: Checkpoint
    """The model."""
    season: Season
    """Days of its features."""
    found: FoundScenes
    """Its scenes."""
    offsets: OffsetRecord | None = None
    """What became of the reflectance offsets; None for EMIT, which has none."""
    without_mask: list[str] = field(default_factory=list)
    """EMIT granules whose pixels all count as clear."""

    @property
    def sensor(self) -> str:
        """Name of the sensor."""
        return self.checkpoint.recipe.sensor

    @property
    def simulated(self) -> bool:
        """Whether all scenes are simulated."""
        return all(is_simulated(item) for item in self.found.items)

    @property
    def files(self) -> dict[str, Path]:
        """Files to be published with the map."""
        return {f"items of {self.sensor}": self.found.path, **(self.offsets.files if self.offsets else {})}

    def lines(self) -> list[str]:
        """Lines for a terminal."""
        items = self.found.items
        lines = [f"{self.sensor}: {len(items)} scenes used, left out: {left_out(items)}"]
        lines += self.found.unusable_lines()
        lines += self.offsets.lines() if self.offsets else []
        return lines + ([f"without mask: {', '.join(self.without_mask)}"] if self.without_mask else [])

    def record(self) -> dict[str, Any]:
        """Plain values for ``run.json``."""
        extra = self.found.items.extra_fields
        return {
            "model": {
                "sha256": self.checkpoint.content_hash,
                "network": self.checkpoint.network,
                "simulated": self.checkpoint.simulated,
                "recipe": self.checkpoint.recipe.to_dict(),
                "legend": self.checkpoint.legend.to_list(),
            },
            "season": {"first_day": str(self.season.start), "last_day": str(self.season.end)},
            "catalog": extra.get("catalog"),
            "items": [_item_record(item) for item in self.found.items],
            "items_found": extra.get("found"),
            "items_left_out": extra.get("skipped", {}),
            **({"offsets": as_record(self.offsets)} if self.offsets else {}),
            **({"without_mask": self.without_mask} if self.sensor == "emit" else {}),
        }


def _item_record(item: pystac.Item) -> dict[str, str]:
    """What ``run.json`` tells of an item; of EMIT its versions, too."""
    told = {"id": item.id, "datetime": str(item.datetime)}
    return told | {key: str(item.properties[key]) for key in VERSIONS if key in item.properties}


def read_models(config: MapRequest) -> dict[str, Checkpoint]:
    """Read the model of each sensor and check that it serves the request.

    Raises:
        ModelError: a model is missing, is another sensor's, or has other classes than the other's.
        RecipeMismatchError: features are asked for that it was not trained on.
    """
    models = {sensor: _model(config.of_sensor(sensor), sensor) for sensor in config.sensors}
    first, *others = models.values()
    for other in others:
        if other.legend != first.legend:
            msg = (
                f"The models have different classes: {', '.join(first.legend.names)} and "
                f"{', '.join(other.legend.names)}. Train both with one legend."
            )
            raise ModelError(msg)
    return models


def _model(config: MapRequest, sensor: str) -> Checkpoint:
    if config.bands is not None:
        resolve_bands(sensor, config.bands)
    if config.model is None:
        raise ModelError(NO_EMIT_MODEL if config.sensor == "both" and sensor == "emit" else NO_MODEL)
    checkpoint = read_checkpoint(config.model)
    if checkpoint.recipe.sensor != sensor:
        trained = checkpoint.recipe.sensor
        msg = (
            f"The model {str(config.model)!r} was trained on {trained}, the map is asked for with {sensor}. "
            f"Give a model of {sensor}, or --sensor {trained}."
        )
        raise ModelError(msg)
    asked = {
        "bands": config.bands,
        "clear": config.clear,
        "dilation_m": config.dilation,
        "first_step": config.first_step,
        "n_steps": config.n_steps,
    }
    changes: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    check_same_recipe(replace(checkpoint.recipe, **changes), checkpoint.recipe)
    return checkpoint


def collect(
    config: MapRequest,
    models: Mapping[str, Checkpoint],
    geobox: GeoBox,
    aoi: AOI,
    *,
    folder: Path,
    tell: Progress,
) -> tuple[SensorInput, ...]:
    """Find the scenes of each sensor, freeze them in a folder and settle what must be known before work.

    With both sensors, one that finds no scene is left out with a warning. No pixel is read before all
    searches are done.

    Raises:
        NoItemsError: no sensor finds a scene.
        InputError: the season would be moved out of its year.
        SimulatedModelError: a model trained on simulated data would map real scenes.
        CropglobeError: see :func:`pipelines.search.find` and :func:`pipelines.radiometry.settle`.
    """
    inputs, nothing = [], []
    for sensor, checkpoint in models.items():
        own = config.of_sensor(sensor)
        season = season_of(checkpoint, config, aoi)
        bands = None if sensor == "emit" else checkpoint.recipe.bands
        try:
            found = find(own, aoi, season, folder=folder, bands=bands, sensor=sensor)
        except NoItemsError as error:
            nothing.append(error)
            continue
        check_simulated(checkpoint, found.items, allowed=config.allow_simulated_model)
        if sensor == "sentinel-2":  # EMIT passes now and then, and one spectrum is all it takes
            _warn_of_gap(found)
        tell.stage(f"{len(found.items)} scenes of {sensor}, {season.start} to {season.end}")
        inputs.append(
            SensorInput(
                model=Path(own.model or "").resolve(), checkpoint=checkpoint, season=season, found=found
            )
        )
    if not inputs:
        raise nothing[0]
    for reason in nothing:
        msg = f"The map is made of {inputs[0].sensor} alone: {reason}"
        warnings.warn(msg, SensorMissingWarning, stacklevel=3)
    return tuple(_settle(one, config.of_sensor(one.sensor), geobox, aoi) for one in inputs)


def _warn_of_gap(found: FoundScenes) -> None:
    """Warn where weeks of the season have no scene at all."""
    if (gap := found.longest_gap) is not None and (days := (gap[1] - gap[0]).days + 1) >= LONG_GAP_DAYS:
        msg = (
            f"No scene from {gap[0]} to {gap[1]} ({days} days of the season {found.season.start} to "
            f"{found.season.end}): the series are filled across, and classes may be wrong. Check the year, "
            "--max-cloud-cover and the catalog."
        )
        warnings.warn(msg, SeasonGapWarning, stacklevel=4)


def season_of(checkpoint: Checkpoint, config: MapRequest, aoi: AOI) -> Season:
    """Return the season of a model's features in the year of a map.

    Raises:
        InputError: it would be moved out of its year.
    """
    season = recipe_season(checkpoint.recipe, year=config.year, hemisphere=aoi.hemisphere)
    return moved(season, config.season_shift)


def _settle(one: SensorInput, own: MapRequest, geobox: GeoBox, aoi: AOI) -> SensorInput:
    """Settle offsets of Sentinel-2, masks and versions of EMIT."""
    if one.sensor == "emit":
        if own.sensor == "emit":  # with both sensors it is that of Sentinel-2
            refuse_offset(own)
        check_versions(one.checkpoint, one.found.items)
        return replace(one, without_mask=settle_masks(one.found, own))
    found, offsets = settle(one.found, geobox, aoi, own)
    return replace(one, found=found, offsets=offsets)


def check_simulated(checkpoint: Checkpoint, items: Iterable[pystac.Item], *, allowed: bool) -> None:
    """Raise if a model trained on simulated data would map real scenes.

    Args:
        checkpoint: the model.
        items: scenes to map.
        allowed: whether the user insists.

    Raises:
        SimulatedModelError: it would.
    """
    real = [item.id for item in items if not is_simulated(item)]
    if checkpoint.simulated and real and not allowed:
        msg = (
            f"The model was trained on simulated data, but {len(real)} scenes are real (e.g. {real[0]}). "
            "Such a map would mean nothing. Train on labels of real fields, or insist with "
            "--allow-simulated-model."
        )
        raise SimulatedModelError(msg)
