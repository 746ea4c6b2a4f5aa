"""One tile of a map on a worker: features of each sensor, their classes, the layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr
from shapely.geometry.base import BaseGeometry

from pipelines.tile_features import FrozenItems, features_of_tile
from toolkit.area.aoi import AOI
from toolkit.area.grid import Tile, centres_inside, inside
from toolkit.area.season import Season
from toolkit.cubes.composite import observation_layers
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import ModelError
from toolkit.learn.checkpoint import Checkpoint, read_checkpoint
from toolkit.learn.combine import combine_sensors
from toolkit.learn.engines.agreement import Agreement
from toolkit.learn.engines.setting import EngineSetting
from toolkit.learn.predict import Predictor, class_probabilities, label, make_predictor
from toolkit.legend import Status
from toolkit.maps.layers import LAYERS, SENSOR_LAYER, Layer, assemble, outside, without_cropland
from toolkit.maps.tile_files import TileFile, encode_tile, store_tile
from toolkit.maps.tiles import Kept, Stopwatch, TileReport
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.cropland import Cropland, read_cropland
from toolkit.scenes.failures import FailedItem


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorJob:
    """What a worker needs of one sensor."""

    items: FrozenItems
    """Items of the run."""
    n_items: int
    """How many."""
    model: Path
    """Folder of the checkpoint."""
    model_hash: str
    """Content hash of the checkpoint, so that a worker never uses an older one it still holds."""
    season: Season
    """Days of the features."""
    setting: EngineSetting = field(default_factory=EngineSetting)
    """How the model is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileJob:
    """What a worker needs beside the tile; small, as it travels with every task."""

    sensors: tuple[SensorJob, ...]
    """Sensors of the map."""
    folder: Path | None
    """Where workers store tiles; None gives them back to the process that started the map."""
    cropland: Cropland | None = None
    """What tells cropland; None maps all of the area."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers of the map; with several sensors one more says which of them a class comes from."""
        return (*LAYERS, SENSOR_LAYER) if len(self.sensors) > 1 else LAYERS


@dataclass(frozen=True, slots=True)
class TileTask:
    """A tile to be made."""

    tile: Tile
    """Place and name."""
    content_key: str
    """Digest of all that its pixels depend on."""
    outline: BaseGeometry
    """The area near it, in the CRS of its grid (:func:`toolkit.area.grid.outline_near`)."""


def make_tile(task: TileTask, job: TileJob) -> TileReport:
    """Make one tile: read, composite, predict, store (runs on a worker)."""
    watch, tile = Stopwatch(), task.tile
    within = centres_inside(task.outline, tile.geobox)
    mask = read_cropland(job.cropland if within.any() else None, tile.geobox)
    wanted = within & mask.cropland
    told: list[Told] = []
    labels = without_cropland(within, job.layers)
    if wanted.any():
        told = [_ask_sensor(tile, one, wanted, watch) for one in job.sensors]  # features live in there alone
        labels = assemble(
            label_of({one.sensor: one.probabilities for one in told}),
            observed_by_all([one.seen for one in told]),
            within,
            job.layers,
            cropland=mask.cropland,
        )
    kept = Kept(
        mapped=int((labels.crop > 0).sum()),
        failed=tuple(item for one in told for item in one.failed),
        cropland=mask.counts(within),
        agreement=sum((one.agreement for one in told), Agreement()),
    )
    content = encode_tile(labels, tile, job.layers, report=kept.to_json())
    made = TileFile(name=tile.name, content_key=task.content_key, sha256=sha256(content).hexdigest())
    if job.folder is not None:
        store_tile(content, made, job.folder)
    watch.lap("write")
    return TileReport(
        name=tile.name,
        seconds=watch.seconds,
        kept=kept,
        made=made,
        content=content if job.folder is None else None,
        reads=sum((one.reads for one in told), mask.reads),
    )


def failed_tile(tile: Tile, aoi: AOI, layers: Sequence[Layer]) -> xr.Dataset:
    """Return the layers of a tile that could not be made: no class, and the status says why."""
    within = inside(aoi, tile.geobox)
    status = np.where(within, np.uint8(Status.FAILED), np.uint8(Status.OUTSIDE_AREA))
    return outside(within.shape, layers).assign(status=(("y", "x"), status))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one sensor tells of a tile."""

    sensor: str
    """Name of the sensor."""
    probabilities: xr.Dataset
    """As :func:`toolkit.learn.predict.class_probabilities` gives them."""
    seen: xr.Dataset
    """Observations and longest gap."""
    agreement: Agreement
    """Of the engine with float32, on some of the pixels."""
    reads: ReadCounts
    """What was read."""
    failed: tuple[FailedItem, ...]
    """Scenes left out."""


def _ask_sensor(tile: Tile, one: SensorJob, wanted: npt.NDArray[np.bool_], watch: Stopwatch) -> Told:
    """Read, composite and predict what one sensor sees of a tile."""
    predictor = _predictor(one.model, one.model_hash, one.setting)
    watch.lap("prepare the engine")
    recipe = recipe_of(one)
    made = features_of_tile(tile, one.items, recipe, one.season, wanted=wanted)
    made.features.to_numpy()[~wanted] = np.nan  # in place: features are the largest thing in memory
    watch.lap("read and composite")
    probabilities = class_probabilities(made.features, predictor)
    watch.lap("predict")
    return Told(
        sensor=recipe.sensor,
        probabilities=probabilities,
        agreement=probabilities.attrs["agreement"],
        seen=observation_layers(made.features.step_observations),
        reads=made.reads,
        failed=made.failed,
    )


def label_of(parts: dict[str, xr.Dataset]) -> xr.Dataset:
    """Return the layers of a map from what the sensors say, the sensor of each pixel among them."""
    joined = combine_sensors(parts)
    return label(joined).assign(sensor=joined["sensor"])


def observed_by_all(seen: list[xr.Dataset]) -> xr.Dataset:
    """Return the clear dates of all sensors together; gaps are those of the first, which sees a season."""
    total = sum(part["observations"].to_numpy().astype(np.uint16) for part in seen)
    observations = np.minimum(total, 255).astype(np.uint8)
    return seen[0].assign(observations=seen[0]["observations"].copy(data=observations))


def recipe_of(one: SensorJob) -> FeatureRecipe:
    """Return how a sensor's features are made; the season may have been moved."""
    return replace(model_of_worker(one).recipe, first_step=one.season.first_step)


def model_of_worker(one: SensorJob) -> Checkpoint:
    """Return the model of a sensor, read once per worker and run.

    Raises:
        ModelError: it changed during the run.
    """
    return _checkpoint(one.model, one.model_hash)


@lru_cache(maxsize=2)
def _predictor(model: Path, model_hash: str, setting: EngineSetting) -> Predictor:
    """Model of a sensor made ready, once per worker and run: some engines take seconds for it."""
    return make_predictor(_checkpoint(model, model_hash), setting)


@lru_cache(maxsize=2)
def _checkpoint(model: Path, model_hash: str) -> Checkpoint:
    """Model of a sensor, read once per worker and run."""
    checkpoint = read_checkpoint(model)
    if checkpoint.content_hash != model_hash:
        msg = f"The model {str(model)!r} changed during the run. Run again."
        raise ModelError(msg)
    return checkpoint
