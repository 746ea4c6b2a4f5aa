"""Models to compare on real labels, trained in one way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.learn.augment import augmented_copies
from toolkit.learn.augmentations import AUGMENTATIONS
from toolkit.learn.checkpoint import normalise
from toolkit.learn.device import Precision
from toolkit.learn.forest import fit_forest
from toolkit.learn.networks import network_like
from toolkit.learn.samples import Samples
from toolkit.learn.seasons import cut_season
from toolkit.learn.train import TrainConfig, train_classifier
from toolkit.learn.training_set import training_set

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is trained, and how its series are varied."""

    network: str
    augmentation: str = "none"
    epochs: int = 20
    precision: Precision = "auto"


def predicted(
    model: Model, config: TrainConfig, training: Samples, recipe: FeatureRecipe, test: Samples, seed: int
) -> Labels:
    """Train on some samples and return the classes of others.

    Args:
        model: what to train.
        config: how networks are trained, but for the model's own epochs and augmentation.
        training: samples to train on.
        recipe: features of the model.
        test: samples to classify; each must be observed in the season.
        seed: of every draw.
    """
    augmentation = AUGMENTATIONS[model.augmentation]
    series = cut_season(test.series, test.recipe, recipe)
    if model.network == "random_forest":  # nothing to choose by validation: it gets all of them
        given = training_set(training, recipe, augmentation)
        rows, crop = given.season, given.samples.crop
        if augmentation is not None:
            generator = torch.Generator().manual_seed(seed)
            year = torch.from_numpy(given.year)
            seen = None if given.observed is None else torch.from_numpy(given.observed)
            copies = augmented_copies(year, given.window, augmentation, generator, observed=seen)
            rows, crop = np.concatenate([rows, *(c.numpy() for c in copies)]), np.tile(crop, 1 + len(copies))
        n_classes = len(training.legend.names)
        state = fit_forest(rows, crop, n_classes=n_classes, seed=seed)
        forest = network_like(state, "random_forest", recipe.shape, n_classes)
        forest.load_state_dict(state)
        return _classes(forest, series)
    config = replace(
        config,
        network=model.network,
        epochs=model.epochs,
        augmentation=augmentation,
        precision=model.precision,
        seed=seed,
    )
    trained = train_classifier(training, recipe, config)
    return _classes(trained.build(), normalise(series, trained.mean, trained.std))


def _classes(network: torch.nn.Module, series: npt.NDArray[np.float32]) -> Labels:
    with torch.inference_mode():
        return network(torch.from_numpy(series)).argmax(dim=1).numpy()
