"""Sentinel-2 bands of spectra: flat stays flat, and real spectra give the NDVI of their source."""

import numpy as np
import pytest
import xarray as xr

from toolkit.errors import BandError
from toolkit.kernels.glt import NO_LIGHT
from toolkit.scenes.emit_bands import (
    FWHM_NM,
    GOOD_BANDS,
    WAVELENGTHS_NM,
    band_centre,
    band_name,
    in_usable_range,
    nearest_bands,
)
from toolkit.scenes.sensors import SENTINEL2_BANDS
from toolkit.scenes.spectral_response import RESPONSES_NM, as_sentinel2, response_weights

GOOD = np.asarray(WAVELENGTHS_NM)[in_usable_range(WAVELENGTHS_NM)]


def cube(values, wavelengths=GOOD):
    return xr.DataArray(
        np.asarray(values, np.float32), dims=("wavelength", "y", "x"), coords={"wavelength": wavelengths}
    )


def test_a_flat_spectrum_is_flat_and_a_slope_is_its_value_at_the_centre():
    flat = as_sentinel2(cube(np.full((len(GOOD), 2, 3), 0.25)))
    np.testing.assert_allclose(flat, 0.25, rtol=1e-6)
    assert flat.dims == ("band", "y", "x")
    assert flat.band.values.tolist() == list(SENTINEL2_BANDS)
    slope = as_sentinel2(cube((GOOD / 10_000)[:, None, None]))
    centres = [RESPONSES_NM[band][0] / 10_000 for band in SENTINEL2_BANDS]
    np.testing.assert_allclose(slope[:, 0, 0], centres, rtol=0.002)


def test_weights_are_shares_within_the_band():
    weights = response_weights(GOOD)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    for row, (centre, width) in zip(weights, RESPONSES_NM.values(), strict=True):
        assert np.abs(GOOD[row > 0] - centre).max() <= 1.3 * width
        assert np.abs((row * GOOD).sum() - centre) < 4  # half the spacing of EMIT's bands


def test_a_gap_matters_only_where_it_counts():
    values = np.full((len(GOOD), 1, 1), 0.3)
    values[np.abs(GOOD - 1613.7).argmin()] = np.nan
    made = as_sentinel2(cube(values))
    assert np.isnan(made.sel(band="B11")).all()
    assert np.isfinite(made.drop_sel(band="B11")).all()


def test_bands_without_any_light_are_named():
    with pytest.raises(BandError, match=r"No EMIT band lies within 175 nm of 2202.4 nm, so that B12"):
        as_sentinel2(cube(np.ones((5, 1, 1)), GOOD[:5]), ["B12"])
    with pytest.raises(BandError, match="B99"):
        as_sentinel2(cube(np.ones((len(GOOD), 1, 1))), ["B99"])


def test_bands_have_names_and_are_found_within_a_nanometre():
    assert len(GOOD_BANDS) == 244
    assert len(FWHM_NM) == len(WAVELENGTHS_NM) == 285
    centres = [band_centre(name) for name in GOOD_BANDS]
    np.testing.assert_allclose(centres, GOOD, atol=0.051)
    assert band_centre("B02") is None
    assert band_name(381.006) == "381.0"
    shifted = np.asarray(WAVELENGTHS_NM) + 0.09
    np.testing.assert_array_equal(nearest_bands(shifted, WAVELENGTHS_NM), np.arange(285))
    assert nearest_bands(GOOD, [900.0, 1380.0]).tolist() == [-1, -1]
    assert nearest_bands([], [900.0]).tolist() == [-1]


@pytest.fixture(scope="module")
def real(shared_data):
    """Reflectance (band, line, sample) of 10 x 10 real pixels, and the table of their bands."""
    folder = shared_data / "emit"
    table = np.genfromtxt(folder / "emit_285_bands.csv", delimiter=",", names=True)
    raw = np.fromfile(folder / "emit20250324t221005_jpl_unmix_ex", np.float32)
    return raw.reshape(10, 285, 10).transpose(1, 0, 2), table


def test_our_table_of_bands_is_that_of_a_real_file(real):
    _, table = real
    np.testing.assert_allclose(WAVELENGTHS_NM, table["wavelength_nm"], atol=0.0051)
    np.testing.assert_allclose(FWHM_NM, table["fwhm_nm"], atol=0.0006)
    np.testing.assert_array_equal(in_usable_range(WAVELENGTHS_NM), table["good"] == 1)


def test_real_bad_bands_hold_the_value_that_we_take_for_no_light(real):
    values, table = real
    np.testing.assert_array_equal((values == NO_LIGHT).all(axis=(1, 2)), table["good"] == 0)
    assert not (values[table["good"] == 1] == NO_LIGHT).any()


def test_real_spectra_give_the_ndvi_of_their_source(real):
    values, table = real
    made = as_sentinel2(cube(values[table["good"] == 1], table["wavelength_nm"][table["good"] == 1]))
    red, nir = made.sel(band="B04"), made.sel(band="B8A")
    ndvi = (nir - red) / (nir + red)
    assert round(float(ndvi.min()), 2) >= 0.04
    assert round(float(ndvi.max()), 2) <= 0.62
