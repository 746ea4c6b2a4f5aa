"""How fast engines are, beside each other, in a second or two."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from toolkit.learn.engines.setting import Classifier, Series

SLOW = 2.0
"""A candidate that takes so many times as long as PyTorch in float32 is not looked at further."""
SLOW_BATCHES = 2
"""After so many batches that all were slow, not counting the first."""
WARM_UP_SECONDS = 1.0
"""What a first batch may take beyond that: kernels are made in it."""
OUTRUN = 2.5
"""Who takes so many times as long as the fastest of the first round does not run on."""
TURN_SECONDS = 0.05
"""Least length of a turn: one of a few milliseconds tells of other work on the machine."""
RACE_SECONDS = 1.5
"""All rounds after the first together, unless they are fewer than :data:`LEAST_ROUNDS`."""
LEAST_ROUNDS = 3


class TooSlowError(Exception):
    """A candidate is not worth looking at further."""

    def __init__(self, seconds: float) -> None:
        """Take the seconds of its batch."""
        super().__init__(f"a batch takes {seconds:.2f} s")
        self.seconds = seconds


def logits_unless_slow(
    classifier: Classifier, series: Series, batch_size: int, *, slow: float = float("inf")
) -> tuple[Series, float]:
    """Return the logits of all series, and the seconds of the fastest batch.

    Bfloat16 without units for it took 7 times as long as float32: of such a candidate one to three batches
    are computed.

    Args:
        classifier: computes whole batches.
        series: normalised float32 ``(n, band, step)``, whole batches.
        batch_size: pixels of a batch.
        slow: seconds of a batch that are too many.

    Raises:
        TooSlowError: as soon as a batch shows that it is slow.
    """
    parts: list[Series] = []
    seconds: list[float] = []
    for first in range(0, len(series), batch_size):
        start = time.perf_counter()
        parts.append(classifier(series[first : first + batch_size]))
        seconds.append(time.perf_counter() - start)
        # The first batch warms up; of the later ones two must be slow, as other work may delay any of them.
        if seconds[0] - WARM_UP_SECONDS > slow or (len(seconds) > SLOW_BATCHES and min(seconds[1:]) > slow):
            raise TooSlowError(min(seconds))
    return np.concatenate(parts), min(seconds)


def speeds(ready: Mapping[str, Classifier], batch: Series, seen: Mapping[str, float]) -> dict[str, float]:
    """Return pixels per second of each candidate, from its fastest batch.

    The fastest, as other work on the machine only ever slows a batch. After a first round of all, those that
    may still win run on in turn.

    Args:
        ready: name -> what computes a batch, warmed up.
        batch: normalised float32 ``(n, band, step)``.
        seen: name -> seconds of its fastest batch so far.
    """
    seconds = {name: min(seen[name], _turn(classifier, batch)) for name, classifier in ready.items()}
    running = [name for name, one in seconds.items() if one <= OUTRUN * min(seconds.values())]
    start, rounds = time.perf_counter(), 0
    while len(running) > 1 and (rounds < LEAST_ROUNDS or time.perf_counter() - start < RACE_SECONDS):
        for name in running:
            seconds[name] = min(seconds[name], _turn(ready[name], batch))
        rounds += 1
    return {name: len(batch) / one for name, one in seconds.items()}


def _turn(classifier: Classifier, batch: Series) -> float:
    """Return the seconds of the fastest batch of a turn."""
    fastest, begun = float("inf"), time.perf_counter()
    while (now := time.perf_counter()) - begun < TURN_SECONDS:
        classifier(batch)
        fastest = min(fastest, time.perf_counter() - now)
    return fastest
