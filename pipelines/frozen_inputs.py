"""What a run goes on from: its request and its settled scenes, frozen in its folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import shapely

from pipelines.config import MapRequest
from pipelines.folder import digest, write_json
from pipelines.map_cropland import CROPLAND_FILE, MapCropland, settle_cropland
from pipelines.map_inputs import SensorInput, collect, season_of
from pipelines.map_setup import MapSetup
from pipelines.progress import Progress
from pipelines.radiometry import OffsetRecord
from pipelines.run_folder import RunFolder, read_json
from pipelines.search import FoundScenes
from toolkit.area.aoi import AOI
from toolkit.catalog.saved_items import read_items
from toolkit.errors import InputError
from toolkit.learn.checkpoint import Checkpoint
from toolkit.scenes.cropland import Cropland
from toolkit.scenes.cropland_sources import read_saved_cropland

FREE = frozenset(
    {
        *("out", "workers", "scheduler", "memory", "results", "fields", "zones", "on_error", "max_failed"),
        *("allow_simulated_model", "allow_change", "refresh", "allow_hosts", "device", "no_trial"),
        "mosaic_crs",
        *("bands", "clear", "dilation", "first_step", "n_steps"),  # must be the model's
    }
)
"""Keys of a request that no pixel of a tile depends on: a run may go on with others."""
BY_CONTENT = ("aoi", "model", "emit_model", "items", "emit_items")
"""Keys whose files count by what they hold, not by where they lie."""


def asked_for(
    config: MapRequest, aoi: AOI, models: Mapping[str, Checkpoint], cropland: Cropland | None
) -> dict[str, Any]:
    """Return what the pixels of a map depend on, as plain values to compare with an earlier request.

    Args:
        config: the request.
        aoi: area of interest.
        models: of each sensor.
        cropland: the user's own mask, if one is given and was read.

    Raises:
        InputError: saved items cannot be read.
    """
    values = config.absolute()
    plain = {key: value for key, value in values.items() if key not in FREE and key not in BY_CONTENT}
    saved = {key: _digest_of(Path(values[key])) for key in ("items", "emit_items") if values.get(key)}
    return {
        **plain,
        **saved,
        "resolution": config.pixel_size_m,
        **({} if cropland is None else {"cropland": cropland.content_hash}),
        "aoi": hashlib.sha256(shapely.to_wkb(aoi.geometry)).hexdigest(),
        **{f"model of {sensor}": model.content_hash for sensor, model in models.items()},
    }


def _digest_of(items: Path) -> str:
    """Return the digest of a file of saved items."""
    try:
        return digest(items)
    except OSError as error:
        msg = (
            f"The saved items {str(items)!r} cannot be read ({error.strerror}). Give a file that 'cropglobe "
            "search' wrote."
        )
        raise InputError(msg) from error


def frozen_inputs(
    setup: MapSetup, folder: RunFolder, *, tell: Progress
) -> tuple[tuple[SensorInput, ...], MapCropland]:
    """Return scenes and mask of a run as its folder holds them; else search, settle and freeze them there.

    The request is remembered last: what it stands for is complete.

    Args:
        setup: what is asked for.
        folder: folder of the run.
        tell: tells how far the run is.

    Raises:
        ChangedRequestError: the folder holds a map of another request, and none may replace it.
        CropglobeError: see :func:`pipelines.map_inputs.collect`.
    """
    config = setup.config
    asked = asked_for(config, setup.aoi, setup.models, setup.cropland)
    if folder.remembers(asked, allow_change=config.allow_change) and not config.refresh:
        thawed = _thaw(setup, folder)
        if thawed is not None:
            tell.stage(f"going on in {str(folder.out)!r}")
            return thawed
    inputs = collect(config, setup.models, setup.geobox, setup.aoi, folder=folder.state, tell=tell)
    cropland = settle_cropland(config, inputs, setup.aoi, setup.cropland, folder=folder.state)
    frozen = {one.sensor: _settled(one) for one in inputs}
    folder.request.unlink(missing_ok=True)  # until all that it stands for is written
    write_json({"sensors": frozen, "cropland": _settled_mask(cropland)}, folder.inputs)
    folder.remember(asked)
    return inputs, cropland


def _settled(one: SensorInput) -> dict[str, Any]:
    """Return what is frozen of a sensor, as plain values."""
    offsets = None
    if one.offsets is not None:
        offsets = {**asdict(one.offsets), "path": one.offsets.path and one.offsets.path.name}
    return {
        "items": one.found.path.name,
        "sha256": {path.name: digest(path) for path in one.files.values()},
        "offsets": offsets,
        "without_mask": one.without_mask,
    }


def _settled_mask(cropland: MapCropland) -> dict[str, Any]:
    """Return what is frozen of the mask of cropland, as plain values."""
    digests = {path.name: digest(path) for path in cropland.files.values()}
    return {"sha256": digests, "why_none": cropland.why_none}


def _thaw(setup: MapSetup, folder: RunFolder) -> tuple[tuple[SensorInput, ...], MapCropland] | None:
    """Return what is frozen; None if it is not there or not as it was written."""
    config, models, aoi = setup.config, setup.models, setup.aoi
    frozen = read_json(folder.inputs)
    if frozen is None or not set(frozen["sensors"]) <= set(models):
        return None
    files = [one["sha256"] for one in (*frozen["sensors"].values(), frozen["cropland"])]
    if any(not _is(folder.state / name, sha256) for part in files for name, sha256 in part.items()):
        return None
    inputs = []
    for sensor, one in frozen["sensors"].items():
        own, path = config.of_sensor(sensor), folder.state / one["items"]
        season = season_of(models[sensor], config, aoi)
        items = read_items(path, allow_hosts=own.named_hosts)
        offsets = one["offsets"]
        if offsets is not None:
            saved = offsets["path"] and folder.state / offsets["path"]
            offsets = OffsetRecord(**{**offsets, "path": saved})
        inputs.append(
            SensorInput(
                model=Path(own.model or "").resolve(),
                checkpoint=models[sensor],
                season=season,
                found=FoundScenes(items=items, path=path, season=season),
                offsets=offsets,
                without_mask=one["without_mask"],
            )
        )
    return tuple(inputs), _thawed_mask(frozen["cropland"], setup, folder)


def _thawed_mask(frozen: dict[str, Any], setup: MapSetup, folder: RunFolder) -> MapCropland:
    if not frozen["sha256"]:
        return MapCropland(why_none=frozen["why_none"])
    path = folder.state / CROPLAND_FILE
    return MapCropland(source=read_saved_cropland(path, allow_hosts=setup.config.named_hosts), path=path)


def _is(path: Path, sha256: str) -> bool:
    """Return whether a file is there and as it was written."""
    return path.is_file() and digest(path) == sha256
