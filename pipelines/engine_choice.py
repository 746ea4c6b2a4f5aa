"""Engines of a map: tried once on a worker with series of the area, and frozen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
from distributed import Client

from pipelines.config import MapRequest
from pipelines.engine_series import Series, series_of_area
from pipelines.folder import write_json
from pipelines.map_tile import SensorJob, TileJob, model_of_worker
from pipelines.progress import Progress
from pipelines.run_folder import RunFolder, read_json
from toolkit.area.aoi import AOI
from toolkit.area.grid import Tile, inside
from toolkit.errors import EngineTrialWarning, ModelError, WorkerError
from toolkit.learn.engines.setting import EngineSetting
from toolkit.learn.engines.trial import choose_engine
from toolkit.maps.dispatch import run_tiles
from toolkit.packages import installed_versions
from toolkit.scenes.counts import ReadCounts

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
        chosen = [_chosen(one, job, aoi, middle, options, client()) for one in job.sensors]
        known = {"wanted": wanted, "chosen": chosen}
        write_json(known, folder.engines)
        reads = sum((ReadCounts(**one["reads"]) for one in chosen), reads)
    settings = [EngineSetting.from_dict(one["setting"]) for one in known["chosen"]]
    sensors = [replace(one, setting=setting) for one, setting in zip(job.sensors, settings, strict=True)]
    return replace(job, sensors=tuple(sensors)), reads


def _chosen(
    one: SensorJob, job: TileJob, aoi: AOI, middle: Sequence[Tile], options: TrialOptions, client: Client
) -> dict[str, Any]:
    """Return what a trial on a worker chose for a sensor; PyTorch in float32 where workers died on it.

    As a tile is: tried again if its worker dies, and a scheduler that is lost is named.
    """
    series, reads = series_of_area(one, job.cropland, aoi, middle, client)
    trial = partial(try_engines, series=series, options=options)
    (found,) = run_tiles([one], trial, client=client, instead=_no_choice)
    if found is not None:
        return {**found, "reads": asdict(reads)}
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
    (found,) = run_tiles([one], partial(try_engines, series=None, options=plain), client=client)
    return {**found, "reads": asdict(reads)}


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


def try_engines(one: SensorJob, series: Series | None, options: TrialOptions) -> dict[str, Any]:
    """Choose the engine of a sensor's model with series of the area (runs on a worker)."""
    checkpoint = model_of_worker(one)
    given = np.empty((0, *checkpoint.recipe.shape), np.float32) if series is None else series
    return choose_engine(checkpoint, given, **_plain(options)).to_dict()


def _plain(options: TrialOptions) -> dict[str, str]:
    return {"engine": options.engine, "precision": options.precision, "device": options.device}
