"""Training of a model on samples, validated on other fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import RecipeMismatchError
from toolkit.learn.accuracy import Accuracy, compare
from toolkit.learn.augment import augmented_copies
from toolkit.learn.batches import Batches
from toolkit.learn.checkpoint import Checkpoint, normalise
from toolkit.learn.device import reproducible, resolve_device, seeded
from toolkit.learn.fit import HeldOut, fit
from toolkit.learn.forest import fit_forest
from toolkit.learn.networks import NEEDS_STEPS, NETWORKS, build_network, network_like
from toolkit.learn.resume import Journal
from toolkit.learn.samples import Samples
from toolkit.learn.splits import Split, split_samples
from toolkit.learn.train_config import Epoch, TrainConfig
from toolkit.learn.training_set import TrainingSet, training_set

__all__ = ["Epoch", "TrainConfig", "train_classifier"]

Flags = npt.NDArray[np.bool_]
Series = npt.NDArray[np.float32]

FOREST = "random_forest"
"""The model that is not trained by gradient descent."""

DEFAULTS = TrainConfig()
"""What ``docs/method.md`` describes."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fitted:
    """What a way of training gives."""

    state: dict[str, torch.Tensor]
    """Weights by name."""
    accuracy: Accuracy
    """On the validation samples."""
    notes: dict[str, Any]
    """How it went; plain values for the checkpoint's metrics."""


def train_classifier(
    samples: Samples,
    recipe: FeatureRecipe,
    config: TrainConfig = DEFAULTS,
    *,
    progress: Callable[[Epoch], None] | None = None,
    journal: Journal | None = None,
) -> Checkpoint:
    """Train a model; the weights of the best epoch are kept.

    That is the epoch with the highest macro F1 on the validation fields, among equals the one with
    the lowest loss there.

    Fields, never pixels, are divided into training and validation, where they are known. The same samples,
    recipe and config give the same checkpoint on one machine with as many threads, also if the training was
    interrupted and taken up again. The caller's random state is not touched.

    Args:
        samples: labelled series, full year or the recipe's season.
        recipe: features of the maps to be made.
        config: how to train.
        progress: called after each epoch.
        journal: file that holds the state after each epoch; if there is one of this training, it goes on from
            there. It is the caller's to remove, once the model is safe.

    Raises:
        RecipeMismatchError: the samples cannot give the recipe's features.
        LabelError: series with NaN, only one class, or too few fields to validate.
        ModelError: unknown device, the loss diverges, or memory does not suffice.
    """
    check_kind(recipe, config.network)
    device = resolve_device(config.device)
    given = training_set(samples, recipe, config.augmentation)
    split = split_samples(given.samples, share=config.validation_share, seed=config.seed, by=config.split)
    provenance = _provenance(samples, config, device)
    if config.network == FOREST:  # trees compare, and need no common scale
        mean, std = (0.0,) * len(recipe.bands), (1.0,) * len(recipe.bands)
    else:
        mean, std = band_statistics(given.season[split.training])
    held_out = normalise(given.season[split.validation], mean, std), given.samples.crop[split.validation]
    n_classes = len(samples.legend.names)
    if config.network == FOREST:
        fitted = _fit_forest(given, split, held_out, recipe, config, n_classes=n_classes)
    else:
        fitted = _fit_network(
            _batches(given, split, config, (mean, std)),
            held_out,
            recipe,
            config,
            n_classes=n_classes,
            progress=progress,
            journal=journal,
            meaning={"recipe": recipe.to_dict(), **provenance},
        )
    counts = {"training": split.training, "validation": split.validation}
    metrics = {
        **fitted.accuracy.to_dict(samples.legend),
        **fitted.notes,
        "split": split.by,
        f"{split.by}s" if split.by != "series" else "series": split.counts(),
        "samples": {key: count_classes(given.samples, part) for key, part in counts.items()},
    }
    return Checkpoint(
        network=config.network,
        state=fitted.state,
        recipe=recipe,
        legend=samples.legend,
        mean=mean,
        std=std,
        metrics=metrics,
        provenance=provenance,
    )


