"""Features of a tile, read band by band: the same bits as those of whole scenes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from toolkit.cubes.features import build_features, recipe_season
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.cubes.tile import tile_features
from toolkit.errors import RecipeMismatchError
from toolkit.learn.pixels import check_features, observed, take_pixels
from toolkit.scenes.sentinel2 import load_scenes
from toolkit.scenes.tile import open_tile

BANDS = ("B08", "B11")
FIRST = datetime(2021, 4, 20, 10, 50, tzinfo=UTC)


@pytest.fixture
def items(scene):
    rng = np.random.default_rng(0)
    return [
        scene(
            f"d{k:02d}",
            FIRST + timedelta(days=9 * k),
            value=rng.integers(1, 9000, (32, 32)),
            scl=np.full((32, 32), 9) if k % 5 == 4 else rng.choice([4, 9], (32, 32)),
            block=16,
        )
        for k in range(26)
    ]


@pytest.mark.parametrize("options", [
    {}, {"fill": "none"}, {"kind": "median1d"}, {"kind": "harmonic", "order": 1},
    {"first_step": 0, "n_steps": 73, "fill": "periodic"}, {"step_days": 30, "first_step": 2, "n_steps": 8},
])  # fmt: skip
def test_features_equal_those_of_whole_scenes_bit_for_bit(items, geobox, options):
    recipe = FeatureRecipe(bands=BANDS, **options)
    season = recipe_season(recipe, year=2021, hemisphere="north")
    found = tile_features(open_tile(items, geobox, bands=BANDS), recipe, season)
    expected = build_features(load_scenes(items, geobox, bands=BANDS), recipe, season)
    np.testing.assert_array_equal(found.transpose(*expected.dims), expected)
    assert not expected.isnull().all()
    assert found.odc.geobox == geobox
    if recipe.kind == "median2d":
        np.testing.assert_array_equal(found.step_observations, expected.step_observations)


def test_cutting_into_tiles_changes_nothing(items, geobox):
    recipe = FeatureRecipe(bands=BANDS)
    season = recipe_season(recipe, year=2021, hemisphere="north")
    whole = tile_features(open_tile(items, geobox, bands=BANDS), recipe, season)
    part = tile_features(open_tile(items, geobox[5:21, 7:32], bands=BANDS), recipe, season)
    np.testing.assert_array_equal(part, whole[5:21, 7:32])


def test_layout_is_what_models_take_without_a_copy(items, geobox):
    recipe = FeatureRecipe(bands=BANDS)
    season = recipe_season(recipe, year=2021, hemisphere="north")
    features = tile_features(open_tile(items, geobox, bands=BANDS), recipe, season)
    assert features.dims == ("y", "x", "band", "step")
    checked = check_features(features, recipe)
    assert np.shares_memory(checked.data, features.data)
    rows = take_pixels(checked.to_numpy(), np.array([0, 33, 1023]))
    np.testing.assert_array_equal(rows, features.to_numpy().reshape(1024, 2, 43)[[0, 33, 1023]])
    assert observed(checked.to_numpy()).shape == (32, 32)


@pytest.mark.parametrize("kind", ["median2d", "harmonic"])
def test_a_tile_under_clouds_all_season_is_all_nan(scene, geobox, kind):
    recipe = FeatureRecipe(bands=BANDS, kind=kind)
    season = recipe_season(recipe, year=2021, hemisphere="north")
    tile = open_tile([scene("a", FIRST + timedelta(days=60), scl=9)], geobox, bands=BANDS)
    assert tile_features(tile, recipe, season).isnull().all()


def test_another_season_is_refused(items, geobox):
    recipe = FeatureRecipe(bands=BANDS)
    season = recipe_season(FeatureRecipe(n_steps=30), year=2021, hemisphere="north")
    with pytest.raises(RecipeMismatchError, match="The season has"):
        tile_features(open_tile(items, geobox, bands=BANDS), recipe, season)
