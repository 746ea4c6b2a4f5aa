"""Map workflow of an area in several UTM zones: a map of each, then one of all."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import shapely
from odc.geo.geobox import GeoBox

from pipelines.config import MapRequest
from pipelines.folder import versions, write_json
from pipelines.frozen_inputs import asked_for
from pipelines.interruption import interruptible
from pipelines.map_files import MapFiles, map_tags
from pipelines.map_inputs import read_models
from pipelines.map_setup import read_zones
from pipelines.products import given_files, make_products, remove_stale
from pipelines.progress import Progress
from pipelines.result import CropMap
from pipelines.run_folder import RECORD, run_folder
from pipelines.scratch import scratch
from pipelines.search import EMIT_ITEMS_FILE, ITEMS_FILE
from pipelines.tile_run import joined_runs
from toolkit.area.aoi import AOI, read_shapes
from toolkit.area.grid import output_geobox
from toolkit.area.zones import Sliver, ZonePart, needs_zones, split_by_zone
from toolkit.errors import CropglobeError, LabelError, NoItemsError, NoPixelError, ZoneMissingWarning
from toolkit.learn.accuracy import Accuracy
from toolkit.learn.fields import Fields, read_fields
from toolkit.learn.map_accuracy import assess_file, check_fields, sum_accuracies
from toolkit.legend import Legend
from toolkit.maps.areas import ClassArea, areas_by_zone, class_areas, hectares_by_crop, sum_areas, sum_zones
from toolkit.maps.coverage import read_coverage
from toolkit.maps.layers import LAYERS, SENSOR_LAYER
from toolkit.maps.mosaic import ZoneFiles, join_zones, mosaic_geobox
from toolkit.maps.tiles import Stopwatch, publish
from toolkit.scenes.counts import ReadCounts
from toolkit.storage import make_folder, write_text

AOI_FILE = "aoi.geojson"
"""The zone's part of the area, in the folder of its map."""
MakeMap = Callable[[MapRequest], CropMap]
"""Makes the map of one zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneMap:
    """One zone and its finished map."""

    part: ZonePart
    """What lies of the area in the zone."""
    made: CropMap
    """Its map."""
    areas: tuple[ClassArea, ...]
    """Of the part itself, without the strip that overlaps with neighbours."""


def spans_zones(config: MapRequest, aoi: AOI) -> bool:
    """Return whether a map is made zone by zone: no CRS is chosen and the area needs several zones."""
    return config.crs == "utm" and needs_zones(aoi)


def map_zones(config: MapRequest, aoi: AOI, make: MakeMap, tell: Progress) -> CropMap:
    """Make a map of each UTM zone of an area in a folder of its own, then join them.

    Areas and accuracy are counted on the maps of the zones, each within its part, not on the joined map.

    Args:
        config: the request.
        aoi: the whole area.
        make: makes a map; called with each zone's own request.
        tell: tells how far the run is.

    Returns:
        The joined map, with the maps of the zones.

    Raises:
        NoItemsError: no zone has any scene.
        NoPixelError: none holds a pixel.
        CropglobeError: see :mod:`toolkit.errors`; finished zones stay and are not made again in vain.
    """
    watch = Stopwatch()
    resolution = config.pixel_size_m
    parts, slivers = split_by_zone(aoi, resolution=resolution)
    models = read_models(config)
    legend = next(iter(models.values())).legend
    asked = asked_for(config, aoi, models, None)
    geobox = mosaic_geobox(aoi, resolution=resolution, crs=config.mosaic_crs)
    truths = _truths(config, parts, legend)
    polygons = read_zones(config, aoi)
    with run_folder(config.out) as folder, interruptible():
        folder.remembers(asked, allow_change=config.allow_change)
        zones, nothing = _make_all(config, parts, legend, make, watch, tell)
        tell.stage(f"joining {len(zones)} zones")
        maps = [zone.made for zone in zones]
        inputs = tuple(one for made in maps for one in made.inputs)
        notice = "; ".join(dict.fromkeys(made.attribution for made in maps))
        with scratch(config.out) as work:
            staged = _join(zones, aoi, geobox, work, legend, notice)
            areas = sum_areas(zone.areas for zone in zones)
            table = None if polygons is None else sum_zones(_by_polygon(zones, polygons, legend))
            products = make_products(
                staged, areas, inputs, aoi, geobox, legend=legend, zones=table, notice=notice
            )
            accuracy = _accuracy(zones, truths, legend)
            coverage = read_coverage(staged)
            # Its zones keep the items: those beside them may be the user's, from 'cropglobe search'.
            saved = {(config.out / name).resolve() for name in (ITEMS_FILE, EMIT_ITEMS_FILE)}
            (config.out / RECORD).unlink(missing_ok=True)
            folder.remember(asked)
            files = publish({**staged, **products}, config.out)
            remove_stale(config.out, files.values(), given=given_files(config) | saved)
        watch.lap("join and check")
        result = CropMap(
            folder=config.out,
            written=MapFiles(
                files={name: files[name] for name in staged},
                products=tuple(files[name] for name in products),
                hectares=hectares_by_crop(areas),
                accuracy=accuracy,
                coverage=coverage,
            ),
            inputs=inputs,
            tiles=joined_runs([made.tiles for made in maps]),
            for_engines=sum((made.for_engines for made in maps), ReadCounts()),
            seconds=watch.seconds,
            attribution=notice,
            cropland=maps[0].cropland.of_tiles(made.cropland.counts for made in maps),
            zones=tuple(maps),
            zones_missing=tuple(_without_scenes(nothing)),
        )
        config.write(config.out / "run.yaml")
        write_json(_record(result, zones, nothing, slivers, legend, geobox), config.out / RECORD)
        return result


def _make_all(
    config: MapRequest,
    parts: tuple[ZonePart, ...],
    legend: Legend,
    make: MakeMap,
    watch: Stopwatch,
    tell: Progress,
) -> tuple[tuple[ZoneMap, ...], dict[str, CropglobeError]]:
    """Make the map of each zone; one without scenes, or without a pixel, is left out with a warning."""
    zones: list[ZoneMap] = []
    nothing: dict[str, CropglobeError] = {}
    for number, part in enumerate(parts, start=1):
        tell.stage(f"zone EPSG:{part.epsg}, {number} of {len(parts)}")
        try:
            made = make(zone_request(config, part))
        except (NoItemsError, NoPixelError) as error:
            nothing[part.name] = error
            continue
        areas = class_areas(made.files["crop"], legend, within=part.area.geometry)
        zones.append(ZoneMap(part=part, made=made, areas=areas))
        watch.lap(part.name)
    if not zones:
        raise next(iter(nothing.values()))
    warn_of_missing_zones(nothing)
    return tuple(zones), nothing


def _without_scenes(nothing: Mapping[str, CropglobeError]) -> dict[str, str]:
    """Return why zones have no scene; those without a pixel lack none."""
    return {name: str(reason) for name, reason in nothing.items() if isinstance(reason, NoItemsError)}


def warn_of_missing_zones(nothing: Mapping[str, CropglobeError]) -> None:
    """Warn of the zones that have no scene, or no pixel.

    Args:
        nothing: zone -> why it has no map.
    """
    for name, reason in nothing.items():
        msg = f"The part of the area in zone {name} stays unmapped: {reason}"
        warnings.warn(msg, ZoneMissingWarning, stacklevel=4)


def zone_request(config: MapRequest, part: ZonePart) -> MapRequest:
    """Write the part of a zone into the folder of its map and return the request for it."""
    folder = make_folder(config.out / part.name)
    feature = {
        "type": "Feature",
        "properties": {"name": part.area.name},
        "geometry": json.loads(shapely.to_geojson(part.with_overlap.geometry)),
    }
    path = write_text(json.dumps(feature) + "\n", folder / AOI_FILE)
    own = {"aoi": path, "out": folder, "crs": f"EPSG:{part.epsg}", "fields": None, "zones": None}
    return config.model_copy(update={**own, "mosaic_crs": None})


def _truths(config: MapRequest, parts: tuple[ZonePart, ...], legend: Legend) -> dict[int, Fields]:
    """Read the true fields of each zone that has some, before any work."""
    if config.fields is None:
        return {}
    frame = read_shapes(config.fields)
    truths: dict[int, Fields] = {}
    problems: list[CropglobeError] = []
    for part in parts:
        here = frame[frame.intersects(part.area.geometry)].reset_index(drop=True)
        if here.empty:
            continue
        crs = f"EPSG:{part.epsg}"
        try:
            geobox = output_geobox(part.with_overlap, resolution=config.pixel_size_m, crs=crs)
            fields = read_fields(here, geobox, legend=legend)
            check_fields(fields, geobox, part.area)
        except (LabelError, NoPixelError) as error:  # corners of fields, too small here: another has the rest
            problems.append(error)
            continue
        truths[part.epsg] = fields
    if not truths:
        msg = f"No field of {str(config.fields)!r} lies in the area. Give fields of this area, or none."
        raise problems[0] if problems else LabelError(msg)
    return truths


def _join(
    zones: tuple[ZoneMap, ...], aoi: AOI, geobox: GeoBox, folder: Path, legend: Legend, notice: str
) -> dict[str, Path]:
    """Join the layers that all maps have."""
    shared = set.intersection(*(set(zone.made.files) for zone in zones))
    tags = map_tags(tuple(one for zone in zones for one in zone.made.inputs), notice)
    files = [ZoneFiles(epsg=zone.part.epsg, files=zone.made.files) for zone in zones]
    layers = [layer for layer in (*LAYERS, SENSOR_LAYER) if layer.name in shared]
    return join_zones(files, aoi, geobox, layers, folder, legend=legend, tags=tags)


def _by_polygon(zones: tuple[ZoneMap, ...], polygons: gpd.GeoDataFrame, legend: Legend) -> list[Any]:
    return [
        areas_by_zone(zone.made.files["crop"], polygons, legend, within=zone.part.area.geometry)
        for zone in zones
    ]


def _accuracy(zones: tuple[ZoneMap, ...], truths: Mapping[int, Fields], legend: Legend) -> Accuracy | None:
    return sum_accuracies(
        assess_file(zone.made.files["crop"], truths[zone.part.epsg], legend=legend, within=zone.part.area)
        for zone in zones
        if zone.part.epsg in truths
    )


def _record(
    result: CropMap,
    zones: tuple[ZoneMap, ...],
    nothing: Mapping[str, CropglobeError],
    slivers: tuple[Sliver, ...],
    legend: Legend,
    geobox: GeoBox,
) -> dict[str, Any]:
    """What the joined map was made from; each zone's folder has its own record."""
    return {
        "attribution": result.attribution,
        "simulated_scenes": all(one.simulated for one in result.inputs),
        "grid": {
            "crs": str(geobox.crs),
            "shape": list(geobox.shape.yx),
            "transform": list(geobox.affine)[:6],
        },
        "zones": {
            zone.part.name: {
                "crs": f"EPSG:{zone.part.epsg}",
                "record": f"{zone.part.name}/run.json",
                "hectares": hectares_by_crop(zone.areas),
                "complete": zone.made.complete,
            }
            for zone in zones
        },
        "zones_without_scenes": _without_scenes(nothing),
        "slivers_left_out": [
            *(sliver.reason for sliver in slivers),
            *(f"zone {name}: {why}" for name, why in nothing.items() if isinstance(why, NoPixelError)),
        ],
        "files": [path.name for path in (*result.files.values(), *result.products)],
        "items_failed": [asdict(one) for one in result.failed],
        "hectares": result.areas,
        "coverage": result.written.coverage.record(),
        "accuracy": None if result.accuracy is None else result.accuracy.to_dict(legend),
        "seconds": {name: round(value, 2) for name, value in result.seconds.items()},
        "reads": asdict(result.reads),
        "worker_seconds": {name: round(value, 2) for name, value in result.worker_seconds.items()},
        "versions": versions(),
    }
