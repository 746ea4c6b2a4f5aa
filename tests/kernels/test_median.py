"""Windowed median: equal to numpy's nanmedian, whatever comes in."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from toolkit.kernels import median as kernel
from toolkit.kernels.median import sorting_networks, windowed_median


def reference(values, clear, starts, stops):
    """numpy, one window at a time."""
    seen = np.where(clear & (values > 0), values, np.nan).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # empty windows
        return np.stack([
            np.nanmedian(seen[a:b], axis=0) if b > a else np.full(values.shape[1], np.nan)
            for a, b in zip(starts, stops, strict=True)
        ])  # fmt: skip


@st.composite
def stacks(draw):
    dates, pixels = draw(st.integers(1, 20)), draw(st.integers(1, 9))
    # Few distinct values make ties, 0 is nodata, 65534 the largest there is.
    values = draw(hnp.arrays(np.uint16, (dates, pixels), elements=st.sampled_from([0, 1, 2, 7, 9000, 65534])))
    clear = draw(hnp.arrays(np.bool_, (dates, pixels)))
    bounds = sorted(draw(st.lists(st.integers(0, dates), min_size=2, max_size=6)))
    return values, clear, np.array(bounds[:-1]), np.array(bounds[1:])


@given(stacks())
@settings(max_examples=300)
def test_median_equals_nanmedian_exactly(stack):
    np.testing.assert_array_equal(windowed_median(*stack), reference(*stack))


@pytest.mark.parametrize("length", [1, 2, 3, 12, 73, 146])
def test_long_windows_over_several_blocks_equal_nanmedian(length):
    rng = np.random.default_rng(length)
    values = rng.integers(0, 10_000, (146, kernel.BLOCK_PIXELS + 37)).astype(np.uint16)
    clear = rng.random(values.shape) < 0.55
    starts = np.arange(0, 146 - length + 1, length)
    found = windowed_median(values, clear, starts, starts + length)
    sample = slice(kernel.BLOCK_PIXELS - 40, kernel.BLOCK_PIXELS + 37)
    expected = reference(values[:, sample], clear[:, sample], starts, starts + length)
    np.testing.assert_array_equal(found[:, sample], expected)


@given(stacks(), st.randoms(use_true_random=False))
def test_order_of_dates_inside_a_window_changes_nothing(stack, random):
    values, clear, starts, stops = stack
    order = np.arange(len(values))
    for a, b in zip(starts, stops, strict=True):
        part = order[a:b].tolist()
        random.shuffle(part)
        order[a:b] = part
    np.testing.assert_array_equal(
        windowed_median(values, clear, starts, stops),
        windowed_median(values[order], clear[order], starts, stops),
    )


@given(stacks())
def test_compiled_and_plain_python_agree(stack):
    values, clear, starts, stops = stack
    pairs, offsets = sorting_networks(int((stops - starts).max()))
    plain = np.empty((starts.size, values.shape[1]), np.float32)
    kernel._median_blocks.py_func(values, clear.view(np.uint8), starts, stops, pairs, offsets, plain)
    np.testing.assert_array_equal(windowed_median(*stack), plain)


@pytest.mark.parametrize("n", range(17))
def test_sorting_networks_sort_every_input_of_zeros_and_ones(n):
    """The 0-1 principle: a network that sorts all of them sorts everything."""
    pairs, offsets = sorting_networks(16)
    numbers = np.arange(2**n, dtype=np.uint32)
    rows = [(numbers >> bit) & 1 for bit in range(n)]
    for a, b in pairs[offsets[n] : offsets[n + 1]]:
        rows[a], rows[b] = np.minimum(rows[a], rows[b]), np.maximum(rows[a], rows[b])
    assert all((low <= high).all() for low, high in pairwise(rows))


def test_views_that_are_not_contiguous_give_the_same():
    rng = np.random.default_rng(0)
    wide = rng.integers(1, 100, (6, 40)).astype(np.uint16)
    clear = rng.random((6, 40)) < 0.7
    starts, stops = np.array([0, 3]), np.array([3, 6])
    np.testing.assert_array_equal(
        windowed_median(wide[:, ::2], clear[:, ::2], starts, stops),
        windowed_median(wide[:, ::2].copy(), clear[:, ::2].copy(), starts, stops),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.ones((3, 4), np.float32)}, "uint16 values and a bool mask"),
        ({"clear": np.ones((3, 5), bool)}, r"must both be \(time, pixel\)"),
        ({"stops": np.array([4])}, "Windows must lie in 0 to 3"),
        ({"starts": np.array([2]), "stops": np.array([1])}, "start <= stop"),
    ],
)
def test_input_that_would_read_beyond_arrays_is_refused(change, message):
    fine = {
        "values": np.ones((3, 4), np.uint16),
        "clear": np.ones((3, 4), bool),
        "starts": np.array([0]),
        "stops": np.array([3]),
    }
    with pytest.raises(ValueError, match=message):
        windowed_median(**{**fine, **change})
