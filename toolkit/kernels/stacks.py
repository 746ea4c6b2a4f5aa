"""What every kernel on stacks of dates demands of its input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
"""bool ``(time, pixel)``, True where an observation is usable."""
Windows = npt.NDArray[np.int64]
"""int64 ``(window,)``, positions of dates."""
Numbers = npt.NDArray[Any]
"""An array of one of several types."""


def check_stack(values: npt.NDArray[np.uint16], clear: Mask, starts: Windows, stops: Windows) -> None:
    """Raise ValueError unless a stack, its mask and its windows belong together."""
    if values.dtype != np.uint16 or clear.dtype != np.bool_:
        msg = f"Kernel input must be uint16 values and a bool mask, got {values.dtype} and {clear.dtype}."
        raise ValueError(msg)
    if values.ndim != 2 or values.shape != clear.shape:
        msg = f"Values {values.shape} and clear {clear.shape} must both be (time, pixel)."
        raise ValueError(msg)
    check_windows(starts, stops, values.shape[0])


def check_windows(starts: Windows, stops: Windows, dates: int) -> None:
    """Raise ValueError unless windows lie in a stack of some dates."""
    if starts.dtype != np.int64 or stops.dtype != np.int64:
        msg = f"Windows must be int64, got {starts.dtype} and {stops.dtype}."
        raise ValueError(msg)
    fits = starts.shape == stops.shape and bool(((starts >= 0) & (starts <= stops) & (stops <= dates)).all())
    if not fits:
        msg = f"Windows must lie in 0 to {dates} with start <= stop, got {starts} to {stops}."
        raise ValueError(msg)


def check_out(out: Numbers | None, shape: tuple[int, ...], allowed: tuple[type[np.generic], ...]) -> Numbers:
    """Return where a kernel writes: ``out`` if it fits, a new array of the first type if None.

    Raises:
        ValueError: shape, type or memory layout of ``out`` differ.
    """
    if out is None:
        return np.empty(shape, allowed[0])
    if out.dtype not in allowed or out.shape != shape or not (out.flags.c_contiguous and out.flags.writeable):
        names = " or ".join(np.dtype(kind).name for kind in allowed)
        msg = f"out must be {names} {shape} in C order and writeable, got {out.dtype} {out.shape}."
        raise ValueError(msg)
    return out


def flags(clear: Mask) -> npt.NDArray[np.uint8]:
    """Return a mask as the bytes that kernels read.

    Raises:
        ValueError: it is not bool.
    """
    if clear.dtype != np.bool_:
        msg = f"A mask must be bool, got {clear.dtype}."
        raise ValueError(msg)
    return np.ascontiguousarray(clear).view(np.uint8)
