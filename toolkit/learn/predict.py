"""Classes of the pixels of a tile, with how sure the model is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr

from toolkit.errors import InputError, ModelError
from toolkit.learn.checkpoint import Checkpoint, normalise
from toolkit.learn.device import resolve_device
from toolkit.learn.engine import Engine, torch_engine
from toolkit.learn.pixels import check_features, observed, take_pixels
from toolkit.legend import NODATA, Legend, Status

NO_PERCENT = 255
"""Value of ``confidence`` and ``probability`` where there is no data."""

ENGINES: Mapping[str, Engine] = {"torch": torch_engine}
"""Name -> what makes a function from series to logits out of a checkpoint."""

Bytes = npt.NDArray[np.uint8]


def predict(
    features: xr.DataArray,
    checkpoint: Checkpoint,
    *,
    device: str = "auto",
    engine: str = "auto",
    batch_size: int = 256,
) -> xr.Dataset:
    """Return the crop of each pixel.

    The same features give the same bytes: each batch has the same shape (the last one is filled
    up), so that a pixel's result depends on its own features alone.

    Args:
        features: float32 reflectance, dims band, step, y, x; NaN where not observed.
        checkpoint: the model.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        engine: ``auto`` or a name in :data:`ENGINES`.
        batch_size: pixels computed at once.

    Returns:
        ``crop`` uint8 ``(y, x)``, class index + 1, 0 without a class; equal scores give the class
        that comes first in the legend.
        ``probability`` uint8 ``(crop_class, y, x)``, softmax in percent, rounded to the nearest
        whole number (halves to the even one), so that a pixel's values may miss 100 in sum; 255 no
        data.
        ``confidence`` uint8 ``(y, x)``, the largest of them; 255 no data.
        ``status`` uint8 ``(y, x)``, see :class:`toolkit.legend.Status`: a pixel with a missing
        feature is NOT_OBSERVED, one for which the model gives no number is FAILED.

    Raises:
        RecipeMismatchError: the features are not those the model was trained on.
        ModelError: unknown engine or device.
        InputError: batch size below 1.
    """
    if batch_size < 1:
        msg = f"batch_size is {batch_size!r}; allowed: 1 or more. Use 256."
        raise InputError(msg)
    logits_of = resolve_engine(engine)(checkpoint, resolve_device(device))
    features = check_features(features, checkpoint.recipe)
    values = np.asarray(features.data)
    height, width = values.shape[2:]
    usable = observed(values)
    status = np.where(usable, Status.MAPPED, Status.NOT_OBSERVED).astype(np.uint8).ravel()
    crop = np.full(height * width, NODATA, np.uint8)
    percent = np.full((len(checkpoint.legend.names), height * width), NO_PERCENT, np.uint8)
    index = np.flatnonzero(usable)
    for first in range(0, len(index), batch_size):
        here = index[first : first + batch_size]
        series = normalise(take_pixels(values, here), checkpoint.mean, checkpoint.std)
        logits = logits_of(_filled_up(series, batch_size))[: len(here)]
        fine = np.isfinite(logits).all(axis=1)
        status[here[~fine]] = Status.FAILED
        here, logits = here[fine], logits[fine]
        crop[here] = logits.argmax(axis=1) + 1
        percent[:, here] = _percent(logits).T
    return _dataset(
        features,
        checkpoint.legend,
        crop=crop.reshape(height, width),
        percent=percent.reshape(-1, height, width),
        status=status.reshape(height, width),
    )


def resolve_engine(name: str) -> Engine:
    """Return the engine of a name; ``auto`` is torch, as it runs everywhere.

    Raises:
        ModelError: the name is unknown.
    """
    if name == "auto":
        return ENGINES["torch"]
    if name not in ENGINES:
        msg = f"Engine {name!r} is unknown. Known: auto, {', '.join(ENGINES)}. Choose one of them."
        raise ModelError(msg)
    return ENGINES[name]


def _filled_up(series: npt.NDArray[np.float32], batch_size: int) -> npt.NDArray[np.float32]:
    """Return the batch with zeros added up to its full size."""
    missing = batch_size - len(series)
    if missing == 0:
        return series
    return np.concatenate([series, np.zeros((missing, *series.shape[1:]), np.float32)])


def _percent(logits: npt.NDArray[np.float32]) -> Bytes:
    """Return the softmax in percent, uint8 ``(pixel, crop_class)``."""
    scores = logits.astype(np.float64)
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(np.rint(100 * scores / scores.sum(axis=1, keepdims=True)), np.uint8)


def _dataset(
    features: xr.DataArray, legend: Legend, *, crop: Bytes, percent: Bytes, status: Bytes
) -> xr.Dataset:
    """Return the layers with the place on earth that the features have."""
    place = {
        name: coordinate for name, coordinate in features.coords.items() if set(coordinate.dims) <= {"y", "x"}
    }
    confidence = np.where(status == Status.MAPPED, percent.max(axis=0), NO_PERCENT).astype(np.uint8)
    grid, nodata = ("y", "x"), {"nodata": NO_PERCENT}
    return xr.Dataset(
        {
            "crop": (grid, crop, {"nodata": NODATA}),
            "confidence": (grid, confidence, nodata),
            "probability": (("crop_class", *grid), percent, nodata),
            "status": (grid, status),
        },
        coords={**place, "crop_class": list(legend.names)},
    )
