"""Stacks, masks and windows as no catalog gives them, and the kernels as plain Python, for the tests here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numba.core.dispatcher import Dispatcher

NUMBERS = [0, 1, 2, 7, 9000, 65534, 65535]
"""Few distinct values make ties; 0 is nodata, 65535 the largest there is."""


def positions(*numbers):
    """Window bounds in the type that kernels want."""
    return np.array(numbers, np.int64)


@st.composite
def stacks(draw):
    """Values, mask and windows: empty ones, some that overlap, some that leave gaps."""
    dates, pixels = draw(st.integers(0, 20)), draw(st.integers(1, 9))
    values = draw(hnp.arrays(np.uint16, (dates, pixels), elements=st.sampled_from(NUMBERS)))
    clear = draw(hnp.arrays(np.bool_, (dates, pixels)))
    window = st.tuples(st.integers(0, dates), st.integers(0, dates)).map(sorted)
    bounds = draw(st.lists(window, min_size=1, max_size=5))
    return values, clear, positions(*(a for a, _ in bounds)), positions(*(b for _, b in bounds))


def random_stack(seed, dates, pixels, share=0.55):
    """Values of reflectance, one in fifty nodata, and a mask with a share of clear dates."""
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 10_001, (dates, pixels)).astype(np.uint16)
    values[rng.random(values.shape) < 0.02] = 0
    return values, rng.random(values.shape) < share


def equal_windows(dates, length):
    starts = np.arange(0, dates - length + 1, length)
    return starts, starts + length


def by_window(function: Callable, values, clear, starts, stops):
    """Apply a numpy function to the observations of each window, NaN elsewhere, in float64."""
    seen = np.where(clear & (values > 0), values, np.nan).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy says that a window is empty
        return np.stack([
            function(seen[a:b], axis=0) if b > a else np.full(values.shape[1], np.nan)
            for a, b in zip(starts, stops, strict=True)
        ])  # fmt: skip


def half_up(numbers):
    """Round as the kernels do for integers: halves go up, no observation is 0."""
    return np.where(np.isnan(numbers), 0, np.floor(np.nan_to_num(numbers) + 0.5)).astype(np.uint16)


def pieces(pixels, sizes=(1, 3, 7, 16, 100, 1500)):
    """Cut pixels into slices of changing length."""
    first, cuts = 0, []
    while first < pixels:
        last = min(first + sizes[len(cuts) % len(sizes)], pixels)
        cuts.append(slice(first, last))
        first = last
    return cuts


@contextmanager
def plain_python(*modules: ModuleType) -> Iterator[None]:
    """Run the compiled functions of some modules as the Python they are written in."""
    with pytest.MonkeyPatch.context() as patch, np.errstate(over="ignore"):  # unsigned numbers may wrap
        for module in modules:
            for name, function in vars(module).copy().items():
                if isinstance(function, Dispatcher):
                    patch.setattr(module, name, function.py_func)
        yield
