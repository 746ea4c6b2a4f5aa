"""Features by recipe: 2D and 1D hold the same values."""

import numpy as np
import pytest

from tests.cubes.test_composite import random_stack
from toolkit.cubes.features import build_features, recipe_season
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import BandError, RecipeMismatchError

RECIPE = FeatureRecipe(bands=("B08", "B02"))
SEASON = recipe_season(RECIPE, year=2021, hemisphere="north")


def test_bands_come_in_the_order_of_the_recipe():
    features = build_features(random_stack(0), RECIPE, SEASON)
    assert features.band.values.tolist() == ["B08", "B02"]
    assert features.shape == (2, 43, 7, 9)
    assert features.dtype == np.float32


@pytest.mark.parametrize("chunks", [None, {"y": 3}])
def test_1d_features_are_the_2d_ones_as_a_named_vector(chunks):
    scenes = random_stack(0) if chunks is None else random_stack(0).chunk(chunks)
    flat = build_features(scenes, FeatureRecipe(bands=("B08", "B02"), kind="median1d"), SEASON)
    square = build_features(random_stack(0), RECIPE, SEASON)
    assert flat.feature.values[[0, 42, 43]].tolist() == ["B08_00", "B08_42", "B02_00"]
    np.testing.assert_array_equal(flat, square.values.reshape(86, 7, 9))


def test_season_of_another_length_is_refused():
    with pytest.raises(RecipeMismatchError, match="The season has"):
        build_features(random_stack(0), FeatureRecipe(n_steps=30), SEASON)


def test_missing_band_is_named():
    with pytest.raises(BandError, match=r"lack \['B11'\]"):
        build_features(random_stack(0), FeatureRecipe(bands=("B11",)), SEASON)
