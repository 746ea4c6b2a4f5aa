"""The layers of a map: file names, meaning, nodata, overviews."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from toolkit.legend import Legend, Source, Status

Overviews = Literal["mode", "average", "nearest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One uint8 raster of a map."""

    name: str
    """Variable in the labels dataset; the file is ``<file>``."""
    file: str
    """File name in the output folder."""
    title: str
    """What the values mean, with the unit."""
    nodata: int | None
    """Value of pixels without data, or None if every pixel has one."""
    fill: int
    """Value outside the area."""
    overviews: Overviews
    """How overviews are made; classes are never averaged."""


GAP_NODATA = 255
"""Value of ``longest_gap`` where no class was wanted: 0 would be the best there is."""

LAYERS = (
    Layer(
        name="crop",
        file="crop_map.tif",
        title="crop class",
        nodata=0,
        fill=0,
        overviews="mode",
    ),
    Layer(
        name="confidence",
        file="confidence.tif",
        title="probability of the mapped class, percent",
        nodata=255,
        fill=255,
        overviews="average",
    ),
    Layer(
        name="observations",
        file="observations.tif",
        title="clear dates in the season (254: that many or more)",
        nodata=255,
        fill=255,
        overviews="nearest",
    ),
    Layer(
        name="longest_gap",
        file="longest_gap.tif",
        title="longest run of steps without a clear date (254: that many or more)",
        nodata=GAP_NODATA,
        fill=GAP_NODATA,
        overviews="nearest",
    ),
    Layer(
        name="status",
        file="status.tif",
        title="why a pixel has, or has not, a class",
        nodata=None,
        fill=Status.OUTSIDE_AREA,
        overviews="mode",
    ),
)
"""Rasters written for each map, in this order."""

SENSOR_LAYER = Layer(
    name="sensor",
    file="sensor.tif",
    title="sensors that the class comes from",
    nodata=0,
    fill=0,
    overviews="mode",
)
"""One more raster of maps made with both sensors."""

SOURCE_COLORS = {
    Source.SENTINEL_2: (70, 110, 200),
    Source.EMIT: (230, 150, 40),
    Source.BOTH: (60, 140, 60),
}
"""Red, green, blue of each source."""

STATUS_COLORS = {
    Status.MAPPED: (60, 140, 60),
    Status.OUTSIDE_AREA: (255, 255, 255),
    Status.NOT_CROPLAND: (200, 200, 200),
    Status.NOT_OBSERVED: (90, 90, 90),
    Status.OUT_OF_DISTRIBUTION: (230, 150, 40),
    Status.FAILED: (200, 30, 30),
}
"""Red, green, blue of each status."""


def categories(layer: Layer, legend: Legend) -> dict[int, tuple[str, tuple[int, int, int]]]:
    """Return value -> (name, colour) of a layer of classes; empty for quantities."""
    if layer.name == "crop":
        return {k + 1: (entry.name, entry.color) for k, entry in enumerate(legend.classes)}
    if layer.name == "status":
        return {int(s): (s.name.lower().replace("_", " "), STATUS_COLORS[s]) for s in Status}
    if layer.name == "sensor":
        return {int(s): (s.name.lower().replace("_", "-"), SOURCE_COLORS[s]) for s in Source}
    return {}


def assemble(
    labels: xr.Dataset,
    seen: xr.Dataset,
    within: npt.NDArray[np.bool_],
    layers: Sequence[Layer] = LAYERS,
    *,
    cropland: npt.NDArray[np.bool_] | None = None,
) -> xr.Dataset:
    """Join what is known of each pixel of a tile.

    Args:
        labels: result of ``predict``: ``crop``, ``confidence``, ``status``, and ``sensor`` if it is a layer.
        seen: ``observations`` and ``longest_gap``.
        within: bool ``(y, x)``, True inside the area of interest.
        layers: layers of the map.
        cropland: bool ``(y, x)``, True = cropland; None if it is not told apart.

    Returns:
        One uint8 ``(y, x)`` variable per layer, the layer's fill outside the area. So it is where there is no
        cropland, but for the status, which says so.
    """
    observed = ("observations", "longest_gap")
    told = [layer.name for layer in layers if layer.name not in observed]
    at_most = seen[list(observed)].clip(max=GAP_NODATA - 1)
    known = xr.merge([labels[told], at_most])
    mask = xr.DataArray(within if cropland is None else within & cropland, dims=("y", "x"))
    filled = known.assign(
        {layer.name: known[layer.name].where(mask, layer.fill).astype(np.uint8) for layer in layers}
    )
    return filled if cropland is None else _marked(filled, within & ~cropland)


def outside(shape: tuple[int, ...], layers: Sequence[Layer] = LAYERS) -> xr.Dataset:
    """Layers of a tile that lies outside the area altogether."""
    return xr.Dataset({layer.name: (("y", "x"), np.full(shape, layer.fill, np.uint8)) for layer in layers})


def without_cropland(within: npt.NDArray[np.bool_], layers: Sequence[Layer] = LAYERS) -> xr.Dataset:
    """Layers of a tile that has no cropland in the area.

    Args:
        within: bool ``(y, x)``, True inside the area of interest.
        layers: layers of the map.
    """
    return _marked(outside(within.shape, layers), within)


def _marked(whole: xr.Dataset, not_cropland: npt.NDArray[np.bool_]) -> xr.Dataset:
    """Return the layers with the status of pixels that are not cropland."""
    status = np.where(not_cropland, np.uint8(Status.NOT_CROPLAND), whole["status"].to_numpy())
    return whole.assign(status=whole["status"].copy(data=status.astype(np.uint8)))
