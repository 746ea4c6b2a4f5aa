"""Functions over whole time series: at once, or one Dask task per spatial block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from toolkit.area.season import Steps, dates_in_windows
from toolkit.errors import BandError, NoItemsError
from toolkit.kernels.stacks import Mask, Numbers, Windows

BlockFunction = Callable[[Sequence[Numbers], Mask], Numbers]
"""Stacks of the bands and clear sky, all ``(time, y, x)`` -> ``(first, second, y, x)``."""


def scenes_in(scenes: xr.Dataset, steps: Steps) -> tuple[xr.Dataset, Windows, Windows]:
    """Return the scenes inside the steps, ordered by time.

    Args:
        scenes: dims ``(time, y, x)``.
        steps: season or windows.

    Returns:
        The scenes from the first to the last step, and int64 ``(step,)`` twice: position of the first date
        of each step, and one past its last.

    Raises:
        NoItemsError: no scene lies in any step.
    """
    times = scenes.time.to_numpy()
    if (np.diff(times) < np.timedelta64(0)).any():
        scenes = scenes.sortby("time")
        times = scenes.time.to_numpy()
    days = times.astype("datetime64[D]")
    kept = np.flatnonzero((days >= np.datetime64(steps.start)) & (days <= np.datetime64(steps.end)))
    if kept.size == 0:
        span = f"{days.min()} to {days.max()}" if days.size else "none"
        msg = f"No scene lies in the season {steps.start} to {steps.end}; scenes: {span}. Check the year."
        raise NoItemsError(msg)
    if kept.size != times.size:
        scenes = scenes.isel(time=slice(int(kept[0]), int(kept[-1]) + 1))
    return scenes, *dates_in_windows(steps, days[kept[0] : kept[-1] + 1])


def bands_of(scenes: xr.Dataset) -> list[str]:
    """Return the reflectance bands of scenes.

    Raises:
        BandError: there is none, or no ``clear``.
    """
    bands = [str(name) for name in scenes.data_vars if name != "clear"]
    if not bands or "clear" not in scenes:
        msg = f"Scenes need bands and 'clear', got {sorted(map(str, scenes.data_vars))}. Use load_scenes."
        raise BandError(msg)
    return bands


def over_blocks(
    function: BlockFunction,
    scenes: xr.Dataset,
    bands: Sequence[str],
    *,
    dims: tuple[str, str],
    sizes: tuple[int, int],
    dtype: npt.DTypeLike = np.float32,
) -> xr.DataArray:
    """Apply a function to the time series of all bands.

    Args:
        function: what to apply; for lazy scenes to one spatial block at a time.
        scenes: dims ``(time, y, x)`` with the bands and ``clear``; lazy or not.
        bands: bands it gets.
        dims: names of the two first dimensions of the result.
        sizes: their sizes.
        dtype: type of the result.

    Returns:
        ``(*dims, y, x)`` on the grid of the scenes. Lazy if any scene is: one task per spatial block,
        whatever the chunks in time, which the task joins itself.
    """
    arrays = [scenes[name].transpose("time", "y", "x").data for name in ("clear", *bands)]
    if any(isinstance(array, da.Array) for array in arrays):
        data = da.blockwise(
            _run_block,
            "bsyx",
            *[part for array in arrays for part in (_as_dask(array), "tyx")],
            function=function,
            new_axes={"b": sizes[0], "s": sizes[1]},
            concatenate=False,
            dtype=dtype,
            meta=np.empty((0, 0, 0, 0), dtype),
            token=getattr(function, "__name__", "series"),
        )
    else:
        data = function(arrays[1:], arrays[0])
    place = {name: scenes.coords[name] for name in ("y", "x", "spatial_ref") if name in scenes.coords}
    return xr.DataArray(data, dims=(*dims, "y", "x"), coords=place)


def _as_dask(array: Any) -> da.Array:
    """Return an array as a lazy one; one in memory becomes a single chunk, cut to fit the others."""
    lazy: da.Array = array if isinstance(array, da.Array) else da.from_array(array, chunks=-1)
    return lazy


def _run_block(*parts: Any, function: BlockFunction) -> Numbers:
    """Join each stack's chunks in time and apply the function, one stack joined at a time."""
    clear, *bands = parts
    return function(_JoinedLater(bands), _joined(clear))


class _JoinedLater(Sequence[Numbers]):
    """Stacks that are joined when they are asked for, so that one joined stack is in memory at a time."""

    def __init__(self, stacks: list[Any]) -> None:
        """Keep the stacks in their chunks."""
        self._stacks = stacks

    def __len__(self) -> int:
        """Number of stacks."""
        return len(self._stacks)

    def __getitem__(self, index: Any) -> Any:
        """Join one stack."""
        return _joined(self._stacks[index])


def _joined(chunks: Any) -> Numbers:
    if not isinstance(chunks, list):
        return np.asarray(chunks)
    return np.asarray(chunks[0]) if len(chunks) == 1 else np.concatenate(chunks)


def pixels(stack: Numbers) -> Numbers:
    """Return a stack ``(time, y, x)`` as ``(time, pixel)``."""
    return stack.reshape(stack.shape[0], stack.shape[1] * stack.shape[2])  # -1 fails without dates
