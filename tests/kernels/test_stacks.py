"""Checks that stand before every kernel."""

import numpy as np
import pytest

from tests.kernels.samples import positions
from toolkit.kernels.stacks import check_out, check_stack, check_windows, flags

VALUES = np.ones((3, 4), np.uint16)
CLEAR = np.ones((3, 4), bool)


@pytest.mark.parametrize(
    ("starts", "stops"),
    [
        (positions(), positions()),
        (positions(0), positions(3)),
        (positions(3), positions(3)),
        (positions(0, 0, 2, 1), positions(0, 2, 3, 3)),
    ],
)
def test_stacks_with_windows_inside_pass(starts, stops):
    check_stack(VALUES, CLEAR, starts, stops)


@pytest.mark.parametrize(
    ("values", "clear", "message"),
    [
        (VALUES.astype(np.int32), CLEAR, "got int32 and bool"),
        (VALUES, VALUES, "got uint16 and uint16"),
        (VALUES[:2], CLEAR, r"Values \(2, 4\) and clear \(3, 4\)"),
        (VALUES[0], CLEAR[0], r"must both be \(time, pixel\)"),
        (VALUES[None], CLEAR[None], r"must both be \(time, pixel\)"),
    ],
)
def test_values_and_masks_that_do_not_belong_together_are_refused(values, clear, message):
    with pytest.raises(ValueError, match=message):
        check_stack(values, clear, positions(0), positions(1))


@pytest.mark.parametrize(
    ("starts", "stops", "message"),
    [
        (positions(0), positions(4), r"0 to 3 with start <= stop, got \[0\] to \[4\]"),
        (positions(-1), positions(2), "0 to 3 with start <= stop"),
        (positions(2), positions(1), "0 to 3 with start <= stop"),
        (positions(0, 1), positions(1), "0 to 3 with start <= stop"),
        (positions(0).astype(np.int32), positions(1), "must be int64, got int32 and int64"),
        (positions(0), np.array([1.0]), "must be int64, got int64 and float64"),
    ],
)
def test_windows_that_leave_the_stack_are_refused(starts, stops, message):
    with pytest.raises(ValueError, match=message):
        check_windows(starts, stops, 3)


def test_a_new_array_of_the_first_type_is_made_where_none_is_given():
    out = check_out(None, (2, 5), (np.float32, np.uint16))
    assert (out.dtype, out.shape, out.flags.c_contiguous) == (np.float32, (2, 5), True)


@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_an_array_that_fits_is_taken_as_it_is(kind):
    out = np.empty((2, 5), kind)
    assert check_out(out, (2, 5), (np.float32, np.uint16)) is out


@pytest.mark.parametrize(
    "out",
    [
        np.empty((2, 5)),
        np.empty((5, 2), np.float32),
        np.empty((5, 2), np.float32).T,
        np.empty((2, 9), np.float32)[:, :5],
    ],
)
def test_arrays_of_another_type_shape_or_layout_are_refused(out):
    with pytest.raises(ValueError, match=r"out must be float32 or uint16 \(2, 5\) in C order"):
        check_out(out, (2, 5), (np.float32, np.uint16))


def test_a_mask_is_read_as_bytes_without_a_copy_and_views_as_a_copy():
    mask = np.array([[True, False, True], [False, False, True]])
    assert np.shares_memory(flags(mask), mask)
    for view in (mask, mask[:, ::2], mask.T):
        assert flags(view).dtype == np.uint8
        assert flags(view).flags.c_contiguous
        np.testing.assert_array_equal(flags(view), view)
