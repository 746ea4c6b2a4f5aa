"""PyTorch: batch normalisation folded, channels last, float32 or bfloat16."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.device import has_bf16_units, reproducible, resolve_device
from toolkit.learn.engines.setting import Classifier, EngineSetting, Series

FOREST = "random_forest"
"""The one model without layers: PyTorch alone computes it."""
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
    device = resolve_device(setting.device)
    kind = torch.bfloat16 if setting.precision == "bf16" else torch.float32
    network = fold_batch_norm(checkpoint.build()).to(device, kind)
    if any(isinstance(module, nn.Conv2d) for module in network.modules()):
        # 1.4 times as fast as the network as trained, in the trials of BENCH.md, with the folding.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs

    def logits_of(series: Series) -> Series:
        with torch.inference_mode(), reproducible(device):
            logits = network(torch.from_numpy(series).to(device, kind))
            return np.asarray(logits.float().cpu().numpy(), np.float32)

    return logits_of


def torch_lacks(checkpoint: Checkpoint, setting: EngineSetting) -> str:
    """Return why PyTorch cannot serve, empty if it can: bfloat16 needs a processor that has it."""
    if setting.precision == "bf16" and checkpoint.network == FOREST:
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
