"""Networks of compare-exchange steps that sort, or that bring out the middle alone."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

BOTH, SMALLER, LARGER = 0, 1, 2
"""What a step must keep: both results, or only one because no later step reads the other."""

Steps = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""int64 ``(step, 3)`` rows to compare and what to keep, and int64 ``(longest + 2,)`` offsets: the network
for n inputs is ``steps[offsets[n]:offsets[n + 1]]``."""


@cache
def sorting_networks(longest: int) -> Steps:
    """Return networks that sort 0 to ``longest`` inputs (Batcher 1968)."""
    return _table([[(a, b, BOTH) for a, b in _batcher(n)] for n in range(longest + 1)])


@cache
def middle_networks(longest: int) -> Steps:
    """Return networks for 0 to ``longest`` inputs that bring ranks ``n // 2 - 1`` and ``n // 2`` to place.

    They are the sorting networks without the steps, and halves of steps, that the two do not depend on.
    """
    return _table([_pruned(_batcher(n), {n // 2 - 1, n // 2}) for n in range(longest + 1)])


def _table(networks: list[list[tuple[int, int, int]]]) -> Steps:
    offsets = np.cumsum([0, *(len(network) for network in networks)]).astype(np.int64)
    flat = [step for network in networks for step in network]
    return np.array(flat, np.int64).reshape(-1, 3), offsets


def _batcher(n: int) -> list[tuple[int, int]]:
    """Compare-exchange pairs that sort n inputs: the loops of Knuth, TAOCP 3, algorithm 5.2.2 M."""
    pairs = []
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                pairs += [
                    (i, i + k) for i in range(j, j + min(k, n - j - k)) if i // (2 * p) == (i + k) // (2 * p)
                ]
            k //= 2
        p *= 2
    return pairs


def _pruned(pairs: list[tuple[int, int]], wanted: set[int]) -> list[tuple[int, int, int]]:
    """Walk back from the wanted places and keep what they depend on."""
    needed = set(wanted)
    kept = []
    for a, b in reversed(pairs):
        if a in needed or b in needed:
            kept.append((a, b, BOTH if a in needed and b in needed else SMALLER if a in needed else LARGER))
            needed |= {a, b}
    return kept[::-1]
