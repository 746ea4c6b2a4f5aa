"""A trained model on disk: weights, and everything needed to use them rightly.

A checkpoint is a folder with ``weights.safetensors`` and ``card.json``; no pickle is ever read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import CheckpointError, CropglobeError
from toolkit.learn.device import without_values
from toolkit.learn.networks import NETWORKS, check_values, network_like
from toolkit.legend import Legend
from toolkit.storage import whole_folder

FORMAT = 1
"""Layout of the folder; raised when older readers would misread it."""

WEIGHTS, CARD = "weights.safetensors", "card.json"
"""Names of the files in a checkpoint's folder."""

HOW_TO_GET = "Give the folder of a model, or train one: cropglobe train --samples SAMPLES --out MODEL."


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Checkpoint:
    """A trained network with the meaning of its input and output."""

    network: str
    """Name in :data:`toolkit.learn.networks.NETWORKS`."""
    state: Mapping[str, torch.Tensor]
    """Weights and batch statistics by name, on the CPU."""
    recipe: FeatureRecipe
    """Features the network was trained on."""
    legend: Legend
    """Classes of the output neurons."""
    mean: tuple[float, ...]
    """Per band, subtracted before the network (reflectance)."""
    std: tuple[float, ...]
    """Per band, divided by after that (reflectance); zeros and ones leave the input as it is."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Accuracy on the validation fields, see :meth:`toolkit.learn.accuracy.Accuracy.to_dict`; plain."""
    provenance: dict[str, Any]
    """What it was trained from; plain values. Holds ``simulated`` (bool)."""

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together."""
        if self.network not in NETWORKS:
            msg = (
                f"The checkpoint's network {self.network!r} is unknown. Known: "
                f"{', '.join(NETWORKS)}. Install the version that trained it."
            )
            raise CheckpointError(msg)
        n_bands = len(self.recipe.bands)
        fine = len(self.mean) == len(self.std) == n_bands and all(
            math.isfinite(m) and math.isfinite(s) and s > 0 for m, s in zip(self.mean, self.std, strict=True)
        )
        if not fine:
            msg = (
                f"The checkpoint's normalisation has mean {self.mean} and std {self.std}; needed: "
                f"{n_bands} finite numbers each, std above 0. Train the model again."
            )
            raise CheckpointError(msg)
        if not isinstance(self.provenance.get("simulated"), bool):
            msg = (
                f"The checkpoint's provenance says simulated={self.provenance.get('simulated')!r}; "
                "allowed: true, false. Train the model again."
            )
            raise CheckpointError(msg)
        _check_state(self)

    @property
    def simulated(self) -> bool:
        """Whether any training sample came from simulated scenes."""
        return bool(self.provenance["simulated"])

    @property
    def content_hash(self) -> str:
        """sha256 of weights and card, as hexadecimal digits; the same before and after writing."""
        weights = _weights_bytes(self)
        return hashlib.sha256(weights + _card_bytes(self, weights)).hexdigest()

    def build(self) -> nn.Module:
        """Return the network with its weights, in evaluation mode, on the CPU."""
        network = _empty_network(self)
        copies = {name: tensor.clone() for name, tensor in self.state.items()}
        network.load_state_dict(copies, assign=True)
        return network.eval()


def normalise(
    series: npt.NDArray[np.float32], mean: tuple[float, ...], std: tuple[float, ...]
) -> npt.NDArray[np.float32]:
    """Return ``(series - mean) / std``, band by band.

    Args:
        series: float32 ``(n, band, step)``, reflectance.
        mean: per band.
        std: per band, above 0.

    Returns:
        float32 ``(n, band, step)``; infinite where the result is beyond float32.
    """
    shift = np.asarray(mean, np.float32)[:, None]
    with np.errstate(over="ignore"):  # absurd values fail their own pixel, later and by name
        return (series - shift) / np.asarray(std, np.float32)[:, None]


def write_checkpoint(checkpoint: Checkpoint, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a checkpoint, complete or not at all; the same checkpoint gives the same bytes.

    Args:
        checkpoint: what to write.
        folder: folder to make.
        overwrite: replace a checkpoint that is there.

    Returns:
        The folder.

    Raises:
        StorageError: the name is taken, or the disk refuses.
    """
    folder = Path(folder)
    weights = _weights_bytes(checkpoint)
    with whole_folder(folder, mark=CARD, overwrite=overwrite) as part:
        (part / WEIGHTS).write_bytes(weights)
        (part / CARD).write_bytes(_card_bytes(checkpoint, weights))
    return folder


