"""How right a finished map is: its file read window by window against true fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from toolkit.area.aoi import AOI
from toolkit.area.grid import inside
from toolkit.errors import LabelError
from toolkit.learn.accuracy import Accuracy, compare
from toolkit.learn.fields import Fields
from toolkit.legend import Legend

WINDOW = 1024
"""Edge in pixels of what is in memory at a time: four of the file's blocks, 1 MB of classes."""


def assess_file(path: str | Path, fields: Fields, *, legend: Legend, within: AOI) -> Accuracy:
    """Compare a map with true fields as :func:`toolkit.learn.accuracy.assess` does, never whole in memory.

    Args:
        path: ``crop_map.tif``.
        fields: fields on the map's grid.
        legend: classes of both.
        within: area that the map was asked for; fields elsewhere do not count.

    Raises:
        LabelError: no pixel of the area is labelled.
    """
    with rasterio.open(path) as file:
        geobox = GeoBox((file.height, file.width), file.transform, str(file.crs))
        found = sum_accuracies(
            _of_window(file.read(1, window=window), part, fields, legend, within)
            for window, part in _windows(fields, geobox)
        )
    if found is None or found.n == 0:
        raise LabelError(fields.nothing_labelled())
    return found


def check_fields(fields: Fields, geobox: GeoBox, within: AOI) -> None:
    """Refuse fields that label no pixel of an area: before work rather than after it.

    Windows are looked at until one holds a labelled pixel.

    Args:
        fields: fields on a grid.
        geobox: the grid.
        within: area that is mapped.

    Raises:
        LabelError: no pixel is labelled.
    """
    for _, part in _windows(fields, geobox):
        if (fields.on(part)[0].astype(bool) & inside(within, part)).any():
            return
    raise LabelError(fields.nothing_labelled())


def sum_accuracies(parts: Iterable[Accuracy]) -> Accuracy | None:
    """Return what is counted in several windows or maps together; None if there is nothing."""
    whole: Accuracy | None = None
    for part in parts:
        whole = (
            part
            if whole is None
            else Accuracy(whole.confusion + part.confusion, whole.unmapped + part.unmapped)
        )
    return whole


def _windows(fields: Fields, geobox: GeoBox) -> Iterator[tuple[Window, GeoBox]]:
    """Yield the windows that hold a part of some field."""
    height, width = geobox.shape.yx
    for top in range(0, height, WINDOW):
        for left in range(0, width, WINDOW):
            rows, columns = slice(top, min(top + WINDOW, height)), slice(left, min(left + WINDOW, width))
            part = geobox[rows, columns]
            if len(fields.near(part)):
                yield Window(left, top, part.shape.x, part.shape.y), part


def _of_window(
    mapped: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    geobox: GeoBox,
    fields: Fields,
    legend: Legend,
    within: AOI,
) -> Accuracy:
    truth = fields.on(geobox)[0].astype(np.int64) - 1
    labelled = (truth >= 0) & inside(within, geobox)
    return compare(truth[labelled], mapped.astype(np.int64)[labelled] - 1, len(legend.names))
