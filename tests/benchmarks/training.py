"""Training: augmentation by whole batches beside one series at a time; an epoch in fp32 and bf16."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import nn

from tests.benchmarks.results import Outcome, Section, figure, seconds
from tests.benchmarks.timing import Settings, time_in_turns
from toolkit.learn.augment import Window, augment
from toolkit.learn.augmentations import AUGMENTATIONS, Augmentation
from toolkit.learn.batches import Batches
from toolkit.learn.device import has_bf16_units
from toolkit.learn.fit import fit
from toolkit.learn.networks import build_network
from toolkit.learn.train_config import TrainConfig

N_AUGMENTED, N_ONE_BY_ONE, N_EPOCH = 20_000, 200, 2_048
BANDS, YEAR, CLASSES = 10, 73, 7
SEASON = Window(first_step=24, n_steps=43, step_days=5)
PHENOLOGY = Augmentation()
PLAIN, OURS_FP32, FRESH_FP32 = "plain PyTorch, fp32 eager", "ours, fp32", "ours, fp32, fresh augmentation"
OURS_BF16, FRESH_BF16 = "ours, bf16", "ours, bf16, fresh augmentation"


def one_by_one(series: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Do the same to one series at a time, as one writes it with numpy and scipy splines."""
    out = np.empty((len(series), BANDS, SEASON.n_steps), np.float32)
    steps = np.arange(SEASON.n_steps)
    for k, one in enumerate(series):
        first, last = rng.uniform(-10, 10) + np.array([24.0, 66.0])
        if rng.random() < PHENOLOGY.scale_probability:
            first, last = first + rng.uniform(-10, 10), last + rng.uniform(-10, 10)
        position = np.linspace(first, last, SEASON.n_steps)
        for band in range(BANDS):
            out[k, band] = np.interp(position, np.arange(-YEAR, 2 * YEAR), np.tile(one[band], 3))
        if rng.random() < PHENOLOGY.warp_probability:
            for band in range(BANDS):
                factors = rng.normal(1, PHENOLOGY.warp_deviation, PHENOLOGY.warp_knots)
                out[k, band] *= CubicSpline(np.linspace(0, steps[-1], len(factors)), factors)(steps)
    return out


def plain_epoch(batches: Batches, seed: int = 0) -> None:
    """Train for an epoch as one writes it in PyTorch."""
    torch.manual_seed(seed)
    network = build_network("cropnet2d", (BANDS, SEASON.n_steps), CLASSES)
    adam = torch.optim.Adam(network.parameters(), lr=1e-4)
    loss_of = nn.CrossEntropyLoss()
    network.train()
    for series, crop in batches.epoch(1):
        adam.zero_grad()
        loss_of(network(series), crop).backward()
        adam.step()


def our_epoch(batches: Batches, config: TrainConfig) -> None:
    """Train for an epoch by :func:`toolkit.learn.fit.fit`, with a validation that takes no time."""
    network = build_network("cropnet2d", (BANDS, SEASON.n_steps), CLASSES)
    held_out = np.zeros((2, BANDS, SEASON.n_steps), np.float32), np.zeros(2, np.uint8)
    fit(network, batches, held_out, config, n_classes=CLASSES)


def augmentation_section(settings: Settings) -> Section:
    """20,000 full-year series, varied at once and one at a time."""
    n = max(N_AUGMENTED // settings.shrink**2, N_ONE_BY_ONE)
    year = np.random.default_rng(0).random((n, BANDS, YEAR), np.float32)
    tensor, few = torch.from_numpy(year), year[:N_ONE_BY_ONE]

    def at_once(name: str) -> Callable[[], object]:
        chosen = AUGMENTATIONS[name] or PHENOLOGY
        return lambda: augment(tensor, SEASON, chosen, torch.Generator().manual_seed(0))

    calls = {
        "ours, phenology": at_once("phenology"),
        "ours, clouds": at_once("clouds"),
        "numpy and scipy, one series at a time": lambda: one_by_one(few, np.random.default_rng(0)),
    }
    spent = {name: median(s) for name, s in time_in_turns(calls, settings.rounds).items()}
    alone = list(spent)[-1]
    spent[alone] *= n / N_ONE_BY_ONE
    return Section(
        title="Augmentation",
        text=f"{n:,} series of {BANDS} bands and {YEAR} steps; shift, scale, warp of the default amounts, "
        f"season of 43 steps. One at a time is timed on {N_ONE_BY_ONE} and scaled.",
        columns=("method", "time", "us per series"),
        rows=[[name, seconds(s), figure(1e6 * s / n)] for name, s in spent.items()],
        outcomes=[
            Outcome(
                what="one series at a time over ours, phenology",
                measured=spent[alone] / spent["ours, phenology"],
                limit=100,
                at_most=False,
            )
        ],
    )


def epoch_section(settings: Settings) -> Section:
    """An epoch of CropNet 2D, plain, ours, and with fresh augmentation."""
    n = max(N_EPOCH // settings.shrink**2, 16)
    rng = np.random.default_rng(0)
    year = rng.random((n, BANDS, YEAR), np.float32)
    crop = rng.integers(0, CLASSES, n).astype(np.uint8)
    size = min(256, n)
    season = np.ascontiguousarray(year[:, :, 24:67])
    zeros, ones = (0.0,) * BANDS, (1.0,) * BANDS
    still = Batches(series=season, crop=crop, mean=zeros, std=ones, size=size)
    fresh = replace(still, series=year, window=SEASON, augmentation=PHENOLOGY)
    fp32 = TrainConfig(epochs=1, precision="fp32", device="cpu")
    calls: dict[str, Callable[[], object]] = {
        PLAIN: lambda: plain_epoch(still),
        OURS_FP32: lambda: our_epoch(still, fp32),
        FRESH_FP32: lambda: our_epoch(fresh, fp32),
    }
    units = has_bf16_units(torch.device("cpu"))
    if units:
        bf16 = replace(fp32, precision="bf16")
        calls[OURS_BF16] = lambda: our_epoch(still, bf16)
        calls[FRESH_BF16] = lambda: our_epoch(fresh, bf16)
    spent = {name: median(s) for name, s in time_in_turns(calls, min(settings.rounds, 5)).items()}
    pairs = [(FRESH_FP32, OURS_FP32), *([(FRESH_BF16, OURS_BF16)] if units else [])]
    outcomes = [
        Outcome(what=f"{first} over {second}", measured=spent[first] / spent[second], limit=1.1, at_most=True)
        for first, second in pairs
    ]
    if units:
        outcomes.append(
            Outcome(
                what=f"{PLAIN} over {OURS_BF16}",
                measured=spent[PLAIN] / spent[OURS_BF16],
                limit=3,
                at_most=False,
            )
        )
    flags = getattr(torch.cpu, "get_capabilities", dict)()
    names = [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if flags.get(name)]
    return Section(
        title="An epoch of CropNet 2D",
        text=f"{n:,} samples of {BANDS} x {SEASON.n_steps}, batches of {size}, {torch.get_num_threads()} "
        f"threads, processor with {', '.join(names) or 'no flags known'}; bf16 is only timed where there are "
        "units for it.",
        columns=("method", "time", "ms per sample", "x plain"),
        rows=[[name, seconds(s), figure(1e3 * s / n), figure(spent[PLAIN] / s)] for name, s in spent.items()],
        outcomes=outcomes,
    )


def sections(settings: Settings) -> Iterator[Section]:
    """All of training."""
    yield augmentation_section(settings)
    yield epoch_section(settings)
