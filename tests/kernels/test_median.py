"""Windowed median: equal to numpy's nanmedian, whatever comes in."""

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
from toolkit.kernels import median as kernel
from toolkit.kernels.median import BLOCK_PIXELS, windowed_median

KINDS = (np.float32, np.uint16)


def median(values, clear, starts, stops, kind=np.float32):
    return windowed_median(values, clear, starts, stops, out=np.empty((starts.size, values.shape[1]), kind))


@given(stacks())
@settings(max_examples=200)
def test_median_equals_nanmedian_exactly(stack):
    found = windowed_median(*stack)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, by_window(np.nanmedian, *stack))


@given(stacks())
def test_integers_equal_nanmedian_rounded_half_up_and_0_where_nothing_is(stack):
    np.testing.assert_array_equal(median(*stack, np.uint16), half_up(by_window(np.nanmedian, *stack)))


@pytest.mark.parametrize("length", [1, 2, 3, 4, 12, 73, 146])
def test_long_windows_over_several_blocks_equal_nanmedian(length):
    values, clear = random_stack(length, 146, 2 * BLOCK_PIXELS + 37)
    starts, stops = equal_windows(146, length)
    found = [median(values, clear, starts, stops, kind) for kind in KINDS]
    edges = [
        0,
        1,
        *range(BLOCK_PIXELS - 20, BLOCK_PIXELS + 20),
        *range(2 * BLOCK_PIXELS - 20, values.shape[1]),
    ]
    expected = by_window(np.nanmedian, values[:, edges], clear[:, edges], starts, stops)
    np.testing.assert_array_equal(found[0][:, edges], expected)
    np.testing.assert_array_equal(found[1][:, edges], half_up(expected))


@pytest.mark.parametrize("length", range(1, 14))
def test_any_number_of_observations_in_a_window_is_served(length):
    """Each pixel has another pattern of usable dates: all 2^length of them."""
    clear = (np.arange(2**length) >> np.arange(length)[:, None]) % 2 == 1
    rng = np.random.default_rng(length)
    values = rng.choice(np.array([1, 2, 500, 501, 65534, 65535], np.uint16), clear.shape)
    stack = values, clear, positions(0), positions(length)
    np.testing.assert_array_equal(windowed_median(*stack), by_window(np.nanmedian, *stack))


def test_known_numbers_have_their_known_median():
    values = np.array([[5], [9], [0], [1], [8]], np.uint16)
    clear = np.array([[True], [True], [True], [False], [True]])
    starts, stops = positions(0, 0, 0, 2, 3, 4), positions(5, 2, 1, 4, 5, 4)
    expected = [[8], [7], [5], [np.nan], [8], [np.nan]]
    np.testing.assert_array_equal(windowed_median(values, clear, starts, stops), expected)


def test_the_mean_of_the_two_largest_numbers_does_not_overflow():
    values = np.array([[65535], [65534]], np.uint16)
    clear = np.ones(values.shape, bool)
    assert median(values, clear, positions(0), positions(2)).item() == 65534.5
    assert median(values, clear, positions(0), positions(2), np.uint16).item() == 65535


@given(stacks(), st.randoms(use_true_random=False))
def test_order_of_dates_inside_a_window_changes_nothing(stack, random):
    values, clear, _, _ = stack
    inner = sorted(random.choices(range(len(values) + 1), k=3))
    starts, stops = positions(*inner[:-1]), positions(*inner[1:])
    order = np.arange(len(values))
    for a, b in zip(starts, stops, strict=True):
        part = order[a:b].tolist()
        random.shuffle(part)
        order[a:b] = part
    np.testing.assert_array_equal(
        windowed_median(values, clear, starts, stops),
        windowed_median(values[order], clear[order], starts, stops),
    )


@given(stacks(), st.randoms(use_true_random=False))
def test_a_masked_date_more_changes_nothing(stack, random):
    values, clear, starts, stops = stack
    place = random.randint(0, len(values))
    more = np.insert(values, place, 65535, axis=0)
    mask = np.insert(clear, place, values=False, axis=0)
    np.testing.assert_array_equal(
        windowed_median(more, mask, starts + (starts > place), stops + (stops >= place)),
        windowed_median(values, clear, starts, stops),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_pixels_changes_nothing(kind):
    values, clear = random_stack(1, 30, BLOCK_PIXELS + 37)
    windows = equal_windows(30, 7)
    order = np.random.default_rng(2).permutation(values.shape[1])
    np.testing.assert_array_equal(
        median(values[:, order], clear[:, order], *windows, kind),
        median(values, clear, *windows, kind)[:, order],
    )


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_pixels_give_the_same_as_all_at_once(kind):
    values, clear = random_stack(3, 30, BLOCK_PIXELS + 37)
    windows = equal_windows(30, 6)
    parts = [median(values[:, cut], clear[:, cut], *windows, kind) for cut in pieces(values.shape[1])]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), median(values, clear, *windows, kind))


