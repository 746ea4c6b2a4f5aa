"""Harmonic cubes: known curves come back, whatever the hemisphere, the chunks, the order of dates."""

from datetime import date, timedelta

import dask
import numpy as np
import pytest
import xarray as xr

from tests.cubes.test_composite import random_stack, stack
from toolkit.area.season import calendar_months, season
from toolkit.cubes.harmonics import (
    amplitude_and_phase,
    coefficient_names,
    fit_harmonics,
    harmonic_curve,
    harmonic_residual,
)
from toolkit.errors import BandError, InputError, NoItemsError

YEAR = season(2021, hemisphere="north", first_step=0, n_steps=73)
SEASON = season(2021, hemisphere="north")
DAYS = [date(2021, 1, 1) + timedelta(days=5 * k) for k in range(73)]


def wave(days, *, constant=3000.0, amplitude=2000.0, peak_day=200, start=date(2021, 1, 1)):
    """Digital numbers of a yearly wave that peaks on a day of the year."""
    t = np.array([(day - start).days for day in days]) / 365
    return constant + amplitude * np.cos(2 * np.pi * (t - peak_day / 365))


def scenes_of(days, numbers, **options):
    return stack(days, np.round(np.asarray(numbers))[:, None, None], **options)


def test_a_yearly_wave_comes_back_with_its_amplitude_and_peak():
    curves = fit_harmonics(scenes_of(DAYS, wave(DAYS)), YEAR, order=1)
    parts = amplitude_and_phase(curves)
    assert curves.sel(coefficient="constant").item() == pytest.approx(0.3, abs=1e-5)
    assert parts.amplitude.item() == pytest.approx(0.2, abs=2e-5)
    peak_day = parts.phase.item() / (2 * np.pi) * 365 % 365
    assert peak_day == pytest.approx(200, abs=0.02)
    assert curves.solved.item() == 1


def test_north_and_south_have_the_same_coefficients_for_the_same_phenology():
    south = season(2021, hemisphere="south", first_step=0, n_steps=73)
    start = south.year_start
    days = [start + timedelta(days=5 * k) for k in range(73)]
    north = fit_harmonics(scenes_of(DAYS, wave(DAYS)), YEAR)
    other = fit_harmonics(scenes_of(days, wave(days, start=start)), south)
    np.testing.assert_allclose(other, north, atol=1e-6)


def test_coefficients_equal_least_squares_of_numpy_in_a_season():
    scenes = random_stack(5)
    curves = fit_harmonics(scenes, SEASON, order=2)
    days = scenes.time.values.astype("datetime64[D]")
    inside = (days >= np.datetime64(SEASON.start)) & (days <= np.datetime64(SEASON.end))
    t = (days - np.datetime64("2021-01-01")).astype(float) / 365
    waves = [f(2 * np.pi * k * t) for k in (1, 2) for f in (np.cos, np.sin)]
    basis = np.stack([np.ones_like(t), *waves], axis=1)
    for band in ("B02", "B08"):
        for y in range(7):
            for x in range(9):
                use = inside & scenes.clear.values[:, y, x] & (scenes[band].values[:, y, x] > 0)
                found = curves.sel(band=band).values[:, y, x]
                if use.sum() < 5:
                    assert np.isnan(found).all()
                    continue
                expected = np.linalg.lstsq(basis[use], scenes[band].values[use, y, x] * 1e-4, rcond=None)[0]
                np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max() + 1e-5)


def test_curve_and_residual_of_an_exact_wave():
    scenes = scenes_of(DAYS, wave(DAYS))
    curves = fit_harmonics(scenes, YEAR, order=2)
    fitted = harmonic_curve(curves, [date(2021, 7, 20), date(2022, 1, 18)])  # peak, and half a year later
    np.testing.assert_allclose(fitted.values.ravel(), [0.5, 0.1], atol=1e-4)
    assert fitted.dims == ("band", "time", "y", "x")
    assert harmonic_residual(scenes, curves, YEAR).item() < 4e-5  # rounding to digital numbers


