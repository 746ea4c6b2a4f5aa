"""Engines of a map: tried once on a worker with series of the area, and frozen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from distributed import Client
from odc.geo.geobox import GeoBox

from pipelines.config import MapRequest
from pipelines.folder import write_json
from pipelines.map_tile import SensorJob, TileJob, model_of_worker, recipe_of
from pipelines.progress import Progress
from pipelines.run_folder import RunFolder, read_json
from pipelines.tile_features import features_of_tile
from toolkit.area.aoi import AOI
from toolkit.area.grid import Tile, inside
from toolkit.errors import EngineTrialWarning, ModelError, WorkerError
from toolkit.learn.engines.setting import EngineSetting
from toolkit.learn.engines.trial import choose_engine
from toolkit.learn.pixels import check_features, observed, take_pixels
from toolkit.maps.dispatch import run_tiles
from toolkit.packages import installed_versions
from toolkit.scenes.counts import ReadCounts, ReadLog
from toolkit.scenes.cropland import read_cropland

TRIAL_EDGE = 32
"""Edge of the parts of a tile whose series are tried, pixels; there are four of them.

In a single part of a simulated map one field decided: 4 of 512 pixels had other classes in bfloat16, with
margins of 0.01, and every fast engine was left out. Of pixels spread over three places one or none had.
"""
PLACES = (0.25, 0.75)
"""Where the centres of the parts lie, along each side of a tile."""
TRIAL_SERIES = 1024
"""Most series that are tried: half calibrate int8, half judge; CropNet in float32 takes a second or two."""
TRIAL_TILES = 3
"""Tiles that are looked at for series, from the middle of the map on."""
FEW_PIXELS = 20_000
"""A map of fewer pixels is made in float32 at once, unless int8 is asked for: a trial would take as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOptions:
    """What the user wants of the engine."""

    engine: str
    precision: str
    device: str

    @property
    def one(self) -> bool:
        """Whether there is nothing to choose from."""
        return "auto" not in (self.engine, self.precision)


