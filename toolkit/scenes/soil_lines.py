"""Lines through the soils of a place: where they start tells what was added.

Soils that differ in brightness are multiples of each other in every band. So blue against SWIR over the
fields of one date, and SWIR against SWIR over the fields of two dates, are lines through the origin (the soil
line as in Baret et al. 1993, doi:10.1080/01431169308904405, who use red and near infrared). Whatever is added
moves the line: an offset in all bands, haze in blue but hardly in SWIR. Moisture, light and the kind of soil
change its slope. The thresholds were set with simulated places 0 to 99.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

from toolkit.scenes.offset_evidence import (
    CHECK_BANDS,
    CLOUDS,
    SCALE,
    SOIL,
    STEP,
    Classes,
    Floats,
    Numbers,
)
from toolkit.scenes.offset_links import NEIGHBOURS, Difference
from toolkit.scenes.radiometry import DARKEST

Scalar = TypeVar("Scalar", bound=np.generic)

BLOCK = 4
"""Edge of the blocks whose means are compared, pixels: 40 m lie within most fields."""
MIN_SOIL = 0.75
"""Share of a block's pixels that must be bare soil."""
SHADOW = 3
"""Class of cloud shadow, see :data:`toolkit.scenes.clear.SCL_CLASSES`."""
CELLS = 4
"""The place is cut into this many rows and columns of cells; leaving each out in turn gives the error of a
line. Blocks of one field are alike: their own scatter would make the error too small."""
MIN_BLOCKS = 8
"""Blocks that a line needs."""
MIN_CELLS = 6
"""Cells that a line needs. With five, simulated pairs without a step were 0.06 apart at an error of 0.01."""
MIN_CORRELATION = 0.8
"""With less the fields changed one by one, by tillage or a crop."""
MAX_MEETING_ERROR = 0.03
"""Beyond this standard error the meeting with the diagonal is not used, reflectance."""
MAX_LINK_ERROR = 0.0125
"""Beyond this standard error of the intercept dates are not linked, reflectance: a quarter of half a step."""
MAX_STEP_ERROR = 0.0075
"""The same where they differ by a step. Few do, so that of the steps seen more would be false: one simulated
pair without a step is 0.07 apart in red and SWIR at an error of 0.01."""
MAX_GAIN = 0.2
"""Natural logarithm of the ratio of two dates' contrasts beyond which they are not linked: fields that differ
in moisture then darken by different factors, and an offset of both shifts the line by 0.02."""
SWIR_TOLERANCE, RED_TOLERANCE = 0.03, 0.05
"""How far the intercept may be from a whole step in SWIR, and in red, which haze reaches, reflectance."""


@dataclass(frozen=True, slots=True)
class SoilBlocks:
    """Mean reflectance of blocks of bare soil, clear of cloud and of clipped pixels."""

    values: Floats
    """``(band, time, block)`` as :data:`CHECK_BANDS`, before any offset; NaN where there is no clear soil."""
    cells: npt.NDArray[np.intp]
    """Cell in which each block lies, 0 to ``CELLS**2 - 1``."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line through the soils of a place."""

    slope: float
    intercept: float
    """Reflectance."""
    intercept_error: float
    """Standard error of the intercept, by leaving out each cell in turn, reflectance."""
    meeting: float
    """Where the line meets the diagonal, reflectance."""
    meeting_error: float
    """Standard error of that."""
    correlation: float


