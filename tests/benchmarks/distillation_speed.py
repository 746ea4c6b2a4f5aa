"""How fast students are beside CropNet, as maps run them: folded, channels last, batches of 256."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.benchmarks.machine import surroundings, watch_the_processor
from toolkit.learn.device import has_bf16_units
from toolkit.learn.engines.torch_engine import fold_batch_norm
from toolkit.learn.networks import build_network
from toolkit.learn.networks.compact import SHAPES

FULL = "cropnet2d"
SHAPE, N_CLASSES, BATCH = (10, 43), 7, 256
PIXELS = 4096
"""Of a student in one turn; CropNet gets one batch."""
TURNS = 11


def prepared(name: str) -> nn.Module:
    """Return a network with drawn weights, as :func:`toolkit.learn.engine.torch_engine` runs it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = build_network(name, SHAPE, N_CLASSES).eval()
    return fold_batch_norm(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs


def speed(*, quick: bool = False) -> dict[str, Any]:
    """Return pixels per second of each network, and how many times as fast as CropNet, by threads and type.

    All are timed in turns, and a ratio is the median over turns. Quick: one turn of small batches.
    """
    before, threads = watch_the_processor(), torch.get_num_threads()
    cpu = torch.device("cpu")
    types = [torch.float32, *([torch.bfloat16] if has_bf16_units(cpu) else [])]
    turns, size = (1, 2) if quick else (TURNS, BATCH)
    networks = {name: prepared(name) for name in (FULL, *SHAPES)}
    found = {}
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            for dtype in types:
                found[f"{n} {str(dtype).removeprefix('torch.')}"] = _in_turns(networks, dtype, turns, size)
    finally:
        torch.set_num_threads(threads)
    return {"machine": surroundings(), "torch": torch.__version__, "busy": before(), "found": found}


def _in_turns(
    prepared_networks: Mapping[str, nn.Module], dtype: torch.dtype, turns: int, size: int
) -> Mapping[str, dict[str, float]]:
    series = torch.randn(size, *SHAPE, generator=torch.Generator().manual_seed(0)).to(dtype)
    networks = {name: copy.deepcopy(network).to(dtype) for name, network in prepared_networks.items()}
    spent: dict[str, list[float]] = {name: [] for name in networks}
    with torch.inference_mode():
        for turn in range(turns + 1):
            for name, network in networks.items():
                batches = 1 if name == FULL or turns == 1 else PIXELS // size
                started = time.perf_counter()
                for _ in range(batches):
                    network(series)
                if turn:  # the first is to warm up
                    spent[name].append((time.perf_counter() - started) / (batches * size))
    full = np.array(spent[FULL])
    return {
        name: {
            "pixels_per_second": float(1 / np.median(each)),
            "times_cropnet": float(np.median(full / np.array(each))),
        }
        for name, each in spent.items()
    }
