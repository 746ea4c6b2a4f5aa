"""Samples out of features and labels on one grid."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pyproj import Transformer

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import GridError, LabelError
from toolkit.learn.grids import check_same_grid
from toolkit.learn.pixels import check_features, draw_per_field, observed, take_pixels
from toolkit.learn.samples import Samples
from toolkit.legend import CROPGLOBE, Legend

logger = logging.getLogger(__name__)


def extract_samples(  # data, labels and recipe; the rest is named
    features: xr.DataArray,
    labels: xr.Dataset,
    recipe: FeatureRecipe,
    *,
    legend: Legend = CROPGLOBE,
    simulated: bool,
    cap_per_field: int | None = None,
    seed: int = 0,
    provenance: dict[str, Any] | None = None,
) -> Samples:
    """Return the series of the labelled pixels.

    Pixels with a missing feature (NaN or infinite) are left out and counted in the provenance, so
    that a tile under clouds gives no sample. If the recipe fills no gaps, one observation is enough.

    Args:
        features: float32 reflectance, dims band, step, y, x.
        labels: ``crop`` uint8 and ``field`` int32 ``(y, x)`` on the same grid.
        recipe: what the features mean.
        legend: classes of the labels.
        simulated: whether the features come from simulated scenes.
        cap_per_field: at most this many pixels of a field, drawn at random.
        seed: of that draw.
        provenance: plain values to keep with the samples.

    Raises:
        RecipeMismatchError: the features do not fit the recipe.
        GridError: features and labels lie on different grids, or have no CRS.
        LabelError: nothing is labelled, the labels do not fit the legend, or the cap is below 1.
    """
    features = check_features(features, recipe)
    check_same_grid(features, labels["crop"])
    crop = labels["crop"].transpose("y", "x").to_numpy()
    fields = labels["field"].transpose("y", "x").to_numpy()
    _check_labels(labels, crop, fields, legend)
    values = np.asarray(features.data)
    usable = (crop > 0) & observed(values, gaps=recipe.fill == "none")
    n_dropped = int((crop > 0).sum() - usable.sum())
    logger.info("%d labelled pixels, %d of them not observed", (crop > 0).sum(), n_dropped)
    index = np.flatnonzero(usable)
    index = index[draw_per_field(fields.ravel()[index], cap_per_field, seed)]
    lon, lat = _degrees(features, index)
    return Samples(
        series=take_pixels(values, index),
        crop=(crop.ravel()[index] - 1).astype(np.uint8),
        field=fields.ravel()[index].astype(np.int32),
        lon=lon,
        lat=lat,
        recipe=recipe,
        legend=legend,
        simulated=simulated,
        provenance={
            **(provenance or {}),
            "n_not_observed": n_dropped,
            "cap_per_field": cap_per_field,
            "seed": seed,
        },
    )


def _check_labels(
    labels: xr.Dataset,
    crop: npt.NDArray[np.uint8],
    fields: npt.NDArray[np.int32],
    legend: Legend,
) -> None:
    named = list(labels.attrs.get("crops", legend.names))
    if named != list(legend.names) or crop.max(initial=0) > len(legend.names):
        msg = (
            f"Labels have the classes {named} and values up to {crop.max(initial=0)}, the legend "
            f"has {list(legend.names)}. Give the legend of these labels."
        )
        raise LabelError(msg)
    if not crop.any():
        msg = "Labels hold no labelled pixel: 'crop' is 0 everywhere. Give labels of this area."
        raise LabelError(msg)
    if n_loose := int(((crop > 0) & (fields <= 0)).sum()):
        msg = (
            f"{n_loose} labelled pixels belong to no field ('field' is 0 or less); fields count "
            "from 1. Give each its field, as samples are split by field."
        )
        raise LabelError(msg)


def _degrees(
    features: xr.DataArray, index: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return longitude and latitude of pixel centres."""
    crs = features.odc.geobox.crs
    if crs is None:
        msg = "Features have no CRS; longitude and latitude need one. Assign it (.odc.assign_crs)."
        raise GridError(msg)
    row, column = np.divmod(index, features.sizes["x"])
    x, y = features["x"].to_numpy()[column], features["y"].to_numpy()[row]
    lon, lat = Transformer.from_crs(str(crs), "EPSG:4326", always_xy=True).transform(x, y)
    return np.asarray(lon, np.float64), np.asarray(lat, np.float64)
