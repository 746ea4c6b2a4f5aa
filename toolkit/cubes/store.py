"""Feature cubes on disk: one Zarr v3 store, made empty, then filled tile by tile."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox

from toolkit.area.grid import Tile
from toolkit.area.season import Season
from toolkit.cubes.layout import (
    COMPANIONS,
    KIND_ATTRIBUTE,
    NODATA,
    ArrayLayout,
    coordinate_encoding,
    cube_attributes,
    cube_layout,
    variable_name,
)
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import GridError, InputError, StorageError

MARK, MARK_TEXT = "zarr.json", f'"{KIND_ATTRIBUTE}"'
"""File of a store, and text in it, by which a folder is known as a cube."""
MAX_CHUNK_BYTES = 2**31 - 1
"""Beyond this, several codecs and readers count the bytes of a chunk wrongly (in 32 bits)."""
MAX_COUNT = 65535
"""Largest count of a median."""


def create_store(  # place, meaning, season, grid and tiles: each its own thing
    path: Path,
    recipe: FeatureRecipe,
    season: Season,
    geobox: GeoBox,
    *,
    tile_size: int,
    simulated: bool,
    attributes: Mapping[str, str],
) -> Path:
    """Make a store without values: metadata, coordinates, and arrays that read as not observed.

    Variable ``reflectance`` is uint16 counts of 1e-4 (0 = not observed), ``(band, step, y, x)`` for
    ``median2d`` and ``(feature, y, x)`` for ``median1d``; ``coefficients`` of harmonics is float32
    ``(feature, y, x)`` with NaN. Bytes beside them: ``step_observations`` (step, y, x) of ``median2d``,
    ``solved`` (y, x) of harmonics.

    Args:
        path: folder of the store, not there yet.
        recipe: how the features are made.
        season: the recipe's season in one year.
        geobox: grid of the cube.
        tile_size: edge of the tiles that will be written, pixels.
        simulated: whether any scene is simulated.
        attributes: further attributes of the group, e.g. an attribution.

    Returns:
        The path.

    Raises:
        InputError: a chunk would be larger than compressors allow.
        StorageError: the disk refuses.
    """
    arrays, coordinates = cube_layout(recipe, season, geobox, tile_size=tile_size, simulated=simulated)
    for array in arrays:
        _check_size(array, tile_size)
    encoding = {str(name): coordinate_encoding(str(name)) for name in coordinates.variables}
    about = {**cube_attributes(recipe, season, geobox, simulated=simulated), **attributes}
    try:
        coordinates.to_zarr(path, mode="w-", zarr_format=3, consolidated=False, encoding=encoding)
        group = zarr.open_group(path, mode="r+")
        group.attrs.put(about)
        for array in arrays:
            group.create_array(
                array.name,
                shape=array.shape,
                chunks=array.chunks,
                dtype=array.dtype,
                fill_value=array.fill,
                dimension_names=array.dims,
                attributes=array.attributes,
            )
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def write_region(path: Path, features: xr.DataArray, recipe: FeatureRecipe, tile: Tile) -> None:
    """Write the features of one tile; different processes may write different tiles at the same time.

    Args:
        path: store made by :func:`create_store`.
        features: float32 ``(band, step, y, x)`` or ``(feature, y, x)`` of the tile, as
            :func:`toolkit.cubes.features.build_features` gives them; lazy or not.
        recipe: the recipe of the store.
        tile: place in the grid of the store.

    Raises:
        GridError: the tile is not whole chunks of the store, or the features do not fit it.
        StorageError: the disk refuses, or the store is not there.
    """
    beside = [name for name in COMPANIONS if (path / name).is_dir()]
    if missing := [name for name in beside if name not in features.coords]:
        msg = (
            f"The features lack {missing} that the store has; they hold {sorted(map(str, features.coords))}."
        )
        raise GridError(msg)
    try:
        _write_array(path / variable_name(recipe), features, tile)
        for name in beside:
            _write_array(path / name, features.coords[name], tile)
    except OSError as error:
        raise _unwritable(path, error) from error


def _write_array(path: Path, layer: xr.DataArray, tile: Tile) -> None:
    array = zarr.open_array(path, mode="r+")
    layer = layer.transpose(..., "y", "x")
    _check_place(array, layer, tile)
    values = layer.to_numpy()
    if values.ndim == 2:
        array[tile.y, tile.x] = values
        return
    scale = array.attrs.get("scale_factor")
    # Chunk by chunk: no second copy of the tile, and no threads beside the worker's own.
    for first in range(0, array.shape[0], array.chunks[0]):
        part = slice(first, first + array.chunks[0])
        chunk = values[part] if scale is None else _to_counts(values[part], float(str(scale)))
        array[part, ..., tile.y, tile.x] = chunk


def finish_store(path: Path) -> Path:
    """Gather the metadata of all arrays in one file, so that a store opens with one read.

    Raises:
        StorageError: the disk refuses.
    """
    try:
        with warnings.catch_warnings():
            # They are an addition to the Zarr 3 specification, not part of it (zarr warns of that); readers
            # that do not know them pass over them, so they cost nothing and open remote stores faster.
            warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", UserWarning)
            zarr.consolidate_metadata(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def _to_counts(values: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.uint16]:
    """Reflectance to the nearest count; by the scenes' contract it lies within 1 to 65535 counts already."""
    counts: npt.NDArray[np.float32] = np.rint(values / np.float32(scale))
    np.clip(counts, 1, MAX_COUNT, out=counts)
    counts[np.isnan(counts)] = NODATA
    whole: npt.NDArray[np.uint16] = counts.astype(np.uint16)
    return whole


def _check_size(array: ArrayLayout, tile_size: int) -> None:
    n_bytes = int(np.prod(array.chunks, dtype=np.int64)) * np.dtype(array.dtype).itemsize
    if n_bytes > MAX_CHUNK_BYTES:
        msg = (
            f"Tiles of {tile_size} pixels make chunks of {n_bytes / 1e9:.1f} GB in {array.name!r}; allowed: "
            f"{MAX_CHUNK_BYTES / 1e9:.1f} GB. Use a --tile-size that 256 divides, e.g. 512."
        )
        raise InputError(msg)


def _check_place(array: zarr.Array[Any], layer: xr.DataArray, tile: Tile) -> None:
    """Refuse tiles that would share a chunk with others: two tasks would undo each other's pixels."""
    edges, sizes = array.chunks[-2:], array.shape[-2:]
    whole = all(
        part.start % edge == 0 and (part.stop % edge == 0 or part.stop == size)
        for part, edge, size in zip((tile.y, tile.x), edges, sizes, strict=True)
    )
    fitting = (*array.shape[:-2], tile.y.stop - tile.y.start, tile.x.stop - tile.x.start)
    if not whole or layer.shape != fitting:
        msg = (
            f"{array.basename!r} has shape {array.shape} in chunks of {edges} pixels; got {layer.shape} "
            f"for rows {tile.y.start} to {tile.y.stop}, columns {tile.x.start} to {tile.x.stop}. "
            "Write whole tiles of the size that the store was made with."
        )
        raise GridError(msg)


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"The cube {str(path)!r} cannot be written ({error}). "
        "Check free space and permissions, then run again."
    )
