"""Spectra as features: the recipe's bands, the season's granules, tile or dataset alike."""

from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr

from tests.scenes.emit_files import (
    GEOBOX,
    WAVELENGTHS,
    emit_item,
    lookup_table,
    numbered,
    rotated_swath,
    write_mask,
    write_swath,
)
from toolkit.cubes.features import build_features, recipe_season
from toolkit.cubes.recipe import FeatureRecipe, check_same_recipe, emit_recipe
from toolkit.cubes.spectra import spectral_features, tile_spectra
from toolkit.errors import AssetError, BandError, InputError, RecipeMismatchError
from toolkit.scenes.emit import load_emit

RECIPE = emit_recipe(bands=("864.0", "663.6", "2202.3"))
SEASON = recipe_season(RECIPE, year=2023, hemisphere="north")


@pytest.fixture
def items(tmp_path):
    """Granules of May, July and August, the second half cloudy."""
    lon, lat = rotated_swath(70, 80, 30.0)
    table = lookup_table(lon, lat)
    found = []
    for k, month in enumerate((5, 7, 8)):
        when = datetime(2023, month, 10, 10, 0, tzinfo=UTC)
        start = f"2023-{month:02d}-10T10:00:00+0000"
        wavelengths = WAVELENGTHS + 0.09 * k  # as calibrations do
        path = write_swath(
            tmp_path / f"g{k}.nc", numbered(70, 80) + k, *table, start=start, wavelengths=wavelengths
        )
        flags = np.zeros((70, 80, 8))
        flags[35:, :, 0] = k == 1
        mask = write_mask(tmp_path / f"m{k}.nc", flags, start=start)
        found.append(emit_item(f"g{k}", path, mask, when=when, **{"cropglobe:simulated": True}))
    return found


def test_a_tile_gives_what_the_dataset_gives(items):
    features, counts = tile_spectra(items, GEOBOX, RECIPE, SEASON)
    assert features.dims == ("y", "x", "band", "step")
    spectra = load_emit(items[1:], GEOBOX, bands="all")
    whole = spectral_features(spectra, RECIPE)
    xr.testing.assert_identical(build_features(spectra, RECIPE, SEASON), whole)
    assert whole.dims == ("band", "step", "y", "x")
    np.testing.assert_array_equal(features.transpose(*whole.dims), whole)
    np.testing.assert_array_equal(features.step_observations, whole.step_observations)
    assert features.band.values.tolist() == list(RECIPE.bands)
    assert features.attrs == whole.attrs == {"simulated": 1, "units": "1"}
    assert features.odc.geobox == GEOBOX
    assert counts.files == 4  # granules of the season and their masks


def test_granules_outside_the_window_do_not_count(items):
    features, _ = tile_spectra(items, GEOBOX, RECIPE, SEASON)
    assert features.step_observations.max() == 2
    spring = emit_recipe(bands=RECIPE.bands, first_step=100, n_steps=40)
    early, _ = tile_spectra(items, GEOBOX, spring, recipe_season(spring, year=2023, hemisphere="north"))
    np.testing.assert_array_equal(
        early.transpose("band", "step", "y", "x")[:, 0],
        load_emit(items[:1], GEOBOX, bands=[864.0, 663.6, 2202.3]).reflectance,
    )


def test_a_season_without_granules_is_not_observed(items):
    features, counts = tile_spectra(items[:1], GEOBOX, RECIPE, SEASON)
    assert features.isnull().all()
    assert (features.step_observations == 0).all()
    assert counts.files == 0


def test_a_granule_without_a_band_of_the_recipe_is_named(items):
    recipe = emit_recipe(bands=("864.0", "700.0"))
    with pytest.raises(AssetError, match=r"g1 reflectance: .* no bands at 700.0 nm") as error:
        tile_spectra(items, GEOBOX, recipe, SEASON)
    assert error.value.reason == "band_missing"
    with pytest.raises(BandError, match=r"lack 1 of 2 bands of the recipe \(e.g. 700.0 nm\)"):
        spectral_features(load_emit(items, GEOBOX, bands="all"), recipe)


def test_the_recipe_of_spectra_is_the_good_bands_of_a_summer_window():
    recipe = emit_recipe()
    assert recipe.shape == (244, 1)
    season = recipe_season(recipe, year=2023, hemisphere="north")
    assert (str(season.start), str(season.end)) == ("2023-07-01", "2023-08-31")
    south = recipe_season(recipe, year=2023, hemisphere="south")
    assert south.start.isoformat() == "2023-12-30"  # half a year later, in whole days
    assert FeatureRecipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": ("B02",)}, "bands is \\('B02',\\); allowed: centres in nm"),
        ({"fill": "linear"}, "fill is 'linear'; allowed: 'none'"),
        ({"dilation_m": 60.0}, "dilation_m is 60.0; allowed: 0"),
        ({"sensor": "sentinel-2"}, "sensor is 'sentinel-2'; allowed: 'emit' with kind 'emit'"),
        ({"kind": "median2d"}, "kind is 'median2d'; allowed: 'emit' with sensor 'emit'"),
        ({"statistic": "mean"}, "statistic is 'mean'; allowed: one of"),
    ],
)
def test_recipes_of_spectra_that_cannot_be_served_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        emit_recipe(**change)


def test_a_mismatch_of_many_bands_is_told_in_short():
    with pytest.raises(RecipeMismatchError) as error:
        check_same_recipe(emit_recipe(bands=("864.0", "663.6")), emit_recipe())
    assert "bands: asked ['864.0', '663.6'], trained 244 bands, 381.0 to 2492.9" in str(error.value)
    assert len(str(error.value)) < 400
