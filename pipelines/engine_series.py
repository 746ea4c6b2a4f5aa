"""Series of the area that engines are tried on, read by all workers, a place at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from distributed import Client
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from pipelines.map_tile import SensorJob, recipe_of
from pipelines.tile_features import features_of_tile
from toolkit.area.aoi import AOI
from toolkit.area.grid import Tile, centres_inside, outline_near
from toolkit.learn.pixels import check_features, observed, take_pixels
from toolkit.maps.dispatch import run_tiles
from toolkit.scenes.counts import ReadCounts, ReadLog
from toolkit.scenes.cropland import Cropland, read_cropland

TRIAL_EDGE = 32
"""Edge of the parts of a tile whose series are tried, pixels; there are four of them.

In a single part of a simulated map one field decided: 4 of 512 pixels had other classes in bfloat16, with
margins of 0.01, and every fast engine was left out. Of pixels spread over three places one or none had.
"""
PLACES = (0.25, 0.75)
"""Where the centres of the parts lie, along each side of a tile."""
TRIAL_SERIES = 1024
"""Most series that are tried: half calibrate int8, half judge; CropNet in float32 takes a second or two."""

Series = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part:
    """A small part of a tile."""

    position: int
    """Its place in the order of the parts."""
    tile: Tile
    """The tile."""
    geobox: GeoBox
    """Its pixels."""
    outline: BaseGeometry
    """The area near it (:func:`toolkit.area.grid.outline_near`)."""


@dataclass(frozen=True, slots=True)
class SeriesOfPart:
    """What a worker read of a part."""

    position: int
    """Place of the part in their order."""
    series: Series | None = None
    """Observed series, float32 ``(n, band, step)``; None if no pixel is wanted."""
    reads: ReadCounts = field(default_factory=ReadCounts)
    """What was read."""


def series_of_area(
    one: SensorJob, cropland: Cropland | None, aoi: AOI, middle: Sequence[Tile], client: Client
) -> tuple[Series | None, ReadCounts]:
    """Return series of some tiles in the order of their places, and what was read.

    Parts are read by all workers at the same time: one alone took 15 s of an area of 10 x 10 km from a server
    at 50 ms, mostly for opening 1,622 files.

    Args:
        one: sensor.
        cropland: mask of cropland.
        aoi: area of interest.
        middle: tiles that are looked at until there are enough series.
        client: Dask client.

    Returns:
        float32 ``(n, band, step)``, at most :data:`TRIAL_SERIES`; None if none was found.

    Raises:
        WorkerError: workers died on a part twice.
    """
    read = partial(read_part, one=one, cropland=cropland)
    log, found = ReadLog(), list[Series]()
    for tile in middle:
        # Without a part int8 would be calibrated on others, and the map be another: dying twice is an error.
        made = run_tiles(_parts(tile, aoi), read, client=client)
        for part in sorted(made, key=lambda part: part.position):
            log.add(part.reads)
            found += [] if part.series is None else [part.series]
        if sum(map(len, found)) >= TRIAL_SERIES:
            break
    return np.concatenate(found)[:TRIAL_SERIES] if found else None, log.counts


def _parts(tile: Tile, aoi: AOI) -> list[Part]:
    """Return the parts of a tile."""
    height, width = tile.geobox.shape.yx
    rows, columns = ([int(share * length) for share in PLACES] for length in (height, width))
    half = min(TRIAL_EDGE, height // 2, width // 2) // 2
    boxes = [
        tile.geobox[max(0, y - half) : min(height, y + half), max(0, x - half) : min(width, x + half)]
        for y in rows
        for x in columns
    ]
    return [Part(k, tile, box, outline_near(aoi, box)) for k, box in enumerate(boxes)]


def read_part(part: Part, one: SensorJob, cropland: Cropland | None) -> SeriesOfPart:
    """Return observed series of a part of a tile (runs on a worker)."""
    recipe = recipe_of(one)
    mask = read_cropland(cropland, part.geobox)
    wanted = centres_inside(part.outline, part.geobox) & mask.cropland
    if not wanted.any():
        return SeriesOfPart(part.position, reads=mask.reads)
    tile = replace(part.tile, geobox=part.geobox)
    made = features_of_tile(tile, one.items, recipe, one.season, wanted=wanted)
    values = np.asarray(check_features(made.features, recipe).data)
    index = np.flatnonzero(observed(values) & wanted)
    spread = np.linspace(0, len(index) - 1, min(len(index), TRIAL_SERIES // 4)).astype(np.intp)
    return SeriesOfPart(part.position, take_pixels(values, index[spread]), mask.reads + made.reads)
