"""Area per crop of a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

from toolkit.legend import Legend

SQUARE_METRES_PER_HECTARE = 10_000.0


def area_by_crop(path: str | Path, legend: Legend) -> dict[str, float]:
    """Return the mapped area of each crop by counting pixels.

    Pixel counts are biased where the map errs; they are no estimate with a confidence interval.

    Args:
        path: ``crop_map.tif`` in a CRS with metres.
        legend: classes of the map.

    Returns:
        Crop name -> hectares, in the order of the legend.
    """
    counts = np.zeros(256, np.int64)
    with rasterio.open(path) as file:
        for _, window in file.block_windows(1):
            counts += np.bincount(file.read(1, window=window).ravel(), minlength=256)
        pixel = abs(file.transform.a * file.transform.e)
    return {
        name: round(float(counts[k + 1]) * pixel / SQUARE_METRES_PER_HECTARE, 4)
        for k, name in enumerate(legend.names)
    }
