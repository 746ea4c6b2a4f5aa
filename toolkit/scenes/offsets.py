"""Check the reflectance offset of Sentinel-2 items against their pixels.

:mod:`toolkit.scenes.radiometry` decides from metadata, which are sometimes wrong. Here the pixels are asked:
what each item says alone (:mod:`toolkit.scenes.offset_evidence`), how it differs from its neighbours in time
(:mod:`toolkit.scenes.offset_links`), and what many soils say together (:mod:`toolkit.scenes.soil_lines`,
:mod:`toolkit.scenes.soil_sums`). An offset is only named where everything that speaks agrees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np

from toolkit.errors import BandError, InputError
from toolkit.scenes.offset_evidence import (
    CHECK_BANDS,
    STATES,
    STEP,
    Classes,
    Numbers,
    PixelEvidence,
    excluded_by_line,
    look_at_item,
)
from toolkit.scenes.offset_links import Group, compare_items, group_items, veiled_items
from toolkit.scenes.radiometry import OFFSET
from toolkit.scenes.soil_lines import SoilBlocks, soil_blocks, soil_links, soil_meetings
from toolkit.scenes.soil_sums import state_by_sums

Outcome = Literal["fine", "missing", "doubled", "cannot tell"]

MAX_AGAINST = 0.1
"""Share of a group's speaking items that may contradict its offset; they themselves stay undecided."""
SURE_MEETING = 0.02
"""Standard error of a soil line's meeting below which one date speaks for itself, or against its group,
reflectance. In Flanders a date that is 0.087 from the rest has an error of 0.026."""
SOIL_LIMITS = {
    1: (-0.07, 0.02, 0.035, 0.13),
    3: (-0.05, -0.025, 0.05, 0.075),
    6: (-0.05, -0.042, 0.055, 0.06),
}
"""Dates of soil of a group, at least -> limits as :data:`toolkit.scenes.offset_evidence.ONE_DATE`, for the
lower quartile of where their lines of blue against SWIR meet the diagonal. In simulated series without an
offset one date lies in -0.045 to 0.101, the quartile of three in -0.041 to 0.066, that of six in -0.037 to
0.046; where an offset was taken twice the dark end is cut off, and it lies down to 0.02 lower."""
MIN_DATES = 4
"""Dates of sure soil lines with which the odd ones of a group are looked for."""
MAX_ODD = 0.045
"""How far a date's meeting may be from the median of its group, reflectance: less than half a step."""
MAX_ODD_SHARE = 0.25
"""With a larger share of odd dates the group is no group."""
ALLOWED = (0.0, OFFSET)
BY_SUM = "its soil is a weighted sum of the soils of dates that are told, but for an offset"


@dataclass(frozen=True, slots=True)
class _Finding:
    """What is found for one item."""

    state: int | None
    reason: str
    linked_items: int
    line: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetCheck:
    """What the pixels of one item say about its offset."""

    outcome: Outcome
    """fine; missing: still 0.1 too bright after the offset of the metadata; doubled: 0.1 or more too dark."""
    offset_listed: float
    """Reflectance to add according to the metadata."""
    offset_seen: float | None
    """Reflectance to add according to the pixels (-0.1, 0.0 or 0.1); None where they cannot tell."""
    reason: str
    """Why, in words."""
    pixels: PixelEvidence
    """What the item's own pixels say."""
    excluded: tuple[float, ...]
    """Reflectances to add that the item's own pixels rule out."""
    veiled: bool
    """Whether haze or thin cloud was seen against the neighbours."""
    linked_items: int
    """Items whose offset is tied to this one's by differences in time, itself not counted."""
    group_line: float | None
    """Where the soil lines of those items meet the diagonal, in this item's reflectance, if known."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, texts and None, for JSON."""
        return asdict(self)


def check_offsets(numbers: Numbers, scl: Classes, offsets: Sequence[float]) -> list[OffsetCheck]:
    """Check the offset of each item against its pixels.

    Args:
        numbers: uint16 ``(time, y, x)`` for each of :data:`CHECK_BANDS`, digital numbers as they lie in the
            files, 0 nodata, nothing subtracted; of a sample of the area, in the order of time.
        scl: uint8 ``(time, y, x)``, the scene classification of the same pixels.
        offsets: reflectance to add according to the metadata, 0.0 or -0.1 for each time.

    Returns:
        One check for each time.

    Raises:
        BandError: a band is missing.
        InputError: shapes, types or offsets do not fit.
    """
    _check_input(numbers, scl, offsets)
    looked = [look_at_item({band: numbers[band][t] for band in CHECK_BANDS}, scl[t]) for t in range(len(scl))]
    differences = compare_items(numbers, scl)
    veiled = veiled_items(differences)
    blocks = soil_blocks(numbers, scl)
    lines = soil_meetings(blocks)
    meetings = {t: line.meeting for t, line in lines.items()}
    sure = {t: line.meeting for t, line in lines.items() if line.meeting_error < SURE_MEETING}
    excluded = [
        one.excluded(veiled=t in veiled) | excluded_by_line(sure.get(t), SOIL_LIMITS[1])
        for t, one in enumerate(looked)
    ]
    groups = group_items(len(scl), [*differences, *soil_links(blocks)])
    findings: dict[int, _Finding] = {}
    for group in chain.from_iterable(_split_soils(group, sure) for group in groups):
        findings |= _findings(group, excluded, meetings)
    _add_soil_sums(findings, blocks, excluded)
    return [
        OffsetCheck(
            outcome=_outcome(offsets[t], findings[t].state),
            offset_listed=float(offsets[t]),
            offset_seen=None if (state := findings[t].state) is None else _to_add(state),
            reason=findings[t].reason,
            pixels=looked[t],
            excluded=tuple(_to_add(one) for one in sorted(excluded[t])),
            veiled=t in veiled,
            linked_items=findings[t].linked_items,
            group_line=findings[t].line,
        )
        for t in range(len(scl))
    ]


