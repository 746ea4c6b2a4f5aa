"""Weights of CropNet that others trained with the published code, made into a checkpoint.

The published code (MIT, x-ytong/CropNet: data/loading.py, util/label.py) gives the series to the network as
they are, without normalisation, and numbers the classes that its source country has from 0 on.
"""

from __future__ import annotations

import hashlib
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import CheckpointError, LabelError
from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.device import without_values
from toolkit.learn.networks import build_network
from toolkit.learn.samples import Samples
from toolkit.learn.seasons import cut_season
from toolkit.legend import CROPGLOBE, Legend

MAX_BYTES = 1_000_000_000
"""Largest file, unpacked too; weights of CropNet have 4 MB, with the state of Adam 12 MB."""
MAX_WRAPPINGS = 4
"""Mappings around a state dict; a mapping may hold itself."""
WRAPPINGS = ("state_dict", "model_state_dict", "model_state", "model", "network")
"""Keys under which training code keeps weights beside other things."""
PREFIXES = ("module.", "model.", "_orig_mod.")
"""Put before names by DataParallel, by wrapping modules and by torch.compile."""
BY_DIMENSIONS = {3: "cropnet1d", 4: "cropnet2d"}
"""Dimensions of a convolution's weights -> network."""
RECIPE = FeatureRecipe()
"""Medians of ten bands, May to November."""

State = dict[str, torch.Tensor]


def read_published_weights(path: str | Path) -> State:
    """Return the weights of a file, without running any code in it.

    Args:
        path: state dict of PyTorch; also inside a mapping (``{"state_dict": ...}``) or with a prefix.

    Returns:
        Tensors on the CPU by name, floating ones float32.

    Raises:
        CheckpointError: missing, too large, damaged, or more than tensors.
    """
    path = Path(path)
    _check_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is no state dict is refused below in our own words
            loaded = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise _unreadable(path, error) from None
    return {name: _plain(name, tensor, path) for name, tensor in _unwrapped(loaded, path).items()}


