"""Spectra of EMIT: they agree with the ten-band tables, and look like plants, soil and water."""

from datetime import date

import numpy as np
import pytest

from toolkit.scenes.emit_bands import WAVELENGTHS_NM
from toolkit.simulate import spectra
from toolkit.simulate.emit_spectra import TABLE, emit_endmembers, mix_spectra
from toolkit.simulate.growth import fractions, grow
from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.phenology import crop_day
from toolkit.simulate.stac_items import ASSETS

NM = np.array(WAVELENGTHS_NM)
RANGES_NM = [(1000 * (c - w / 2), 1000 * (c + w / 2)) for _, _, c, w in ASSETS.values()]
SURFACES = ("green", "senescent")


def in_sentinel2_bands(spectrum):
    """Means over the widths of the ten bands, of values interpolated to 1 nm."""
    fine = np.arange(400, 2401)
    values = np.interp(fine, NM, spectrum)
    return np.array([values[(fine >= low) & (fine <= high)].mean() for low, high in RANGES_NM])


def at(spectrum, nm):
    return np.interp(nm, NM, spectrum)


def test_the_table_has_one_row_per_band_in_their_order():
    rows = np.genfromtxt(TABLE, delimiter=",", names=True)
    np.testing.assert_allclose(rows["wavelength_nm"], NM)


@pytest.mark.parametrize("kind", SURFACES)
def test_plants_agree_with_the_ten_band_tables(kind):
    full, ten = getattr(emit_endmembers(), kind), getattr(spectra.SENTINEL2, kind)
    assert full.keys() == ten.keys()
    for name, spectrum in full.items():
        np.testing.assert_allclose(in_sentinel2_bands(spectrum), ten[name], rtol=0.03, atol=0.001)


@pytest.mark.parametrize("name", ["dry_soil", "wet_soil", "water"])
def test_soil_and_water_agree_with_the_ten_band_tables(name):
    full = in_sentinel2_bands(getattr(emit_endmembers(), name))
    np.testing.assert_allclose(full, getattr(spectra.SENTINEL2, name), rtol=0.05, atol=0.0005)


@pytest.mark.parametrize("name", ["chlorophyll", "leaf_water", "leaf_angle"])
def test_elasticities_agree_with_the_ten_band_tables(name):
    # A wide band answers to the trait where it is bright: within 0.08 of the mean over its wavelengths.
    full = in_sentinel2_bands(getattr(emit_endmembers(), name))
    np.testing.assert_allclose(full, getattr(spectra.SENTINEL2, name), atol=0.08)


def test_canopies_show_the_red_edge_and_the_absorption_of_leaf_water():
    for spectrum in emit_endmembers().green.values():
        assert at(spectrum, 800) > 10 * at(spectrum, 670)
        assert at(spectrum, 550) > at(spectrum, 480)
        assert at(spectrum, 970) < at(spectrum, 890)
        assert at(spectrum, 1200) < at(spectrum, 1090)
        assert at(spectrum, 1450) < 0.5 * at(spectrum, 1650)
        assert at(spectrum, 1940) < at(spectrum, 2200)


def test_spectra_are_held_below_400_nm_and_lie_between_0_and_1():
    pure = emit_endmembers()
    for spectrum in (
        *pure.green.values(),
        *pure.senescent.values(),
        pure.dry_soil,
        pure.wet_soil,
        pure.water,
    ):
        assert len(spectrum) == 285
        assert 0 <= min(spectrum) <= max(spectrum) < 0.7
        assert spectrum[0] == spectrum[1]


@pytest.mark.parametrize("day", [date(2023, 5, 6), date(2023, 7, 15), date(2023, 9, 30)])
def test_mixed_pixels_agree_with_those_of_sentinel2(day):
    landscape = make_landscape(4, shape=(48, 48))
    growth = grow(landscape, year=2023)
    parts = fractions(growth, crop_day(day, "north"))
    wetness = np.full(landscape.field.shape, 0.3)
    full = mix_spectra(parts, growth, wetness)
    assert full.shape == (285, 48, 48)
    assert full.dtype == np.float32
    ten = spectra.mix(parts, growth, wetness)
    pixels = full.reshape(285, -1)[:, ::37]
    seen = np.array([in_sentinel2_bands(pixel) for pixel in pixels.T]).T
    np.testing.assert_allclose(seen, ten.reshape(10, -1)[:, ::37], rtol=0.05, atol=0.002)
