"""Lookup tables and gathers: the same as numpy's indexing, and never beyond the arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.kernels.glt import gather_spectra, swath_pixels
from toolkit.kernels.spectra import complete, median_spectra


@given(seed=st.integers(0, 10_000))
def test_a_table_counts_from_one_and_zero_or_less_is_a_hole(seed):
    rng = np.random.default_rng(seed)
    glt_x, glt_y = (rng.choice([-9999, 0, 1, 2, 7], (6, 5)).astype(np.int32) for _ in "xy")
    rows, columns = (rng.integers(-1, size, 40).astype(np.int32) for size in (6, 5))
    line, sample = swath_pixels(glt_x, glt_y, rows, columns)
    named = (rows >= 0) & (columns >= 0)
    named &= (glt_x[rows, columns] > 0) & (glt_y[rows, columns] > 0)
    np.testing.assert_array_equal(line, np.where(named, glt_y[rows, columns] - 1, -1))
    np.testing.assert_array_equal(sample, np.where(named, glt_x[rows, columns] - 1, -1))


@given(seed=st.integers(0, 10_000))
def test_a_gather_copies_spectra_and_turns_fills_into_nan(seed):
    rng = np.random.default_rng(seed)
    block = rng.random((4, 3, 6), np.float32)
    block[rng.random(block.shape) < 0.1] = -9999
    block[rng.random(block.shape) < 0.1] = -0.01
    lines, samples = rng.integers(0, 4, 9).astype(np.int32), rng.integers(0, 3, 9).astype(np.int32)
    bands, pixels = rng.permutation(6)[:4].astype(np.intp), rng.permutation(12)[:9].astype(np.intp)
    out = np.full((12, 4), 5, np.float32)
    gather_spectra(block, lines, samples, bands, pixels, out)
    wanted = block[lines, samples][:, bands]
    wanted[(wanted == -9999) | (wanted == np.float32(-0.01))] = np.nan
    np.testing.assert_array_equal(out[pixels], wanted)
    assert (np.delete(out, pixels, axis=0) == 5).all()


@pytest.mark.parametrize(
    "change",
    [
        {"lines": [4]},
        {"lines": [-1]},
        {"samples": [3]},
        {"bands": [6, 0]},
        {"bands": [0]},
        {"pixels": [2]},
        {"pixels": [-1]},
        {"pixels": [0, 1]},
    ],
)
def test_positions_beyond_the_arrays_are_refused(change):
    given = {"lines": [0], "samples": [0], "bands": [0, 1], "pixels": [0]} | change
    with pytest.raises(ValueError, match=r"fit|leave a table"):
        gather_spectra(
            np.zeros((4, 3, 6), np.float32),
            np.array(given["lines"], np.int32),
            np.array(given["samples"], np.int32),
            np.array(given["bands"], np.intp),
            np.array(given["pixels"], np.intp),
            np.zeros((2, 2), np.float32),
        )


def test_cells_beyond_a_table_are_refused():
    table, cell = np.ones((2, 3), np.int32), np.array([2], np.int32)
    with pytest.raises(ValueError, match="leave a table"):
        swath_pixels(table, table, cell, np.array([0], np.int32))
    with pytest.raises(ValueError, match="must be one shape"):
        swath_pixels(table, table.T.copy(), np.array([0], np.int32), np.array([0], np.int32))


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@given(seed=st.integers(0, 10_000), granules=st.integers(1, 6))
def test_the_median_of_clear_spectra_is_numpys(seed, granules):
    rng = np.random.default_rng(seed)
    stack = rng.random((granules, 5, 3), np.float32)
    clear = rng.random((granules, 5)) < 0.6
    wanted = np.nanmedian(np.where(clear[..., None], stack, np.nan), axis=0)
    np.testing.assert_allclose(median_spectra(stack, clear), wanted, rtol=1e-6)


def test_a_clear_spectrum_without_a_band_does_not_count_in_it():
    stack = np.array([[[0.1, np.nan, np.nan]], [[0.3, 0.2, np.nan]]], np.float32)
    found = median_spectra(stack, np.ones((2, 1), bool))
    np.testing.assert_allclose(found, [[0.2, 0.2, np.nan]], rtol=1e-6)
    with pytest.raises(ValueError, match="granule, pixel, band"):
        median_spectra(stack, np.ones((1, 2), bool))


def test_a_spectrum_is_complete_if_it_has_all_bands_asked_for():
    values = np.array([[1, np.nan, 3], [1, 2, 3], [np.nan, 2, 3]], np.float32)
    assert complete(values, np.array([0, 2])).tolist() == [True, True, False]
    assert complete(values, np.array([], np.intp)).tolist() == [False] * 3
    with pytest.raises(ValueError, match="Bands 3 to 3 are not in spectra of 3 bands"):
        complete(values, np.array([3]))
