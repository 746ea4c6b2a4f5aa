"""Two sensors, one map: the mean of what their models say of each pixel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from toolkit.errors import ModelError
from toolkit.legend import Source, Status

SOURCES: Mapping[str, Source] = {"sentinel-2": Source.SENTINEL_2, "emit": Source.EMIT}
"""Sensor -> its value in the layer ``sensor``; both together are the sum."""


def combine_sensors(parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return the class probabilities of several sensors as one.

    Where several sensors see a pixel its probabilities are their mean (linear opinion pool: Genest & Zidek
    1986, doi:10.1214/ss/1177013825): a model that is sure and wrong cannot rule out what the other sees, as
    it would in a product. Where one sees it, they are that one's.

    Args:
        parts: sensor -> result of :func:`toolkit.learn.predict.class_probabilities`, on one grid and with one
            legend.

    Returns:
        ``probability`` and ``status`` as there, and ``sensor`` uint8 ``(y, x)``, see
        :class:`toolkit.legend.Source`, 0 where none sees the pixel.

    Raises:
        ModelError: the legends differ, or a sensor has no place in the layer.
    """
    if unknown := sorted(set(parts) - set(SOURCES)):
        msg = f"Sensors {unknown} cannot be combined; known: {', '.join(SOURCES)}."
        raise ModelError(msg)
    first = next(iter(parts.values()))
    for sensor, part in parts.items():
        if part["crop_class"].to_numpy().tolist() != first["crop_class"].to_numpy().tolist():
            msg = (
                f"The models of {' and '.join(parts)} have different classes: {sensor} has "
                f"{', '.join(map(str, part['crop_class'].to_numpy()))}, the first "
                f"{', '.join(map(str, first['crop_class'].to_numpy()))}. Train both with one legend."
            )
            raise ModelError(msg)
    total = np.zeros(first["probability"].shape)
    count = np.zeros(first["status"].shape, np.uint8)
    source = np.zeros(first["status"].shape, np.uint8)
    status = first["status"].to_numpy().copy()
    for sensor, part in parts.items():
        seen = part["status"].to_numpy() == Status.MAPPED
        total += np.where(seen, part["probability"].to_numpy(), 0)
        count += seen
        source += np.where(seen, np.uint8(SOURCES[sensor]), np.uint8(0))
        status = np.where(part["status"] == Status.FAILED, np.uint8(Status.FAILED), status)
    status[count > 0] = Status.MAPPED
    probability = np.full(total.shape, np.nan)
    np.divide(total, count, out=probability, where=np.broadcast_to(count > 0, total.shape))
    grid = ("y", "x")
    return xr.Dataset(
        {
            "probability": (("crop_class", *grid), probability),
            "status": (grid, status),
            "sensor": (grid, source),
        },
        coords=first.coords,
    )
