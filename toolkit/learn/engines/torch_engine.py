"""PyTorch: batch normalisation folded, channels last, float32 or bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from toolkit.errors import ModelError
from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.device import has_bf16_units, reproducible, resolve_device
from toolkit.learn.engines.fused import can_fuse, fuse_relu
from toolkit.learn.engines.setting import Classifier, EngineSetting, Series

FOREST = "random_forest"
"""The one model without layers: PyTorch alone computes it."""
PARTS = 4
"""Parts of a batch that a GPU gets: it computes one while the next is brought to it."""
LEAST_PART = 1024
"""Series that a part has at least: of fewer a GPU is not busy."""
_NORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Linear: nn.BatchNorm1d,
}


def torch_classifier(checkpoint: Checkpoint, setting: EngineSetting) -> Classifier:
    """Return PyTorch on a CPU or GPU.

    Args:
        checkpoint: the model.
        setting: device and precision.

    Raises:
        ModelError: the device is not there.
    """
    return _classifier(_network(checkpoint, setting), setting)


def compiled_classifier(checkpoint: Checkpoint, setting: EngineSetting) -> Classifier:
    """Return PyTorch with its layers compiled together: on a GPU it waits for memory less.

    Args:
        checkpoint: the model.
        setting: device and precision.

    Raises:
        ModelError: the device is not there, or cannot compile here.
    """
    classifier = _classifier(torch.compile(_network(checkpoint, setting)), setting)
    try:
        classifier(np.zeros((setting.batch_size, *checkpoint.recipe.shape), np.float32))
    except Exception as error:  # the compiler and its tools raise what they like
        msg = f"The network cannot be compiled here ({type(error).__name__}). Choose --engine torch."
        raise ModelError(msg) from error
    return classifier


def compiled_lacks(network: str, setting: EngineSetting) -> str:
    """Return why compiled PyTorch cannot serve, empty if it can."""
    if not setting.device.startswith("cuda"):
        return "it is used on GPUs only: on a CPU it takes half a minute to compile"
    return "a forest is no network" if network == FOREST else torch_lacks(network, setting)


def _network(checkpoint: Checkpoint, setting: EngineSetting) -> nn.Module:
    """Return the network on its device, in its precision."""
    kind = torch.bfloat16 if setting.precision == "bf16" else torch.float32
    network = fold_batch_norm(checkpoint.build()).to(resolve_device(setting.device), kind)
    if any(isinstance(module, nn.Conv2d) for module in network.modules()):
        # With the folding, 1.4 times as fast as the network as trained in float32.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        # In float32 it made no difference (751 and 728 pixels a second).
        if setting.precision == "bf16" and setting.device == "cpu" and can_fuse():
            network = fuse_relu(network)
    return network


def _classifier(network: Callable[[torch.Tensor], torch.Tensor], setting: EngineSetting) -> Classifier:
    device = resolve_device(setting.device)
    kind = torch.bfloat16 if setting.precision == "bf16" else torch.float32
    brought = bringer(device, pinned=True) if device.type == "cuda" else _where_they_are

    def logits_of(series: Series) -> Series:
        with torch.inference_mode(), reproducible(device):
            # A GPU is only told what to compute, and goes on by itself; .cpu() waits for it.
            logits = [network(part.to(kind)) for part in brought(series)]
            return np.asarray(torch.cat(logits).float().cpu().numpy(), np.float32)

    return logits_of if device.type == "cpu" else _with_words_for_lack_of_memory(logits_of)


def _with_words_for_lack_of_memory(logits_of: Classifier) -> Classifier:
    """Return the same; where a GPU has no memory left, what PyTorch keeps unused is given back first."""

    def patient(series: Series) -> Series:
        try:
            return logits_of(series)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
        try:
            return logits_of(series)
        except torch.OutOfMemoryError as error:
            msg = (
                f"The GPU has no memory for {len(series)} pixels at once; others use it, too. Wait for them, "
                "use fewer --workers, or --device cpu."
            )
            raise ModelError(msg) from error

    return patient


def _where_they_are(series: Series) -> Iterable[torch.Tensor]:
    return (torch.from_numpy(series),)


def bringer(device: torch.device, *, pinned: bool) -> Callable[[Series], Iterator[torch.Tensor]]:
    """Return what brings series to a device part by part, and does not wait until they are there.

    Args:
        device: where they are wanted.
        pinned: whether they go by memory that the system may not move: to an H100 13 times as fast as from
            other memory.

    Returns:
        What gives the parts of a batch, in their order. Before it is called again all that the device was
        told must be done, as the memory they go by is used again.
    """
    held: dict[tuple[int, ...], torch.Tensor] = {}

    def brought(series: Series) -> Iterator[torch.Tensor]:
        if series.shape not in held:
            held.clear()
            held[series.shape] = torch.empty(series.shape, dtype=torch.float32, pin_memory=pinned)
        given = torch.from_numpy(series)
        for between, part in zip(_parts(held[series.shape]), _parts(given), strict=True):
            yield between.copy_(part).to(device, non_blocking=True)

    return brought


def _parts(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return equal parts of a batch, as a network is compiled for one shape; itself if it is small or odd."""
    size, rest = divmod(len(batch), PARTS)
    return torch.split(batch, len(batch) if rest or size < LEAST_PART else size)


def torch_lacks(network: str, setting: EngineSetting) -> str:
    """Return why PyTorch cannot serve, empty if it can: bfloat16 needs a processor that has it."""
    if setting.precision == "bf16" and network == FOREST:
        return "a forest is no network"
    if setting.precision == "bf16" and not has_bf16_units(resolve_device(setting.device)):
        return "the processor has no units for bfloat16"
    return ""


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Fold each batch normalisation that follows a convolution or linear layer into it, in place.

    Args:
        network: in evaluation mode; only neighbours within one ``nn.Sequential`` are folded. Linear
            layers with a normalisation take ``(n, channel)``, as in all of our networks.

    Returns:
        The network; its output is the same up to rounding.
    """
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for k in range(len(module) - 1):
            layer, norm = module[k], module[k + 1]
            if type(norm) is _NORMS.get(type(layer)):
                fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
                module[k] = fuse(layer, norm)  # type: ignore[type-var, arg-type]  # types checked two lines above
                module[k + 1] = nn.Identity()
    return network
