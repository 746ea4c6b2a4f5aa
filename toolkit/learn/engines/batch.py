"""How many pixels are computed at once: what is fast, as far as memory holds it."""

from __future__ import annotations

import torch
from torch import nn

from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.engines.torch_engine import FOREST

MOST = {"cpu": 1024, "cuda": 16384}
"""Most pixels of a batch; a GPU wants many."""
CPU_BYTES = 2**23
"""Memory of a thread for the input and output of the largest layer, so that they stay in a core's caches.

It gives CropNet 2D 64 pixels, TempCNN and compact2d 256, compact_time 512, the MLP 1,024: among 64, 128, ...
2,048 PyTorch was fastest with these, or within 5 % of it, on one thread with 2 MB of second-level cache.
"""
GPU_SHARE = 0.25
"""Share of a GPU's free memory: others use it, too, and libraries need some for themselves."""
FLOAT_BYTES = 4


def fitting_batch(checkpoint: Checkpoint, device: torch.device) -> int:
    """Return how many pixels to compute at once with the threads of this process, a power of two.

    Args:
        checkpoint: the model.
        device: where it is computed.
    """
    room = CPU_BYTES * torch.get_num_threads()
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        room = int(GPU_SHARE * free)
    fitting = max(1, room // pixel_bytes(checkpoint))
    return int(min(MOST[device.type], 1 << (fitting.bit_length() - 1)))


def pixel_bytes(checkpoint: Checkpoint) -> int:
    """Return the memory that one pixel needs: the largest input and output of a layer in float32.

    Args:
        checkpoint: the model; a forest bounds its own memory and counts by its input.
    """
    shape = checkpoint.recipe.shape
    sizes = [2 * shape[0] * shape[1]]

    def note(_: nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        sizes.append(sum(one.numel() for one in given) + made.numel())

    if checkpoint.network != FOREST:
        # With its values: without them PyTorch loads its compiler for a normalisation, which takes a second.
        network = checkpoint.build()
        for module in network.modules():
            module.register_forward_hook(note)
        with torch.inference_mode():
            network(torch.zeros(1, *shape))
    return FLOAT_BYTES * max(sizes)
