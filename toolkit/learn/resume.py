"""A training's state after an epoch, on disk, so that an interrupted training goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from toolkit.learn.accuracy import Accuracy
from toolkit.learn.best import Best
from toolkit.storage import replacing

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Saved:
    """Where a training stands after an epoch."""

    epoch: int
    """Last epoch that was finished, from 1."""
    batch_size: int
    """Samples in a batch; smaller than asked for where memory did not suffice."""
    network: Tensors
    """Weights and batch statistics."""
    adam: Tensors
    """State of the optimiser: ``number.name`` of each parameter -> tensor."""
    best: Best
    """The best epoch so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """A file that holds the state of one training."""

    path: Path
    """File, in an existing folder."""

    def read(self, meaning: Mapping[str, Any]) -> Saved | None:
        """Return the saved state; None if there is none, it is damaged, or of another training.

        Args:
            meaning: plain values that say which training it is.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                notes = json.loads((file.metadata() or {})["training"])
                if notes["meaning"] != _digest(meaning):
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
            return _saved(notes, tensors)
        except (OSError, SafetensorError, LookupError, TypeError, ValueError):
            return None

    def write(self, saved: Saved, meaning: Mapping[str, Any]) -> None:
        """Replace the saved state.

        Args:
            saved: where the training stands.
            meaning: plain values that say which training it is.

        Raises:
            StorageError: the disk refuses.
        """
        tensors = {
            **{f"network.{name}": tensor for name, tensor in saved.network.items()},
            **{f"best.{name}": tensor for name, tensor in saved.best.state.items()},
            **{f"adam.{name}": tensor for name, tensor in saved.adam.items()},
            "confusion": torch.from_numpy(saved.best.accuracy.confusion),
            "unmapped": torch.from_numpy(saved.best.accuracy.unmapped),
        }
        notes = {
            "meaning": _digest(meaning),
            "epoch": saved.epoch,
            "batch_size": saved.batch_size,
            "best": {"epoch": saved.best.epoch, "loss": saved.best.loss},
        }
        with replacing(self.path) as temporary:
            whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
            save_file(whole, temporary, metadata={"training": json.dumps(notes)})

    def remove(self) -> None:
        """Remove the file, as the training is done."""
        self.path.unlink(missing_ok=True)


def _saved(notes: Mapping[str, Any], tensors: Tensors) -> Saved:
    def part(prefix: str) -> Tensors:
        return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

    confusion, unmapped = (tensors[name].numpy().astype(np.int64) for name in ("confusion", "unmapped"))
    best = Best(
        int(notes["best"]["epoch"]),
        part("best."),
        Accuracy(confusion, unmapped),
        float(notes["best"]["loss"]),
    )
    return Saved(
        epoch=int(notes["epoch"]),
        batch_size=int(notes["batch_size"]),
        network=part("network."),
        adam=part("adam."),
        best=best,
    )


def _digest(meaning: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
