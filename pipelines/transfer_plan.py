"""Which trials a transfer benchmark needs, and where each is kept once it is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from pipelines.folder import write_json
from pipelines.learn_config import TransferRequest
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import InputError
from toolkit.learn.augmentations import AUGMENTATIONS, COPIES
from toolkit.learn.device import resolve_device, uses_bf16
from toolkit.learn.samples import Samples
from toolkit.learn.train import TrainConfig
from toolkit.learn.transfer import FEATURES, MODEL_FEATURES, Configuration, Trial, TrialResult

RESULT_VERSION = 2
"""Part of every key; raised when the code gives other results from the same inputs."""

OF_NETWORKS = ("epochs", "batch_size", "learning_rate", "schedule", "patience", "precision", "device")
"""Options of gradient descent: a forest grown with others is the same."""


def configurations(config: TransferRequest) -> list[Configuration]:
    """Return what is compared: every model with every feature it takes and every augmentation.

    Harmonic coefficients are trained on as they are: only series can be moved in time.

    Raises:
        InputError: an unknown name, or a model or feature that nothing else asked for goes with.
    """
    _check_names("models", config.models, tuple(MODEL_FEATURES))
    _check_names("features", config.features, FEATURES)
    _check_names("augmentations", config.augmentations, tuple(AUGMENTATIONS))
    found = {
        Configuration(
            features=features,
            model=model,
            augmentation="none" if features == "harmonic" else augmentation,
        ): None
        for model in dict.fromkeys(config.models)
        for features in dict.fromkeys(config.features or MODEL_FEATURES[model][:1])
        for augmentation in dict.fromkeys(config.augmentations)
        if features in MODEL_FEATURES[model]
    }
    _check_used("models", config.models, {one.model for one in found})
    _check_used("features", config.features, {one.features for one in found})
    return list(found)


def plan_trials(config: TransferRequest, sources: tuple[str, ...]) -> list[Trial]:
    """Return the trials in the order in which they are run: all sources of a seed first.

    Args:
        config: the request.
        sources: regions to train on.
    """
    return [
        Trial(configuration=configuration, source=source, seed=seed)
        for seed in range(config.seeds)
        for configuration in configurations(config)
        for source in sources
    ]


def train_config(config: TransferRequest, trial: Trial) -> TrainConfig:
    """Return how a trial is trained."""
    augmentation = AUGMENTATIONS[trial.configuration.augmentation]
    # Copies beside the originals make an epoch longer: all configurations see as many samples.
    once = augmentation is not None and augmentation.published
    epochs = max(1, round(config.epochs / (1 + COPIES))) if once else config.epochs
    return TrainConfig(
        network=trial.configuration.model,
        epochs=epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        schedule=config.schedule,
        augmentation=augmentation,
        device=config.device,
        precision=config.precision,
        seed=trial.seed,
    )


def trial_key(
    trial: Trial,
    config: TrainConfig,
    season: FeatureRecipe,
    hashes: Mapping[str, str],
    targets: tuple[str, ...],
) -> str:
    """Return the key of a trial: the same only if it would give the same result.

    Args:
        trial: what is done.
        config: how it is trained.
        season: recipe of the maps to be made.
        hashes: region -> content hash of its samples.
        targets: regions tested on.
    """
    training = asdict(config)
    if config.network == "random_forest":
        training = {key: value for key, value in training.items() if key not in OF_NETWORKS}
    else:  # 'auto' is another thing on another machine
        device = resolve_device(config.device)
        training |= {"device": device.type, "precision": uses_bf16(config.precision, device)}
    meaning = {
        "version": RESULT_VERSION,
        "trial": asdict(trial),
        "config": training,
        "season": season.to_dict(),
        "source": hashes[trial.source],
        "targets": {name: hashes[name] for name in sorted(targets) if name != trial.source},
    }
    return hashlib.sha256(json.dumps(meaning, sort_keys=True, default=str).encode()).hexdigest()[:24]


def content_hashes(regions: Mapping[str, Samples]) -> dict[str, str]:
    """Return region -> content hash of its samples."""
    return {name: samples.content_hash for name, samples in regions.items()}


def read_trial(folder: Path, key: str) -> TrialResult | None:
    """Return the result kept under a key; None if there is none, or it is damaged."""
    path = folder / f"{key}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return TrialResult.from_dict(kept["result"]) if kept["key"] == key else None
    except (OSError, InputError, KeyError, TypeError, ValueError):
        return None  # made again, as if it had never been there


def keep_trial(folder: Path, key: str, result: TrialResult) -> Path:
    """Write a result in one step, so that an interruption never leaves half of one.

    Raises:
        StorageError: the file cannot be written.
    """
    return write_json({"key": key, "result": result.to_dict()}, folder / f"{key}.json")


def _check_names(what: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    if unknown := [name for name in names if name not in known]:
        msg = f"{what}: {unknown[0]!r} is unknown. Known: {', '.join(known)}. Choose among them."
        raise InputError(msg)


def _check_used(what: str, names: tuple[str, ...], used: set[str]) -> None:
    if idle := [name for name in names if name not in used]:
        pairs = "; ".join(f"{model}: {', '.join(features)}" for model, features in MODEL_FEATURES.items())
        msg = (
            f"{what}: {idle[0]!r} goes with nothing else that is asked for. Models and their features: "
            f"{pairs}. Add what goes with it, or leave it out."
        )
        raise InputError(msg)
