"""What makes a finished map legible: styles, tables of areas, a STAC item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from odc.geo.geobox import GeoBox

from pipelines.config import MapRequest
from pipelines.folder import versions
from pipelines.map_cropland import CROPLAND_FILE
from pipelines.map_inputs import SensorInput
from pipelines.radiometry import CHECKS_FILE
from pipelines.search import EMIT_ITEMS_FILE, ITEMS_FILE
from toolkit.area.aoi import AOI
from toolkit.catalog.items import SIMULATED
from toolkit.legend import Legend
from toolkit.maps.areas import ClassArea, ZoneAreas, write_areas, write_zones
from toolkit.maps.layers import LAYERS, SENSOR_LAYER
from toolkit.maps.model_item import model_name
from toolkit.maps.stac import MapFacts, map_item, public_address, write_item
from toolkit.maps.styles import has_style, style_file, write_style

AREAS_FILE = "areas.csv"
ZONES_FILE = "areas_by_zone.csv"
ITEM_FILE = "crop_map.stac.json"
MODELS = "cropglobe:models"
"""Property of a map's item: the models it was made with."""
PRODUCT_FILES = frozenset(
    {AREAS_FILE, ZONES_FILE, ITEM_FILE}
    | {style_file(one) for one in (*LAYERS, SENSOR_LAYER) if has_style(one)}
)
"""Names of all files that :func:`make_products` may write."""


def make_products(  # finished layers, areas and what they were made from: each its own thing
    staged: Mapping[str, Path],
    areas: Iterable[ClassArea],
    inputs: tuple[SensorInput, ...],
    aoi: AOI,
    geobox: GeoBox,
    *,
    legend: Legend,
    zones: Iterable[ZoneAreas] | None,
    notice: str,
) -> dict[str, Path]:
    """Write styles, tables and the STAC item beside the finished layers.

    Args:
        staged: layer -> file, all in one folder.
        areas: area of each class.
        inputs: what each sensor gave.
        aoi: area of interest.
        geobox: grid of the map.
        legend: classes of the map.
        zones: areas within polygons, or None.
        notice: attribution that users must keep.

    Returns:
        File name -> file.

    Raises:
        StorageError: a file cannot be written.
    """
    areas = tuple(areas)
    folder = staged["crop"].parent
    layers = {layer: staged[layer.name] for layer in (*LAYERS, SENSOR_LAYER) if layer.name in staged}
    made = [write_style(layer, legend, folder) for layer in layers if has_style(layer)]
    made.append(write_areas(areas, folder / AREAS_FILE))
    if zones is not None:
        made.append(write_zones(zones, folder / ZONES_FILE))
    # Without ``.aux.xml``: GDAL and QGIS add statistics to them, so a checksum would not last.
    item = map_item(layers, made, _facts(inputs, aoi, geobox, notice), legend=legend, areas=areas)
    made.append(write_item(item, folder / ITEM_FILE))
    return {path.name: path for path in made}


def given_files(config: MapRequest) -> frozenset[Path]:
    """Return the files that a map is made from: they are neither replaced nor removed."""
    values = config.absolute()
    return frozenset(Path(str(values[key])) for key in config.paths if key != "out" and key in values)


def remove_stale(folder: Path, files: Iterable[Path], *, given: frozenset[Path]) -> None:
    """Remove what an earlier map left in the folder and this one does not make, such as ``sensor.tif``.

    Args:
        folder: folder of the map.
        files: what this map made.
        given: what it was made from; stays.
    """
    names = [name for layer in (*LAYERS, SENSOR_LAYER) for name in (layer.file, f"{layer.file}.aux.xml")]
    made = {path.name for path in files} | {f"{path.name}.aux.xml" for path in files}
    for name in {*names, *PRODUCT_FILES, ITEMS_FILE, EMIT_ITEMS_FILE, CHECKS_FILE, CROPLAND_FILE} - made:
        if (folder / name).resolve() not in given:
            (folder / name).unlink(missing_ok=True)


def _facts(inputs: tuple[SensorInput, ...], aoi: AOI, geobox: GeoBox, notice: str) -> MapFacts:
    addresses = {item.id: public_address(item) for one in inputs for item in one.found.items}
    simulated = any(one.simulated or one.checkpoint.simulated for one in inputs)
    return MapFacts(
        aoi=aoi,
        geobox=geobox,
        first_day=min(one.season.start for one in inputs),
        last_day=max(one.season.end for one in inputs),
        lineage=" ".join(_lineage(one) for one in inputs),
        notice=notice,
        software=versions(),
        sources={scene: address for scene, address in addresses.items() if address},
        properties={MODELS: _models(inputs), **({SIMULATED: True} if simulated else {})},
    )


def _models(inputs: tuple[SensorInput, ...]) -> list[dict[str, str]]:
    """Name and hash of each model, as its own item tells them; its folder stays on this machine."""
    return [
        {
            "sensor": one.sensor,
            "mlm:name": model_name(one.checkpoint),
            "sha256": one.checkpoint.content_hash,
        }
        for one in inputs
    ]


def _lineage(one: SensorInput) -> str:
    checkpoint = one.checkpoint
    data = "simulated data" if checkpoint.simulated else "labelled fields"
    return (
        f"{checkpoint.network} trained on {data} (sha256 {checkpoint.content_hash}), applied to "
        f"{len(one.found.items)} scenes of {one.sensor}, {one.season.start} to {one.season.end}."
    )
