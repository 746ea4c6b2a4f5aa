"""Median, scale and gap filling at once: the same bits as one after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.samples import equal_windows, plain_python, positions, random_stack, stacks
from toolkit.kernels import fill as filling
from toolkit.kernels import median as medians
from toolkit.kernels import series as kernel
from toolkit.kernels.fill import fill_linear
from toolkit.kernels.median import windowed_median
from toolkit.kernels.series import (
    BLOCK_PIXELS,
    HELD,
    NO_FILL,
    PERIODIC,
    STRIP,
    filled_median,
    filled_series,
)

SCALE = 0.0001
each_fill = pytest.mark.parametrize("fill", [NO_FILL, HELD, PERIODIC])


def one_after_the_other(values, clear, starts, stops, fill, scale=SCALE):
    median = windowed_median(values, clear, starts, stops) * np.float32(scale)
    return median if fill == NO_FILL else fill_linear(median, periodic=fill == PERIODIC)


def by_pixel(values, clear, starts, stops, fill):
    out = np.empty((values.shape[1], starts.size), np.float32)
    return filled_series(values, clear, starts, stops, scale=SCALE, fill=fill, out=out)


def assert_same_bits(found, expected):
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(found.view(np.uint32)[known], expected.view(np.uint32)[known])


@each_fill
@given(stack=stacks())
@settings(max_examples=100)
def test_any_stack_gives_the_same_bits(fill, stack):
    expected = one_after_the_other(*stack, fill)
    assert_same_bits(filled_median(*stack, scale=SCALE, fill=fill), expected)
    assert_same_bits(by_pixel(*stack, fill), np.ascontiguousarray(expected.T))


@each_fill
@pytest.mark.parametrize(
    "pixels",
    [
        1,
        STRIP - 1,
        STRIP,
        STRIP + 1,
        BLOCK_PIXELS - 1,
        BLOCK_PIXELS,
        BLOCK_PIXELS + 1,
        2 * BLOCK_PIXELS + STRIP + 3,
        medians.BLOCK_PIXELS + 37,
    ],
)
def test_any_number_of_pixels_gives_the_same_bits(fill, pixels):
    values, clear = random_stack(pixels, 86, pixels, share=0.35)
    windows = equal_windows(86, 2)
    expected = one_after_the_other(values, clear, *windows, fill)
    assert np.isnan(windowed_median(values, clear, *windows)).any()
    assert_same_bits(filled_median(values, clear, *windows, scale=SCALE, fill=fill), expected)
    assert_same_bits(by_pixel(values, clear, *windows, fill), np.ascontiguousarray(expected.T))


@each_fill
@pytest.mark.parametrize("length", [1, 3, 12, 73, 146])
def test_any_length_of_window_gives_the_same_bits(fill, length):
    values, clear = random_stack(length, 146, BLOCK_PIXELS + 37, share=0.2)
    windows = equal_windows(146, length)
    expected = one_after_the_other(values, clear, *windows, fill)
    assert_same_bits(filled_median(values, clear, *windows, scale=SCALE, fill=fill), expected)
    assert_same_bits(by_pixel(values, clear, *windows, fill), np.ascontiguousarray(expected.T))


@each_fill
@given(scale=st.floats(1e-6, 1e6))
@settings(max_examples=20)
def test_any_scale_gives_the_same_bits(fill, scale):
    values, clear = random_stack(1, 24, 70, share=0.3)
    windows = equal_windows(24, 3)
    expected = one_after_the_other(values, clear, *windows, fill, scale)
    assert_same_bits(filled_median(values, clear, *windows, scale=scale, fill=fill), expected)


@each_fill
def test_series_are_written_into_one_band_and_no_other(fill):
    values, clear = random_stack(2, 60, BLOCK_PIXELS + 21, share=0.3)
    windows = equal_windows(60, 5)
    whole = np.full((values.shape[1], 3, 12), -1, np.float32)
    band = whole[:, 1]
    assert filled_series(values, clear, *windows, scale=SCALE, fill=fill, out=band) is band
    np.testing.assert_array_equal(whole[:, 1], one_after_the_other(values, clear, *windows, fill).T)
    assert (whole[:, [0, 2]] == -1).all()


@each_fill
def test_views_that_are_not_contiguous_give_the_same(fill):
    values, clear = random_stack(3, 24, 200, share=0.3)
    windows = equal_windows(12, 2)
    view = np.s_[::2, ::3]
    expected = one_after_the_other(values[view].copy(), clear[view].copy(), *windows, fill)
    assert_same_bits(filled_median(values[view], clear[view], *windows, scale=SCALE, fill=fill), expected)
    assert_same_bits(by_pixel(values[view], clear[view], *windows, fill), np.ascontiguousarray(expected.T))


@each_fill
def test_pixels_without_observation_are_nan_and_others_have_no_gap_when_filled(fill):
    values, clear = random_stack(4, 60, 300, share=0.4)
    clear[:, ::7] = False
    windows = equal_windows(60, 5)
    missing = np.isnan(filled_median(values, clear, *windows, scale=SCALE, fill=fill))
    assert missing[:, ::7].all()
    seen = np.delete(missing, np.s_[::7], axis=1)
    assert seen.any() == (fill == NO_FILL)


@each_fill
def test_out_is_written_and_returned(fill):
    values, clear = random_stack(5, 20, 50)
    windows = equal_windows(20, 4)
    out = np.full((5, 50), -1, np.float32)
    assert filled_median(values, clear, *windows, scale=SCALE, fill=fill, out=out) is out
    np.testing.assert_array_equal(out, one_after_the_other(values, clear, *windows, fill))


@each_fill
@given(stack=stacks())
@settings(max_examples=20)
def test_compiled_and_plain_python_agree(fill, stack):
    compiled = filled_median(*stack, scale=SCALE, fill=fill), by_pixel(*stack, fill)
    with plain_python(kernel, medians, filling):
        plain = filled_median(*stack, scale=np.float32(SCALE), fill=fill), by_pixel(*stack, fill)
    for found, expected in zip(compiled, plain, strict=True):
        assert_same_bits(found, expected)


@each_fill
def test_without_dates_pixels_or_windows_there_is_nothing(fill):
    nothing = np.zeros((0, 5), np.uint16)
    windows = positions(0, 0), positions(0, 0)
    found = filled_median(nothing, nothing.astype(bool), *windows, scale=SCALE, fill=fill)
    np.testing.assert_array_equal(found, np.full((2, 5), np.nan))
    found = by_pixel(nothing, nothing.astype(bool), *windows, fill)
    np.testing.assert_array_equal(found, np.full((5, 2), np.nan))
    values, clear = random_stack(6, 3, 4)
    assert by_pixel(values[:, :0], clear[:, :0], *windows, fill).shape == (0, 2)
    assert by_pixel(values, clear, positions(), positions(), fill).shape == (4, 0)
    assert filled_median(values, clear, positions(), positions(), scale=SCALE, fill=fill).shape == (0, 4)


@pytest.mark.parametrize("fill", [-1, 3])
def test_other_ways_to_fill_are_refused(fill):
    values, clear = random_stack(7, 3, 4)
    with pytest.raises(ValueError, match="allowed: 0, 1, 2"):
        filled_median(values, clear, positions(0), positions(3), scale=SCALE, fill=fill)
    with pytest.raises(ValueError, match="allowed: 0, 1, 2"):
        by_pixel(values, clear, positions(0), positions(3), fill)


@pytest.mark.parametrize("out", [np.empty((1, 4)), np.empty((1, 4), np.uint16), np.empty((2, 4), np.float32)])
def test_an_out_that_does_not_fit_is_refused(out):
    values, clear = random_stack(8, 3, 4)
    windows = positions(0), positions(3)
    with pytest.raises(ValueError, match=r"out must be float32 \(1, 4\) in C order"):
        filled_median(values, clear, *windows, scale=SCALE, fill=HELD, out=out)
    with pytest.raises(ValueError, match=r"out must be float32 \(4, 1\)"):
        filled_series(values, clear, *windows, scale=SCALE, fill=HELD, out=out.T)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.ones((3, 4), np.float32)}, "uint16 values and a bool mask"),
        ({"clear": np.ones((3, 5), bool)}, r"must both be \(time, pixel\)"),
        ({"stops": positions(4)}, "Windows must lie in 0 to 3"),
        ({"starts": np.array([0], np.int32)}, "Windows must be int64"),
    ],
)
def test_input_that_would_read_beyond_arrays_is_refused(change, message):
    fine = {
        "values": np.ones((3, 4), np.uint16),
        "clear": np.ones((3, 4), bool),
        "starts": positions(0),
        "stops": positions(3),
    }
    with pytest.raises(ValueError, match=message):
        filled_median(**{**fine, **change}, scale=SCALE, fill=HELD)
    with pytest.raises(ValueError, match=message):
        filled_series(**{**fine, **change}, scale=SCALE, fill=HELD, out=np.empty((4, 1), np.float32))