def with_engines(
    job: TileJob,
    order: Sequence[Tile],
    config: MapRequest,
    aoi: AOI,
    folder: RunFolder,
    *,
    client: Callable[[], Client],
    tell: Progress,
) -> tuple[TileJob, ReadCounts]:
    """Return the job with the engine of each sensor: as the folder says, else chosen by a trial on a worker.

    Also what the trial read; nothing where the folder says.

    Args:
        job: what workers need.
        order: tiles of the map.
        config: says which engines may be chosen.
        aoi: area of interest.
        folder: folder of the run, where the choice is frozen.
        client: connects when it is called.
        tell: tells how far the run is.

    Raises:
        ModelError: what is asked for cannot serve on the workers.
        WorkerError: workers died on trying what is asked for.
    """
    options = TrialOptions(engine=config.engine, precision=config.precision, device=config.device)
    wanted = {"models": [one.model_hash for one in job.sensors], **_plain(options)}
    known, reads = read_json(folder.engines), ReadCounts()
    if known is None or known["wanted"] != wanted or not _still_here(known["chosen"]):
        at_once = options.precision != "int8" and (options.one or not _many_pixels(aoi, order))
        middle = [] if at_once else list(order[len(order) // 2 :])[:TRIAL_TILES]
        if middle:
            tell.stage("trying engines on a worker")
        trial = partial(try_engines, job=job, aoi=aoi, middle=middle, options=options)
        chosen = [_chosen(one, trial, client(), options) for one in job.sensors]
        known = {"wanted": wanted, "chosen": chosen}
        write_json(known, folder.engines)
        reads = sum((ReadCounts(**one["reads"]) for one in chosen), reads)
    settings = [EngineSetting.from_dict(one["setting"]) for one in known["chosen"]]
    sensors = [replace(one, setting=setting) for one, setting in zip(job.sensors, settings, strict=True)]
    return replace(job, sensors=tuple(sensors)), reads


def _chosen(
    one: SensorJob, trial: Callable[..., dict[str, Any]], client: Client, options: TrialOptions
) -> dict[str, Any]:
    """Return what a trial on a worker chose for a sensor; PyTorch in float32 where workers died on it.

    As a tile is: tried again if its worker dies, and a scheduler that is lost is named.
    """
    (found,) = run_tiles([one], trial, client=client, instead=_no_choice)
    if found is not None:
        return found
    if (options.engine, options.precision) != ("auto", "auto"):
        msg = (
            f"Workers died twice on trying --engine {options.engine} --precision {options.precision}. Leave "
            "both out, or give the workers more memory."
        )
        raise WorkerError(msg)
    msg = (
        "Workers died twice on trying engines: the map is made with PyTorch in float32, the slowest of them. "
        "Give workers more memory and another --out to try again."
    )
    warnings.warn(msg, EngineTrialWarning, stacklevel=5)
    plain = replace(options, engine="torch", precision="fp32")
    (found,) = run_tiles([one], partial(trial, middle=(), options=plain), client=client)
    return found


def _no_choice(one: SensorJob) -> None:
    """Stand for the choice of a sensor on which workers died."""


def _many_pixels(aoi: AOI, order: Sequence[Tile]) -> bool:
    """Whether a map has so many pixels in its area that a trial pays."""
    seen = accumulate(int(inside(aoi, tile.geobox).sum()) for tile in order)
    return any(n_pixels >= FEW_PIXELS for n_pixels in seen)


def _still_here(chosen: Sequence[Mapping[str, Any]]) -> bool:
    """Whether engines can be used as they were chosen: their packages have not changed since.

    One that is not installed here may be on the workers, which look themselves.
    """
    try:
        settings = [EngineSetting.from_dict(one["setting"]) for one in chosen]
    except (KeyError, ModelError):  # written by an earlier version
        return False
    then = [pair for one in settings for pair in one.packages]
    now = dict(installed_versions(*(name for name, _ in then)))
    return all(now.get(name, told) == told for name, told in then)


def chosen_engines(folder: RunFolder) -> list[Mapping[str, Any]]:
    """Return what the trials of a run saw, sensor by sensor, as plain values."""
    known = read_json(folder.engines)
    return [] if known is None else list(known["chosen"])


def try_engines(
    one: SensorJob, job: TileJob, aoi: AOI, middle: Sequence[Tile], options: TrialOptions
) -> dict[str, Any]:
    """Choose the engine of a sensor's model with series of the area (runs on a worker)."""
    checkpoint = model_of_worker(one)
    series, log = np.empty((0, *checkpoint.recipe.shape), np.float32), ReadLog()
    for tile in middle:
        found = _series(one, job, aoi, tile, log)
        series = np.concatenate([series, found])[:TRIAL_SERIES]
        if len(series) == TRIAL_SERIES:
            break
    chosen = choose_engine(checkpoint, series, **_plain(options)).to_dict()
    return {**chosen, "reads": asdict(log.counts)}


def _series(one: SensorJob, job: TileJob, aoi: AOI, tile: Tile, log: ReadLog) -> npt.NDArray[np.float32]:
    """Return observed series of four places of a tile, float32 ``(n, band, step)``."""
    height, width = tile.geobox.shape.yx
    rows, columns = ([int(share * length) for share in PLACES] for length in (height, width))
    half = min(TRIAL_EDGE, height // 2, width // 2) // 2
    parts = [
        tile.geobox[max(0, y - half) : min(height, y + half), max(0, x - half) : min(width, x + half)]
        for y in rows
        for x in columns
    ]
    return np.concatenate([_series_of_part(one, job, aoi, tile, part, log) for part in parts])


def _series_of_part(
    one: SensorJob, job: TileJob, aoi: AOI, tile: Tile, part: GeoBox, log: ReadLog
) -> npt.NDArray[np.float32]:
    """Return observed series of a part of a tile."""
    recipe = recipe_of(one)
    mask = read_cropland(job.cropland, part)
    log.add(mask.reads)
    wanted = inside(aoi, part) & mask.cropland
    if not wanted.any():
        return np.empty((0, *recipe.shape), np.float32)
    made = features_of_tile(replace(tile, geobox=part), one.items, recipe, one.season, wanted=wanted)
    log.add(made.reads)
    values = np.asarray(check_features(made.features, recipe).data)
    index = np.flatnonzero(observed(values) & wanted)
    spread = np.linspace(0, len(index) - 1, min(len(index), TRIAL_SERIES // 4)).astype(np.intp)
    return take_pixels(values, index[spread])


def _plain(options: TrialOptions) -> dict[str, str]:
    return {"engine": options.engine, "precision": options.precision, "device": options.device}
