"""Convolution and ReLU in one step of oneDNN, weights kept in its own layout."""

from __future__ import annotations

import torch
from torch import nn

LAY_OUT, CONVOLVE = "_reorder_convolution_weight", "_convolution_pointwise"
"""Operators that torch.compile calls for the same; private, so that a PyTorch without them does without."""


class FusedConvolution(nn.Module):
    """A convolution, and a ReLU if one follows it.

    On one thread of a CPU with AMX, CropNet 2D in bfloat16 did 5,460 pixels a second so, and 4,240 with
    PyTorch's own modules, which lay the weights out anew for each batch and go over all values again for the
    ReLU (least of 15 rounds in turn).
    """

    def __init__(self, convolution: nn.Conv2d, *, with_relu: bool) -> None:
        """Take the weights of a convolution.

        Args:
            convolution: in the precision it is to compute in, on the CPU, padded by zeros.
            with_relu: whether a ReLU follows.
        """
        super().__init__()
        bias = convolution.bias
        self.bias = None if bias is None else bias.detach()
        pairs = convolution.padding, convolution.stride, convolution.dilation
        self.shape = (*([int(one) for one in pair] for pair in pairs), convolution.groups)
        self.after = "relu" if with_relu else "none"
        weight = convolution.weight.detach().to(memory_format=torch.channels_last)
        with torch.inference_mode():
            self.weight = getattr(torch.ops.mkldnn, LAY_OUT)(weight, *self.shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply both to ``(n, channel, y, x)``."""
        convolve = getattr(torch.ops.mkldnn, CONVOLVE)
        return torch.as_tensor(convolve(x, self.weight, self.bias, *self.shape, self.after, [], ""))


def can_fuse() -> bool:
    """Return whether this PyTorch has oneDNN with the operators needed."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch's own gap
    return bool(there) and all(hasattr(torch.ops.mkldnn, name) for name in (LAY_OUT, CONVOLVE))


def fuse_relu(network: nn.Module) -> nn.Module:
    """Replace each convolution in an ``nn.Sequential``, with the ReLU that follows it, in place.

    Args:
        network: in evaluation mode, normalisations folded, see
            :func:`toolkit.learn.engines.torch_engine.fold_batch_norm`.

    Returns:
        The network; its output is the same up to rounding.
    """
    for module in list(network.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        kept = [k for k in range(len(module)) if not isinstance(module[k], nn.Identity)]
        for k, following in zip(kept, [*kept[1:], None], strict=True):
            layer = module[k]
            if not isinstance(layer, nn.Conv2d) or layer.padding_mode != "zeros" or layer.padding == "same":
                continue
            relu = following is not None and isinstance(module[following], nn.ReLU)
            module[k] = FusedConvolution(layer, with_relu=relu)
            if relu and following is not None:
                module[following] = nn.Identity()
    return network
