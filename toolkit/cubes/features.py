"""Features: what a model sees of each pixel, made from scenes by a recipe."""

from __future__ import annotations

import xarray as xr

from toolkit.area.season import Hemisphere, Season
from toolkit.cubes.composite import median_cube
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import BandError, RecipeMismatchError


def recipe_season(recipe: FeatureRecipe, *, year: int, hemisphere: Hemisphere) -> Season:
    """Return a recipe's season in a year and hemisphere."""
    return Season(
        year=year,
        hemisphere=hemisphere,
        first_step=recipe.first_step,
        n_steps=recipe.n_steps,
        step_days=recipe.step_days,
    )


def build_features(scenes: xr.Dataset, recipe: FeatureRecipe, season: Season) -> xr.DataArray:
    """Return the features of each pixel.

    Args:
        scenes: dims ``(time, y, x)``, uint16 bands and ``clear``; lazy or not.
        recipe: how features are made; its clear-sky preset has been applied by ``load_scenes``.
        season: the recipe's season in one year (:func:`recipe_season`).

    Returns:
        float32 ``(band, step, y, x)`` for ``median2d``, ``(feature, y, x)`` for ``median1d`` with feature =
        band-major ``band_step``; NaN = not observed. Lazy if ``scenes`` is.

    Raises:
        RecipeMismatchError: the season is not the recipe's.
        BandError: the scenes lack a band of the recipe.
    """
    asked = (season.first_step, season.n_steps, season.step_days)
    trained = (recipe.first_step, recipe.n_steps, recipe.step_days)
    if asked != trained:
        msg = (
            f"The season has (first_step, n_steps, step_days) {asked}, the recipe {trained}. "
            "Make it with recipe_season(recipe, year=..., hemisphere=...)."
        )
        raise RecipeMismatchError(msg)
    if missing := [band for band in recipe.bands if band not in scenes]:
        msg = f"The scenes lack {missing} of the recipe; they hold {sorted(map(str, scenes.data_vars))}."
        raise BandError(msg)
    cube = median_cube(scenes[[*recipe.bands, "clear"]], season, fill=recipe.fill)
    if recipe.kind == "median2d":
        return cube
    vector = cube.drop_vars("step_observations").stack(feature=("band", "step"), create_index=False)
    names = [f"{band}_{step:02d}" for band in recipe.bands for step in range(recipe.n_steps)]
    vector = vector.drop_vars(["band", "step"], errors="ignore").assign_coords(feature=names)
    return vector.transpose("feature", "y", "x")
