"""Recipes: saved, read back, compared."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.cubes.recipe import FeatureRecipe, check_same_recipe
from toolkit.errors import InputError, RecipeMismatchError


@given(
    st.builds(
        FeatureRecipe,
        step_days=st.sampled_from([5, 8]),
        n_steps=st.integers(1, 40),
        clear=st.just("strict"),
        kind=st.sampled_from(["median2d", "median1d"]),
        fill=st.sampled_from(["linear", "none"]),
    )
)
def test_recipe_survives_json(recipe):
    assert FeatureRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_default_is_the_season_of_the_paper():
    assert FeatureRecipe().shape == (10, 43)
    assert FeatureRecipe().full_year().shape == (10, 73)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "mean"}, "kind"),
        ({"bands": ()}, "bands"),
        ({"bands": ("B02", "B02")}, "bands"),
        ({"step_days": 0}, "step_days"),
        ({"n_steps": 99}, "n_steps"),
        ({"dilation_m": -1}, "dilation_m"),
    ],
)
def test_impossible_recipes_are_refused_by_name(change, named):
    with pytest.raises(InputError, match=f"Recipe: {named} is"):
        FeatureRecipe(**change)


def test_unknown_keys_are_refused():
    with pytest.raises(InputError, match=r"unknown keys \['colour'\]"):
        FeatureRecipe.from_dict({"colour": "red"})


def test_mismatch_names_both_values():
    with pytest.raises(RecipeMismatchError, match="n_steps: asked 30, trained 43"):
        check_same_recipe(FeatureRecipe(n_steps=30), FeatureRecipe())
