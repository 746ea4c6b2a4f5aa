"""Gap filling: equal to numpy's interp with held ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from toolkit.kernels import fill as kernel
from toolkit.kernels.fill import fill_linear

gappy = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 30), st.integers(1, 6)),
    elements=st.one_of(st.just(np.nan), st.floats(0, 15_000, width=32)),
)


def reference(series):
    steps = np.arange(series.size)
    known = ~np.isnan(series)
    return np.interp(steps, steps[known], series[known]) if known.any() else series


@given(gappy)
@settings(max_examples=300)
def test_filled_values_equal_numpy_interp(values):
    expected = np.apply_along_axis(reference, 0, values.astype(np.float64))
    np.testing.assert_allclose(fill_linear(values), expected, rtol=1e-5, atol=2e-3)


@given(gappy)
def test_known_values_are_kept_bit_for_bit(values):
    known = ~np.isnan(values)
    np.testing.assert_array_equal(fill_linear(values)[known], values[known])


@given(gappy)
def test_compiled_and_plain_python_agree(values):
    plain = np.empty_like(values)
    kernel._fill.py_func(np.ascontiguousarray(values), plain)
    np.testing.assert_array_equal(fill_linear(values), plain)


def test_pixels_beyond_one_block_are_filled_alike():
    rng = np.random.default_rng(1)
    values = rng.random((43, kernel.BLOCK_PIXELS * 2 + 5)).astype(np.float32)
    values[rng.random(values.shape) < 0.6] = np.nan
    whole = fill_linear(values)
    for pixel in (0, kernel.BLOCK_PIXELS - 1, kernel.BLOCK_PIXELS, kernel.BLOCK_PIXELS * 2 + 4):
        np.testing.assert_array_equal(whole[:, pixel], fill_linear(values[:, [pixel]].copy())[:, 0])


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="needs float32"):
        fill_linear(np.ones((3, 4)))
