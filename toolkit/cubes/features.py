"""Features: what a model sees of each pixel, made from scenes by a recipe."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from toolkit.area.season import Hemisphere, Season
from toolkit.cubes.composite import median_cube
from toolkit.cubes.harmonics import coefficient_names, fit_harmonics
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.cubes.spectra import spectral_features
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
        scenes: dims ``(time, y, x)``, uint16 bands and ``clear``; lazy or not. For ``emit`` the spectra of
            :func:`toolkit.scenes.emit.load_emit`, loaded from the granules of the season.
        recipe: how features are made; its clear-sky preset has been applied by ``load_scenes``.
        season: the recipe's season in one year (:func:`recipe_season`).

    Returns:
        float32 ``(band, step, y, x)`` for ``median2d`` and ``emit`` (one step), ``(feature, y, x)`` for the
        others, with features named ``band_step`` (``median1d``) or ``band_coefficient`` (``harmonic``), band
        after band; NaN = not observed. Lazy if ``scenes`` is.

    Raises:
        RecipeMismatchError: the season is not the recipe's.
        BandError: the scenes lack a band of the recipe.
    """
    check_season(recipe, season)
    if recipe.kind == "emit":
        return spectral_features(scenes, recipe)
    if missing := [band for band in recipe.bands if band not in scenes]:
        msg = f"The scenes lack {missing} of the recipe; they hold {sorted(map(str, scenes.data_vars))}."
        raise BandError(msg)
    scenes = scenes[[*recipe.bands, "clear"]]
    if recipe.kind == "harmonic":
        return as_vector(fit_harmonics(scenes, season, order=recipe.order), coefficient_names(recipe.order))
    cube = median_cube(scenes, season, fill=recipe.fill)
    if recipe.kind == "median2d":
        return cube
    return as_vector(cube, [f"{step:02d}" for step in range(recipe.n_steps)])


def check_season(recipe: FeatureRecipe, season: Season) -> None:
    """Raise RecipeMismatchError unless a season is the recipe's in some year."""
    asked = (season.first_step, season.n_steps, season.step_days)
    trained = (recipe.first_step, recipe.n_steps, recipe.step_days)
    if asked != trained:
        msg = (
            f"The season has (first_step, n_steps, step_days) {asked}, the recipe {trained}. "
            "Make it with recipe_season(recipe, year=..., hemisphere=...)."
        )
        raise RecipeMismatchError(msg)


def as_vector(cube: xr.DataArray, names: Sequence[str]) -> xr.DataArray:
    """Return a cube ``(band, name, y, x)`` as ``(feature, y, x)``, features named ``band_name``."""
    second = str(cube.dims[1])
    labels = [f"{band}_{name}" for band in cube.band.to_numpy() for name in names]
    plain = cube.drop_vars([name for name in cube.coords if {"band", second} & set(cube[name].dims)])
    vector = plain.stack(feature=("band", second), create_index=False).assign_coords(feature=labels)
    return vector.transpose("feature", "y", "x")
