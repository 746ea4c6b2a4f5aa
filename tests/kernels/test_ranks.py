"""Windowed minimum, maximum and percentile: equal to numpy's, whatever comes in."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.samples import (
    by_window,
    equal_windows,
    half_up,
    pieces,
    plain_python,
    positions,
    random_stack,
    stacks,
)
from toolkit.kernels import median as networks_in_rows
from toolkit.kernels import ranks as kernel
from toolkit.kernels.median import windowed_median
from toolkit.kernels.ranks import BLOCK_PIXELS, windowed_maximum, windowed_minimum, windowed_percentile

KINDS = (np.float32, np.uint16)
WITHIN = 1e-6
"""Relative; float32 itself rounds to 6e-8."""


def percentile(percent):
    return partial(windowed_percentile, percent=percent)


RANKS = {
    "minimum": (windowed_minimum, np.nanmin),
    "maximum": (windowed_maximum, np.nanmax),
    "percentile 25": (percentile(25), partial(np.nanpercentile, q=25)),
}
each_rank = pytest.mark.parametrize(("rank", "numpy_rank"), RANKS.values(), ids=RANKS)
each_kind = pytest.mark.parametrize("kind", KINDS)


def ranked(rank, values, clear, starts, stops, kind=np.float32):
    return rank(values, clear, starts, stops, out=np.empty((starts.size, values.shape[1]), kind))


@pytest.mark.parametrize(("rank", "numpy_rank"), list(RANKS.values())[:2], ids=["minimum", "maximum"])
@given(stack=stacks())
def test_extremes_equal_numpy_exactly(rank, numpy_rank, stack):
    expected = by_window(numpy_rank, *stack)
    found = rank(*stack)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(ranked(rank, *stack, np.uint16), half_up(expected))


@given(stacks(), st.one_of(st.integers(0, 100), st.floats(0, 100)))
def test_percentiles_equal_numpy(stack, percent):
    expected = by_window(partial(np.nanpercentile, q=percent), *stack)
    np.testing.assert_allclose(windowed_percentile(*stack, percent), expected, rtol=WITHIN, atol=0)


@given(stacks(), st.sampled_from([0, 12.5, 25, 50, 62.5, 75, 100]))
def test_integer_percentiles_are_rounded_half_up_and_0_where_nothing_is(stack, percent):
    """Eighths are exact in floating point, so numpy's halves are halves."""
    expected = half_up(by_window(partial(np.nanpercentile, q=percent), *stack))
    np.testing.assert_array_equal(ranked(percentile(percent), *stack, np.uint16), expected)


@pytest.mark.parametrize("percent", [1, 3, 10, 29, 33, 70, 95, 99])
def test_integer_percentiles_lie_half_a_unit_from_the_exact_fraction(percent):
    values, _ = random_stack(percent, 30, 200)
    values[values == 0] = 1
    found = ranked(
        percentile(percent), values, np.ones(values.shape, bool), *equal_windows(30, 30), np.uint16
    )
    place = Fraction(percent * 29, 100)
    for column, result in zip(np.sort(values, axis=0).T, found[0], strict=True):
        low, high = int(column[int(place)]), int(column[int(place) + 1])
        assert abs(low + (high - low) * (place % 1) - int(result)) <= Fraction(1, 2) + Fraction(1, 10**9)


@given(stacks())
def test_percentiles_0_50_and_100_equal_minimum_median_and_maximum(stack):
    for kind in KINDS:
        for percent, rank in ((0, windowed_minimum), (50, windowed_median), (100, windowed_maximum)):
            np.testing.assert_array_equal(
                ranked(percentile(percent), *stack, kind), ranked(rank, *stack, kind)
            )


@given(stacks(), st.floats(0, 100), st.floats(0, 100))
def test_a_higher_percentile_is_never_smaller(stack, percent, other):
    low, high = sorted((percent, other))
    smaller, larger = windowed_percentile(*stack, low), windowed_percentile(*stack, high)
    known = ~np.isnan(smaller)
    np.testing.assert_array_equal(known, ~np.isnan(larger))
    assert (smaller[known] <= larger[known]).all()


def test_known_numbers_have_their_known_percentiles():
    values = np.array([[10], [0], [40], [20], [99], [30]], np.uint16)
    clear = np.array([[True], [True], [True], [True], [False], [True]])
    stack = values, clear, positions(0), positions(6)
    found = [windowed_percentile(*stack, percent).item() for percent in (0, 10, 25, 50, 90, 100)]
    assert found == [10, 13, 17.5, 25, 37, 40]


