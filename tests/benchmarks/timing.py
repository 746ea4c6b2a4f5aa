"""Times of methods, taken in turns in one process, so that all see the same state of the machine."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from tests.benchmarks.methods import COPY, Call, Comparison

SETTLE_SECONDS = 0.05
"""Pause before each call: threads of BLAS and OpenMP keep a core busy for a while after their work."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How much is measured."""

    rounds: int = 7
    shrink: int = 1
    """Divides the sides of all squares of pixels; more than 1 is for trials, not for results."""

    def side(self, side: int) -> int:
        return max(side // self.shrink, min(side, 16))


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds of the rounds of each method, for all pixels of the workload."""

    seconds: Mapping[str, tuple[float, ...]]
    sides: Mapping[str, int]
    """Side of the square of pixels each was timed on."""

    @property
    def medians(self) -> dict[str, float]:
        return {name: median(seconds) for name, seconds in self.seconds.items()}

    def least(self, name: str) -> float:
        return min(self.seconds[name])


def time_comparison(comparison: Comparison, settings: Settings) -> Times:
    """Time the copy and all methods; those on fewer pixels are scaled to the pixels of the workload."""
    whole = settings.side(comparison.recipe.side)
    methods = {COPY: comparison.copy(), **comparison.methods}
    sides = {name: settings.side(method.side or comparison.recipe.side) for name, method in methods.items()}
    inputs: dict[int, Any] = {
        side: replace(comparison.recipe, side=side).make() for side in set(sides.values())
    }
    calls = {name: method.prepare(inputs[sides[name]]) for name, method in methods.items()}
    seconds = time_in_turns(calls, settings.rounds)
    scaled = {name: tuple(s * (whole / sides[name]) ** 2 for s in seconds[name]) for name in calls}
    return Times(seconds=scaled, sides=sides)


def time_in_turns(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Call each once unmeasured, then all of them once per round, in a new order every round."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    rng = random.Random(0)
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            rng.shuffle(order)
            for name in order:
                time.sleep(SETTLE_SECONDS)
                seconds[name].append(timed(calls[name]))
    finally:
        gc.enable()
    return seconds


def timed(call: Call) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    result = call()
    elapsed = time.perf_counter() - start
    del result  # giving memory back is not counted
    return elapsed
