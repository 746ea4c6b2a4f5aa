"""Normal equations of many pixels at once: sums, Cholesky factors, solutions.

The bands of a pixel share one Gram matrix, as they share their clear dates. A pixel whose matrix is
nearly singular, or a band with dates of its own, is fitted alone in float64.
"""

from __future__ import annotations

import numpy as np

from toolkit.kernels.compiled import compiled
from toolkit.kernels.rows import (
    ALONE,
    RIDGED,
    SOLVED,
    UNKNOWN,
    add_one,
    add_scaled,
    add_three,
    add_two,
    clear_values,
    invert_root,
    multiply,
    multiply_by,
    note_clear,
    ones,
    subtract_product,
    write,
)

BLOCK_PIXELS = 2048
"""Pixels per block: masks of 73 dates are 300 kB; 1024 was slower, 4096 no faster (order 2)."""
GROUP = 4
"""Dates added up at once: a sum is read and written once for four observations."""
SINGULAR = 1e-10
"""A pivot below this share of its diagonal element is lost in float64's rounding."""
RIDGE = 1e-6
"""Share of the number of observations added to the diagonal of a singular system."""


@compiled
def fit_blocks(bands, clear, basis, even, products, change, weak, zero_is_nodata, out, solved):
    """Fit all pixels, block by block.

    ``basis`` is that of the result, ``even`` the one the rows are fitted in and ``products`` its products,
    both ``(column, date)``; ``change`` carries back from one to the other. Pixels with a pivot below the
    share ``weak`` of its diagonal element are fitted alone.
    """
    dates, pixels = clear.shape
    n = change.shape[0]
    width = min(BLOCK_PIXELS, pixels)
    masks = np.zeros((even.shape[1], width), np.uint16)
    group = np.zeros((GROUP, width), np.float32)
    gram = np.empty((products.shape[0], width), even.dtype)
    right = np.empty((even.shape[0], width), even.dtype)
    inverse = np.empty((n, width), even.dtype)
    count = np.empty(width, np.uint16)
    lost = np.empty(width, np.uint16)
    for first in range(0, pixels, BLOCK_PIXELS):
        last = min(first + BLOCK_PIXELS, pixels)
        m = last - first
        state = solved[first:last]
        count[:m] = 0
        for t in range(dates):
            note_clear(clear[t, first:last], masks[t, :m], count[:m])
        _add_up_masks(masks, m, products, group, gram)
        state[:] = SOLVED
        _factorise(gram, m, inverse, state, weak)
        for x in range(m):
            if count[x] < n:
                state[x] = UNKNOWN
                inverse[0, x] = np.nan  # makes every coefficient NaN
        for b in range(len(bands)):
            lost[:m] = 0
            _add_up_values(bands[b], masks, first, last, even, group, right, zero_is_nodata, lost[:m])
            _solve(gram, inverse, right, m)
            for i in range(n):
                _carry_back(right, change[i], i, m, out[b, i, first:last])
            _fit_rest(bands[b], masks, first, basis, zero_is_nodata, lost, state, out[b])
        for x in range(m):
            if state[x] == ALONE:
                state[x] = SOLVED


@compiled
def _fit_rest(values, masks, first, basis, zero_is_nodata, lost, state, out):
    """Fit one band of the pixels that the rows could not serve, each alone."""
    for x in range(state.size):
        if state[x] != UNKNOWN and (lost[x] != 0 or state[x] != SOLVED):
            ridged = _fit_alone(values, masks, first, x, basis, zero_is_nodata, out)
            if ridged:
                state[x] = RIDGED


@compiled
def _add_up_masks(masks, m, products, group, gram):
    """Gram matrices, lower triangles row by row: sums over the clear dates of products of the basis."""
    gram[:, :m] = 0
    for t in range(0, products.shape[1], GROUP):
        for u in range(GROUP):
            ones(masks[t + u, :m], group[u, :m])
        _add_up(group, m, products[:, t : t + GROUP], gram)


