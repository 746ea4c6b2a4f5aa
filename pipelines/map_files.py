"""The files of a map: tiles joined, checked, made legible, and published under their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.folder import copy_beside, scratch, versions
from pipelines.map_cropland import CROPLAND_FILE, MapCropland
from pipelines.map_inputs import SensorInput
from pipelines.map_setup import MapSetup
from pipelines.products import PRODUCT_FILES, make_products
from pipelines.radiometry import CHECKS_FILE
from pipelines.run_folder import RunFolder
from pipelines.search import EMIT_ITEMS_FILE, ITEMS_FILE
from toolkit.area.grid import inside
from toolkit.catalog.items import attribution
from toolkit.learn.accuracy import Accuracy, assess
from toolkit.maps.areas import class_areas, hectares_by_crop
from toolkit.maps.geotiff import read_layer
from toolkit.maps.layers import LAYERS, SENSOR_LAYER, Layer
from toolkit.maps.tiles import MadeTile, join_tiles, publish

RECORD = "run.json"
"""What the map was made from; written last: a map is whole when it is there."""


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
        tags = _tags(inputs, notice)
        staged = join_tiles(made, setup.geobox, work, legend=legend, tags=tags, layers=layers)
        accuracy = _accuracy(staged["crop"], setup)
        areas = class_areas(staged["crop"], legend)
        products = make_products(
            staged,
            areas,
            inputs,
            setup.aoi,
            setup.geobox,
            legend=legend,
            zones=setup.zones,
            notice=notice,
        )
        frozen = cropland.files | {name: path for one in inputs for name, path in one.files.items()}
        beside = {name: copy_beside(path, work) for name, path in frozen.items()}
        (out / RECORD).unlink(missing_ok=True)
        files = publish({**staged, **beside, **products}, out)
    _remove_stale(out, files.values())
    return MapFiles(
        files={name: files[name] for name in staged},
        products=tuple(files[name] for name in products),
        hectares=hectares_by_crop(areas),
        accuracy=accuracy,
    )


def attribution_of(inputs: tuple[SensorInput, ...], cropland: MapCropland) -> str:
    """Return the notice that users of the map must keep."""
    scenes = dict.fromkeys(attribution(one.found.items) for one in inputs)
    return "; ".join((*scenes, *cropland.notices))


def _accuracy(crop_map: Path, setup: MapSetup) -> Accuracy | None:
    if setup.truth is None:
        return None
    mapped = read_layer(crop_map)
    within = inside(setup.aoi, mapped.odc.geobox)
    return assess(mapped, setup.truth, legend=setup.legend, within=within)


def _tags(inputs: tuple[SensorInput, ...], notice: str) -> dict[str, str]:
    tags = {"TIFFTAG_COPYRIGHT": notice, "TIFFTAG_SOFTWARE": f"cropglobe {versions()['cropglobe']}"}
    if any(one.checkpoint.simulated for one in inputs):
        tags["MODEL_NOTE"] = "The model was trained on simulated data"
    return tags


def _remove_stale(folder: Path, files: Iterable[Path]) -> None:
    """Remove what an earlier map left in the folder and this one does not make, such as ``sensor.tif``."""
    names = [name for layer in (*LAYERS, SENSOR_LAYER) for name in (layer.file, f"{layer.file}.aux.xml")]
    made = {path.name for path in files} | {f"{path.name}.aux.xml" for path in files}
    for name in {*names, *PRODUCT_FILES, ITEMS_FILE, EMIT_ITEMS_FILE, CHECKS_FILE, CROPLAND_FILE} - made:
        (folder / name).unlink(missing_ok=True)