def _batches(
    given: TrainingSet, split: Split, config: TrainConfig, statistics: tuple[tuple[float, ...], ...]
) -> Batches:
    """Return the training samples, to be varied in each epoch or, as published, varied once."""
    mean, std = statistics
    augmentation, observed = given.augmentation, None
    if augmentation is None or augmentation.published:
        series, crop = _with_copies(given, split, config)
        augmentation = None
    else:
        series, crop = given.year[split.training], given.samples.crop[split.training]
        observed = None if given.observed is None else given.observed[split.training]
    return Batches(
        series=series,
        crop=crop,
        mean=mean,
        std=std,
        size=config.batch_size,
        seed=config.seed,
        observed=observed,
        window=given.window,
        augmentation=augmentation,
    )


def _with_copies(
    given: TrainingSet, split: Split, config: TrainConfig
) -> tuple[Series, npt.NDArray[np.uint8]]:
    """Return the season of the training samples and, if they are varied, copies drawn once beside it."""
    season, crop = given.season[split.training], given.samples.crop[split.training]
    if given.augmentation is None:
        return season, crop
    year = torch.from_numpy(given.year[split.training])
    generator = torch.Generator().manual_seed(config.seed)
    seen = None if given.observed is None else torch.from_numpy(given.observed[split.training])
    copies = augmented_copies(year, given.window, given.augmentation, generator, observed=seen)
    return np.concatenate([season, *(copy.numpy() for copy in copies)]), np.tile(crop, 1 + len(copies))


def _fit_forest(
    given: TrainingSet,
    split: Split,
    held_out: HeldOut,
    recipe: FeatureRecipe,
    config: TrainConfig,
    *,
    n_classes: int,
) -> Fitted:
    """Grow a random forest, on copies drawn once if series are varied, as trees see each sample once."""
    series, crop = _with_copies(given, split, config)
    threads = torch.get_num_threads()
    state = fit_forest(series, crop, n_classes=n_classes, seed=config.seed, n_jobs=threads)
    forest = network_like(state, FOREST, recipe.shape, n_classes)
    forest.load_state_dict(state)
    with torch.inference_mode():
        logits = forest(torch.from_numpy(held_out[0])).numpy()
    accuracy = compare(held_out[1], logits.argmax(axis=1), n_classes)
    return Fitted(state=state, accuracy=accuracy, notes={"trees": len(state["root"])})


def _fit_network(
    batches: Batches,
    held_out: HeldOut,
    recipe: FeatureRecipe,
    config: TrainConfig,
    *,
    n_classes: int,
    progress: Callable[[Epoch], None] | None,
    journal: Journal | None,
    meaning: dict[str, Any],
) -> Fitted:
    """Train a network by gradient descent."""
    device = resolve_device(config.device)
    with seeded(config.seed, device), reproducible(device):
        network = build_network(config.network, recipe.shape, n_classes).to(device)
        best, batch_size = fit(
            network,
            batches,
            held_out,
            config,
            n_classes=n_classes,
            progress=progress,
            journal=journal,
            meaning=meaning,
        )
    notes = {"epoch": best.epoch, "loss": best.loss, "batch_size": batch_size}
    return Fitted(state=dict(best.state), accuracy=best.accuracy, notes=notes)


def check_kind(recipe: FeatureRecipe, network: str) -> None:
    """Raise unless a network takes features of a kind."""
    if recipe.kind not in ("median2d", "emit"):
        msg = (
            f"Recipe: kind is {recipe.kind!r}; networks take 'median2d' (cropnet1d makes the vector itself) "
            "and 'emit'."
        )
        raise RecipeMismatchError(msg)
    if recipe.kind == "emit" and network in NEEDS_STEPS:
        others = ", ".join(name for name in NETWORKS if name not in NEEDS_STEPS)
        msg = f"The network {network!r} works over time, and a spectrum has none. Use one of {others}."
        raise RecipeMismatchError(msg)


def count_classes(samples: Samples, part: Flags) -> dict[str, int]:
    """Return the number of samples of each class in a part, bool ``(sample,)``."""
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


def band_statistics(series: Series) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per band; 1 for a band that never changes."""
    mean = series.mean(axis=(0, 2), dtype=np.float64)
    std = series.std(axis=(0, 2), dtype=np.float64)
    std[std < 1e-6] = 1.0  # far below the step of reflectance on disk, 1e-4
    return tuple(mean.tolist()), tuple(std.tolist())
