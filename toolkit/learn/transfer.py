"""Train on one region, test on all others: one trial of the transfer benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import InputError
from toolkit.learn.accuracy import confusion
from toolkit.learn.distance import (
    average_thresholded_confidence,
    frechet_distance,
    maximum_mean_discrepancy,
    mean_confidence,
    mean_ndvi,
    phenology_offset,
)
from toolkit.learn.networks.compact import COMPACT
from toolkit.learn.predict_samples import SampleOutputs, run_samples
from toolkit.learn.sample_harmonics import harmonic_samples
from toolkit.learn.samples import Samples
from toolkit.learn.seasons import cut_season
from toolkit.learn.splits import split_samples
from toolkit.learn.train import Epoch, TrainConfig, train_classifier

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

HARMONIC_ORDER = 2
"""Of the feature ``harmonic``; the paper's is not published (see ``docs/method.md``)."""

MODEL_FEATURES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cropnet2d": ("median2d",),
        "cropnet1d": ("median1d", "harmonic"),
        "mlp": ("median1d", "harmonic"),
        "random_forest": ("median1d", "harmonic"),
        "tempcnn": ("median2d",),
        "attention": ("median2d",),
        **dict.fromkeys(COMPACT, ("median2d",)),
    }
)
"""Model -> the features it takes. The values of ``median2d`` and ``median1d`` are the same: models that
take the second make the vector themselves."""
FEATURES: tuple[str, ...] = ("median2d", "median1d", "harmonic")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Configuration:
    """What is compared: features, model and augmentation."""

    features: str
    """One of :data:`FEATURES`."""
    model: str
    """A key of :data:`MODEL_FEATURES`."""
    augmentation: str = "none"
    """Name of the augmentation."""

    def __str__(self) -> str:
        """Return the name in tables."""
        return f"{self.model}, {self.features}, augmentation {self.augmentation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training: a configuration, a source region and a seed."""

    configuration: Configuration
    """Features, model and augmentation."""
    source: str
    """Region trained on."""
    seed: int
    """Of the split, the weights and every draw."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TargetResult:
    """What a trial gave on one target."""

    confusion: Counts
    """int64 ``(crop_class, crop_class)``, rows = reference, columns = prediction."""
    n_not_observed: int
    """Samples left out, as a feature is missing in the season."""
    closeness: Mapping[str, float | None]
    """Measure -> value, see :data:`toolkit.learn.distance.MEASURES`; None where the model has none."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrialResult:
    """A finished trial."""

    trial: Trial
    """What was done."""
    held_out: Counts
    """Confusion on the source's own held-out fields, int64 ``(crop_class, crop_class)``."""
    tested: Mapping[str, TargetResult]
    """Target -> what the model gave there."""
    facts: Mapping[str, Any]
    """Epoch kept, number of samples and the like; plain values."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "trial": asdict(self.trial),
            "held_out": self.held_out.tolist(),
            "tested": {
                name: {
                    "confusion": tested.confusion.tolist(),
                    "n_not_observed": tested.n_not_observed,
                    "closeness": dict(tested.closeness),
                }
                for name, tested in self.tested.items()
            },
            "facts": dict(self.facts),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialResult:
        """Rebuild a result from :meth:`to_dict`.

        Raises:
            InputError: a key is missing or a value is of another kind.
        """
        try:
            trial = dict(values["trial"])
            tested = {
                str(name): TargetResult(
                    confusion=np.asarray(one["confusion"], np.int64),
                    n_not_observed=int(one["n_not_observed"]),
                    closeness=dict(one["closeness"]),
                )
                for name, one in values["tested"].items()
            }
            return cls(
                trial=Trial(**{**trial, "configuration": Configuration(**trial["configuration"])}),
                held_out=np.asarray(values["held_out"], np.int64),
                tested=tested,
                facts=dict(values["facts"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"The result of a trial cannot be read ({error!r}). Remove the file; it is made again."
            raise InputError(msg) from error


def feature_samples(samples: Samples, season: FeatureRecipe, features: str) -> tuple[Samples, FeatureRecipe]:
    """Return samples and recipe as :func:`toolkit.learn.train.train_classifier` takes them.

    Args:
        samples: series of the full year or the season.
        season: recipe of the season.
        features: one of :data:`FEATURES`.

    Raises:
        InputError: the features are unknown.
    """
    if features not in FEATURES:
        msg = f"Features {features!r} are unknown. Known: {', '.join(FEATURES)}. Choose one of them."
        raise InputError(msg)
    if features == "harmonic":
        fitted = harmonic_samples(samples, season, order=HARMONIC_ORDER)
        return fitted, fitted.recipe
    return samples, season


def run_trial(
    trial: Trial,
    regions: Mapping[str, Samples],
    season: FeatureRecipe,
    config: TrainConfig,
    *,
    targets: tuple[str, ...],
    progress: Callable[[Epoch], None] | None = None,
) -> TrialResult:
    """Train on the source and test on each target.

    Args:
        trial: what to do; ``config`` holds its model, augmentation and seed.
        regions: samples of the source and the targets, series of the full year or the season.
        season: recipe of the maps to be made.
        config: how to train.
        targets: regions to test on; the source among them is passed over.
        progress: called after each epoch.

    Raises:
        CropglobeError: see :func:`toolkit.learn.train.train_classifier`.
    """
    source, recipe = feature_samples(regions[trial.source], season, trial.configuration.features)
    checkpoint = train_classifier(source, recipe, config, progress=progress)
    own = run_samples(source, checkpoint, device=config.device)
    observed = source.select(own.seen)
    # As the training drew it: the same samples, share and seed.
    split = split_samples(observed, share=config.validation_share, seed=config.seed, by=config.split)
    tested = {}
    for name in targets:
        if name == trial.source:
            continue
        target, _ = feature_samples(regions[name], season, trial.configuration.features)
        outputs = run_samples(target, checkpoint, device=config.device)
        values = {
            **_closeness(own, outputs),
            "thresholded_confidence": _foretold(own, outputs, split.validation, observed.crop),
            "phenology_days": _offset(regions[trial.source], regions[name], season),
        }
        tested[name] = TargetResult(
            confusion=_counts(target, outputs),
            n_not_observed=outputs.n_not_observed,
            closeness={key: None if np.isnan(value) else value for key, value in values.items()},
        )
    facts = {
        "epoch": checkpoint.metrics.get("epoch"),
        "samples": len(source),
        "n_not_observed": own.n_not_observed,
        "split": checkpoint.metrics["split"],
        "device": checkpoint.provenance["device"],
        "torch": checkpoint.provenance["torch"],
    }
    return TrialResult(
        trial=trial,
        held_out=np.asarray(checkpoint.metrics["confusion"], np.int64),
        tested=tested,
        facts=facts,
    )


def _counts(target: Samples, outputs: SampleOutputs) -> Counts:
    return confusion(target.crop[outputs.seen], outputs.probability.argmax(axis=1), len(target.legend.names))


def _closeness(own: SampleOutputs, outputs: SampleOutputs) -> dict[str, float]:
    """Return the measures that need the source's and the target's outputs, and no label."""
    values = {"confidence": mean_confidence(outputs.probability)}
    if own.features is not None and outputs.features is not None and len(outputs.features) > 1:
        values["frechet"] = frechet_distance(own.features, outputs.features)
        values["frechet_relative"] = frechet_distance(own.features, outputs.features, relative=True)
        values["mmd"] = maximum_mean_discrepancy(own.features, outputs.features)
    return values


def _foretold(
    own: SampleOutputs, outputs: SampleOutputs, held_out: Flags, crop: npt.NDArray[np.uint8]
) -> float:
    """Return the accuracy on the target that confidence on held-out fields foretells."""
    probability = own.probability[held_out]
    right = probability.argmax(axis=1) == crop[held_out]
    return average_thresholded_confidence(probability, right, outputs.probability)


def _offset(source: Samples, target: Samples, season: FeatureRecipe) -> float:
    """Return the days by which the target's mean NDVI is later; over the year where both hold it."""
    whole = all(one.recipe.covers_year for one in (source, target))
    first, second = (
        mean_ndvi(one.series if whole else _observed_season(one, season), season) for one in (source, target)
    )
    if first is None or second is None:
        return float("nan")
    return phenology_offset(first, second, step_days=season.step_days, circular=whole)


def _observed_season(samples: Samples, season: FeatureRecipe) -> npt.NDArray[np.float32]:
    """Return the steps of the season with the gaps that were kept."""
    return cut_season(samples.series, samples.recipe, replace(season, fill=samples.recipe.fill))
