"""Areas of a map by crop, and by crop within zones such as districts or fields."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from toolkit.area.aoi import square_metres
from toolkit.area.grid import centres_inside
from toolkit.legend import Legend
from toolkit.storage import replacing

Counts = npt.NDArray[np.int64]
SQUARE_METRES_PER_HECTARE = 10_000.0
WINDOW = 2048
"""Edge in pixels of the part of a zone that is in memory at a time."""
STRIP = 2**20
"""Pixels counted at a time."""
LONGEST_EDGE = 0.05
"""Degrees; longer edges are cut before they are projected, as straight lines bend."""
ZONE_NAMES = ("name", "id")
"""Properties that name a zone, the first that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassArea:
    """Mapped area of one class."""

    name: str
    """Name of the class."""
    pixels: int
    """Pixels with this class."""
    hectares: float
    """Their area."""
    share: float | None
    """Part of all pixels with a class, 0 to 1; None if there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneAreas:
    """Mapped areas within one polygon."""

    zone: int
    """Position in the file, from 1."""
    name: str
    """What the file calls it; empty if it does not."""
    hectares: float
    """Area of the whole polygon on the ellipsoid, within the map or not."""
    classes: tuple[ClassArea, ...]
    """Of every class of the legend."""


def count_values(values: npt.NDArray[np.uint8]) -> Counts:
    """Return how often each byte occurs: int64 ``(256,)``.

    Args:
        values: uint8, any shape; counted in strips, as numpy widens what it counts to eight bytes.
    """
    flat = values.reshape(-1)
    strips = (flat[start : start + STRIP] for start in range(0, flat.size, STRIP))
    return sum((np.bincount(strip, minlength=256) for strip in strips), np.zeros(256, np.int64))


def class_areas(
    path: str | Path, legend: Legend, *, within: BaseGeometry | None = None
) -> tuple[ClassArea, ...]:
    """Return the mapped area of each class by counting pixels.

    Pixel counts are biased where the map errs; they are no estimate with a confidence interval.

    Args:
        path: ``crop_map.tif`` in a CRS with metres.
        legend: classes of the map.
        within: polygons in degrees; pixels count whose centre they hold. None: all.

    Returns:
        One entry per class, in the order of the legend.
    """
    counts, hectares = count_pixels(path, within=within)
    return _as_areas(counts, hectares, legend)


def count_pixels(path: str | Path, *, within: BaseGeometry | None = None) -> tuple[Counts, float]:
    """Return how many pixels of a layer have each value, int64 ``(256,)``, and the hectares of one.

    Args:
        path: uint8 raster in a CRS with metres, read a block at a time.
        within: polygons in degrees; pixels count whose centre they hold. None: all.
    """
    with rasterio.open(path) as file:
        if within is not None:
            outline = gpd.GeoSeries([within.segmentize(LONGEST_EDGE)], crs="EPSG:4326").to_crs(str(file.crs))
            return _count_within(file, outline.iloc[0]), _pixel_hectares(file)
        blocks = (count_values(file.read(1, window=window)) for _, window in file.block_windows(1))
        return sum(blocks, np.zeros(256, np.int64)), _pixel_hectares(file)


def hectares_by_crop(areas: Iterable[ClassArea]) -> dict[str, float]:
    """Return class name -> hectares, rounded to a square metre."""
    return {area.name: round(area.hectares, 4) for area in areas}


def areas_by_zone(
    path: str | Path, zones: gpd.GeoDataFrame, legend: Legend, *, within: BaseGeometry | None = None
) -> Iterator[ZoneAreas]:
    """Yield the mapped areas within polygons, one at a time and never a whole large one in memory.

    A pixel belongs to each polygon that its centre lies in, so polygons may overlap.

    Args:
        path: ``crop_map.tif`` in a CRS with metres.
        zones: polygons in EPSG:4326, as :func:`toolkit.area.aoi.read_polygons` gives them; the property
            ``name``, else ``id``, names them.
        legend: classes of the map.
        within: polygons in degrees; pixels beyond them do not count. None: all.
    """
    named = next((zones[key] for key in ZONE_NAMES if key in zones.columns), None)
    with rasterio.open(path) as file:
        shapes = zones.geometry if within is None else zones.geometry.intersection(within)
        outlines = shapes.segmentize(LONGEST_EDGE).to_crs(str(file.crs))
        hectares = _pixel_hectares(file)
        for position, (shape, outline) in enumerate(zip(zones.geometry, outlines, strict=True)):
            yield ZoneAreas(
                zone=position + 1,
                name="" if named is None or named.isna().iloc[position] else str(named.iloc[position]),
                hectares=square_metres(shape) / SQUARE_METRES_PER_HECTARE,
                classes=_as_areas(_count_within(file, outline), hectares, legend),
            )


def sum_areas(parts: Iterable[Iterable[ClassArea]]) -> tuple[ClassArea, ...]:
    """Return the areas of several maps of one legend together.

    Args:
        parts: areas by class of each map; at least one.
    """
    of_class = list(zip(*parts, strict=True))
    mapped = sum(area.pixels for areas in of_class for area in areas)
    return tuple(
        ClassArea(
            name=areas[0].name,
            pixels=(pixels := sum(area.pixels for area in areas)),
            hectares=sum(area.hectares for area in areas),
            share=pixels / mapped if mapped else None,
        )
        for areas in of_class
    )


def sum_zones(parts: Iterable[Iterable[ZoneAreas]]) -> Iterator[ZoneAreas]:
    """Yield the areas within the same polygons of several maps together.

    Args:
        parts: result of :func:`areas_by_zone` for each map; at least one.
    """
    for zones in zip(*parts, strict=True):
        yield replace(zones[0], classes=sum_areas(zone.classes for zone in zones))


def write_areas(areas: Iterable[ClassArea], path: Path) -> Path:
    """Write areas by class as CSV: class, pixels, hectares, share of the mapped area (0 to 1).

    Raises:
        StorageError: the file cannot be written.
    """
    return _write_table(("class", "pixels", "hectares", "share"), (_cells(area) for area in areas), path)


def write_zones(zones: Iterable[ZoneAreas], path: Path) -> Path:
    """Write areas by zone and class as CSV, a row for each pair; ``share`` is of the zone's mapped area.

    Raises:
        StorageError: the file cannot be written.
    """
    header = ("zone", "name", "zone_hectares", "class", "pixels", "hectares", "share")
    rows = (
        (str(zone.zone), zone.name, f"{zone.hectares:.4f}", *_cells(area))
        for zone in zones
        for area in zone.classes
    )
    return _write_table(header, rows, path)


def _count_within(file: DatasetReader, outline: BaseGeometry) -> Counts:
    """Count the values of the pixels whose centre lies in a polygon."""
    counts = np.zeros(256, np.int64)
    shapely.prepare(outline)
    for window in _windows(file, outline):
        grid = GeoBox((window.height, window.width), file.window_transform(window), str(file.crs))
        inside = centres_inside(outline, grid)
        if inside.any():
            counts += count_values(file.read(1, window=window)[inside])
    return counts


def _windows(file: DatasetReader, outline: BaseGeometry) -> Iterator[Window]:
    """Yield windows that together cover what a polygon may touch of the map."""
    if outline.is_empty or not np.isfinite(outline.bounds).all():
        return  # so far away that the map's CRS does not reach it
    west, south, east, north = outline.bounds
    left, top = ~file.transform * (west, north)
    right, bottom = ~file.transform * (east, south)
    columns = range(max(0, int(left)), min(file.width, int(right) + 1), WINDOW)
    rows = range(max(0, int(top)), min(file.height, int(bottom) + 1), WINDOW)
    for row in rows:
        for column in columns:
            yield Window(column, row, min(WINDOW, columns.stop - column), min(WINDOW, rows.stop - row))


def _pixel_hectares(file: DatasetReader) -> float:
    return float(abs(file.transform.a * file.transform.e)) / SQUARE_METRES_PER_HECTARE


def _as_areas(counts: Counts, pixel_hectares: float, legend: Legend) -> tuple[ClassArea, ...]:
    mapped = int(counts[1 : len(legend.names) + 1].sum())
    return tuple(
        ClassArea(
            name=name,
            pixels=int(counts[k + 1]),
            hectares=float(counts[k + 1]) * pixel_hectares,
            share=float(counts[k + 1]) / mapped if mapped else None,
        )
        for k, name in enumerate(legend.names)
    )


def _cells(area: ClassArea) -> tuple[str, ...]:
    share = "" if area.share is None else f"{area.share:.6f}"
    return area.name, str(area.pixels), f"{area.hectares:.4f}", share


def _write_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]], path: Path) -> Path:
    """Write rows as they come: zones of a country are many."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
    return path
