"""Classes of the pixels of a tile, with how sure the model is."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from toolkit.errors import InputError
from toolkit.learn.checkpoint import Checkpoint, normalise
from toolkit.learn.device import resolve_device
from toolkit.learn.engines.agreement import Agreement, compare
from toolkit.learn.engines.setting import Classifier, EngineSetting, Precision
from toolkit.learn.engines.table import prepare
from toolkit.learn.kept_memory import memory_kept
from toolkit.learn.pixels import check_features, observed, take_pixels
from toolkit.legend import NODATA, Status

NO_PERCENT = 255
"""Value of ``confidence`` and ``probability`` where there is no data."""

CHUNK = 16_384
"""Pixels in which equal series are looked for: 28 MB of ten bands and a season, 64 lines of a tile."""
COMPARED = (64, 256)
"""Least and most pixels of a tile that are computed in float32 too, one in a thousand between them."""
IN_DOUBT = 4096
"""Most pixels that are compared where fewer raise a doubt, four times as many each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A model made ready to be computed in one way, and in float32 to compare with."""

    checkpoint: Checkpoint
    """The model."""
    setting: EngineSetting
    """How it is computed."""
    logits_of: Classifier
    """Computes it."""
    exact: Classifier | None
    """Computes it in float32; None if that is the setting."""


def make_predictor(checkpoint: Checkpoint, setting: EngineSetting | None = None) -> Predictor:
    """Return a model made ready; keep it for many tiles, as some engines take seconds for it.

    Args:
        checkpoint: the model.
        setting: engine, precision, device; default PyTorch in float32 on the GPU, if there is one.

    Raises:
        ModelError: the engine or device is not here, or a name is unknown.
        InputError: batches of less than one pixel.
    """
    setting = setting or EngineSetting(device=str(resolve_device("auto")))
    if setting.batch_size < 1:
        msg = f"batch_size is {setting.batch_size!r}; allowed: 1 or more. Use 256."
        raise InputError(msg)
    plain = replace(setting, engine="torch", precision="fp32", ranges=(), packages=())
    logits_of = prepare(checkpoint, setting)
    exact = None if setting == plain else prepare(checkpoint, plain)
    return Predictor(checkpoint=checkpoint, setting=setting, logits_of=logits_of, exact=exact)


def predict(
    features: xr.DataArray,
    checkpoint: Checkpoint,
    *,
    device: str = "auto",
    engine: str = "auto",
    precision: Precision | Literal["auto"] = "auto",
    batch_size: int = 256,
) -> xr.Dataset:
    """Return the crop of each pixel.

    The same features give the same bytes: each batch has the same shape (the last one is filled
    up), so that a pixel's result depends on its own features alone.

    Args:
        features: float32 reflectance, dims band, step, y, x; NaN where not observed.
        checkpoint: the model.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        engine: ``torch``, ``onnx`` or ``openvino``; ``auto`` is torch, as it runs everywhere.
            :func:`toolkit.learn.engines.trial.choose_engine` tells which is fast here.
        precision: ``fp32``, ``bf16`` or ``int8``; ``auto`` is fp32.
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
        ModelError: unknown engine or device, or one that is not here.
        InputError: batch size below 1.
    """
    setting = EngineSetting(
        engine="torch" if engine == "auto" else engine,
        precision="fp32" if precision == "auto" else precision,
        batch_size=batch_size,
        device=str(resolve_device(device)),
    )
    return label(class_probabilities(features, make_predictor(checkpoint, setting)))


def class_probabilities(features: xr.DataArray, predictor: Predictor) -> xr.Dataset:
    """Return how probable each class is at each pixel, unrounded, so that sensors can be combined.

    Some of the pixels are computed in float32 too. Where their classes differ too much, all are. On a GPU
    without memory for a batch the tile fails with advice; the shape of a batch decides bytes, so it is not
    changed midway.

    Args:
        features: as for :func:`predict`.
        predictor: the model, made ready.

    Returns:
        ``probability`` float64 ``(crop_class, y, x)``, softmax, NaN without a class; ``status`` uint8
        ``(y, x)``; attribute ``agreement``, an :class:`toolkit.learn.engines.agreement.Agreement`.

    Raises:
        RecipeMismatchError: the features are not those the model was trained on.
    """
    features = check_features(features, predictor.checkpoint.recipe)
    with memory_kept():
        return _probabilities(features, predictor)


def _probabilities(features: xr.DataArray, predictor: Predictor) -> xr.Dataset:
    checkpoint, values = predictor.checkpoint, np.asarray(features.data)
    height, width = values.shape[2:]
    usable = observed(values)
    status = np.where(usable, Status.MAPPED, Status.NOT_OBSERVED).astype(np.uint8).ravel()
    probability = np.full((len(checkpoint.legend.names), height * width), np.nan)
    index = np.flatnonzero(usable)
    agreement = _agreement(values, index, predictor)
    logits_of = predictor.logits_of if agreement.close else predictor.exact or predictor.logits_of
    for first in range(0, len(index), CHUNK):
        here = index[first : first + CHUNK]
        rows, places = take_pixels(values, here), np.arange(len(here))
        if rows.shape[2] == 1:  # spectra: whole seasons of two pixels are never the same
            rows, places = distinct_rows(rows)
        logits = _logits(_normalised(rows, checkpoint), logits_of, predictor.setting.batch_size)[places]
        fine = np.isfinite(logits).all(axis=1)
        status[here[~fine]] = Status.FAILED
        probability[:, here[fine]] = _softmax(logits[fine]).T
    return xr.Dataset(
        {
            "probability": (("crop_class", "y", "x"), probability.reshape(-1, height, width)),
            "status": (("y", "x"), status.reshape(height, width)),
        },
        coords={**_place(features), "crop_class": list(checkpoint.legend.names)},
        attrs={"agreement": agreement},
    )


def _agreement(
    values: npt.NDArray[np.float32], index: npt.NDArray[np.intp], predictor: Predictor
) -> Agreement:
    """Compare an engine with float32 on pixels spread over a tile; where they raise a doubt, on more.

    Of 256 pixels one may differ, of fewer than 200 none: no allowance for chance, as a bad engine must not
    pass. A good one, with 0.3 % of other classes, would so lose every sixth tile, and float32 takes ten times
    as long. So four times as many pixels decide, and again up to :data:`IN_DOUBT`, of which it loses one tile
    in a hundred. A pixel of which float32 is sure ends it at once.
    """
    if predictor.exact is None or not len(index):
        return Agreement()
    n = max(COMPARED[0], min(COMPARED[1], len(index) // 1000))
    agreement = _compared(values, index, n, predictor)
    while not (agreement.close or agreement.wide) and n < min(IN_DOUBT, len(index)):
        n = min(IN_DOUBT, 4 * n)
        agreement = _compared(values, index, n, predictor)
    return agreement


def _compared(
    values: npt.NDArray[np.float32], index: npt.NDArray[np.intp], n: int, predictor: Predictor
) -> Agreement:
    """Compare on so many pixels, or all if there are fewer."""
    n, exact_of = min(n, len(index)), predictor.exact or predictor.logits_of
    spread = index[np.linspace(0, len(index) - 1, n).astype(np.intp)]
    rows = _normalised(take_pixels(values, spread), predictor.checkpoint)
    fast = _logits(rows, predictor.logits_of, predictor.setting.batch_size)
    exact = _logits(rows, exact_of, min(n, predictor.setting.batch_size))
    fine = np.isfinite(exact).all(axis=1)
    return compare(fast[fine], exact[fine])


def _normalised(rows: npt.NDArray[np.float32], checkpoint: Checkpoint) -> npt.NDArray[np.float32]:
    return normalise(rows, checkpoint.mean, checkpoint.std)


def distinct_rows(
    rows: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """Return each series once, and which of them every pixel has.

    At 10 m, 36 pixels and more share one EMIT spectrum: it is predicted once.

    Args:
        rows: float32 ``(pixel, band, step)``, contiguous, one pixel or more; equal means the same bytes.
    """
    whole = np.dtype((np.void, rows[:1].nbytes))  # one opaque value for each series, compared as bytes
    flat = rows.reshape(len(rows), -1).view(whole).ravel()
    _, first, places = np.unique(flat, return_index=True, return_inverse=True)
    return rows[first], places


def label(probabilities: xr.Dataset) -> xr.Dataset:
    """Return the layers of a map made of class probabilities, as :func:`predict` describes them.

    Args:
        probabilities: ``probability`` float64 ``(crop_class, y, x)`` and ``status`` uint8 ``(y, x)``.
    """
    scores = probabilities["probability"].to_numpy()
    status = probabilities["status"].to_numpy()
    mapped = status == Status.MAPPED
    percent = np.full(scores.shape, NO_PERCENT, np.uint8)
    percent[:, mapped] = np.rint(100 * scores[:, mapped])
    crop = np.full(status.shape, NODATA, np.uint8)
    crop[mapped] = scores[:, mapped].argmax(axis=0) + 1
    confidence = np.where(mapped, percent.max(axis=0), NO_PERCENT).astype(np.uint8)
    grid, nodata = ("y", "x"), {"nodata": NO_PERCENT}
    return xr.Dataset(
        {
            "crop": (grid, crop, {"nodata": NODATA}),
            "confidence": (grid, confidence, nodata),
            "probability": (("crop_class", *grid), percent, nodata),
            "status": (grid, status),
        },
        coords=probabilities.coords,
    )


def _logits(
    series: npt.NDArray[np.float32], logits_of: Classifier, batch_size: int
) -> npt.NDArray[np.float32]:
    """Logits of one or more series, computed in batches of one shape.

    They go into one array: held each by itself, those of a batch, 2 KB, came to lie between the values of
    layers, which were then too small to be used again. A worker grew by 200 to 400 MB so.
    """
    logits = np.empty((0, 0), np.float32)
    for first in range(0, len(series), batch_size):
        here = logits_of(_filled_up(series[first : first + batch_size], batch_size))
        if not len(logits):
            logits = np.empty((len(series), here.shape[1]), np.float32)
        logits[first : first + batch_size] = here[: len(series) - first]
    return logits


def _filled_up(series: npt.NDArray[np.float32], batch_size: int) -> npt.NDArray[np.float32]:
    """Return the batch with zeros added up to its full size."""
    missing = batch_size - len(series)
    if missing == 0:
        return series
    return np.concatenate([series, np.zeros((missing, *series.shape[1:]), np.float32)])


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the softmax, float64 ``(pixel, crop_class)``."""
    scores = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def _place(features: xr.DataArray) -> dict[Hashable, xr.DataArray]:
    """Coordinates that say where on earth the pixels lie."""
    return {
        name: coordinate for name, coordinate in features.coords.items() if set(coordinate.dims) <= {"y", "x"}
    }
