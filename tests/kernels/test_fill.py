"""Gap filling: equal to numpy's interp, with held ends or across the turn of the year."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.kernels.samples import pieces, plain_python
from toolkit.kernels import fill as kernel
from toolkit.kernels.fill import BLOCK_PIXELS, fill_linear

WITHIN = 4 * np.finfo(np.float32).eps
"""Of the largest value of a pixel: weight, difference, product and sum are rounded once each."""

gappy = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 30), st.integers(1, 6)),
    elements=st.one_of(st.just(np.nan), st.floats(-15_000, 15_000, width=32)),
)
both_ends = pytest.mark.parametrize("periodic", [False, True])


def reference(values, periodic):
    """numpy in float64, one pixel at a time."""
    steps = np.arange(len(values))
    filled = values.astype(np.float64)
    for series in filled.T:
        known = ~np.isnan(series)
        if known.any():
            period = len(steps) if periodic else None
            series[:] = np.interp(steps, steps[known], series[known], period=period)
    return filled


def random_gaps(seed, steps, pixels, share=0.6):
    rng = np.random.default_rng(seed)
    values = rng.random((steps, pixels)).astype(np.float32)
    values[rng.random(values.shape) < share] = np.nan
    return values


def assert_close(found, expected):
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    size = np.abs(np.nan_to_num(expected)).max(axis=0, initial=0)
    assert (np.abs(np.nan_to_num(found - expected)) <= WITHIN * size).all()


@both_ends
@given(values=gappy)
def test_filled_values_equal_numpy_interp(periodic, values):
    found = fill_linear(values, periodic=periodic)
    assert found.dtype == np.float32
    assert_close(found, reference(values, periodic))


@both_ends
@given(values=gappy)
def test_known_values_are_kept_bit_for_bit(periodic, values):
    known = ~np.isnan(values)
    found = fill_linear(values, periodic=periodic)
    np.testing.assert_array_equal(found.view(np.uint32)[known], values.view(np.uint32)[known])


@both_ends
@given(values=gappy)
def test_filled_values_lie_between_their_neighbours_and_filling_again_changes_nothing(periodic, values):
    found = fill_linear(values, periodic=periodic)
    again = fill_linear(found, periodic=periodic)
    np.testing.assert_array_equal(again.view(np.uint32), found.view(np.uint32))
    some = ~np.isnan(values).all(axis=0)
    slack = WITHIN * np.abs(np.nan_to_num(values[:, some])).max(axis=0)
    assert (found[:, some] >= np.nanmin(values[:, some], axis=0) - slack).all()
    assert (found[:, some] <= np.nanmax(values[:, some], axis=0) + slack).all()


@given(gappy, st.integers(0, 29))
def test_a_year_may_begin_anywhere(values, shift):
    turned = fill_linear(np.roll(values, shift, axis=0), periodic=True)
    assert_close(turned, np.roll(fill_linear(values, periodic=True), shift, axis=0).astype(np.float64))


@both_ends
def test_a_straight_line_is_drawn_through_a_gap(periodic):
    values = np.array([[2, np.nan, np.nan, np.nan, 10, 10]], np.float32).T
    np.testing.assert_array_equal(fill_linear(values, periodic=periodic).T, [[2, 4, 6, 8, 10, 10]])


def test_ends_are_held_or_joined_across_the_turn_of_the_year():
    values = np.array([[np.nan, 4, np.nan, 8, np.nan, np.nan]], np.float32).T
    np.testing.assert_array_equal(fill_linear(values).T, [[4, 4, 6, 8, 8, 8]])
    np.testing.assert_array_equal(fill_linear(values, periodic=True).T, [[5, 4, 6, 8, 7, 6]])


@both_ends
def test_one_known_value_is_held_everywhere(periodic):
    for steps in (1, 2, 7):
        values = np.full((steps, steps), np.nan, np.float32)
        np.fill_diagonal(values, 0.1)
        np.testing.assert_array_equal(
            fill_linear(values, periodic=periodic), np.full((steps, steps), 0.1, np.float32)
        )


@both_ends
def test_pixels_without_any_value_stay_nan_beside_others(periodic):
    values = np.array([[np.nan, 1], [np.nan, np.nan], [np.nan, 3]], np.float32)
    found = fill_linear(values, periodic=periodic)
    np.testing.assert_array_equal(found, [[np.nan, 1], [np.nan, 2], [np.nan, 3]])
    assert np.isnan(fill_linear(np.full((9, 3), np.nan, np.float32), periodic=periodic)).all()


@both_ends
@pytest.mark.parametrize("steps", [1, 43])
def test_pixels_beyond_one_block_are_filled_alike(periodic, steps):
    values = random_gaps(1, steps, BLOCK_PIXELS * 2 + 5)
    whole = fill_linear(values, periodic=periodic)
    assert_close(whole, reference(values, periodic))
    parts = [fill_linear(values[:, cut], periodic=periodic) for cut in pieces(values.shape[1])]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    order = np.random.default_rng(3).permutation(values.shape[1])
    np.testing.assert_array_equal(fill_linear(values[:, order], periodic=periodic), whole[:, order])


@both_ends
def test_out_may_be_the_values_themselves(periodic):
    values = random_gaps(2, 20, BLOCK_PIXELS + 5)
    expected = fill_linear(values, periodic=periodic)
    other = np.full_like(values, -1)
    assert fill_linear(values, periodic=periodic, out=other) is other
    np.testing.assert_array_equal(other, expected)
    assert fill_linear(values, periodic=periodic, out=values) is values
    np.testing.assert_array_equal(values, expected)


@both_ends
def test_values_are_left_alone_without_out_and_may_be_a_view(periodic):
    wide = random_gaps(3, 20, 40)
    kept = wide.copy()
    wide.flags.writeable = False
    for view in (np.s_[::2, ::3], np.s_[::-1, ::-1], np.s_[:, :]):
        np.testing.assert_array_equal(
            fill_linear(wide[view], periodic=periodic), fill_linear(kept[view].copy(), periodic=periodic)
        )
    np.testing.assert_array_equal(wide, kept)


@both_ends
@given(values=gappy)
@settings(max_examples=50)
def test_compiled_and_plain_python_agree(periodic, values):
    compiled = fill_linear(values, periodic=periodic)
    with plain_python(kernel):
        plain = fill_linear(values, periodic=periodic)
    np.testing.assert_array_equal(compiled, plain)


@both_ends
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_without_steps_or_pixels_the_result_is_empty(periodic, shape):
    assert fill_linear(np.empty(shape, np.float32), periodic=periodic).shape == shape


@pytest.mark.parametrize("values", [np.ones((3, 4)), np.ones((3, 4), np.uint16), np.ones(3, np.float32)])
def test_other_types_and_shapes_are_refused(values):
    with pytest.raises(ValueError, match=r"needs float32 \(step, pixel\)"):
        fill_linear(values)


@pytest.mark.parametrize(
    "out", [np.empty((3, 4)), np.empty((4, 3), np.float32), np.empty((3, 8), np.float32)[:, ::2]]
)
def test_an_out_that_does_not_fit_is_refused(out):
    with pytest.raises(ValueError, match=r"out must be float32 \(3, 4\) in C order"):
        fill_linear(np.ones((3, 4), np.float32), out=out)
