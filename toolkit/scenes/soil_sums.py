"""Soils of a date as a weighted sum of two known dates: what is left over was added.

A soil that dries changes from a wet to a dry image of the place; light multiplies both. So two dates that
differ in moisture make up any third, and what is left over alike in all fields was added: an offset. Unlike a
link of two dates, that needs no date of like moisture, only fields that differ in brightness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from toolkit.scenes.offset_evidence import STEP, Floats
from toolkit.scenes.soil_lines import MIN_BLOCKS, RED_TOLERANCE, SoilBlocks, jackknife_error

REFERENCES = 8
"""Known dates next in time that a date is compared with, at most."""
MIN_CELLS = 5
"""Cells that a sum needs: two more than it has unknowns. With four, simulated dates were taken for others."""
MAX_ERROR = 0.0125
"""Beyond this standard error the uniform part is not used, reflectance."""
MAX_STEP_ERROR = 0.0075
"""The same where the date differs from those it is compared with: few do, and a false step does harm."""
NEARLY_BEST = 1.5
"""Pairs with an error up to this many times the least are used together: their median."""
TOLERANCE = 0.035
"""How far the uniform part in SWIR may be from a whole step, reflectance."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """What a date holds beyond a weighted sum of two others, reflectance."""

    swir: float
    swir_error: float
    red: float


def state_by_sums(blocks: SoilBlocks, item: int, known: Mapping[int, int]) -> int | None:
    """Return the state of a date from dates whose state is known, None if they do not tell.

    Args:
        blocks: soils of all dates.
        item: date that is asked.
        known: date -> state, steps of 0.1 that it holds besides reflectance.
    """
    nearest = sorted((other for other in known if other != item), key=lambda other: abs(other - item))
    sums = [
        one
        for pair in combinations(nearest[:REFERENCES], 2)
        if (one := _beyond_sum(blocks, item, {other: known[other] for other in pair})) is not None
    ]
    least = min((one.swir_error for one in sums), default=np.inf)
    if least > MAX_ERROR:
        return None
    best = [one for one in sums if one.swir_error <= NEARLY_BEST * least]
    swir, red = (float(np.median([getattr(one, band) for one in best])) for band in ("swir", "red"))
    state = round(swir / STEP)
    fits = abs(swir - state * STEP) <= TOLERANCE and abs(red - state * STEP) <= RED_TOLERANCE
    usual = all(known[other] == state for other in nearest[:REFERENCES])
    return state if fits and (usual or least <= MAX_STEP_ERROR) else None


def _beyond_sum(blocks: SoilBlocks, item: int, pair: Mapping[int, int]) -> Uniform | None:
    """Least squares over the blocks that all three dates see."""
    _, *bands = (
        np.array([band[item], *(band[other] - state * STEP for other, state in pair.items())])
        for band in blocks.values
    )
    seen = np.isfinite(bands[0]).all(axis=0)
    cells = blocks.cells[seen]
    if len(cells) < MIN_BLOCKS or len(np.unique(cells)) < MIN_CELLS:
        return None
    (red, _), (swir, error) = (_uniform_part(band[:, seen], cells) for band in bands)
    return Uniform(swir, error, red)


def _uniform_part(values: Floats, cells: npt.NDArray[np.intp]) -> tuple[float, float]:
    """Constant of the least squares of the first row on the others, and its error over the cells."""
    terms = np.vstack([values[1:], np.ones(len(cells))])
    of_cell = (cells[:, None] == np.unique(cells)).astype(np.float64)
    known = np.moveaxis((terms[:, None] * terms) @ of_cell, -1, 0)
    asked = ((terms * values[0]) @ of_cell).T
    known = np.concatenate([known.sum(axis=0)[None], known.sum(axis=0) - known])
    asked = np.concatenate([asked.sum(axis=0)[None], asked.sum(axis=0) - asked])
    constants = (np.linalg.pinv(known, hermitian=True) @ asked[..., None])[:, -1, 0]
    return float(constants[0]), jackknife_error(constants[1:])
