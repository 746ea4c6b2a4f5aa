"""How the numbers of Sentinel-2 items differ from those of their neighbours in time.

Between two dates that see the same class at a pixel, reflectance changes by growth and haze; an offset in
one of the two adds the same 0.1 in every band. Single soils are not compared: a wet one under haze and a dry
one differ as an offset would. What many soils of a place tell is in :mod:`toolkit.scenes.soil_lines`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.scenes.offset_evidence import (
    CHECK_BANDS,
    HARDLY_CLIPPED,
    MIN_PIXELS,
    SCALE,
    STEP,
    VEGETATION,
    WATER,
    Classes,
    Floats,
    Numbers,
)
from toolkit.scenes.radiometry import DARKEST

NEIGHBOURS = 8
"""Items before and after that an item is compared with, at most."""
TOLERANCES = (0.04, 0.05, 0.06)
"""How far the medians of blue, red and SWIR may be from a whole step, reflectance; below half a step in blue.
Clear pairs of Flanders at most 8 items apart: blue within 0.04 in the median pair by far."""
UNIFORM = 0.04
"""How far red and SWIR may differ from blue, reflectance. PROSAIL's soil, wetted until its blue looks a step
of 0.1 (0.06) darker, changes by 0.066 more in SWIR."""
MAX_SPREAD = 0.04
"""Interquartile range of blue differences beyond which cloud edges or fields are compared, reflectance."""
MAX_CLIPPED = {VEGETATION: HARDLY_CLIPPED, WATER: 0.3}
"""Class -> with a larger share of its pixels at 0 or 1 in some band it is not compared: clipping makes an
offset that was taken twice look smaller. With 0.3 two simulated dates whose vegetation was clipped by 16 and
21 percent were tied to dates without an offset."""
STEP_TOLERANCES = {VEGETATION: 0.03, WATER: 0.015}
"""Class -> how far each band may be from a step other than 0, reflectance: few dates differ by one, so that
of the steps seen more would be false. Growth over bright soil under haze looks like 0.06 to 0.1 in all bands,
glint on water like 0.06."""
STEP_SPREAD = 0.03
"""Interquartile range beyond which a step other than 0 is not believed, in any band, reflectance: growth
differs from pixel to pixel, an offset does not. In simulated places 0 to 99 a tenth of such steps of
vegetation were false; with this limit and the tolerance 0.2 percent are."""
VEIL = 0.05
"""Blue brighter than the neighbours by this, and by :data:`UNIFORM` more than SWIR: haze or thin cloud."""
MIN_AGREEMENT = 0.75
"""An item whose links agree less than this with the rest of its group is taken out of it."""


Pairs = Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""Values of the same pixels on the two dates, for each band."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What a pair of items has in common, in reflectance."""

    first: int
    second: int
    steps: int | None
    """Steps of 0.1 that the second holds more than the first; None where it cannot be told."""
    veiled: int | None
    """Which of the two looks veiled against the other, if any."""


@dataclass(frozen=True, slots=True)
class Group:
    """Items whose numbers hold the same offset, but for known steps."""

    steps: dict[int, int]
    """Item -> steps of 0.1 it holds more than the first of the group."""


def compare_items(numbers: Numbers, scl: Classes) -> list[Difference]:
    """Compare each item with its neighbours in time.

    Args:
        numbers: uint16 ``(time, y, x)`` by band, digital numbers.
        scl: uint8 ``(time, y, x)``, scene classification.

    Returns:
        One difference for each pair and class with enough pixels.
    """
    floats = [numbers[band].astype(np.float32) * np.float32(SCALE) for band in CHECK_BANDS]
    found = []
    for value in (VEGETATION, WATER):
        of_class = scl == value
        usable = [t for t in range(len(scl)) if of_class[t].sum() >= MIN_PIXELS]
        for place, first in enumerate(usable):
            for second in usable[place + 1 : place + 1 + NEIGHBOURS]:
                shared = of_class[first] & of_class[second]
                if shared.sum() >= MIN_PIXELS:
                    bands = [(band[first][shared], band[second][shared]) for band in floats]
                    found.append(_difference(first, second, value, bands))
    return found


