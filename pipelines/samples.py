"""Samples workflow: labels and scenes in, labelled full-year series out."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr
from distributed import Client

from pipelines.emit_granules import MADE_FROM, product_versions, refuse_offset, settle_masks
from pipelines.folder import prepare
from pipelines.progress import Progress
from pipelines.radiometry import as_record, settle
from pipelines.sample_labels import read_labels
from pipelines.samples_config import SamplesRequest
from pipelines.scratch import room_for_blocks
from pipelines.search import find
from pipelines.tile_features import FrozenItems, features_of_tile, freeze
from pipelines.tiling import TileCut, choose_cut, need_of
from toolkit.area.aoi import read_aoi
from toolkit.area.grid import Tile, output_geobox
from toolkit.area.season import Season
from toolkit.catalog.items import is_simulated
from toolkit.cluster import connect, is_elsewhere
from toolkit.cubes.features import recipe_season
from toolkit.cubes.recipe import FeatureRecipe, emit_recipe
from toolkit.learn.extract import extract_samples
from toolkit.learn.samples import Samples, join_samples, write_samples
from toolkit.maps.dispatch import run_tiles
from toolkit.maps.stac import bounds_on_globe
from toolkit.scenes.failures import FailedItem, Failures

SAMPLES_FILE = "samples.zarr"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesJob:
    """What a worker needs beside the tile."""

    items: FrozenItems
    """Items of the run."""
    recipe: FeatureRecipe
    """Full-year recipe of the series."""
    season: Season
    """The full year in the calendar of the hemisphere."""
    simulated: bool
    """Whether any scene is simulated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSamples:
    """Result of the workflow."""

    samples: Samples
    """Labelled series."""
    path: Path
    """Where they are saved."""
    complete: bool
    """Whether every scene of the period could be used."""

    def lines(self) -> list[str]:
        """A few lines for a terminal."""
        names = self.samples.legend.names
        counts = Counter(names[k] for k in self.samples.crop.tolist())
        return [
            f"{len(self.samples)} samples of {len(set(self.samples.field.tolist()))} fields",
            "per crop: " + ", ".join(f"{name} {n}" for name, n in counts.most_common()),
            f"saved in {self.path}",
        ]


def run(config: SamplesRequest, client: Client | str | None = None, *, progress: bool = True) -> SavedSamples:
    """Turn labels into samples and save them as ``samples.zarr``.

    Args:
        config: the request.
        client: Dask client or scheduler address; None for local processes.
        progress: whether to tell how far the run is.

    Raises:
        CropglobeError: see :mod:`toolkit.errors`; nothing half-written is left.
    """
    tell = Progress(quiet=not progress)
    aoi = read_aoi(config.aoi)
    prepare(config.out)
    geobox = output_geobox(aoi, resolution=config.pixel_size_m, crs=config.crs)
    read = read_labels(config, aoi, geobox)
    recipe = _recipe(config)
    year = recipe_season(recipe, year=config.year, hemisphere=aoi.hemisphere)
    bands = None if config.sensor == "emit" else recipe.bands
    found = find(config, aoi, year, folder=config.out, bands=bands, sensor=config.sensor)
    for line in read.lines():
        tell.stage(line)
    tell.stage(f"{len(found.items)} scenes, {year.start} to {year.end}")
    settled: dict[str, Any] = {}
    if config.sensor == "emit":
        refuse_offset(config)
        settled["without_mask"] = settle_masks(found, config)
        settled[MADE_FROM] = product_versions(found.items)
    else:
        found, offsets = settle(found, geobox, aoi, config)
        settled["offsets"] = as_record(offsets)
    simulated = any(is_simulated(item) for item in found.items)
    cut = choose_cut(found.items, geobox, recipe, config, need_of([found.items], [recipe], aoi))
    labelled = [
        (tile, read.labels.isel(y=tile.y, x=tile.x))
        for tile in cut.tiles(geobox)
        if read.labels.crop[tile.y, tile.x].any()
    ]
    cluster = client or config.scheduler
    with (
        room_for_blocks(config.out, elsewhere=is_elsewhere(cluster)) as room,
        connect(cluster, workers=config.workers) as connected,
    ):
        job = SamplesJob(
            items=freeze(found.path, found.items, config, grid=geobox, kept=room),
            recipe=recipe,
            season=year,
            simulated=simulated,
        )
        failures = Failures(job.items.most_failed, len(found.items))
        parts = _sample_tiles(labelled, job, cut, failures, connected, tell)
    made_from = {
        "catalog": found.items.extra_fields.get("catalog"),
        "items": len(found.items),
        "year": config.year,
        "start": year.start.isoformat(),
        "end": year.end.isoformat(),
        "bbox": bounds_on_globe(aoi.geometry),
        **read.made_from,
        **settled,
        "items_failed": {one.item: one.reason for one in failures.items.values()},
    }
    joined = join_samples(parts, same_fields=True)
    samples = replace(joined, provenance={**joined.provenance, **made_from})
    path = write_samples(samples, config.out / SAMPLES_FILE, overwrite=True)
    config.write(config.out / "run.yaml")
    return SavedSamples(samples=samples, path=path, complete=found.complete and not failures.items)


def _sample_tiles(
    labelled: list[tuple[Tile, xr.Dataset]],
    job: SamplesJob,
    cut: TileCut,
    failures: Failures,
    client: Client,
    tell: Progress,
) -> list[Samples]:
    """Make the samples of all tiles, and note which scenes failed."""
    parts: list[Samples] = []
    start, work = time.perf_counter(), partial(sample_tile, job=job)
    for part, failed in run_tiles(labelled, work, client=client, near=lambda place: cut.group(place[0])):
        failures.add(failed)
        parts.append(part)
        tell.count("tiles", len(parts), len(labelled), since=start)
    return parts


def _recipe(config: SamplesRequest) -> FeatureRecipe:
    """Series of the full year, from which any season can be cut, or the spectra of a window."""
    if config.sensor == "emit":
        return emit_recipe(
            first_step=config.first_day,
            n_steps=config.days,
            clear=config.clear,
            dilation_m=config.dilation,
            statistic=config.statistic,
        )
    # Gaps stay open: they are filled after the season is cut, as maps fill them.
    return FeatureRecipe(clear=config.clear, dilation_m=config.dilation, fill="none").full_year()


def sample_tile(place: tuple[Tile, xr.Dataset], job: SamplesJob) -> tuple[Samples, tuple[FailedItem, ...]]:
    """Make the samples of one tile, and tell which scenes failed (runs on a worker)."""
    tile, labels = place
    made = features_of_tile(tile, job.items, job.recipe, job.season)
    return extract_samples(made.features, labels, job.recipe, simulated=job.simulated), made.failed