@compiled
def _add_up_values(values, masks, first, last, even, group, right, zero_is_nodata, lost):
    """Right-hand sides: sums over the clear dates of value times basis."""
    m = last - first
    right[:, :m] = 0
    for t in range(0, even.shape[1], GROUP):
        for u in range(GROUP):
            if t + u < values.shape[0]:
                clear_values(values[t + u, first:last], masks[t + u, :m], zero_is_nodata, group[u, :m], lost)
            else:
                group[u, :m] = 0
        _add_up(group, m, even[:, t : t + GROUP], right)


@compiled
def _add_up(group, m, table, total):
    """Add four dates to the sums, two or three sums at a time."""
    a, b, c, d = group[0, :m], group[1, :m], group[2, :m], group[3, :m]
    n = total.shape[0]
    k = 0
    while k < n:
        if n - k == 1:
            add_one(total[k, :m], a, b, c, d, table[k])
            k += 1
        elif n - k == 3:
            add_three(total[k, :m], total[k + 1, :m], total[k + 2, :m], a, b, c, d, table[k:])
            k += 3
        else:
            add_two(total[k, :m], total[k + 1, :m], a, b, c, d, table[k:])
            k += 2


@compiled
def _factorise(gram, m, inverse, state, weak):
    """Cholesky factors in place of the Gram matrices; ``inverse`` holds one over their diagonals."""
    for i in range(inverse.shape[0]):
        for j in range(i + 1):
            here = gram[i * (i + 1) // 2 + j, :m]
            if i == j:
                inverse[i, :m] = here
            for k in range(j):
                subtract_product(here, gram[i * (i + 1) // 2 + k, :m], gram[j * (j + 1) // 2 + k, :m])
            if i == j:
                invert_root(here, inverse[i, :m], state, weak)
            else:
                multiply(here, inverse[j, :m])


@compiled
def _solve(gram, inverse, right, m):
    n = inverse.shape[0]
    for i in range(n):
        for k in range(i):
            subtract_product(right[i, :m], gram[i * (i + 1) // 2 + k, :m], right[k, :m])
        multiply(right[i, :m], inverse[i, :m])
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            subtract_product(right[i, :m], gram[k * (k + 1) // 2 + i, :m], right[k, :m])
        multiply(right[i, :m], inverse[i, :m])


@compiled
def _carry_back(right, change, i, m, target):
    """One coefficient of the harmonic basis out of those of the orthonormal one."""
    total = right[i, :m]  # in place: coefficients before this one do not need it
    multiply_by(total, change[i])
    for k in range(i + 1, change.size):
        add_scaled(total, right[k, :m], change[k])
    write(total, target)


@compiled
def _fit_alone(values, masks, first, x, basis, zero_is_nodata, out):
    """Fit one band of one pixel on its own dates in float64; returns whether it took a ridge."""
    n = basis.shape[1]
    gram = np.zeros((n, n))
    right = np.zeros(n)
    seen = 0
    for t in range(values.shape[0]):
        v = np.float64(values[t, first + x])
        if masks[t, x] != 0 and (v != 0 or not zero_is_nodata):
            seen += 1
            for i in range(n):
                right[i] += basis[t, i] * v
                for j in range(n):
                    gram[i, j] += basis[t, i] * basis[t, j]
    if seen < n:
        out[:, first + x] = np.nan
        return False
    ridged = _is_singular(gram)
    if ridged:
        for i in range(n):
            gram[i, i] += RIDGE * seen
    out[:, first + x] = np.linalg.solve(gram, right)
    return ridged


@compiled
def _is_singular(gram):
    n = gram.shape[0]
    factor = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            s = gram[i, j]
            for k in range(j):
                s -= factor[i, k] * factor[j, k]
            if i != j:
                factor[i, j] = s / factor[j, j]
            elif s <= SINGULAR * gram[i, i]:
                return True
            else:
                factor[i, i] = np.sqrt(s)
    return False
