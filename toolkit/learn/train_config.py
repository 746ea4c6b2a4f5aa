"""What a training is asked for, and what it tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from toolkit.errors import InputError
from toolkit.learn.augmentations import Augmentation
from toolkit.learn.device import PRECISIONS, Precision
from toolkit.learn.networks import NETWORKS
from toolkit.learn.splits import SPLITS, SplitBy

Schedule = Literal["constant", "cosine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a model is trained; where the defaults come from: ``docs/decisions/0009-training-defaults.md``."""

    network: str = "cropnet2d"
    """Name in :data:`toolkit.learn.networks.NETWORKS`."""
    epochs: int = 30
    """Times that every training sample is seen."""
    batch_size: int = 64
    """Samples per step of the optimiser."""
    learning_rate: float = 1e-3
    """Of Adam."""
    schedule: Schedule = "cosine"
    """``cosine`` lowers the learning rate to zero over the epochs."""
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    """How series are varied in each epoch; None: not at all. A spectrum has no steps to vary."""
    validation_share: float = 0.2
    """Part of each class's fields kept for validation."""
    split: SplitBy = "auto"
    """What is kept together: see :func:`toolkit.learn.splits.split_samples`."""
    seed: int = 0
    """Of the split, the initial weights, the order of samples, what varies them, and the dropout."""
    patience: int | None = None
    """Stop after this many epochs without a better one; None: never."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    precision: Precision = "auto"
    """``fp32``; ``bf16``: products in bfloat16, weights and sums in float32; ``auto``: bf16 where the
    processor has units for it."""

    def __post_init__(self) -> None:
        """Refuse values that cannot train anything."""
        checks = {
            "network": (self.network in NETWORKS, f"one of {', '.join(NETWORKS)}"),
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch_size": (self.batch_size >= 2, "2 or more, as batches are normalised"),
            "learning_rate": (0 < self.learning_rate <= 1, "above 0, up to 1"),
            "schedule": (self.schedule in get_args(Schedule), f"one of {get_args(Schedule)}"),
            "validation_share": (0 < self.validation_share < 1, "between 0 and 1"),
            "split": (self.split in SPLITS, f"one of {', '.join(SPLITS)}"),
            "seed": (0 <= self.seed < 2**63, "0 to 2**63 - 1"),
            "patience": (self.patience is None or self.patience >= 1, "1 or more, or None"),
            "precision": (self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                msg = f"Training: {name} is {getattr(self, name)!r}; allowed: {allowed}. Change it."
                raise InputError(msg)


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch gave, for progress bars."""

    number: int
    """Counts from 1."""
    of: int
    """Epochs asked for."""
    loss: float
    """Mean weighted cross-entropy over the training samples."""
    macro_f1: float
    """On the validation fields."""
    seconds: float
    """Time this epoch took."""
