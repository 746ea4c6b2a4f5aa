"""The files of a map: tiles joined, checked, made legible, and published under their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.folder import copy_beside, versions
from pipelines.map_cropland import MapCropland
from pipelines.map_inputs import SensorInput
from pipelines.map_setup import MapSetup
from pipelines.products import given_files, make_products, remove_stale
from pipelines.run_folder import RECORD, RunFolder
from pipelines.scratch import scratch
from toolkit.catalog.items import attribution
from toolkit.learn.accuracy import Accuracy
from toolkit.learn.map_accuracy import assess_file
from toolkit.maps.areas import areas_by_zone, class_areas, hectares_by_crop
from toolkit.maps.coverage import Coverage, read_coverage
from toolkit.maps.layers import Layer
from toolkit.maps.tiles import MadeTile, join_tiles, publish


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFiles:
    """A map in its output folder."""

    files: dict[str, Path]
    """Layer -> file."""
    products: tuple[Path, ...]
    """Styles, tables of areas and the STAC item."""
    hectares: dict[str, float]
    """Crop -> hectares."""
    accuracy: Accuracy | None
    """Against the fields given, or None."""
    coverage: Coverage
    """How much of the area is mapped, and why not the rest."""


def write_map(
    setup: MapSetup,
    inputs: tuple[SensorInput, ...],
    cropland: MapCropland,
    made: Sequence[MadeTile],
    layers: Sequence[Layer],
    folder: RunFolder,
) -> MapFiles:
    """Join the tiles of a map, check it against fields, and publish it with its products.

    Args:
        setup: what was asked for.
        inputs: what each sensor gave.
        cropland: what told cropland.
        made: the tiles.
        layers: layers of the map.
        folder: folder of the run.

    Raises:
        StorageError: a file cannot be written; what stood there before is unchanged.
    """
    legend, out = setup.legend, folder.out
    notice = attribution_of(inputs, cropland)
    with scratch(folder.state) as work:
        tags = map_tags(inputs, notice)
        staged = join_tiles(made, setup.geobox, work, legend=legend, tags=tags, layers=layers)
        truth, within = setup.truth, setup.aoi
        accuracy = None if truth is None else assess_file(staged["crop"], truth, legend=legend, within=within)
        areas = class_areas(staged["crop"], legend)
        coverage = read_coverage(staged)
        zones = None if setup.zones is None else areas_by_zone(staged["crop"], setup.zones, legend)
        products = make_products(
            staged,
            areas,
            inputs,
            setup.aoi,
            setup.geobox,
            legend=legend,
            zones=zones,
            notice=notice,
        )
        frozen = cropland.files | {name: path for one in inputs for name, path in one.files.items()}
        given = given_files(setup.config)
        wanted = {name: path for name, path in frozen.items() if (out / path.name).resolve() not in given}
        beside = {name: copy_beside(path, work) for name, path in wanted.items()}
        (out / RECORD).unlink(missing_ok=True)
        files = publish({**staged, **beside, **products}, out)
    remove_stale(out, files.values(), given=given)
    return MapFiles(
        files={name: files[name] for name in staged},
        products=tuple(files[name] for name in products),
        hectares=hectares_by_crop(areas),
        accuracy=accuracy,
        coverage=coverage,
    )


def attribution_of(inputs: tuple[SensorInput, ...], cropland: MapCropland) -> str:
    """Return the notice that users of the map must keep."""
    scenes = dict.fromkeys(attribution(one.found.items) for one in inputs)
    return "; ".join((*scenes, *cropland.notices))


def map_tags(inputs: tuple[SensorInput, ...], notice: str) -> dict[str, str]:
    """Return the TIFF tags of every layer of a map."""
    tags = {"TIFFTAG_COPYRIGHT": notice, "TIFFTAG_SOFTWARE": f"cropglobe {versions()['cropglobe']}"}
    if any(one.checkpoint.simulated for one in inputs):
        tags["MODEL_NOTE"] = "The model was trained on simulated data"
    return tags
