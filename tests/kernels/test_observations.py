"""Counts of clear dates, and gaps between them."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.kernels.samples import equal_windows, pieces, plain_python, positions, stacks
from toolkit.kernels import observations as kernel
from toolkit.kernels.observations import BLOCK_PIXELS, count_clear, longest_gap

masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 25), st.integers(1, 5)))


def sums(clear, starts, stops):
    return [np.minimum(clear[a:b].sum(axis=0), 255) for a, b in zip(starts, stops, strict=True)]


def gap(column):
    return min(255, max((len(list(run)) for seen, run in groupby(column) if not seen), default=0))


@given(stacks())
def test_counts_equal_numpy_sums(stack):
    _, clear, starts, stops = stack
    found = count_clear(clear, starts, stops)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, sums(clear, starts, stops))


def test_counts_stop_at_255():
    clear = np.ones((300, 2), bool)
    starts, stops = positions(0, 0, 0, 0), positions(254, 255, 256, 300)
    assert count_clear(clear, starts, stops).tolist() == [[254] * 2, [255] * 2, [255] * 2, [255] * 2]


@given(masks)
def test_longest_gap_equals_the_longest_run_of_false(observed):
    found = longest_gap(observed)
    assert found.dtype == np.uint8
    assert found.tolist() == [gap(column) for column in observed.T]


@pytest.mark.parametrize("steps", [254, 255, 256, 400])
def test_gaps_stop_at_255(steps):
    observed = np.zeros((steps + 3, 2), bool)
    observed[steps:, 1] = True
    assert longest_gap(observed).tolist() == [255, min(steps, 255)]


def test_pixels_beyond_one_block_are_counted_alike():
    pixels = 2 * BLOCK_PIXELS + 37
    clear = np.random.default_rng(1).random((20, pixels)) < 0.4
    starts, stops = equal_windows(20, 5)
    counts, gaps = count_clear(clear, starts, stops), longest_gap(clear)
    np.testing.assert_array_equal(counts, sums(clear, starts, stops))
    edges = [0, *range(BLOCK_PIXELS - 9, BLOCK_PIXELS + 9), *range(2 * BLOCK_PIXELS - 9, pixels)]
    assert gaps[edges].tolist() == [gap(column) for column in clear[:, edges].T]
    cuts = pieces(pixels, (1, 100, 9000))
    np.testing.assert_array_equal(np.concatenate([longest_gap(clear[:, cut]) for cut in cuts]), gaps)
    parts = [count_clear(clear[:, cut], starts, stops) for cut in cuts]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), counts)


def test_views_that_are_not_contiguous_give_the_same():
    clear = np.random.default_rng(2).random((12, 40)) < 0.4
    for view in (np.s_[::2, ::3], np.s_[5::-1, ::-1]):
        part, copy = clear[view], clear[view].copy()
        np.testing.assert_array_equal(longest_gap(part), longest_gap(copy))
        windows = equal_windows(6, 2)
        np.testing.assert_array_equal(count_clear(part, *windows), count_clear(copy, *windows))


def test_without_steps_or_pixels_there_is_nothing_to_count():
    assert longest_gap(np.zeros((0, 3), bool)).tolist() == [0, 0, 0]
    assert longest_gap(np.zeros((3, 0), bool)).shape == (0,)
    assert count_clear(np.zeros((0, 3), bool), positions(0), positions(0)).tolist() == [[0, 0, 0]]
    assert count_clear(np.zeros((3, 2), bool), positions(), positions()).shape == (0, 2)


@given(masks)
def test_compiled_and_plain_python_agree(observed):
    windows = positions(0, 1), positions(len(observed), len(observed))
    compiled = longest_gap(observed), count_clear(observed, *windows)
    with plain_python(kernel):
        plain = longest_gap(observed), count_clear(observed, *windows)
    for found, expected in zip(compiled, plain, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("starts", "stops", "message"),
    [
        (positions(0), positions(4), "Windows must lie in 0 to 3"),
        (positions(-1), positions(3), "Windows must lie in 0 to 3"),
        (positions(2), positions(1), "start <= stop"),
        (positions(0, 1), positions(3), "Windows must lie in 0 to 3"),
        (np.array([0], np.int32), positions(3), "Windows must be int64"),
    ],
)
def test_windows_that_leave_the_stack_are_refused(starts, stops, message):
    with pytest.raises(ValueError, match=message):
        count_clear(np.ones((3, 4), bool), starts, stops)


@pytest.mark.parametrize("mask", [np.ones((3, 4), np.int64), np.ones((3, 4), np.float32)])
def test_masks_that_are_not_bool_are_refused(mask):
    with pytest.raises(ValueError, match="bool"):
        count_clear(mask, positions(0), positions(3))
    with pytest.raises(ValueError, match="bool"):
        longest_gap(mask)