def _difference(first: int, second: int, value: int, bands: Pairs) -> Difference:
    lowest = DARKEST * SCALE * 1.001
    if any((one <= lowest).mean() > MAX_CLIPPED[value] for pair in bands for one in pair):
        return Difference(first, second, None, None)
    low, middle, high = np.percentile([b - a for a, b in bands], (25, 50, 75), axis=1)
    steps = _steps(middle, high - low, value)
    blue, _, swir = (float(change) for change in middle)
    veiled = None
    if abs(blue) > VEIL and abs(blue) - abs(swir) * np.sign(blue * swir) > UNIFORM:
        veiled = second if blue > 0 else first
    return Difference(first, second, steps, veiled)


def _steps(change: Floats, spread: Floats, value: int) -> int | None:
    """Steps by which all bands changed alike; None if they did not.

    Args:
        change: median by band, reflectance.
        spread: interquartile range by band, reflectance.
        value: class.
    """
    steps = round(float(change[0]) / STEP)
    off = np.abs(change - steps * STEP)
    alike = bool((off <= TOLERANCES).all() and (np.abs(change - change[0]) <= UNIFORM).all())
    sure = bool((off <= STEP_TOLERANCES[value]).all() and (spread <= STEP_SPREAD).all())
    return steps if alike and spread[0] <= MAX_SPREAD and (steps == 0 or sure) else None


def veiled_items(differences: Sequence[Difference]) -> frozenset[int]:
    """Items that look veiled by haze against most neighbours they were compared with.

    Args:
        differences: of :func:`compare_items`.

    Returns:
        Positions of the items.
    """
    seen: dict[int, list[bool]] = {}
    for one in differences:
        for item in (one.first, one.second):
            seen.setdefault(item, []).append(one.veiled == item)
    return frozenset(item for item, flags in seen.items() if sum(flags) * 2 > len(flags))


def group_items(count: int, differences: Sequence[Difference]) -> list[Group]:
    """Gather the items that links tie together.

    Args:
        count: number of items.
        differences: of :func:`compare_items`.

    Returns:
        Groups that together hold every item once; an item without links, or whose links contradict the
        rest, is a group of its own.
    """
    links = [one for one in differences if one.steps is not None]
    alone: set[int] = set()
    while True:
        steps, groups = _align(count, links)
        worst = _least_agreeing(links, steps)
        if worst is None:
            break
        alone.add(worst)
        links = [one for one in links if worst not in (one.first, one.second)]
    return [Group({item: steps[item] for item in members}) for members in groups]


def _align(count: int, links: Sequence[Difference]) -> tuple[dict[int, int], list[set[int]]]:
    """Steps of each item against the first of its group, and the groups."""
    near: dict[int, list[tuple[int, int]]] = {item: [] for item in range(count)}
    for one in links:
        if one.steps is not None:
            near[one.first].append((one.second, one.steps))
            near[one.second].append((one.first, -one.steps))
    steps: dict[int, int] = {}
    groups = []
    for start in sorted(near, key=lambda item: -len(near[item])):
        if start in steps:
            continue
        steps[start], members, waiting = 0, {start}, deque([start])
        while waiting:
            item = waiting.popleft()
            for other, more in near[item]:
                if other not in steps:
                    steps[other] = steps[item] + more
                    members.add(other)
                    waiting.append(other)
        groups.append(members)
    return steps, groups


def _least_agreeing(links: Sequence[Difference], steps: dict[int, int]) -> int | None:
    agreeing: dict[int, list[bool]] = {}
    for one in links:
        right = steps[one.second] - steps[one.first] == one.steps
        for item in (one.first, one.second):
            agreeing.setdefault(item, []).append(right)
    shares = {item: sum(flags) / len(flags) for item, flags in agreeing.items()}
    worst = min(shares, key=lambda item: shares[item], default=None)
    return worst if worst is not None and shares[worst] < MIN_AGREEMENT else None
