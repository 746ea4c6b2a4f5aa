"""Geographic lookup tables: which pixel of a swath lies in a cell, and its spectrum.

EMIT's tables are 1-based, and 0 (-9999 in older files) is a hole:
``cell = raw[glt_y - 1, glt_x - 1]`` (L2A user guide, emit-sds-l2a).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolkit.kernels.compiled import compiled

Positions = npt.NDArray[np.int32]
"""int32 ``(pixel,)``, rows or columns counted from 0; -1 for none."""
Spectra = npt.NDArray[np.float32]

FILL = np.float32(-9999.0)
"""No data in EMIT's reflectance."""
NO_LIGHT = np.float32(-0.01)
"""What the producer writes into bands that water vapour darkens."""


def swath_pixels(
    glt_x: npt.NDArray[np.int32], glt_y: npt.NDArray[np.int32], rows: Positions, columns: Positions
) -> tuple[Positions, Positions]:
    """Return the swath pixel that a lookup table names for each cell.

    Args:
        glt_x: int32 ``(row, column)``, crosstrack position from 1; 0 or less is a hole.
        glt_y: int32 ``(row, column)``, downtrack position from 1; 0 or less is a hole.
        rows: row of each cell in the table, -1 for none.
        columns: column of each cell, -1 for none.

    Returns:
        Downtrack and crosstrack of each cell, counted from 0; both -1 in holes.

    Raises:
        ValueError: the tables differ in shape, or a cell lies outside them.
    """
    if glt_x.shape != glt_y.shape or glt_x.ndim != 2:
        msg = f"glt_x {glt_x.shape} and glt_y {glt_y.shape} must be one shape (row, column)."
        raise ValueError(msg)
    _check_inside(rows, columns, glt_x.shape)
    line, sample = np.empty_like(rows), np.empty_like(rows)
    _look_up(glt_x, glt_y, rows, columns, line, sample)
    return line, sample


def gather_spectra(  # a gather needs source, positions and target
    block: Spectra,
    lines: Positions,
    samples: Positions,
    bands: npt.NDArray[np.intp],
    pixels: npt.NDArray[np.intp],
    out: Spectra,
) -> None:
    """Copy the spectra of swath pixels from a block to their places.

    Args:
        block: float32 ``(line, sample, band)``, part of a swath.
        lines: line of each pixel within the block.
        samples: sample of each pixel within the block.
        bands: bands to copy, in the order wanted.
        pixels: place of each pixel in ``out``.
        out: float32 ``(pixel, band)``; fill and bands without light become NaN.

    Raises:
        ValueError: a position lies outside block or target.
    """
    _check_inside(lines, samples, block.shape[:2], holes=False)
    shapes = len(lines) == len(samples) == len(pixels) and out.shape[1] == len(bands)
    inside = len(pixels) == 0 or (pixels.min() >= 0 and pixels.max() < len(out))
    bands_inside = len(bands) == 0 or (bands.min() >= 0 and bands.max() < block.shape[2])
    if not (shapes and inside and bands_inside):
        msg = (
            f"Spectra of {len(lines)} pixels and {len(bands)} bands do not fit {block.shape} -> {out.shape}."
        )
        raise ValueError(msg)
    _gather(block, lines, samples, bands, pixels, out)


def _check_inside(rows: Positions, columns: Positions, shape: tuple[int, ...], *, holes: bool = True) -> None:
    """Raise ValueError unless positions lie in a table: compiled code would read beyond it."""
    least = -1 if holes else 0
    for positions, size in ((rows, shape[0]), (columns, shape[1])):
        if positions.size and not (least <= positions.min() and positions.max() < size):
            msg = f"Positions {positions.min()} to {positions.max()} leave a table of {shape}."
            raise ValueError(msg)


@compiled
def _look_up(glt_x, glt_y, rows, columns, line, sample):
    for k in range(rows.size):
        line[k] = -1
        sample[k] = -1
        if rows[k] >= 0 and columns[k] >= 0:
            y, x = glt_y[rows[k], columns[k]], glt_x[rows[k], columns[k]]
            if y > 0 and x > 0:
                line[k] = y - 1
                sample[k] = x - 1


@compiled
def _gather(block, lines, samples, bands, pixels, out):
    nothing = np.float32(np.nan)
    for k in range(lines.size):
        spectrum = block[lines[k], samples[k]]
        target = out[pixels[k]]
        for b in range(bands.size):
            value = spectrum[bands[b]]
            target[b] = nothing if value in (FILL, NO_LIGHT) else value
