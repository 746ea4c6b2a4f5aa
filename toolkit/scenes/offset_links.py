"""How the numbers of Sentinel-2 items differ from those of their neighbours in time.

Between two dates that see the same class at a pixel, reflectance changes by growth, moisture and haze;
an offset in one of the two adds the same 0.1 in every band. Moisture changes the SWIR of a soil at
least twice as much as its blue, haze changes blue most: neither looks like an offset.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.scenes.offset_evidence import (
    CHECK_BANDS,
    MIN_PIXELS,
    SCALE,
    SOIL,
    STEP,
    VEGETATION,
    WATER,
    Classes,
    Numbers,
)
from toolkit.scenes.radiometry import DARKEST

NEIGHBOURS = 8
"""Items before and after that an item is compared with, at most."""
TOLERANCES = (0.04, 0.05, 0.06)
"""How far the medians of blue, red and SWIR may be from a whole step, reflectance; below half a step in blue.
Clear pairs of Flanders at most 8 items apart: blue within 0.04 in the median pair by far, see docs."""
UNIFORM = 0.04
"""How far red and SWIR may differ from blue, reflectance. PROSAIL's soil, wetted until its blue looks a step
of 0.1 (0.06) darker, changes by 0.066 more in SWIR."""
MAX_SPREAD = 0.04
"""Interquartile range of blue differences beyond which cloud edges or fields are compared, reflectance."""
MAX_CLIPPED = 0.3
"""A band with more of its pixels at 0 or 1 is not compared."""
MIN_SOIL_CONTRAST = 0.02
"""Red must differ by this much more than blue between dark and bright soil, to know the line of moisture."""
SOIL_TOLERANCE = 0.035
"""How far the common change of soils beside moisture may be from whole steps, reflectance: half a step less
0.015 for noise."""
SOIL_HAZE = 0.015
"""... and below a whole step: haze of 0.05 in blue over soils looks like 0.078 in all bands and some wetting."""
SOIL_REST = 0.02
"""What neither moisture nor an offset explains, reflectance, at most."""
GLINT = 0.015
"""How far SWIR of water may be from a whole step: glint of up to 0.06 changes all bands alike."""
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
    links: int
    """Number of pairs that tie the group together."""


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
    for value in (VEGETATION, SOIL, WATER):
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
    if any(max((a <= lowest).mean(), (b <= lowest).mean()) > MAX_CLIPPED for a, b in bands[:2]):
        return Difference(first, second, None, None)
    changes = [b - a for a, b in bands]
    low, blue, high = (float(v) for v in np.percentile(changes[0], (25, 50, 75)))
    red, swir = (float(np.median(change)) for change in changes[1:])
    if max((v <= lowest).mean() for v in bands[2]) > MAX_CLIPPED:
        swir = blue  # black in both: says nothing
    steps = _steps_along_soil(bands, (blue, red, swir)) if value == SOIL else _steps((blue, red, swir), value)
    fits = high - low <= MAX_SPREAD
    veiled = None
    if abs(blue) > VEIL and abs(blue) - abs(swir) * np.sign(blue * swir) > UNIFORM:
        veiled = second if blue > 0 else first
    return Difference(first, second, steps if fits else None, veiled)


def _steps(change: tuple[float, float, float], value: int) -> int | None:
    """Steps by which all bands changed alike; None if they did not."""
    blue, red, swir = change
    steps = round(blue / STEP)
    near = all(abs(one - steps * STEP) <= far for one, far in zip(change, TOLERANCES, strict=True))
    uniform = max(abs(red - blue), abs(swir - blue)) <= UNIFORM
    glint = value == WATER and steps != 0 and abs(swir - steps * STEP) > GLINT
    return steps if near and uniform and not glint else None


def _steps_along_soil(bands: Pairs, change: tuple[float, float, float]) -> int | None:
    """Steps between two dates of soil beside what moisture changed along the line from dark to bright soil."""
    total = np.sum([first + second for first, second in bands[:2]], axis=0)
    dark, bright = total <= np.quantile(total, 0.2), total >= np.quantile(total, 0.8)
    line = [float(np.median((a + b)[bright]) - np.median((a + b)[dark])) / 2 for a, b in bands]
    if line[1] - line[0] < MIN_SOIL_CONTRAST:
        return _steps(change, SOIL)
    parts = np.column_stack([np.array(line) / np.linalg.norm(line), np.ones(3)])
    fitted = np.linalg.lstsq(parts, np.array(change), rcond=None)[0]
    rest = float(np.abs(np.array(change) - parts @ fitted).max())
    steps = round(float(fitted[1]) / STEP)
    far = abs(float(fitted[1])) - abs(steps) * STEP
    lowest = -SOIL_TOLERANCE if steps == 0 else -SOIL_HAZE
    return steps if lowest <= far <= SOIL_TOLERANCE and rest <= SOIL_REST else None


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
    return [
        Group({item: steps[item] for item in members}, sum(one.first in members for one in links))
        for members in groups
    ]


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
