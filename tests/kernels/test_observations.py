"""Counts of clear dates, and gaps between them."""

from itertools import groupby

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from toolkit.kernels import observations as kernel
from toolkit.kernels.observations import count_clear, longest_gap

masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 25), st.integers(1, 5)))


@given(masks, st.integers(1, 6))
def test_counts_equal_numpy_sums(clear, length):
    starts = np.arange(0, len(clear), length)
    stops = np.minimum(starts + length, len(clear))
    expected = [clear[a:b].sum(axis=0) for a, b in zip(starts, stops, strict=True)]
    np.testing.assert_array_equal(count_clear(clear, starts, stops), expected)


def test_counts_stop_at_255():
    clear = np.ones((300, 2), bool)
    assert count_clear(clear, np.array([0]), np.array([300])).tolist() == [[255, 255]]


@given(masks)
def test_longest_gap_equals_the_longest_run_of_false(observed):
    expected = [
        max((len(list(run)) for seen, run in groupby(column) if not seen), default=0) for column in observed.T
    ]
    assert longest_gap(observed).tolist() == expected


def test_gaps_stop_at_255():
    assert longest_gap(np.zeros((400, 1), bool)).tolist() == [255]


@given(masks)
def test_compiled_and_plain_python_agree(observed):
    plain = np.zeros(observed.shape[1], np.uint8)
    with np.errstate(over="ignore"):
        kernel._gap.py_func(observed.view(np.uint8), plain)
    np.testing.assert_array_equal(longest_gap(observed), plain)