@each_rank
@pytest.mark.parametrize("length", [1, 2, 12, 146])
def test_long_windows_over_several_blocks_equal_numpy(rank, numpy_rank, length):
    values, clear = random_stack(length, 146, 2 * BLOCK_PIXELS + 37)
    starts, stops = equal_windows(146, length)
    found = [ranked(rank, values, clear, starts, stops, kind) for kind in KINDS]
    edges = [
        0,
        1,
        *range(BLOCK_PIXELS - 20, BLOCK_PIXELS + 20),
        *range(2 * BLOCK_PIXELS - 20, values.shape[1]),
    ]
    expected = by_window(numpy_rank, values[:, edges], clear[:, edges], starts, stops)
    np.testing.assert_array_equal(found[0][:, edges], expected)
    np.testing.assert_array_equal(found[1][:, edges], half_up(expected))


@each_rank
@each_kind
def test_order_and_pieces_of_pixels_change_nothing(rank, numpy_rank, kind):
    values, clear = random_stack(3, 30, BLOCK_PIXELS + 37)
    windows = equal_windows(30, 6)
    whole = ranked(rank, values, clear, *windows, kind)
    parts = [ranked(rank, values[:, cut], clear[:, cut], *windows, kind) for cut in pieces(values.shape[1])]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    order = np.random.default_rng(2).permutation(values.shape[1])
    turned = ranked(rank, values[:, order], clear[:, order], *windows, kind)
    np.testing.assert_array_equal(turned, whole[:, order])


@each_rank
@given(stack=stacks(), random=st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_order_of_dates_and_masked_dates_change_nothing(rank, numpy_rank, stack, random):
    values, clear, _, _ = stack
    more = np.concatenate([values, np.full((3, values.shape[1]), 65535, np.uint16)])
    mask = np.concatenate([clear, np.zeros((3, values.shape[1]), bool)])
    order = random.sample(range(len(more)), len(more))
    np.testing.assert_array_equal(
        rank(more[order], mask[order], positions(0), positions(len(more))),
        rank(values, clear, positions(0), positions(len(values))),
    )


@each_rank
@given(stack=stacks())
@settings(max_examples=50)
def test_compiled_and_plain_python_agree(rank, numpy_rank, stack):
    for kind in KINDS:
        compiled = ranked(rank, *stack, kind)
        with plain_python(kernel, networks_in_rows):
            plain = ranked(rank, *stack, kind)
        np.testing.assert_array_equal(compiled, plain)


@each_rank
def test_views_that_are_not_contiguous_give_the_same(rank, numpy_rank):
    wide, clear = random_stack(0, 12, 40)
    windows = equal_windows(6, 3)
    for view in (np.s_[::2, ::2], np.s_[5::-1, ::-1]):
        np.testing.assert_array_equal(
            rank(wide[view], clear[view], *windows),
            rank(wide[view].copy(), clear[view].copy(), *windows),
        )


@each_rank
@each_kind
def test_out_is_written_and_returned(rank, numpy_rank, kind):
    values, clear = random_stack(4, 10, 50)
    windows = equal_windows(10, 5)
    out = np.full((2, 50), 7, kind)
    assert rank(values, clear, *windows, out=out) is out
    expected = by_window(numpy_rank, values, clear, *windows)
    np.testing.assert_array_equal(out, expected if kind == np.float32 else half_up(expected))


@each_rank
@pytest.mark.parametrize(
    "out", [np.empty((1, 4)), np.empty((2, 4), np.float32), np.empty((1, 8), np.uint16)[:, ::2]]
)
def test_an_out_that_does_not_fit_is_refused(rank, numpy_rank, out):
    values, clear = random_stack(6, 3, 4)
    with pytest.raises(ValueError, match=r"out must be float32 or uint16 \(1, 4\) in C order"):
        rank(values, clear, positions(0), positions(3), out=out)


@each_rank
@each_kind
def test_without_dates_nothing_is_observed(rank, numpy_rank, kind):
    nothing = np.zeros((0, 5), np.uint16)
    found = ranked(rank, nothing, nothing.astype(bool), positions(0, 0), positions(0, 0), kind)
    np.testing.assert_array_equal(found, np.full((2, 5), np.nan if kind == np.float32 else 0))


@each_rank
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.ones((3, 4), np.float32)}, "uint16 values and a bool mask"),
        ({"clear": np.ones((3, 5), bool)}, r"must both be \(time, pixel\)"),
        ({"stops": positions(4)}, "Windows must lie in 0 to 3"),
        ({"starts": positions(2), "stops": positions(1)}, "start <= stop"),
        ({"starts": np.array([0], np.int32)}, "Windows must be int64"),
    ],
)
def test_input_that_would_read_beyond_arrays_is_refused(rank, numpy_rank, change, message):
    fine = {
        "values": np.ones((3, 4), np.uint16),
        "clear": np.ones((3, 4), bool),
        "starts": positions(0),
        "stops": positions(3),
    }
    with pytest.raises(ValueError, match=message):
        rank(**{**fine, **change})


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan"), float("inf")])
def test_percentages_outside_0_to_100_are_refused(percent):
    values, clear = random_stack(6, 3, 4)
    with pytest.raises(ValueError, match="allowed: 0 to 100"):
        windowed_percentile(values, clear, positions(0), positions(3), percent)
