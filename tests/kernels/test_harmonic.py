"""Harmonic curves: equal to numpy's least squares in float64, each pixel and band on its own dates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.samples import pieces
from toolkit.kernels.harmonic import SPAN_POINTS, fit_harmonic_curves, harmonic_basis
from toolkit.kernels.normal_equations import BLOCK_PIXELS
from toolkit.kernels.rows import RIDGED, SOLVED, UNKNOWN

WINDOWS = {
    "year": (np.arange(73) * 5 / 365, (0.0, 1.0)),
    "season": ((120 + 5 * np.arange(43)) / 365, (120 / 365, 335 / 365)),
}
CASES = [("year", order) for order in range(7)] + [("season", order) for order in (1, 2, 3)]
IN_DOUBLE = [("season", 2), ("season", 3), ("year", 4), ("year", 5), ("year", 6)]
"""Where float32 would not do: the basis is too far from orthonormal, or has too many terms."""

each_case = pytest.mark.parametrize(("window", "order"), CASES)
some_cases = pytest.mark.parametrize(
    ("window", "order"), [("year", 2), ("season", 2), ("season", 3), ("year", 6)]
)
both_kinds = pytest.mark.parametrize("kind", [np.uint16, np.float32])


def observations(seed, dates, pixels, kind=np.uint16):
    """Noise from 1 to 10,000: no fit is exact, all dates count alike."""
    return np.random.default_rng(seed).integers(1, 10_001, (dates, pixels)).astype(kind)


def masks(seed, dates, pixels, share):
    return np.random.default_rng(seed).random((dates, pixels)) < share


def reference(values, clear, basis):
    """``(coefficient, pixel)``, numpy in float64; NaN with fewer observations than coefficients."""
    found = np.full((basis.shape[1], values.shape[1]), np.nan)
    for x, mask in enumerate(clear.T):
        if mask.sum() >= basis.shape[1]:
            found[:, x] = np.linalg.lstsq(basis[mask], values[mask, x].astype(np.float64))[0]
    return found


def allowed(clear, window, order):
    """Error in the largest coefficient that rounding explains, by pixel, as a share of it.

    Normal equations multiply rounding by the condition of their matrix, here in the basis that is
    orthonormal over the span; float32 rounds to 6e-8, sums of 73 dates to some times that.
    """
    years, span = WINDOWS[window]
    points = harmonic_basis(np.linspace(*span, SPAN_POINTS), order) / np.sqrt(SPAN_POINTS)
    even = harmonic_basis(years, order) @ np.linalg.inv(np.linalg.qr(points).R)
    condition = np.linalg.cond(np.einsum("tx,ti,tj->xij", clear.astype(float), even, even))
    return 3e-7 + (1e-12 if (window, order) in IN_DOUBLE else 1e-6) * condition


def assert_close(found, expected, share):
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    error = np.abs(found - expected).max(axis=0) / np.abs(expected).max(axis=0)
    assert (np.nan_to_num(error) <= share).all()


def fit(bands, clear, window, order, **options):
    years, span = WINDOWS[window]
    return fit_harmonic_curves(bands, clear, years, order=order, span=span, **options)


def test_the_basis_holds_a_constant_and_cosine_and_sine_of_each_harmonic():
    root = np.sqrt(0.5)
    expected = [[1, 1, 0, 1, 0], [1, root, root, 0, 1], [1, 0, 1, -1, 0], [1, -1, 0, 1, 0]]
    found = harmonic_basis(np.array([0, 0.125, 0.25, 0.5]), 2)
    np.testing.assert_allclose(found, expected, atol=1e-15)
    np.testing.assert_allclose(harmonic_basis(np.array([7, 7.125, 7.25, 7.5]), 2), expected, atol=1e-13)


@pytest.mark.parametrize("order", [-1, 7])
def test_other_orders_are_refused(order):
    with pytest.raises(ValueError, match="allowed: whole numbers from 0 to 6"):
        harmonic_basis(np.zeros(3), order)


@each_case
@both_kinds
def test_coefficients_equal_least_squares_in_float64(window, order, kind):
    """55 % of the dates are clear: the usual case, where single precision is all but reached."""
    years, _ = WINDOWS[window]
    values, clear = observations(order, len(years), 300, kind), masks(order, len(years), 300, 0.55)
    found = fit([values], clear, window, order)
    expected = reference(values, clear, harmonic_basis(years, order))
    assert found.coefficients.dtype == np.float32
    assert found.coefficients.shape == (1, 2 * order + 1, 300)
    assert (found.solved == SOLVED).all()
    assert_close(found.coefficients[0], expected, allowed(clear, window, order))
    error = np.abs(found.coefficients[0] - expected).max(axis=0) / np.abs(expected).max(axis=0)
    assert np.median(error) < 4e-7


@each_case
def test_coefficients_equal_least_squares_for_any_share_of_clear_dates(window, order):
    """From no date to all, so from no solution over poorly determined ones to a full series."""
    years, _ = WINDOWS[window]
    values, clear = observations(1, len(years), 600), masks(2, len(years), 600, np.linspace(0, 1.05, 600))
    found = fit([values], clear, window, order)
    enough = clear.sum(axis=0) >= 2 * order + 1
    np.testing.assert_array_equal(found.solved == UNKNOWN, ~enough)
    expected = reference(values, clear, harmonic_basis(years, order))
    plain = found.solved == SOLVED
    assert plain.sum() > 400
    assert_close(found.coefficients[0][:, plain], expected[:, plain], allowed(clear[:, plain], window, order))
    assert np.isnan(found.coefficients[0][:, ~enough]).all()
    assert np.isfinite(found.coefficients[0][:, enough]).all()


@both_kinds
@pytest.mark.parametrize("order", [1, 2])
def test_a_few_weeks_of_a_year_are_fitted_in_double_precision(order, kind):
    """Ten dates in a row: the condition is 5e3 (order 1) or 5e7 (2), too much for single precision."""
    years, _ = WINDOWS["year"]
    values, clear = observations(5, 73, 60, kind), np.zeros((73, 60), bool)
    for x in range(60):
        clear[x : x + 10, x] = True
    basis = harmonic_basis(years, order)
    condition = np.linalg.cond(np.einsum("tx,ti,tj->xij", clear.astype(float), basis, basis))
    assert condition.min() > 5e3
    found = fit([values], clear, "year", order)
    assert (found.solved == SOLVED).all()
    assert_close(found.coefficients[0], reference(values, clear, basis), 1e-7 + 1e-15 * condition)


@each_case
def test_as_many_dates_as_coefficients_far_apart_are_met_exactly(window, order):
    years, _ = WINDOWS[window]
    n = 2 * order + 1
    clear = np.zeros((len(years), 1), bool)
    clear[np.linspace(0, len(years) - (len(years) // n), n).astype(int)] = True
    values = observations(3, len(years), 1)
    found = fit([values], clear, window, order)
    assert found.solved.tolist() == [SOLVED]
    curve = harmonic_basis(years, order) @ found.coefficients[0].astype(np.float64)
    np.testing.assert_allclose(curve[clear], values[clear], atol=0.05)
    clear[np.argmax(clear)] = False
    found = fit([values], clear, window, order)
    assert found.solved.tolist() == [UNKNOWN]
    assert np.isnan(found.coefficients).all()


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_clean_signal_of_a_season_is_recovered_with_45_percent_of_dates_masked(order):
    """Reflectance of known curves: every coefficient to 1e-5, whatever the mask."""
    years, _ = WINDOWS["season"]
    rng = np.random.default_rng(order)
    true = rng.normal(0, 0.1, (2 * order + 1, 20_000))
    true[0] = rng.uniform(0.1, 0.5, 20_000)
    values = (harmonic_basis(years, order) @ true).astype(np.float32)
    clear = rng.random(values.shape) >= 0.45
    values[~clear] = 9.0  # what clouds reflect must not matter
    found = fit([values], clear, "season", order)
    assert (found.solved == SOLVED).all()
    np.testing.assert_allclose(found.coefficients[0], true, rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", range(7))
def test_a_clean_signal_of_a_year_is_recovered_in_all_bands(order):
    years, _ = WINDOWS["year"]
    rng = np.random.default_rng(order)
    true = rng.normal(0, 0.1, (3, 2 * order + 1, 50))
    values = (harmonic_basis(years, order) @ true).astype(np.float32)
    found = fit(list(values), np.ones(values.shape[1:], bool), "year", order)
    np.testing.assert_allclose(found.coefficients, true, rtol=0, atol=1e-6)


@both_kinds
def test_a_constant_has_no_waves(kind):
    years, _ = WINDOWS["season"]
    clear = masks(1, len(years), 200, 0.55)
    for order in (0, 1, 2, 3):
        found = fit([np.full(clear.shape, 5000, kind)], clear, "season", order).coefficients[0]
        np.testing.assert_allclose(found[0], 5000, atol=0.5)
        np.testing.assert_allclose(found[1:], 0, atol=0.5)


@some_cases
def test_a_band_without_value_on_clear_dates_is_fitted_on_its_own_dates(window, order):
    years, _ = WINDOWS[window]
    clear = masks(4, len(years), 200, 0.7)
    bands = [observations(k, len(years), 200) for k in range(3)]
    whole = fit(bands, clear, window, order)
    holes = masks(5, len(years), 200, 0.08)
    holes[:, ::5] = False
    bands[1][holes] = 0
    found = fit(bands, clear, window, order)
    own = clear & ~holes
    basis = harmonic_basis(years, order)
    assert_close(found.coefficients[1], reference(bands[1], own, basis), allowed(own, window, order))
    for band in (0, 2):
        np.testing.assert_array_equal(found.coefficients[band], whole.coefficients[band])
    np.testing.assert_array_equal(found.coefficients[1][:, ::5], whole.coefficients[1][:, ::5])


@some_cases
def test_nan_is_no_observation_and_0_is_one_where_bands_are_float(window, order):
    years, _ = WINDOWS[window]
    clear = masks(6, len(years), 200, 0.7)
    bands = [observations(k, len(years), 200, np.float32) - 5000 for k in range(2)]
    bands[0][masks(7, len(years), 200, 0.1)] = np.nan
    bands[1][masks(8, len(years), 200, 0.1)] = 0
    found = fit(bands, clear, window, order)
    for values, coefficients in zip(bands, found.coefficients, strict=True):
        own = clear & ~np.isnan(values)
        expected = reference(values, own, harmonic_basis(years, order))
        assert_close(coefficients, expected, allowed(own, window, order))
    assert (found.solved == SOLVED).all()


@both_kinds
def test_a_band_with_too_few_dates_of_its_own_is_nan_and_the_pixel_unknown(kind):
    years, _ = WINDOWS["year"]
    bands = [observations(k, len(years), 3, kind) for k in range(2)]
    bands[1][4:, 0] = 0 if kind == np.uint16 else np.nan
    found = fit(bands, np.ones(bands[0].shape, bool), "year", 2)
    assert np.isnan(found.coefficients[1][:, 0]).all()
    assert np.isfinite(found.coefficients[0]).all()
    assert np.isfinite(found.coefficients[1][:, 1:]).all()
    assert found.solved.tolist() == [UNKNOWN, SOLVED, SOLVED]


@both_kinds
@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_one_date_again_and_again_gives_its_mean_and_says_so(kind, order):
    n = 2 * order + 1
    years = np.append(np.full(n + 3, 0.6), np.linspace(0.35, 0.9, 30))
    clear = np.ones((len(years), 3), bool)
    clear[n + 3 :, 1] = False  # only the middle pixel has nothing else
    values = observations(order, len(years), 3, kind)
    found = fit_harmonic_curves([values], clear, years, order=order, span=(0.3, 0.95))
    assert found.solved.tolist() == [SOLVED, RIDGED, SOLVED]
    assert np.isfinite(found.coefficients).all()
    curve = harmonic_basis(np.array([0.6]), order) @ found.coefficients[0, :, 1].astype(np.float64)
    np.testing.assert_allclose(curve, values[: n + 3, 1].mean(), rtol=1e-5)


@both_kinds
@pytest.mark.parametrize("day", [0.0, 0.25, 0.5, 0.75])
def test_dates_at_which_waves_vanish_are_fitted_too(kind, day):
    """All sines are 0 there, so that a whole row of the matrix is."""
    years = np.full(12, day)
    values = observations(2, 12, 2, kind)
    found = fit_harmonic_curves([values], np.ones((12, 2), bool), years, order=2, span=(0, 1))
    assert found.solved.tolist() == [RIDGED, RIDGED]
    curve = harmonic_basis(np.array([day]), 2) @ found.coefficients[0].astype(np.float64)
    np.testing.assert_allclose(curve[0], values.mean(axis=0), rtol=1e-5)


@both_kinds
def test_too_few_distinct_dates_give_a_curve_through_the_mean_of_each(kind):
    years = np.repeat([0.4, 0.55, 0.8], 4)
    values = observations(3, 12, 50, kind)
    found = fit_harmonic_curves([values], np.ones((12, 50), bool), years, order=2, span=(0.3, 0.9))
    assert (found.solved == RIDGED).all()
    curve = harmonic_basis(years[::4], 2) @ found.coefficients[0].astype(np.float64)
    np.testing.assert_allclose(curve, values.reshape(3, 4, 50).mean(axis=1), rtol=2e-3)


@both_kinds
@pytest.mark.parametrize("band", [0, 1])
def test_a_pixel_is_ridged_where_one_band_is(kind, band):
    years = np.append(np.full(9, 0.6), np.linspace(0.35, 0.9, 20))
    bands = [observations(k, len(years), 2, kind) for k in range(2)]
    bands[band][9:, 0] = 0 if kind == np.uint16 else np.nan
    clear = np.ones((len(years), 2), bool)
    found = fit_harmonic_curves(bands, clear, years, order=2, span=(0.3, 0.95))
    assert found.solved.tolist() == [RIDGED, SOLVED]
    expected = reference(bands[1 - band], clear, harmonic_basis(years, 2))
    assert_close(found.coefficients[1 - band], expected, 1e-4)


def mixed(kind, dates, seed=9):
    """Two bands of more pixels than a block, some hardly observed, some with gaps of their own."""
    pixels = BLOCK_PIXELS + 37
    clear = masks(seed, dates, pixels, np.linspace(0.05, 1, pixels))
    bands = [observations(seed + k, dates, pixels, kind) for k in range(2)]
    bands[1][masks(seed + 2, dates, pixels, 0.01)] = 0 if kind == np.uint16 else np.nan
    return bands, clear


def assert_same_bits(found, coefficients, solved):
    np.testing.assert_array_equal(found.solved, solved)
    known = ~np.isnan(coefficients)
    np.testing.assert_array_equal(known, ~np.isnan(found.coefficients))
    bits = np.ascontiguousarray(coefficients).view(np.uint32)
    np.testing.assert_array_equal(found.coefficients.view(np.uint32)[known], bits[known])


@some_cases
@both_kinds
def test_order_and_pieces_of_pixels_change_no_bit(window, order, kind):
    bands, clear = mixed(kind, len(WINDOWS[window][0]))
    whole = fit(bands, clear, window, order)
    turn = np.random.default_rng(1).permutation(clear.shape[1])
    turned = fit([np.ascontiguousarray(band[:, turn]) for band in bands], clear[:, turn], window, order)
    assert_same_bits(turned, whole.coefficients[:, :, turn], whole.solved[turn])
    for cut in pieces(clear.shape[1]):
        part = fit([band[:, cut].copy() for band in bands], clear[:, cut], window, order)
        assert_same_bits(part, whole.coefficients[:, :, cut], whole.solved[cut])


@some_cases
@both_kinds
@pytest.mark.parametrize("more", [1, 2, 3, 7])
def test_masked_dates_more_change_no_bit(window, order, kind, more):
    """Whatever they hold, wherever they stand."""
    years, span = WINDOWS[window]
    bands, clear = mixed(kind, len(years))
    whole = fit(bands, clear, window, order)
    rng = np.random.default_rng(more)
    places = rng.integers(0, len(years) + 1, more)
    junk = 65535 if kind == np.uint16 else np.array([np.nan, np.inf, -1e30])[rng.integers(0, 3, (more, 1))]
    found = fit_harmonic_curves(
        [np.insert(band, places, junk, axis=0) for band in bands],
        np.insert(clear, places, values=False, axis=0),
        np.insert(years, places, rng.uniform(*span, more)),
        order=order,
        span=span,
    )
    assert_same_bits(found, whole.coefficients, whole.solved)


@each_case
@both_kinds
def test_order_of_dates_changes_nothing_beyond_rounding(window, order, kind):
    years, span = WINDOWS[window]
    values, clear = observations(3, len(years), 2000, kind), masks(3, len(years), 2000, 0.55)
    straight = fit([values], clear, window, order)
    turn = np.random.default_rng(4).permutation(len(years))
    turned = fit_harmonic_curves([values[turn]], clear[turn], years[turn], order=order, span=span)
    np.testing.assert_array_equal(turned.solved, straight.solved)
    found, expected = turned.coefficients[0], straight.coefficients[0].astype(np.float64)
    assert_close(found, expected, allowed(clear, window, order))
    error = np.abs(found - expected).max(axis=0) / np.abs(expected).max(axis=0)
    assert np.quantile(error, 0.9) <= 1e-6


@some_cases
@both_kinds
def test_bands_are_fitted_as_if_each_were_alone(window, order, kind):
    years, _ = WINDOWS[window]
    bands = [observations(k, len(years), 100, kind) for k in range(3)]
    clear = masks(1, len(years), 100, 0.6)
    found = fit(bands, clear, window, order)
    for band, coefficients in zip(bands, found.coefficients, strict=True):
        alone = fit([band], clear, window, order)
        assert_same_bits(alone, coefficients[None], found.solved)


@given(st.integers(1, 2**16), st.sampled_from([0.001, 0.5, 2.0, 1000.0]))
@settings(max_examples=20)
def test_a_multiple_of_the_values_has_a_multiple_of_the_curve(seed, factor):
    years, _ = WINDOWS["season"]
    values, clear = observations(seed, len(years), 20, np.float32), masks(seed, len(years), 20, 0.55)
    found = fit([values * np.float32(factor)], clear, "season", 2).coefficients[0] / factor
    assert_close(found, fit([values], clear, "season", 2).coefficients[0], allowed(clear, "season", 2))


@both_kinds
def test_coefficients_are_written_to_out(kind):
    bands, clear = mixed(kind, 73)
    expected = fit(bands, clear, "year", 2)
    out = np.full((2, 5, clear.shape[1]), -1, np.float32)
    found = fit(bands, clear, "year", 2, out=out)
    assert found.coefficients is out
    assert_same_bits(found, expected.coefficients, expected.solved)


@both_kinds
def test_views_and_arrays_that_may_not_be_written_give_the_same(kind):
    bands = [observations(k, 73, 60, kind) for k in range(2)]
    clear = masks(1, 73, 60, 0.6)
    expected = fit([band[:, ::2].copy() for band in bands], clear[:, ::2].copy(), "year", 2)
    kept = [band.copy() for band in bands]
    assert_same_bits(
        fit([band[:, ::2] for band in bands], clear[:, ::2], "year", 2),
        expected.coefficients,
        expected.solved,
    )
    expected = fit(bands, clear, "year", 2)
    bands[1].flags.writeable = False  # the other may be written: the two types must not matter
    assert_same_bits(fit(bands, clear, "year", 2), expected.coefficients, expected.solved)
    for band, before in zip(bands, kept, strict=True):
        np.testing.assert_array_equal(band, before)


@both_kinds
def test_all_masked_pixels_are_nan_beside_others(kind):
    bands, clear = [observations(1, 73, 9, kind)], np.ones((73, 9), bool)
    clear[:, ::2] = False
    found = fit(bands, clear, "year", 1)
    assert np.isnan(found.coefficients[0][:, ::2]).all()
    assert np.isfinite(found.coefficients[0][:, 1::2]).all()
    assert found.solved.tolist() == [UNKNOWN, SOLVED] * 4 + [UNKNOWN]


@both_kinds
@pytest.mark.parametrize("order", [0, 2])
def test_without_dates_every_curve_is_unknown(kind, order):
    found = fit_harmonic_curves(
        [np.zeros((0, 3), kind)] * 2, np.zeros((0, 3), bool), np.zeros(0), order=order, span=(0, 1)
    )
    np.testing.assert_array_equal(found.coefficients, np.full((2, 2 * order + 1, 3), np.nan))
    assert found.solved.tolist() == [UNKNOWN] * 3


@both_kinds
def test_without_pixels_the_result_is_empty(kind):
    found = fit([np.zeros((73, 0), kind)], np.zeros((73, 0), bool), "year", 2)
    assert found.coefficients.shape == (1, 5, 0)
    assert found.solved.shape == (0,)


U16, F32 = np.ones((3, 4), np.uint16), np.ones((3, 4), np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": 7}, "order is 7; allowed: whole numbers from 0 to 6"),
        ({"order": -1}, "order is -1; allowed: whole numbers from 0 to 6"),
        ({"bands": []}, r"one or more; got 0 bands of \[\]"),
        ({"bands": [U16, F32]}, "uint16 or all float32, one or more"),
        ({"bands": [F32.astype(np.float64)]}, r"got 1 bands of \['float64'\]"),
        ({"bands": [U16, U16[:2]]}, r"must both be \(time, pixel\)"),
        ({"bands": [F32, F32[:, :3].copy()]}, r"must both be \(time, pixel\)"),
        ({"bands": [U16[0]]}, r"must both be \(time, pixel\)"),
        ({"clear": np.ones((3, 4), np.uint8)}, "a bool mask"),
        ({"clear": np.ones((3, 5), bool)}, r"must both be \(time, pixel\)"),
        ({"years": np.array([0.1, 0.2])}, "a time per date"),
        ({"years": np.array([[0.1, 0.2, 0.3]])}, "a time per date"),
        ({"years": np.array([0.1, 0.2, 1.1])}, "span must hold all times"),
        ({"years": np.array([-0.1, 0.2, 0.3])}, "span must hold all times"),
        ({"years": np.array([0.1, np.nan, 0.3])}, "span must hold all times"),
        ({"span": (1.0, 0.0)}, "span must hold all times"),
        ({"span": (0.3, 0.3), "years": np.full(3, 0.3)}, "span must hold all times"),
        ({"out": np.empty((1, 3, 4))}, r"out must be float32 \(1, 3, 4\) in C order"),
        ({"out": np.empty((1, 5, 4), np.float32)}, r"out must be float32 \(1, 3, 4\) in C order"),
        ({"out": np.empty((1, 4, 3), np.float32).transpose(0, 2, 1)}, "in C order"),
    ],
)
def test_input_that_does_not_belong_together_is_refused(change, message):
    fine = {
        "bands": [U16],
        "clear": np.ones((3, 4), bool),
        "years": np.array([0.1, 0.2, 0.3]),
        "order": 1,
        "span": (0.0, 1.0),
    }
    with pytest.raises(ValueError, match=message):
        fit_harmonic_curves(**{**fine, **change})
