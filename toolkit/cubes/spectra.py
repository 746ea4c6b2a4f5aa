"""Spectral features: one EMIT spectrum per pixel, in the bands and the season of a recipe."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pystac
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from toolkit.area.season import Season
from toolkit.catalog.items import is_simulated
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import BandError
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.emit import combine
from toolkit.scenes.emit_bands import band_centre, nearest_bands
from toolkit.scenes.emit_granule import emit_granule


def spectral_features(scenes: xr.Dataset, recipe: FeatureRecipe) -> xr.DataArray:
    """Return the features of each pixel of spectra already loaded.

    Args:
        scenes: result of :func:`toolkit.scenes.emit.load_emit`.
        recipe: of kind ``emit``.

    Returns:
        float32 ``(band, step, y, x)`` with one step, bands named as in the recipe; NaN = not observed.

    Raises:
        BandError: the spectra lack a band of the recipe.
    """
    found = nearest_bands(scenes["wavelength"].to_numpy(), centres(recipe))
    if (found < 0).any():
        missing = [name for name, k in zip(recipe.bands, found, strict=True) if k < 0]
        msg = (
            f"The spectra lack {len(missing)} of {len(recipe.bands)} bands of the recipe (e.g. "
            f"{missing[0]} nm). Load them with bands='all', or use a model of these bands."
        )
        raise BandError(msg)
    values = scenes["reflectance"].isel(wavelength=found).to_numpy()[:, None]
    place = {name: scenes.coords[name] for name in ("y", "x", "spatial_ref") if name in scenes.coords}
    return xr.DataArray(
        values,
        dims=("band", "step", "y", "x"),
        coords={
            **place,
            "band": list(recipe.bands),
            "step": [0],
            "step_observations": (("step", "y", "x"), scenes["observations"].to_numpy()[None]),
        },
        name="reflectance",
        attrs={"simulated": scenes.attrs.get("simulated", 0), "units": "1"},
    )


def tile_spectra(
    items: Iterable[pystac.Item], geobox: GeoBox, recipe: FeatureRecipe, season: Season
) -> tuple[xr.DataArray, ReadCounts]:
    """Read the spectra of a tile, as models take them.

    Args:
        items: normalised items of EMIT.
        geobox: grid of the tile.
        recipe: of kind ``emit``.
        season: the recipe's season in one year; granules before and after it are left out.

    Returns:
        float32 ``(y, x, band, step)`` with one step, NaN = not observed, and coordinate
        ``step_observations`` (step, y, x); and what was read. The numbers are those of
        :func:`spectral_features`.

    Raises:
        AssetError: a granule cannot be read; names item and file.
    """
    inside = [
        item
        for item in items
        if item.datetime is not None and season.start <= item.datetime.date() <= season.end
    ]
    shape, bands = geobox.shape.yx, len(recipe.bands)
    found = combine(
        sorted(map(emit_granule, inside), key=lambda granule: (str(granule.when), granule.name)),
        geobox,
        centres(recipe),
        clear=recipe.clear,
        statistic=recipe.statistic,
    )
    values = np.full((*shape, bands, 1), np.nan, np.float32) if found is None else found.values
    seen = np.zeros(shape, np.uint8) if found is None else found.observations
    features = xr.DataArray(
        values.reshape(*shape, bands, 1),
        dims=("y", "x", "band", "step"),
        coords={
            **xr_coords(geobox),
            "band": list(recipe.bands),
            "step": [0],
            "step_observations": (("step", "y", "x"), seen.reshape(1, *shape)),
        },
        name="reflectance",
        attrs={"simulated": int(any(map(is_simulated, inside))), "units": "1"},
    )
    return features, ReadCounts() if found is None else found.counts


def centres(recipe: FeatureRecipe) -> npt.NDArray[np.float64]:
    """Return the centres of a recipe's bands, nm."""
    return np.array([band_centre(name) for name in recipe.bands], np.float64)
