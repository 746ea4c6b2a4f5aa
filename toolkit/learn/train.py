"""Training of a network on samples, validated on other fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import LabelError, RecipeMismatchError
from toolkit.learn.accuracy import split_fields
from toolkit.learn.batches import Batches
from toolkit.learn.checkpoint import Checkpoint, normalise
from toolkit.learn.device import reproducible, resolve_device, seeded
from toolkit.learn.fit import fit
from toolkit.learn.networks import build_network
from toolkit.learn.samples import Samples
from toolkit.learn.seasons import cut_season
from toolkit.learn.train_config import Epoch, TrainConfig

__all__ = ["Epoch", "TrainConfig", "train_classifier"]

Flags = npt.NDArray[np.bool_]
Series = npt.NDArray[np.float32]

OVER_TIME = ("cropnet2d",)
"""Networks for series only."""

DEFAULTS = TrainConfig()
"""As published by Tong & Wang 2025."""


def train_classifier(
    samples: Samples,
    recipe: FeatureRecipe,
    config: TrainConfig = DEFAULTS,
    *,
    progress: Callable[[Epoch], None] | None = None,
) -> Checkpoint:
    """Train a network; the weights of the best epoch are kept.

    That is the epoch with the highest macro F1 on the validation fields, among equals the one with
    the lowest loss there.

    Fields, never pixels, are divided into training and validation. The same samples, recipe and
    config give the same checkpoint on one machine. The caller's random state is not touched.

    Args:
        samples: labelled series, full year or the recipe's season.
        recipe: features of the maps to be made.
        config: how to train.
        progress: called after each epoch.

    Raises:
        RecipeMismatchError: the samples cannot give the recipe's features.
        LabelError: series with NaN, only one class, or too few fields to validate.
        ModelError: unknown device, or the loss diverges.
    """
    _check_kind(recipe, config.network)
    device = resolve_device(config.device)
    series = cut_season(samples.series, samples.recipe, recipe)
    # A year's series may hold nothing in the season; a map calls such a pixel not observed.
    empty = np.isnan(series).all(axis=2)
    seen = np.logical_not(np.any(empty, axis=1))
    samples, series = samples.select(seen), series[seen]
    _check_complete(series)
    training, validation = _split(samples, config)
    mean, std = _band_statistics(series[training])
    batches = Batches(
        series=series[training],
        crop=samples.crop[training],
        mean=mean,
        std=std,
        size=config.batch_size,
    )
    n_classes = len(samples.legend.names)
    held_out = normalise(series[validation], mean, std), samples.crop[validation]
    with seeded(config.seed, device), reproducible(device):
        network = build_network(config.network, recipe.shape, n_classes).to(device)
        best = fit(network, batches, held_out, config, n_classes=n_classes, progress=progress)
    counts = {"training": training, "validation": validation}
    metrics = {
        **best.accuracy.to_dict(samples.legend),
        "epoch": best.epoch,
        "loss": best.loss,
        "fields": {key: len(np.unique(samples.field[part])) for key, part in counts.items()},
        "samples": {key: _count_classes(samples, part) for key, part in counts.items()},
    }
    return Checkpoint(
        network=config.network,
        state=best.state,
        recipe=recipe,
        legend=samples.legend,
        mean=mean,
        std=std,
        metrics=metrics,
        provenance=_provenance(samples, config, device),
    )


def _check_kind(recipe: FeatureRecipe, network: str) -> None:
    """Raise unless a network takes features of a kind."""
    if recipe.kind not in ("median2d", "emit"):
        msg = (
            f"Recipe: kind is {recipe.kind!r}; networks take 'median2d' (cropnet1d makes the vector itself) "
            "and 'emit'."
        )
        raise RecipeMismatchError(msg)
    if recipe.kind == "emit" and network in OVER_TIME:
        msg = f"The network {network!r} convolves over time, and a spectrum has none. Use cropnet1d."
        raise RecipeMismatchError(msg)


def _count_classes(samples: Samples, part: Flags) -> dict[str, int]:
    counts = np.bincount(samples.crop[part], minlength=len(samples.legend.names))
    return dict(zip(samples.legend.names, counts.tolist(), strict=True))


def _provenance(samples: Samples, config: TrainConfig, device: torch.device) -> dict[str, Any]:
    return {
        "simulated": samples.simulated,
        "samples_sha256": samples.content_hash,
        "samples": samples.provenance,
        "config": asdict(config),
        "device": device.type,
        "torch": torch.__version__,
    }


def _check_complete(series: Series) -> None:
    bad = ~np.isfinite(series).all(axis=(1, 2))
    if bad.any():
        msg = (
            f"{int(bad.sum())} of {len(series)} samples hold NaN or infinity; needed: numbers in "
            "every step. Extract them from features with filled gaps (recipe.fill='linear')."
        )
        raise LabelError(msg)


def _split(samples: Samples, config: TrainConfig) -> tuple[Flags, Flags]:
    """Return which samples train and which validate, bool ``(sample,)`` each."""
    ids, held_out = split_fields(samples.field, samples.crop, share=config.validation_share, seed=config.seed)
    training = np.isin(samples.field, ids)
    validation = np.isin(samples.field, held_out)
    per_class = {
        name: len(np.unique(samples.field[samples.crop == k])) for k, name in enumerate(samples.legend.names)
    }
    listed = ", ".join(f"{name} {n}" for name, n in per_class.items() if n) or "none"
    if len(np.unique(samples.crop[training])) < 2:
        msg = (
            f"Training needs fields of two classes or more; got fields: {listed}. "
            "Add fields of other crops, or of 'other'."
        )
        raise LabelError(msg)
    if not validation.any():
        msg = (
            f"Validation needs a class with two fields or more; got fields: {listed}. "
            "Add fields, as pixels of one field may not stand on both sides."
        )
        raise LabelError(msg)
    return training, validation


def _band_statistics(series: Series) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per band; 1 for a band that never changes."""
    mean = series.mean(axis=(0, 2), dtype=np.float64)
    std = series.std(axis=(0, 2), dtype=np.float64)
    std[std < 1e-6] = 1.0  # far below the step of reflectance on disk, 1e-4
    return tuple(mean.tolist()), tuple(std.tolist())