def import_weights(
    path: str | Path,
    *,
    network: str | None = None,
    recipe: FeatureRecipe = RECIPE,
    crops: Sequence[str] = (),
    scale: float = 1.0,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> Checkpoint:
    """Return published weights as a checkpoint.

    A network that saw ``(reflectance x scale - mean) / std`` in training sees the same in maps.

    Args:
        path: see :func:`read_published_weights`.
        network: ``cropnet2d`` or ``cropnet1d``; default: told from the weights.
        recipe: features that it was trained on.
        crops: class of each output; default all seven of CropGlobe.
        scale: number that stood for reflectance 1; 10000 for digital numbers.
        mean: per band, as above; default zeros.
        std: per band, as above; default ones.

    Raises:
        CheckpointError: the weights cannot be read, or are not those of the network; or mean, std or scale
            cannot be used.
        LabelError: the classes are not known, or not as many as outputs.
    """
    path = Path(path)
    state = read_published_weights(path)
    network = network or _network_of(state, path)
    legend = _legend_of(state, crops, path)
    _check_weights(state, network, recipe, len(legend.names), path)
    bands = len(recipe.bands)
    if not (np.isfinite(scale) and scale > 0) or {len(mean), len(std)} - {0, bands}:
        msg = (
            f"scale is {scale!r}, mean has {len(mean)} and std {len(std)} numbers; allowed: a scale above 0, "
            f"and {bands} numbers each (bands {', '.join(recipe.bands)}) or none."
        )
        raise CheckpointError(msg)
    return Checkpoint(
        network=network,
        state=state,
        recipe=recipe,
        legend=legend,
        mean=tuple(float(value) / scale for value in mean or np.zeros(bands)),
        std=tuple(float(value) / scale for value in std or np.ones(bands)),
        provenance={
            "simulated": False,
            "imported": {
                "file": path.name,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "scale": float(scale),
            },
            "torch": torch.__version__,
        },
    )


def band_statistics(
    samples: Samples, recipe: FeatureRecipe = RECIPE
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per band, in reflectance, over all samples and steps of a season.

    Args:
        samples: series of the year or the season.
        recipe: the season.

    Raises:
        RecipeMismatchError: the samples cannot give it.
        LabelError: a band is never observed.
    """
    series = cut_season(samples.series, samples.recipe, recipe).astype(np.float64)
    known = np.isfinite(series)
    if not known.any(axis=(0, 2)).all():
        msg = f"A band of the {len(samples)} samples holds no number. Give samples with all bands."
        raise LabelError(msg)
    mean = series.mean(axis=(0, 2), where=known)
    std = series.std(axis=(0, 2), where=known)
    std[std < 1e-6] = 1.0  # as in training: a band that never changes stays as it is
    return tuple(mean.tolist()), tuple(std.tolist())


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    """Say why; PyTorch's own words advise to trust the file, which must not be repeated."""
    if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return CheckpointError(
            f"{str(path)!r} holds more than tensors ({found[1]}), which could run code; nothing of it was "
            "run. Needed: a state dict. Whoever trained the model can write one: "
            "torch.save(model.state_dict(), FILE)."
        )
    return CheckpointError(
        f"{str(path)!r} cannot be read as tensors alone ({type(error).__name__}); nothing in it was run. "
        "Needed: a state dict written by torch.save. Get the file again, or ask whoever trained the model."
    )


def _check_size(path: Path) -> None:
    """Raise for a file that is missing, or larger than weights are, packed or unpacked."""
    if not path.is_file():
        msg = f"There is no file {str(path)!r}. Give a state dict of PyTorch (.pt or .pth)."
        raise CheckpointError(msg)
    size = path.stat().st_size
    if size <= MAX_BYTES and zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(info.file_size for info in archive.infolist()))
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
            size = 0  # damaged: PyTorch says so
    if size > MAX_BYTES:
        msg = (
            f"{str(path)!r} holds {size / 1e9:.3g} GB; allowed: {MAX_BYTES / 1e9:.3g} GB (CropNet has 4 MB). "
            "Give a file with the weights alone."
        )
        raise CheckpointError(msg)


def _unwrapped(loaded: Any, path: Path) -> Mapping[str, Any]:
    """Return the mapping from names to tensors inside what was loaded, without prefixes."""
    for _ in range(MAX_WRAPPINGS):
        if not isinstance(loaded, Mapping):
            break
        inner = next((loaded[key] for key in WRAPPINGS if isinstance(loaded.get(key), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(name, str) for name in loaded):
        msg = (
            f"{str(path)!r} holds {type(loaded).__name__}; needed: a state dict, names and tensors, alone or "
            f"under one of {', '.join(WRAPPINGS)}."
        )
        raise CheckpointError(msg)
    names = dict(loaded)
    while prefix := next((one for one in PREFIXES if all(name.startswith(one) for name in names)), None):
        names = {name.removeprefix(prefix): tensor for name, tensor in names.items()}
    return names


def _plain(name: str, tensor: Any, path: Path) -> torch.Tensor:
    """Return a tensor of our own: dense, on the CPU, float32 if it has fractions."""
    fine = (
        isinstance(tensor, torch.Tensor)
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and not tensor.is_complex()
        # a view that repeats one value could be of any size
        and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
    )
    if not fine:
        known = isinstance(tensor, torch.Tensor)
        found = f"{tensor.dtype} {tuple(tensor.shape)}" if known else type(tensor).__name__
        msg = f"{str(path)!r}: {name} is {found}; needed: a dense tensor. Save the weights as plain tensors."
        raise CheckpointError(msg)
    plain = tensor.detach().to(torch.float32 if tensor.is_floating_point() else torch.int64)
    if not bool(torch.isfinite(plain).all()):
        msg = f"{str(path)!r}: {name} holds NaN or infinity: the training failed. Get other weights."
        raise CheckpointError(msg)
    return torch.clone(plain, memory_format=torch.contiguous_format)


def _network_of(state: State, path: Path) -> str:
    first = state.get("layer1.block.0.weight")
    name = BY_DIMENSIONS.get(first.ndim) if first is not None else None
    if name is None:
        found = "missing" if first is None else tuple(first.shape)
        msg = (
            f"{str(path)!r} holds no CropNet: layer1.block.0.weight is {found}; names found: "
            f"{_few(sorted(state))}. Needed: layer1 to layer4.block.0 to 4 and classifier, as published."
        )
        raise CheckpointError(msg)
    return name


def _legend_of(state: State, crops: Sequence[str], path: Path) -> Legend:
    """Return the classes of the outputs."""
    weight = state.get("classifier.weight")
    n_outputs = weight.shape[0] if weight is not None and weight.ndim == 2 else 0
    legend = Legend(tuple(CROPGLOBE.classes[CROPGLOBE.index(name)] for name in crops)) if crops else CROPGLOBE
    if n_outputs != len(legend.names):
        msg = (
            f"{str(path)!r} has {n_outputs} outputs (classifier.weight), and {len(legend.names)} classes are "
            f"named ({', '.join(legend.names)}). The published code numbers only the classes of its source "
            "country: name them in that order with crops (--crops)."
        )
        raise LabelError(msg)
    return legend


def _check_weights(state: State, network: str, recipe: FeatureRecipe, n_classes: int, path: Path) -> None:
    """Raise unless names and shapes are those of the network."""
    with without_values():
        wanted = build_network(network, recipe.shape, n_classes).state_dict()
    missing, unknown = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    other = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if missing or unknown or other:
        msg = (
            f"{str(path)!r} does not hold the weights of {network}: missing {_few(missing)}; unknown "
            f"{_few(unknown)}; of another shape {_few(other)}. Give the network that they were trained with."
        )
        raise CheckpointError(msg)


def _few(names: Sequence[str]) -> str:
    return (", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")) or "none"
