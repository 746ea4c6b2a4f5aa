"""Features of one tile, its bands read and reduced one after the other.

For whole maps: at no time is more than one band's stack in memory, dates with nothing clear are not
read, and median, gap filling and the layout that models take are one pass over memory.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.xr import xr_coords

from toolkit.area.season import Season, dates_in_windows
from toolkit.cubes.blocks import pixels
from toolkit.cubes.composite import FILL_CODES
from toolkit.cubes.features import as_vector, check_season
from toolkit.cubes.harmonics import coefficient_names, fit_block, season_years
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.kernels.observations import count_clear
from toolkit.kernels.rows import UNKNOWN
from toolkit.kernels.series import filled_series
from toolkit.scenes.sensors import SENSORS
from toolkit.scenes.tile import TileScenes


def tile_features(tile: TileScenes, recipe: FeatureRecipe, season: Season) -> xr.DataArray:
    """Return the features of each pixel of a tile.

    Args:
        tile: scenes of a tile (:func:`toolkit.scenes.tile.open_tile`).
        recipe: how features are made; its clear-sky preset has been applied by ``open_tile``.
        season: the recipe's season in one year.

    Returns:
        The same numbers, bit for bit, as :func:`toolkit.cubes.features.build_features` makes of the same
        scenes: for ``median2d`` ``(y, x, band, step)``, one pixel's series after the other as models take
        them, else ``(feature, y, x)``. Coordinates ``step_observations`` (step, y, x) with ``median2d`` and
        ``solved`` (y, x) with ``harmonic``. All NaN if nothing was clear.

    Raises:
        RecipeMismatchError: the season is not the recipe's.
        RemoteError: a scene cannot be read; names the file.
    """
    check_season(recipe, season)
    tile = _inside(tile, season)
    make = _curves if recipe.kind == "harmonic" else _series
    features = make(tile, recipe, season)
    return features.assign_attrs(simulated=int(tile.simulated), units="1")


def _inside(tile: TileScenes, season: Season) -> TileScenes:
    """Leave out overpasses before and after the season."""
    days = tile.time.astype("datetime64[D]")
    kept = np.flatnonzero((days >= np.datetime64(season.start)) & (days <= np.datetime64(season.end)))
    return replace(
        tile,
        overpasses=tuple(tile.overpasses[k] for k in kept),
        quality=tuple(tile.quality[k] for k in kept),
    )


def _series(tile: TileScenes, recipe: FeatureRecipe, season: Season) -> xr.DataArray:
    """Median series ``(y, x, band, step)``, or the same numbers as vectors."""
    height, width = tile.geobox.shape.yx
    starts, stops = dates_in_windows(season, tile.time)
    clear = pixels(tile.clear)
    series = np.empty((height * width, len(recipe.bands), season.n_steps), np.float32)
    scale, fill = SENSORS[recipe.sensor].scale, FILL_CODES[recipe.fill]
    for k, (_, stack) in enumerate(tile.stacks(recipe.bands)):
        filled_series(pixels(stack), clear, starts, stops, scale=scale, fill=fill, out=series[:, k])
    counts = count_clear(clear, starts, stops).reshape(-1, height, width)
    features = xr.DataArray(
        series.reshape(height, width, len(recipe.bands), season.n_steps),
        dims=("y", "x", "band", "step"),
        coords={
            **xr_coords(tile.geobox),
            "band": list(recipe.bands),
            "step": np.arange(season.n_steps),
            "step_observations": (("step", "y", "x"), counts),
        },
        name="reflectance",
    )
    if recipe.kind == "median2d":
        return features
    names = [f"{step:02d}" for step in range(recipe.n_steps)]
    return as_vector(features.transpose("band", "step", "y", "x"), names)


def _curves(tile: TileScenes, recipe: FeatureRecipe, season: Season) -> xr.DataArray:
    """Harmonic coefficients ``(feature, y, x)``, each band fitted by itself: the mask says all they share."""
    clear, when, scale = tile.clear, season_years(tile.time, season), SENSORS[recipe.sensor].scale
    fits = [
        fit_block([stack], clear, **when, order=recipe.order, scale=scale)
        for _, stack in tile.stacks(recipe.bands)
    ]
    curves: npt.NDArray[np.float32] = np.concatenate([fit[:, :-1] for fit in fits])
    states = np.array([fit[0, -1] for fit in fits])
    solved = np.where(states.min(axis=0) == UNKNOWN, UNKNOWN, states.max(axis=0)).astype(np.uint8)
    names = coefficient_names(recipe.order)
    cube = xr.DataArray(
        curves,
        dims=("band", "coefficient", "y", "x"),
        coords={
            **xr_coords(tile.geobox),
            "band": list(recipe.bands),
            "coefficient": names,
            "solved": (("y", "x"), solved),
        },
        name="coefficients",
    )
    return as_vector(cube, names)
