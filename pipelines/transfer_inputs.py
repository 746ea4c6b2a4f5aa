"""Regions of a transfer benchmark: stores, packaged files or simulated; all alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines import samples as sampling
from pipelines import simulate
from pipelines.config import SimulateRequest
from pipelines.folder import prepare
from pipelines.learn_config import TransferRequest
from pipelines.progress import Progress
from pipelines.samples_config import SamplesRequest
from pipelines.scratch import scratch
from pipelines.train import map_recipe
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import InputError, LabelError
from toolkit.learn.cropglobe_files import countries_in, load_cropglobe
from toolkit.learn.samples import Samples, join_samples, read_samples, write_samples
from toolkit.legend import Legend

SIMULATED_REGIONS = ("early", "late", "short_season", "southern", "bright_soil")
"""Regions of ``--simulated``, names in :data:`toolkit.simulate.regions.REGIONS`."""
LANDSCAPES = (201, 202)
"""Seeds of the landscapes of each simulated region."""
SIZE, YEAR, CAP_PER_FIELD = 256, 2023, 8
"""Edge of a landscape in pixels, year, and most pixels of a field."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""What a region may be called, as names stand in tables and files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """Samples that can be compared, and what they serve for."""

    samples: dict[str, Samples]
    """Region -> samples."""
    sources: tuple[str, ...]
    """Regions to train on."""
    targets: tuple[str, ...]
    """Regions to test on."""

    @property
    def season(self) -> FeatureRecipe:
        """Features of the maps to be made, the same for all regions."""
        return map_recipe(next(iter(self.samples.values())).recipe)

    @property
    def legend(self) -> Legend:
        """Classes, the same for all regions."""
        return next(iter(self.samples.values())).legend

    @property
    def simulated(self) -> bool:
        """Whether any region is simulated."""
        return any(samples.simulated for samples in self.samples.values())


def read_regions(config: TransferRequest, tell: Progress) -> Regions:
    """Return the samples of every region asked for.

    Args:
        config: the request.
        tell: hears what is made.

    Raises:
        InputError: no input or several kinds of it, unknown names, or too few regions.
        LabelError: samples that cannot be read, or that cannot be compared.
    """
    given = [bool(config.samples), config.data is not None, config.simulated]
    if sum(given) != 1:
        msg = (
            f"{sum(given)} kinds of samples are given; needed: one of --samples NAME=PATH ..., --data DIR "
            "and --simulated."
        )
        raise InputError(msg)
    source, targets = _unique(config.source), _unique(config.targets)
    if config.data is not None:
        source, targets = _unique(map(str.upper, source)), _unique(map(str.upper, targets))
        wanted = _unique((*source, *targets)) if source and targets else countries_in(config.data)
        samples = {
            name: load_cropglobe(config.data, [name]) for name in _unique((*source, *targets, *wanted))
        }
    elif config.samples:
        wanted = _wanted(source, targets, tuple(config.samples))
        samples = {name: read_samples(config.samples[name]) for name in wanted}
    else:
        wanted = _wanted(source, targets, SIMULATED_REGIONS)
        samples = {name: simulated_region(name, config.out / "samples", tell=tell) for name in wanted}
    regions = Regions(samples=samples, sources=source or tuple(samples), targets=targets or tuple(samples))
    _check_comparable(regions)
    return regions


def simulated_region(
    name: str,
    folder: Path,
    *,
    landscapes: tuple[int, ...] = LANDSCAPES,
    size: int = SIZE,
    tell: Progress,
) -> Samples:
    """Return the samples of a simulated region; they are kept, and the scenes are not.

    Args:
        name: region in the table of regions.
        folder: where ``<name>.zarr`` is kept, and found again.
        landscapes: seeds of its landscapes.
        size: edge of a landscape, pixels.
        tell: hears what is made.

    Raises:
        CropglobeError: see :func:`pipelines.simulate.run` and :func:`pipelines.samples.run`.
    """
    path = prepare(folder) / f"{name}.zarr"
    if (path / "zarr.json").is_file():
        return read_samples(path)
    parts = []
    for seed in landscapes:
        tell.stage(f"simulating {name}, landscape {seed} (kept for the next run)")
        with scratch(folder) as work:
            scenes = work / "scenes"
            asked = {"out": scenes, "seed": seed, "year": YEAR, "region": name, "size": size}
            simulate.run(SimulateRequest.make({**asked, "full_year": True}))
            request = SamplesRequest.make(
                {
                    "out": work / "samples",
                    "aoi": scenes / "aoi.geojson",
                    "catalog": str(scenes / "catalog.json"),
                    "labels": scenes / "fields.geojson",
                    "year": YEAR,
                    "cap_per_field": CAP_PER_FIELD,
                    "seed": seed,
                    "tile_size": 128,
                }
            )
            parts.append(sampling.run(request, progress=False).samples)
    joined = join_samples(parts)
    write_samples(joined, path)
    return joined


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _wanted(source: tuple[str, ...], targets: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the regions that are trained or tested on, in the order in which they are given."""
    if unknown := [name for name in (*source, *targets) if name not in known]:
        msg = f"Region {unknown[0]!r} is unknown. Given are: {', '.join(known)}. Choose among them."
        raise InputError(msg)
    if not source or not targets:
        return known
    return tuple(name for name in known if name in (*source, *targets))


def _check_comparable(regions: Regions) -> None:
    """Raise unless every target can be mapped with every source."""
    _check_pairs(regions)
    _check_same(regions.samples, regions.season)
    for name in regions.sources:
        if len(found := np.unique(regions.samples[name].crop)) < 2:
            listed = ", ".join(regions.legend.names[k] for k in found.tolist()) or "none"
            msg = (
                f"Source {name!r} holds the classes: {listed}; needed for training: two or more. "
                "Add samples of other crops, or use it as a target only."
            )
            raise LabelError(msg)


def _check_pairs(regions: Regions) -> None:
    for name in regions.samples:
        if not NAME.fullmatch(name):
            msg = (
                f"Region name {name!r} is not allowed; allowed: letters, digits, '_', '.' and '-'. Rename it."
            )
            raise InputError(msg)
    if not any(source != target for source in regions.sources for target in regions.targets):
        sources, targets = (", ".join(names) or "none" for names in (regions.sources, regions.targets))
        msg = (
            f"Transfer needs a target that is not the source, got sources {sources}, targets {targets}. "
            "Add another region."
        )
        raise InputError(msg)


def _check_same(samples: Mapping[str, Samples], season: FeatureRecipe) -> None:
    """Raise unless features and classes are the same."""
    first, *others = samples
    head = samples[first]
    if head.recipe.kind == "emit":
        msg = f"Samples of {first!r} are spectra of EMIT; transfer compares series of Sentinel-2. Give those."
        raise LabelError(msg)
    for name in others:
        ours, theirs = season.to_dict(), map_recipe(samples[name].recipe).to_dict()
        if differing := [
            f"{key} {ours[key]!r} and {theirs[key]!r}" for key in ours if ours[key] != theirs[key]
        ]:
            msg = (
                f"Samples of {first!r} and {name!r} have different features ({'; '.join(differing)}). "
                "Make them with the same options."
            )
            raise LabelError(msg)
        if samples[name].legend != head.legend:
            msg = (
                f"Samples of {first!r} and {name!r} have different classes ({', '.join(head.legend.names)}; "
                f"{', '.join(samples[name].legend.names)}). Make them with one legend."
            )
            raise LabelError(msg)
