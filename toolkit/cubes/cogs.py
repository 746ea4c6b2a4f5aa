"""Feature cubes as cloud-optimised GeoTIFFs, one per band, copied from a store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
import zarr
from affine import Affine
from rasterio.windows import Window

from toolkit.cog_copy import move_to_cog
from toolkit.cubes.layout import KIND_ATTRIBUTE, variable_name
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.storage import replacing, write_text

CARD, CARD_TEXT = "cube.json", f'"{KIND_ATTRIBUTE}"'
"""File beside the GeoTIFFs, and text in it, by which a folder is known as a cube; says what they mean."""
BLOCK = 128
"""Edge of an internal block in pixels. A block holds all TIFF bands: 43 steps of uint16 are 1.4 MB, where
the usual 512 pixels would be 23 MB to decode for one pixel's series."""
CARD_KEYS = (KIND_ATTRIBUTE, "recipe", "season", "attribution", "simulated", "versions")


@dataclass(frozen=True, slots=True, kw_only=True)
class CogLayer:
    """One GeoTIFF of a cube."""

    name: str
    """File name without suffix: a band, or a layer beside the bands."""
    array: str
    """Array of the store."""
    lead: slice | int | None
    """Place along the array's first dimension; None for an array ``(y, x)``."""
    titles: tuple[str, ...]
    """Description of each TIFF band."""


def cog_layers(store: Path) -> tuple[CogLayer, ...]:
    """Return the GeoTIFFs that hold a store: one per band, then the layers of bytes.

    Args:
        store: finished Zarr store of a cube.
    """
    with xr.open_dataset(store, engine="zarr", chunks=None) as cube:
        recipe = FeatureRecipe.from_dict(json.loads(cube.attrs["recipe"]))
        features = variable_name(recipe)
        flat = "feature" in cube.dims
        count = cube.sizes["feature"] // len(recipe.bands) if flat else 1
        layers = []
        for k, band in enumerate(recipe.bands):
            part = slice(k * count, (k + 1) * count)
            titles = _titles(cube.isel(feature=part) if flat else cube)
            layers.append(CogLayer(name=band, array=features, lead=part if flat else k, titles=titles))
        for name in sorted(map(str, set(cube.data_vars) - {features})):
            stacked = cube[name].ndim == 3
            titles = _titles(cube) if stacked else (name,)
            layers.append(
                CogLayer(name=name, array=name, lead=slice(None) if stacked else None, titles=titles)
            )
    return tuple(layers)


def write_cog(layer: CogLayer, store: Path, folder: Path) -> Path:
    """Write one GeoTIFF of a cube, one chunk in memory at a time; the same store gives the same bytes.

    Args:
        layer: which, from :func:`cog_layers`.
        store: finished Zarr store of the cube.
        folder: existing folder.

    Returns:
        The file: uint16 with TIFF scale and nodata 0, float32 with nodata NaN, or uint8.

    Raises:
        StorageError: the file cannot be written.
    """
    about = dict(zarr.open_group(store, mode="r").attrs)
    array = zarr.open_array(store / layer.array, mode="r")
    path = folder / f"{layer.name}.tif"
    with replacing(path) as temporary:
        plain = temporary.with_suffix(".plain.tif")
        with rasterio.open(plain, "w", **_profile(array, about, len(layer.titles))) as file:
            for window, values in _chunks(array, layer.lead):
                file.write(values, window=window)
            file.descriptions = layer.titles
            if (scale := array.attrs.get("scale_factor")) is not None:
                file.scales = (float(str(scale)),) * len(layer.titles)
            file.update_tags(**_tags(array, about))
        # Means of reflectance and of coefficients are what a coarser pixel would have; counts and flags are
        # not averaged.
        overviews = "NEAREST" if array.dtype == np.uint8 else "AVERAGE"
        move_to_cog(plain, temporary, blocksize=BLOCK, overviews=overviews, predictor="YES")
    return path


def write_card(store: Path, folder: Path) -> Path:
    """Write what the GeoTIFFs of a folder mean, as ``cube.json``.

    Raises:
        StorageError: the file cannot be written.
    """
    about = dict(zarr.open_group(store, mode="r").attrs)
    kept = {key: about[key] for key in CARD_KEYS if key in about}
    plain = {key: _parsed(value) for key, value in kept.items()}
    return write_text(json.dumps(plain, indent=2, sort_keys=True) + "\n", folder / CARD)


def _titles(cube: xr.Dataset) -> tuple[str, ...]:
    """Days of each step, or names of the coefficients."""
    if "step_start" not in cube.coords:
        return tuple(map(str, cube.feature.to_numpy()))
    days = (cube[name].to_numpy().astype("datetime64[D]") for name in ("step_start", "step_end"))
    return tuple(f"{first} to {last}" for first, last in zip(*days, strict=True))


def _chunks(
    array: zarr.Array[Any], lead: slice | int | None
) -> Iterator[tuple[Window, npt.NDArray[np.generic]]]:
    """Yield each spatial chunk as its window and values ``(tiff band, y, x)``."""
    (height, width), (rows, columns) = array.shape[-2:], array.chunks[-2:]
    for top, left in product(range(0, height, rows), range(0, width, columns)):
        place = slice(top, min(top + rows, height)), slice(left, min(left + columns, width))
        index = place if lead is None else (lead, ..., *place)
        values = np.asarray(array[index]).reshape(-1, place[0].stop - top, place[1].stop - left)
        yield Window(left, top, values.shape[2], values.shape[1]), values


def _profile(array: zarr.Array[Any], about: dict[str, Any], count: int) -> dict[str, Any]:
    height, width = array.shape[-2:]
    return {
        "driver": "GTiff",
        "dtype": str(array.dtype),
        "count": count,
        "height": height,
        "width": width,
        "crs": about["proj:wkt2"],
        "transform": Affine(*about["spatial:transform"]),
        "nodata": None if array.dtype == np.uint8 else array.fill_value,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "pixel",
        "compress": "deflate",
        "zlevel": 1,  # lives for one copy
        "bigtiff": "if_safer",
    }


def _tags(array: zarr.Array[Any], about: dict[str, Any]) -> dict[str, str]:
    """TIFF tags: what the numbers mean, and the notice that users must keep."""
    tags = {"TIFFTAG_IMAGEDESCRIPTION": str(array.attrs["long_name"]), "SIMULATED": str(about["simulated"])}
    if "attribution" in about:
        tags["TIFFTAG_COPYRIGHT"] = str(about["attribution"])
    return {**tags, "RECIPE": str(about["recipe"]), "SEASON": str(about["season"])}


def _parsed(value: Any) -> Any:
    """Attributes that are JSON in text, as what they say."""
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value