def read_checkpoint(folder: str | Path) -> Checkpoint:
    """Read a checkpoint, and check that it is complete, unchanged and consistent.

    Args:
        folder: folder that :func:`write_checkpoint` wrote.

    Raises:
        CheckpointError: nothing there, a file is missing, damaged or of an unknown layout, or the
            parts do not fit together.
    """
    folder = Path(folder)
    if not folder.is_dir():
        msg = f"There is no model folder {str(folder)!r}. {HOW_TO_GET}"
        raise CheckpointError(msg)
    card = _read_card(folder / CARD)
    try:
        return Checkpoint(
            network=str(card["network"]),
            state=load(_read_weights(folder / WEIGHTS, card["weights_sha256"])),
            recipe=FeatureRecipe.from_dict(card["recipe"]),
            legend=Legend.from_list(card["legend"]),
            mean=tuple(float(v) for v in card["normalisation"]["mean"]),
            std=tuple(float(v) for v in card["normalisation"]["std"]),
            metrics=dict(card["metrics"]),
            provenance=dict(card["provenance"]),
        )
    except CheckpointError:
        raise
    except (CropglobeError, SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
        msg = f"The model in {str(folder)!r} cannot be read ({error!r}). {HOW_TO_GET}"
        raise CheckpointError(msg) from error


def _read_card(path: Path) -> dict[str, Any]:
    if not path.is_file():
        msg = f"There is no {path.name} in {str(path.parent)!r}: that is no model. {HOW_TO_GET}"
        raise CheckpointError(msg)
    try:
        card = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{str(path)!r} is not readable as JSON ({error}). Copy the model again."
        raise CheckpointError(msg) from error
    version = card.get("format") if isinstance(card, dict) else None
    if version != FORMAT or isinstance(version, bool):
        msg = (
            f"{str(path)!r} is of layout {version!r}; readable: {FORMAT}. "
            "Install the version that wrote it, or train the model again."
        )
        raise CheckpointError(msg)
    needed = {"network", "weights_sha256", "recipe", "legend", "normalisation", "metrics"}
    if missing := sorted((needed | {"provenance"}) - set(card)):
        msg = f"{str(path)!r} lacks {', '.join(missing)}. Copy the model again, or train it again."
        raise CheckpointError(msg)
    return dict(card)


def _read_weights(path: Path, wanted: object) -> bytes:
    if not path.is_file():
        msg = f"There is no {path.name} in {str(path.parent)!r}: that is no model. {HOW_TO_GET}"
        raise CheckpointError(msg)
    weights = path.read_bytes()
    found = hashlib.sha256(weights).hexdigest()
    if found != wanted:
        msg = (
            f"{str(path)!r} is damaged or was changed: {len(weights)} bytes with sha256 {found}, "
            f"the card says {wanted}. Copy the model again."
        )
        raise CheckpointError(msg)
    return weights


def _weights_bytes(checkpoint: Checkpoint) -> bytes:
    return save({name: tensor.contiguous() for name, tensor in checkpoint.state.items()})


def _card_bytes(checkpoint: Checkpoint, weights: bytes) -> bytes:
    card = {
        "format": FORMAT,
        "network": checkpoint.network,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "recipe": checkpoint.recipe.to_dict(),
        "legend": checkpoint.legend.to_list(),
        "normalisation": {"mean": list(checkpoint.mean), "std": list(checkpoint.std)},
        "metrics": checkpoint.metrics,
        "provenance": checkpoint.provenance,
    }
    text = json.dumps(card, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode()


def _empty_network(checkpoint: Checkpoint) -> nn.Module:
    """Return the network without values: fast, and the random state stays untouched."""
    with without_values():
        n_classes = len(checkpoint.legend.names)
        return network_like(checkpoint.state, checkpoint.network, checkpoint.recipe.shape, n_classes)


def _check_state(checkpoint: Checkpoint) -> None:
    """Raise unless the weights are those of the network, with one output per class."""
    wanted = _empty_network(checkpoint).state_dict()
    state = checkpoint.state
    names = checkpoint.legend.names
    if missing := sorted(set(wanted) ^ set(state)):
        msg = (
            f"The weights are not those of {checkpoint.network!r}: names missing or too many: "
            f"{', '.join(missing[:6])}{', ...' if len(missing) > 6 else ''}. Copy the model again."
        )
        raise CheckpointError(msg)
    for name, tensor in wanted.items():
        got = state[name]
        if got.shape != tensor.shape or got.dtype != tensor.dtype:
            msg = (
                f"The weights are not those of {checkpoint.network!r} with {len(names)} classes "
                f"({', '.join(names)}): {name} is {got.dtype} {tuple(got.shape)}, needed "
                f"{tensor.dtype} {tuple(tensor.shape)}. Use the legend and network of the weights."
            )
            raise CheckpointError(msg)
        if not bool(torch.isfinite(got).all()):
            msg = f"Weight {name} holds NaN or infinity; needed: numbers. Train the model again."
            raise CheckpointError(msg)
    check_values(state, checkpoint.network, checkpoint.recipe.shape)
