"""Harmonic least squares over time: one curve per pixel and band, clear observations only.

The bands of a pixel share one Gram matrix, as they share their clear dates; it is factorised for
whole rows of pixels at once. A few months of a year make cosines and sines look alike (condition of
the Gram matrix over May to November: 110 at order 2, 1,500 at order 3, 6 million at order 6). The
fit is therefore made in a basis that is orthonormal over the span of the dates and carried back at
the end; what is left of the condition decides between float32 and float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from toolkit.kernels.normal_equations import GROUP, fit_blocks
from toolkit.kernels.rows import UNKNOWN
from toolkit.kernels.stacks import Mask, Numbers, check_out, check_stack, flags

MAX_ORDER = 6
SPAN_POINTS = 365
"""Points of the span over which the basis is orthonormal; they do not depend on the dates there are."""
SINGLE_CONDITION, SINGLE_ORDER = 8.0, 3
"""Up to this condition of the change of basis, and this order, sums are float32. May to November at order
2 has 10.5: in float32, 72 of a million random masks missed 1e-5 of the coefficients there."""
WEAK_SINGLE, WEAK_DOUBLE = 0.25, 1e-8
"""A pivot below this share of its diagonal element is not trusted to float32, to float64: such a pixel is
fitted alone. With 1/4, 200,000 random masks kept within 7e-6; with 1/8 some missed by 2e-5."""

Floats = npt.NDArray[np.float64]


class HarmonicFit(NamedTuple):
    """Curves of a block of pixels."""

    coefficients: npt.NDArray[np.float32]
    """float32 ``(band, coefficient, pixel)`` in the unit of the values; NaN with too few observations."""
    solved: npt.NDArray[np.uint8]
    """uint8 ``(pixel,)``: UNKNOWN, SOLVED or RIDGED."""


def harmonic_basis(years: Floats, order: int) -> Floats:
    """Return the basis ``1, cos 2 pi t, sin 2 pi t, cos 4 pi t, ...``.

    Args:
        years: times in years, ``(time,)``.
        order: number of harmonics, 0 to 6.

    Returns:
        float64 ``(time, 2 order + 1)``.

    Raises:
        ValueError: the order is out of range.
    """
    if not (isinstance(order, int) and 0 <= order <= MAX_ORDER):
        msg = f"order is {order!r}; allowed: whole numbers from 0 to {MAX_ORDER}."
        raise ValueError(msg)
    angles = 2 * np.pi * np.asarray(years, np.float64)[:, None] * np.arange(1, order + 1)
    waves = np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(len(years), 2 * order)
    return np.concatenate([np.ones((len(years), 1)), waves], axis=1)


def fit_harmonic_curves(
    bands: Sequence[Numbers],
    clear: Mask,
    years: Floats,
    *,
    order: int,
    span: tuple[float, float],
    out: Numbers | None = None,
) -> HarmonicFit:
    """Fit ``c + sum_k a_k cos(2 pi k t) + b_k sin(2 pi k t)`` to the clear observations of each pixel.

    A band without value on a clear date is fitted on its own dates. A singular system (fewer distinct
    dates than coefficients) gets a ridge of :data:`toolkit.kernels.normal_equations.RIDGE`.

    Args:
        bands: per band uint16 ``(time, pixel)``, where 0 is nodata and never counted, or float32, where
            NaN is.
        clear: bool ``(time, pixel)``, True where the observations are usable.
        years: float64 ``(time,)``, times in years.
        order: number of harmonics, 0 to 6.
        span: first and last time, in years, that the dates could have.
        out: where to write the coefficients, float32 ``(band, 2 order + 1, pixel)``.

    Returns:
        Coefficients in the order of :func:`harmonic_basis`, NaN where a band has fewer observations than
        coefficients, and how each pixel was solved.

    Raises:
        ValueError: shapes, types, the order or the span differ from the above.
    """
    _check(bands, clear, years, span)
    basis = harmonic_basis(years, order)
    out = check_out(out, (len(bands), basis.shape[1], clear.shape[1]), (np.float32,))
    solved = np.empty(clear.shape[1], np.uint8)
    if bands[0].dtype != np.uint16:
        return _fit_floats(bands, clear, basis, _orthonormal(order, span), out, solved)
    stacks = tuple(np.ascontiguousarray(values).view() for values in bands)
    for values in stacks:
        values.flags.writeable = False  # one type for the kernel, whatever comes in
    _fit(stacks, clear, basis, _orthonormal(order, span), True, out, solved)
    solved[np.isnan(out[:, 0]).any(axis=0)] = UNKNOWN
    return HarmonicFit(out, solved)


def _check(bands: Sequence[Numbers], clear: Mask, years: Floats, span: tuple[float, float]) -> None:
    """Raise ValueError unless bands, mask and times belong together."""
    none = np.zeros(0, np.int64)
    kinds = {values.dtype for values in bands}
    if kinds not in ({np.dtype(np.uint16)}, {np.dtype(np.float32)}):
        got = f"{len(bands)} bands of {sorted(map(str, kinds))}"
        msg = f"Bands must all be uint16 or all float32, one or more; got {got}."
        raise ValueError(msg)
    for values in bands:
        check_stack(np.broadcast_to(np.uint16(0), values.shape), clear, none, none)  # its type is known
    if years.shape != clear.shape[:1]:
        msg = f"There must be a time per date, got {years.shape} times for clear {clear.shape}."
        raise ValueError(msg)
    inside = years.size == 0 or (span[0] <= years.min() and years.max() <= span[1])
    if not (span[0] < span[1] and inside):
        msg = f"The span must hold all times, got {span} years for {years}."
        raise ValueError(msg)


def _orthonormal(order: int, span: tuple[float, float]) -> Floats:
    """Return the matrix that makes the basis orthonormal over the span: upper triangular, float64."""
    points = harmonic_basis(np.linspace(*span, SPAN_POINTS), order)
    r = np.linalg.qr(points / np.sqrt(SPAN_POINTS), mode="r")
    inverse: Floats = np.linalg.inv(r)
    return inverse


def _fit_floats(
    bands: Sequence[Numbers], clear: Mask, basis: Floats, change: Floats, out: Numbers, solved: Numbers
) -> HarmonicFit:
    """Fit float32 bands: NaN is no observation, so each band may have its own dates."""
    for k, values in enumerate(bands):
        known = clear & np.isfinite(values)
        state = np.empty_like(solved)
        _fit((np.where(known, values, np.float32(0)),), known, basis, change, False, out[k : k + 1], state)
        solved[:] = (
            state if k == 0 else np.where(np.minimum(solved, state) == 0, 0, np.maximum(solved, state))
        )
    return HarmonicFit(out, solved)


def _fit(
    stacks: tuple[Numbers, ...],
    clear: Mask,
    basis: Floats,
    change: Floats,
    zero_is_nodata: bool,
    out: Numbers,
    solved: Numbers,
) -> None:
    """Run the kernel in the precision that the change of basis asks for."""
    single = change.shape[0] <= 2 * SINGLE_ORDER + 1 and np.linalg.cond(change) <= SINGLE_CONDITION
    kind: Any = np.float32 if single else np.float64
    even = basis @ change
    n = basis.shape[1]
    rows, columns = np.tril_indices(n)
    products = even[:, rows] * even[:, columns]
    fit_blocks(
        stacks,
        flags(clear),
        basis,
        _in_groups(even, kind),
        _in_groups(products, kind),
        change.astype(kind),
        kind(WEAK_SINGLE if single else WEAK_DOUBLE),
        zero_is_nodata,
        out,
        solved,
    )


def _in_groups(table: Floats, kind: Any) -> Numbers:
    """Return ``(column, date)``, dates filled up with zeros to whole groups."""
    filled = np.pad(table.T, ((0, 0), (0, -len(table) % GROUP)))
    return np.ascontiguousarray(filled, kind)