def test_residual_is_the_scatter_around_the_curve():
    rng = np.random.default_rng(0)
    noisy = stack(DAYS, np.round(wave(DAYS)[:, None, None] + rng.normal(0, 100, (73, 20, 20))))
    residual = harmonic_residual(noisy, fit_harmonics(noisy, YEAR, order=1), YEAR)
    assert float(residual.mean()) == pytest.approx(0.01 * np.sqrt(70 / 73), rel=0.02)


@pytest.mark.parametrize("chunks", [{"time": 1, "y": 3, "x": 4}, {"time": 40, "y": 7, "x": 9}, {"y": 2}])
def test_lazy_fit_equals_eager_bit_for_bit_whatever_the_chunks(chunks):
    scenes = random_stack(3)
    eager = fit_harmonics(scenes, SEASON)

    def refuse(*_, **__):
        pytest.fail("something was computed")

    with dask.config.set(scheduler=refuse):
        lazy = fit_harmonics(scenes.chunk(chunks), SEASON)
    np.testing.assert_array_equal(lazy.compute(), eager)
    np.testing.assert_array_equal(lazy.solved.compute(), eager.solved)


def test_order_of_dates_changes_nothing():
    scenes = stack(DAYS, np.random.default_rng(1).integers(1, 5000, (73, 3, 3)))
    shuffled = scenes.isel(time=np.random.default_rng(2).permutation(73))
    np.testing.assert_array_equal(fit_harmonics(shuffled, SEASON), fit_harmonics(scenes, SEASON))


def test_a_date_that_is_nowhere_clear_changes_nothing():
    scenes = stack(DAYS, np.random.default_rng(1).integers(1, 5000, (73, 3, 3)))
    cloudy = scenes.isel(time=[30]).assign(clear=xr.zeros_like(scenes.clear.isel(time=[30])))
    more = xr.concat([scenes, cloudy.assign_coords(time=cloudy.time + np.timedelta64(1, "D"))], dim="time")
    more.attrs = scenes.attrs
    np.testing.assert_array_equal(fit_harmonics(more, SEASON), fit_harmonics(scenes, SEASON))


def test_fewer_observations_than_coefficients_give_no_curve_and_singular_ones_say_so():
    few = stack(DAYS[30:34], np.full((4, 1, 1), 1000))
    curves = fit_harmonics(few, SEASON, order=2)
    assert curves.isnull().all()
    assert curves.solved.item() == 0
    same = stack(DAYS[30:32] * 4, np.full((8, 1, 1), 1000))  # eight observations on two dates
    curves = fit_harmonics(same, SEASON, order=2)
    assert curves.solved.item() == 2
    on_dates = harmonic_curve(curves, DAYS[30:32])
    np.testing.assert_allclose(on_dates.values.ravel(), 0.1, atol=1e-4)


def test_months_serve_as_season_too():
    curves = fit_harmonics(scenes_of(DAYS, wave(DAYS)), calendar_months(2021), order=1)
    assert curves.coefficient.values.tolist() == coefficient_names(1) == ["constant", "cos1", "sin1"]
    assert curves.sel(coefficient="constant").item() == pytest.approx(0.3, abs=1e-5)


@pytest.mark.parametrize(
    ("scenes", "options", "error", "message"),
    [
        (stack([date(2021, 6, 1)], [[[1]]]), {"order": 7}, InputError, "order is 7; allowed: whole numbers"),
        (stack([date(2021, 6, 1)], [[[1]]]), {"order": -1}, InputError, "order is -1"),
        (stack([date(2019, 6, 1)], [[[1]]]), {}, NoItemsError, "No scene lies in the season"),
        (stack([date(2021, 6, 1)], [[[1]]])[["B02"]], {}, BandError, "need bands and 'clear'"),
    ],
)
def test_bad_requests_are_named(scenes, options, error, message):
    with pytest.raises(error, match=message):
        fit_harmonics(scenes, SEASON, **options)