@given(stacks())
def test_compiled_and_plain_python_agree(stack):
    for kind in KINDS:
        compiled = median(*stack, kind)
        with plain_python(kernel):
            plain = median(*stack, kind)
        np.testing.assert_array_equal(compiled, plain)


def test_views_that_are_not_contiguous_give_the_same():
    wide, clear = random_stack(0, 12, 40)
    windows = equal_windows(6, 3)
    for view in (np.s_[::2, ::2], np.s_[5::-1, :], np.s_[:6, ::-1]):
        np.testing.assert_array_equal(
            windowed_median(wide[view], clear[view], *windows),
            windowed_median(wide[view].copy(), clear[view].copy(), *windows),
        )
    np.testing.assert_array_equal(
        windowed_median(np.asfortranarray(wide), np.asfortranarray(clear), *windows),
        windowed_median(wide, clear, *windows),
    )


def test_input_that_may_not_be_written_is_read_and_kept():
    values, clear = random_stack(5, 9, 20)
    kept = values.copy()
    values.flags.writeable = clear.flags.writeable = False
    windows = equal_windows(9, 3)
    np.testing.assert_array_equal(
        windowed_median(values, clear, *windows), by_window(np.nanmedian, kept, clear, *windows)
    )
    np.testing.assert_array_equal(values, kept)


@pytest.mark.parametrize("kind", KINDS)
def test_out_is_written_and_returned(kind):
    values, clear = random_stack(4, 10, 50)
    windows = equal_windows(10, 5)
    out = np.full((2, 50), 7, kind)
    assert windowed_median(values, clear, *windows, out=out) is out
    np.testing.assert_array_equal(out, median(values, clear, *windows, kind))


@pytest.mark.parametrize(
    "out",
    [
        np.empty((1, 4)),
        np.empty((1, 4), np.int16),
        np.empty((2, 4), np.float32),
        np.empty(4, np.float32),
        np.empty((1, 8), np.float32)[:, ::2],
    ],
)
def test_an_out_that_does_not_fit_is_refused(out):
    values, clear = random_stack(6, 3, 4)
    with pytest.raises(ValueError, match=r"out must be float32 or uint16 \(1, 4\) in C order"):
        windowed_median(values, clear, positions(0), positions(3), out=out)


@pytest.mark.parametrize("kind", KINDS)
def test_without_dates_nothing_is_observed(kind):
    nothing = np.zeros((0, 5), np.uint16)
    found = median(nothing, nothing.astype(bool), positions(0, 0), positions(0, 0), kind)
    np.testing.assert_array_equal(found, np.full((2, 5), np.nan if kind == np.float32 else 0))


def test_without_pixels_or_without_windows_the_result_is_empty():
    values, clear = random_stack(7, 3, 4)
    assert windowed_median(values[:, :0], clear[:, :0], positions(0), positions(3)).shape == (1, 0)
    assert windowed_median(values, clear, positions(), positions()).shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.ones((3, 4), np.float32)}, "uint16 values and a bool mask, got float32 and bool"),
        ({"values": np.ones((3, 4), np.int16)}, "uint16 values and a bool mask"),
        ({"clear": np.ones((3, 4), np.uint8)}, "uint16 values and a bool mask"),
        ({"clear": np.ones((3, 5), bool)}, r"must both be \(time, pixel\)"),
        ({"values": np.ones(3, np.uint16), "clear": np.ones(3, bool)}, r"must both be \(time, pixel\)"),
        ({"stops": positions(4)}, "Windows must lie in 0 to 3"),
        ({"starts": positions(-1)}, "Windows must lie in 0 to 3"),
        ({"starts": positions(2), "stops": positions(1)}, "start <= stop"),
        ({"starts": positions(0, 1)}, "Windows must lie in 0 to 3"),
        ({"starts": np.array([0.0])}, "Windows must be int64, got float64 and int64"),
        ({"stops": np.array([3], np.int32)}, "Windows must be int64, got int64 and int32"),
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
        windowed_median(**{**fine, **change})
