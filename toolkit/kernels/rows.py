"""Operations on rows of pixels, of which least squares are made.

Each is a function of its own, not inlined: only then does LLVM see that the rows do not overlap and
vectorises the loop; what a branch may leave out is read before it, for the same reason. Sums take one
date after the other: a date that counts nowhere adds zeros and changes no bit.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from toolkit.kernels.compiled import compiled

UNKNOWN, SOLVED, RIDGED, ALONE = 0, 1, 2, 3
"""How a pixel is solved: too few observations, plain least squares, a ridge in one band or more; and while
a block is solved: to be fitted alone."""


def _counted(value, mask):
    """A value where the mask is set, else 0."""
    raise NotImplementedError


@overload(_counted)
def _counted_compiled(value, mask):  # noqa: ARG001  # its type does not matter
    if isinstance(value, types.Integer):
        return lambda value, mask: np.int32(value & mask)  # half the time of a choice
    return lambda value, mask: value if mask != 0 else np.float32(0)


@compiled(inline="never")
def note_clear(clear, mask, count):
    """All bits where clear, else none; and count the clear dates."""
    for x in range(mask.size):
        usable = clear[x] != 0
        mask[x] = np.uint16(65535) if usable else np.uint16(0)
        count[x] += np.uint16(usable)


@compiled(inline="never")
def ones(mask, row):
    """1 where the mask is set, else 0."""
    for x in range(row.size):
        row[x] = np.float32(np.int32(mask[x] & np.uint16(1)))


@compiled(inline="never")
def clear_values(value, mask, zero_is_nodata, row, lost):
    """Values where the mask is set, else 0; and where a value that counts is nodata."""
    suspect = np.uint16(65535) if zero_is_nodata else np.uint16(0)
    for x in range(row.size):
        v = value[x]
        k = mask[x]
        row[x] = np.float32(_counted(v, k))
        lost[x] |= k & suspect if v == 0 else np.uint16(0)


@compiled(inline="never", fastmath={"contract"})
def add_one(total, a, b, c, d, p):
    """Add four rows, each times its weight, to a sum."""
    p0, p1, p2, p3 = p[0], p[1], p[2], p[3]
    for x in range(total.size):
        s = total[x]
        s += a[x] * p0
        s += b[x] * p1
        s += c[x] * p2
        s += d[x] * p3
        total[x] = s


@compiled(inline="never", fastmath={"contract"})
def add_two(total_p, total_q, a, b, c, d, table):
    """Add four rows to two sums, with the weights of two rows of the table."""
    p0, p1, p2, p3 = table[0, 0], table[0, 1], table[0, 2], table[0, 3]
    q0, q1, q2, q3 = table[1, 0], table[1, 1], table[1, 2], table[1, 3]
    for x in range(total_p.size):
        s, t = total_p[x], total_q[x]
        va, vb, vc, vd = a[x], b[x], c[x], d[x]
        s += va * p0
        t += va * q0
        s += vb * p1
        t += vb * q1
        s += vc * p2
        t += vc * q2
        s += vd * p3
        t += vd * q3
        total_p[x] = s
        total_q[x] = t


@compiled(inline="never", fastmath={"contract"})
def add_three(total_p, total_q, total_r, a, b, c, d, table):
    """Add four rows to three sums, with the weights of three rows of the table."""
    p0, p1, p2, p3 = table[0, 0], table[0, 1], table[0, 2], table[0, 3]
    q0, q1, q2, q3 = table[1, 0], table[1, 1], table[1, 2], table[1, 3]
    r0, r1, r2, r3 = table[2, 0], table[2, 1], table[2, 2], table[2, 3]
    for x in range(total_p.size):
        s, t, u = total_p[x], total_q[x], total_r[x]
        va, vb, vc, vd = a[x], b[x], c[x], d[x]
        s += va * p0
        t += va * q0
        u += va * r0
        s += vb * p1
        t += vb * q1
        u += vb * r1
        s += vc * p2
        t += vc * q2
        u += vc * r2
        s += vd * p3
        t += vd * q3
        u += vd * r3
        total_p[x] = s
        total_q[x] = t
        total_r[x] = u


@compiled(inline="never", fastmath={"contract"})
def subtract_product(target, a, b):
    """Take the product of two rows away from a third."""
    for x in range(target.size):
        target[x] -= a[x] * b[x]


@compiled(inline="never")
def multiply(target, a):
    """Multiply a row by another."""
    for x in range(target.size):
        target[x] *= a[x]


@compiled(inline="never")
def invert_root(pivot, diagonal, state, weak):
    """``diagonal`` holds the element of the Gram matrix, and then one over the root of the pivot."""
    for x in range(pivot.size):
        s = pivot[x]
        least = diagonal[x] * weak
        k = state[x]
        state[x] = np.uint8(ALONE) if s <= least else k
        diagonal[x] = np.float32(1) / np.sqrt(max(s, least, np.float32(1e-30)))


@compiled(inline="never")
def multiply_by(row, weight):
    """Multiply a row by a number."""
    for x in range(row.size):
        row[x] *= weight


@compiled(inline="never")
def add_scaled(target, row, weight):
    """Add a row times a number to another."""
    for x in range(target.size):
        target[x] += row[x] * weight


@compiled(inline="never")
def write(row, target):
    """Copy a row into one of another type."""
    for x in range(target.size):
        target[x] = row[x]