def _pieces(plane: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """Cut planes ``(time, y, x)`` into blocks ``(time, row, y, column, x)``; what is left over is dropped."""
    rows, columns = (edge // BLOCK for edge in plane.shape[1:])
    whole = plane[:, : rows * BLOCK, : columns * BLOCK]
    return whole.reshape(len(plane), rows, BLOCK, columns, BLOCK)


def soil_blocks(numbers: Numbers, scl: Classes) -> SoilBlocks:
    """Average the bare soil of each date over blocks.

    Args:
        numbers: uint16 ``(time, y, x)`` by band, digital numbers.
        scl: uint8 ``(time, y, x)``, scene classification.

    Returns:
        Blocks that are mostly bare soil, hold no clipped pixel and do not touch cloud or its shadow.
    """
    soil = _pieces(scl == SOIL)
    cloudy = _pieces(np.isin(scl, (SHADOW, *CLOUDS)))
    near = binary_dilation(np.any(cloudy, axis=(2, 4)), np.ones((1, 3, 3), np.bool_))
    clear = (soil.mean(axis=(2, 4)) >= MIN_SOIL) & ~near
    means = []
    for band in CHECK_BANDS:
        plane = _pieces(numbers[band])
        clear &= ~((plane <= DARKEST) & soil).any(axis=(2, 4))
        means.append((plane * soil).sum(axis=(2, 4)) / np.maximum(1, soil.sum(axis=(2, 4))) * SCALE)
    count, rows, columns = clear.shape
    values = np.where(clear, np.array(means), np.nan).reshape(len(means), count, rows * columns)
    row, column = np.indices((rows, columns)).reshape(2, -1) * CELLS
    return SoilBlocks(values, row // max(1, rows) * CELLS + column // max(1, columns))


def soil_line(x: Floats, y: Floats, cells: npt.NDArray[np.intp]) -> Line | None:
    """Return the line of ``y`` against ``x`` over blocks, None with too few or too scattered ones.

    The line is the reduced major axis (slope: ratio of the standard deviations), as both have noise.

    Args:
        x: reflectance of blocks; NaN is left out.
        y: reflectance of the same blocks.
        cells: as in :class:`SoilBlocks`.
    """
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < MIN_BLOCKS or len(np.unique(cells[both])) < MIN_CELLS:
        return None
    x, y = x[both], y[both]
    terms = (np.ones_like(x), x, y, x * x, x * y, y * y)
    sums = np.array([np.bincount(cells[both], term, CELLS**2) for term in terms])
    whole = sums.sum(axis=1)
    left = np.column_stack([whole, (whole[:, None] - sums)[:, sums[0] > 0]])
    count, mean_x, mean_y = left[0], left[1] / left[0], left[2] / left[0]
    vary_x, together, vary_y = (
        left[3] / count - mean_x**2,
        left[4] / count - mean_x * mean_y,
        left[5] / count - mean_y**2,
    )
    if min(vary_x.min(), vary_y.min()) <= 0:
        return None
    correlation = float(together[0] / np.sqrt(vary_x[0] * vary_y[0]))
    if correlation < MIN_CORRELATION:
        return None
    slope = np.sqrt(vary_y / vary_x)
    intercept = mean_y - slope * mean_x
    with np.errstate(divide="ignore", invalid="ignore"):
        meeting = intercept / (1 - slope)
    return Line(
        slope=float(slope[0]),
        intercept=float(intercept[0]),
        intercept_error=jackknife_error(intercept[1:]),
        meeting=float(meeting[0]),
        meeting_error=jackknife_error(meeting[1:]),
        correlation=correlation,
    )


def jackknife_error(without: Floats) -> float:
    """Standard error from estimates that each leave out one of the cells (delete-one jackknife)."""
    count = len(without)
    return float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))


def soil_meetings(blocks: SoilBlocks) -> dict[int, Line]:
    """Return the line of blue against SWIR of each date.

    It meets the diagonal at what was added to both bands, and 1.8 times the haze in blue, but up to 0.05
    lower where fields differ in moisture: the line from a dry to a wet soil does not pass through the origin.

    Returns:
        Item -> line, where its meeting has an error below :data:`MAX_MEETING_ERROR`.
    """
    blue, _, swir = blocks.values
    lines = {item: soil_line(swir[item], blue[item], blocks.cells) for item in range(len(blue))}
    return {
        item: line
        for item, line in lines.items()
        if line is not None and line.meeting_error < MAX_MEETING_ERROR
    }


def soil_links(blocks: SoilBlocks) -> list[Difference]:
    """Compare the soils of dates with those of the next dates.

    The SWIR of one date against that of another is a line through the origin while no field was tilled in
    between, whatever the light; if one date holds an offset, the line starts 0.1 above or below.

    Returns:
        A difference for each pair of dates whose lines tell how many steps lie between them.
    """
    count = blocks.values.shape[1]
    found = []
    for first in range(count):
        for second in range(first + 1, min(count, first + 1 + NEIGHBOURS)):
            steps = _steps_between(blocks, first, second)
            if steps is not None:
                found.append(Difference(first, second, steps, None))
    return found


def _steps_between(blocks: SoilBlocks, first: int, second: int) -> int | None:
    """Steps of 0.1 that the second date holds more than the first, None if its lines do not tell."""
    _, red, swir = blocks.values
    line = soil_line(swir[first], swir[second], blocks.cells)
    if line is None or line.intercept_error > MAX_LINK_ERROR or abs(np.log(line.slope)) > MAX_GAIN:
        return None
    steps = round(line.intercept / STEP)
    in_red = soil_line(red[first], red[second], blocks.cells)
    near = (
        in_red is not None
        and abs(line.intercept - steps * STEP) <= SWIR_TOLERANCE
        and abs(in_red.intercept - steps * STEP) <= RED_TOLERANCE
    )
    return steps if near and (steps == 0 or line.intercept_error <= MAX_STEP_ERROR) else None
