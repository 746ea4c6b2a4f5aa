"""Maps of several UTM zones joined to one: nearest pixels, window by window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.io import DatasetReader
from rasterio.windows import Window

from toolkit.area.aoi import AOI
from toolkit.area.grid import inside, output_geobox
from toolkit.area.zones import zone_of
from toolkit.legend import Legend, Status
from toolkit.maps.geotiff import BLOCK, write_layer
from toolkit.maps.layers import Layer
from toolkit.storage import replacing

WINDOW = 2 * BLOCK
"""Edge in pixels of what is in memory at a time: whole blocks of the file."""
STACK_FILE = "mosaic_stack.tif"
"""All layers as they are joined, before each gets its own file."""

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Metres = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneFiles:
    """The finished map of one zone."""

    epsg: int
    """Code of the zone, the CRS of its files."""
    files: Mapping[str, Path]
    """Layer -> file."""


def mosaic_crs(aoi: AOI) -> str:
    """Return the Lambert azimuthal equal-area CRS around an area's centre, rounded to whole degrees.

    Every pixel has the same area in it, wherever the area lies, across 180 degrees too.
    """
    lon, lat = (round(value) for value in aoi.centre)
    return f"+proj=laea +lat_0={lat} +lon_0={lon} +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"


def mosaic_geobox(aoi: AOI, *, resolution: float, crs: str | None = None) -> GeoBox:
    """Return the grid of a joined map.

    Args:
        aoi: the whole area.
        resolution: pixel size, metres.
        crs: CRS in metres that keeps areas; None for :func:`mosaic_crs`.

    Raises:
        InputError: the CRS is unknown, not in metres or stretches areas.
        AreaError: the grid would be too large.
    """
    return output_geobox(aoi, resolution=resolution, crs=crs or mosaic_crs(aoi))


def join_zones(  # maps, area, grid, layers, place, legend, tags: each its own thing
    zones: Sequence[ZoneFiles],
    aoi: AOI,
    geobox: GeoBox,
    layers: Sequence[Layer],
    folder: Path,
    *,
    legend: Legend,
    tags: Mapping[str, str],
) -> dict[str, Path]:
    """Join the maps of several zones to one.

    A pixel belongs to the zone that its centre lies in and takes the value of the pixel of that zone's map
    which holds the centre (nearest neighbour; every centre is projected itself, nothing is interpolated).
    In the area but without a map of its zone it was not observed.

    Args:
        zones: finished maps.
        aoi: the whole area.
        geobox: grid of the joined map.
        layers: layers to join.
        folder: existing folder for the files.
        legend: classes of the maps.
        tags: TIFF tags of every layer.

    Returns:
        Layer name -> file.

    Raises:
        StorageError: a file cannot be written.
    """
    stack = folder / STACK_FILE
    try:
        with replacing(stack) as temporary:
            _write_stack(temporary, zones, aoi, geobox, layers)
        return {
            layer.name: write_layer(_blocks(stack, band), geobox, layer, folder / layer.file, legend, tags)
            for band, layer in enumerate(layers, start=1)
        }
    finally:
        stack.unlink(missing_ok=True)


def _write_stack(
    path: Path, zones: Sequence[ZoneFiles], aoi: AOI, geobox: GeoBox, layers: Sequence[Layer]
) -> None:
    """Write all layers to one file, so that each pixel is projected once and not for every layer."""
    height, width = geobox.shape.yx
    with ExitStack() as stack:
        maps = {zone.epsg: _ZoneMap(zone, geobox, layers, stack) for zone in zones}
        file = stack.enter_context(
            rasterio.open(
                path,
                "w",
                driver="GTiff",
                dtype="uint8",
                count=len(layers),
                height=height,
                width=width,
                crs=str(geobox.crs),
                transform=geobox.affine,
                tiled=True,
                blockxsize=BLOCK,
                blockysize=BLOCK,
                interleave="band",
                compress="deflate",
                zlevel=1,
                bigtiff="if_safer",
            )
        )
        to_degrees = Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True)
        for window in _windows(geobox):
            file.write(_join(window, geobox, aoi, maps, layers, to_degrees), window=window)


class _ZoneMap:
    """Open layers of one zone, read around the pixels asked for."""

    def __init__(self, zone: ZoneFiles, geobox: GeoBox, layers: Sequence[Layer], stack: ExitStack) -> None:
        self.files: list[DatasetReader] = [
            stack.enter_context(rasterio.open(zone.files[layer.name])) for layer in layers
        ]
        self.to_zone = Transformer.from_crs(str(geobox.crs), f"EPSG:{zone.epsg}", always_xy=True)

    def values(self, x: Metres, y: Metres) -> tuple[Bytes, Mask]:
        """Return ``(layer, place)`` of places in the mosaic's CRS, and which of them the map holds."""
        first = self.files[0]
        east, north = self.to_zone.transform(x, y)
        inverse = ~first.transform
        column = np.floor(inverse.a * east + inverse.c).astype(np.int64)
        row = np.floor(inverse.e * north + inverse.f).astype(np.int64)
        held = (row >= 0) & (row < first.height) & (column >= 0) & (column < first.width)
        found = np.zeros((len(self.files), len(x)), np.uint8)
        if held.any():
            row, column = row[held], column[held]
            top, left = row.min(), column.min()
            near = Window(left, top, column.max() - left + 1, row.max() - top + 1)
            for layer, file in enumerate(self.files):
                found[layer, held] = file.read(1, window=near)[row - top, column - left]
        return found, held


def _join(
    window: Window,
    geobox: GeoBox,
    aoi: AOI,
    maps: Mapping[int, _ZoneMap],
    layers: Sequence[Layer],
    to_degrees: Transformer,
) -> Bytes:
    """Return the layers of one window, uint8 ``(layer, y, x)``."""
    rows = slice(window.row_off, window.row_off + window.height)
    columns = slice(window.col_off, window.col_off + window.width)
    part = geobox[rows, columns]
    out = np.empty((len(layers), *part.shape.yx), np.uint8)
    out[:] = np.array([layer.fill for layer in layers], np.uint8)[:, None, None]
    within = inside(aoi, part)
    if not within.any():
        return out
    row, column = np.nonzero(within)
    x = part.affine.a * (column + 0.5) + part.affine.c
    y = part.affine.e * (row + 0.5) + part.affine.f
    found = np.empty((len(layers), len(row)), np.uint8)
    found[:] = np.array([_unmapped(layer) for layer in layers], np.uint8)[:, None]
    owner = zone_of(*to_degrees.transform(x, y))
    for epsg in np.unique(owner).tolist():
        if epsg in maps:
            mine = np.flatnonzero(owner == epsg)
            values, held = maps[epsg].values(x[mine], y[mine])
            found[:, mine[held]] = values[:, held]
    out[:, row, column] = found
    return out


def _unmapped(layer: Layer) -> int:
    """Value in the area where its zone has no map."""
    return int(Status.NOT_OBSERVED) if layer.name == "status" else layer.fill


def _windows(geobox: GeoBox) -> Iterator[Window]:
    height, width = geobox.shape.yx
    for top in range(0, height, WINDOW):
        for left in range(0, width, WINDOW):
            yield Window(left, top, min(WINDOW, width - left), min(WINDOW, height - top))


def _blocks(stack: Path, band: int) -> Iterator[tuple[Window, Bytes]]:
    with rasterio.open(stack) as file:
        geobox = GeoBox((file.height, file.width), file.transform, str(file.crs))
        for window in _windows(geobox):
            yield window, file.read(band, window=window)