def _findings(
    group: Group, excluded: Sequence[frozenset[int]], meetings: Mapping[int, float]
) -> dict[int, _Finding]:
    """What the items of a group say together."""
    line, limits = _group_line(group, meetings)
    base, reason = _group_state(group, excluded, excluded_by_line(line, limits))
    found = {}
    for item, more in group.steps.items():
        state, why = (None if base is None else base + more), reason
        if state is not None and state not in STATES:
            state, why = None, "differs from its neighbours in time by more than one offset"
        elif state is not None and state in excluded[item]:
            state, why = None, "its own pixels contradict its neighbours in time"
        at = None if line is None else line + more * STEP
        found[item] = _Finding(state, why, len(group.steps) - 1, at)
    return found


def _add_soil_sums(
    findings: dict[int, _Finding], blocks: SoilBlocks, excluded: Sequence[frozenset[int]]
) -> None:
    """Ask the soils of items that are not told against those that are, until no more are told."""
    told = True
    while told:
        known = {t: one.state for t, one in findings.items() if one.state is not None}
        told = False
        for item, one in findings.items():
            state = None if one.state is not None else state_by_sums(blocks, item, known)
            if state in STATES and state not in excluded[item]:
                findings[item] = replace(one, state=state, reason=BY_SUM)
                told = True


def _group_state(
    group: Group, excluded: Sequence[frozenset[int]], by_lines: set[int]
) -> tuple[int | None, str]:
    """The state of the first item of a group, None if it cannot be told, and why."""
    voters = [item for item in group.steps if excluded[item]]
    possible = []
    for state in STATES:
        against = sum(state + group.steps[item] in excluded[item] for item in voters)
        outside = sum(state + more not in STATES for more in group.steps.values())
        if against <= MAX_AGAINST * len(voters) and outside <= MAX_AGAINST * len(group.steps):
            possible.append(state)
    possible = [state for state in possible if state not in by_lines]
    if len(possible) == 1:
        return possible[0], "only one offset fits the pixels"
    if not possible:
        return None, "no offset fits all of the pixels"
    if not voters and not by_lines:
        return None, "too few clear pixels that tell"
    return None, "more than one offset fits the pixels"


def _split_soils(group: Group, sure: Mapping[int, float]) -> list[Group]:
    """Take the items out of a group whose soil surely does not fit the rest; all of them if many do not."""
    at = {item: sure[item] - more * STEP for item, more in group.steps.items() if item in sure}
    if len(at) < MIN_DATES:
        return [group]
    middle = float(np.median(list(at.values())))
    odd = [item for item, value in at.items() if abs(value - middle) > MAX_ODD]
    if len(odd) > MAX_ODD_SHARE * len(at):
        odd = list(at)
    rest = {item: more for item, more in group.steps.items() if item not in odd}
    return [*([Group(rest)] if rest else []), *(Group({item: 0}) for item in odd)]


def _group_line(
    group: Group, meetings: Mapping[int, float]
) -> tuple[float | None, tuple[float, float, float, float]]:
    """Lower quartile of where the soil lines meet the diagonal, in the first item's numbers; its limits."""
    at = [meetings[item] - more * STEP for item, more in group.steps.items() if item in meetings]
    limits = [SOIL_LIMITS[dates] for dates in SOIL_LIMITS if dates <= len(at)]
    return (float(np.percentile(at, 25)), limits[-1]) if limits else (None, SOIL_LIMITS[1])


def _to_add(state: int) -> float:
    return 0.0 if state == 0 else -state * STEP


def _outcome(listed: float, state: int | None) -> Outcome:
    if state is None:
        return "cannot tell"
    wrong = round(listed / STEP) + state
    if wrong == 0:
        return "fine"
    return "missing" if wrong > 0 else "doubled"


def _check_input(numbers: Numbers, scl: Classes, offsets: Sequence[float]) -> None:
    missing = [band for band in CHECK_BANDS if band not in numbers]
    if missing:
        msg = (
            f"The offset check lacks {', '.join(missing)}: it got {', '.join(numbers) or 'no band'} and "
            f"needs {', '.join(CHECK_BANDS)}. Read these bands of the sample too."
        )
        raise BandError(msg)
    if scl.dtype != np.uint8 or scl.ndim != 3:
        msg = (
            f"The scene classification of the offset check is {scl.dtype} with {scl.ndim} dimensions; it "
            "must be uint8 (time, y, x). Pass it as it was read, one plane for each item."
        )
        raise InputError(msg)
    for band in CHECK_BANDS:
        if numbers[band].dtype != np.uint16 or numbers[band].shape != scl.shape:
            msg = (
                f"{band} of the offset check is {numbers[band].dtype} of shape {numbers[band].shape}; it "
                f"must be uint16 of shape {scl.shape}, as the scene classification. Pass the digital numbers "
                "as they lie in the files, on one grid."
            )
            raise InputError(msg)
    unknown = sorted({value for value in offsets if round(value, 6) not in ALLOWED})
    if len(offsets) != len(scl) or unknown:
        msg = (
            f"The offset check got {len(offsets)} offsets for {len(scl)} items"
            f"{f', among them {unknown}' if unknown else ''}; it needs one for each item, 0.0 or {OFFSET}. "
            "Pass what radiometric_offset gives."
        )
        raise InputError(msg)
