"""Made-up inputs of the benchmarks: stacks of dates under clouds, and cubes with gaps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

Array = npt.NDArray[Any]
FIRST_DAY = np.datetime64("2021-01-01", "ns")
CLOUD_SIZE = 12
"""Pixels between the grid points of the noise that clouds are cut from."""
YEAR_HOURS = 8760


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Observations of several bands under one clear mask, and the windows to reduce them by."""

    data: Array
    """uint16 ``(band, time, pixel)``."""
    clear: Array
    """bool ``(time, pixel)``."""
    dates: Array
    """datetime64 ``(time,)``."""
    window_hours: int

    @cached_property
    def floats(self) -> Array:
        """The data as most libraries want them: float32 ``(band, time, pixel)``, NaN where not clear."""
        return np.where(self.clear & (self.data != 0), self.data, np.float32(np.nan)).astype(np.float32)

    @cached_property
    def cube(self) -> xr.DataArray:
        """:attr:`floats` as ``(band, time, y, x)``."""
        return self._with_dates(self.floats, ("band", "time", "y", "x"))

    @cached_property
    def clear_cube(self) -> xr.DataArray:
        """The clear mask as ``(time, y, x)``."""
        return self._with_dates(self.clear, ("time", "y", "x"))

    @cached_property
    def windows(self) -> tuple[Array, Array]:
        """First date of each window and one past its last: int64 ``(window,)`` both."""
        labels = self.labels
        edges = np.searchsorted(labels, np.arange(labels[-1] + 2)).astype(np.int64)
        return edges[:-1], edges[1:]

    @property
    def labels(self) -> Array:
        """Number of the window of each date: int64 ``(time,)``."""
        return (self.dates - self.dates[0]) // np.timedelta64(self.window_hours, "h")

    @property
    def bins(self) -> str:
        """The windows in the words of pandas."""
        return f"{self.window_hours}h"

    @property
    def years(self) -> Array:
        """Times in years: float64 ``(time,)``."""
        return (self.dates - self.dates[0]) / np.timedelta64(YEAR_HOURS, "h")

    def parts(self, number: int) -> list[Self]:
        """Cut the pixels into blocks, each contiguous in memory, as Dask hands them out."""
        return [
            dataclasses.replace(self, data=data, clear=clear)
            for data, clear in zip(_cut(self.data, number), _cut(self.clear, number), strict=True)
        ]

    def _with_dates(self, array: Array, dims: tuple[str, ...]) -> xr.DataArray:
        side = isqrt(array.shape[-1])
        pixels = array.reshape(*array.shape[:-1], side, side)
        return xr.DataArray(pixels, dims=dims, coords={"time": self.dates})


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """A cube of composites with missing steps."""

    data: Array
    """float32 ``(band, step, pixel)``, NaN where missing."""

    @cached_property
    def cube(self) -> xr.DataArray:
        """The data as ``(band, time, y, x)``."""
        side = isqrt(self.data.shape[-1])
        pixels = self.data.reshape(*self.data.shape[:-1], side, side)
        return xr.DataArray(pixels, dims=("band", "time", "y", "x"))

    def parts(self, number: int) -> list[Self]:
        """Cut the pixels into blocks, each contiguous in memory, as Dask hands them out."""
        return [dataclasses.replace(self, data=data) for data in _cut(self.data, number)]


@dataclass(frozen=True, kw_only=True)
class StackRecipe:
    """How a stack is made, and how large."""

    dates: int = 146
    bands: int = 10
    side: int = 256
    """Pixels of a side of the square."""
    every_hours: int = 60
    """Time between two dates; 60 hours are Sentinel-2's two satellites."""
    window_hours: int = 120
    clear_share: float = 0.55

    @property
    def size(self) -> str:
        bands = f"{self.bands} band{'s' if self.bands > 1 else ''}"
        return f"{self.dates} dates x {bands} x {self.side} x {self.side} pixels"

    def make(self) -> Stack:
        """Fields with a season and noise; clouds are bright."""
        rng = np.random.default_rng(2021)
        clear = _clear(rng, self.dates, self.side, self.clear_share)
        values = np.empty((self.bands, self.dates, clear.shape[1]), np.uint16)
        season, phase = _season(rng, self.dates, clear.shape[1])
        for band in range(self.bands):
            for date in range(self.dates):
                row = rng.integers(200 + 100 * band, 800 + 100 * band, clear.shape[1], np.uint16)
                row += season[date, phase]
                values[band, date] = np.where(clear[date], row, row + np.uint16(3000))
        dates = FIRST_DAY + np.arange(self.dates) * np.timedelta64(self.every_hours, "h")
        return Stack(data=values, clear=clear, dates=dates, window_hours=self.window_hours)


@dataclass(frozen=True, kw_only=True)
class GapsRecipe:
    """How a cube with gaps is made, and how large."""

    dates: int = 43
    """Steps."""
    bands: int = 10
    side: int = 256
    """Pixels of a side of the square."""
    missing_share: float = 0.42

    @property
    def size(self) -> str:
        return f"{self.dates} steps x {self.bands} bands x {self.side} x {self.side} pixels"

    def make(self) -> Gaps:
        """Reflectances of fields with a season and noise."""
        rng = np.random.default_rng(2022)
        clear = _clear(rng, self.dates, self.side, 1 - self.missing_share)
        values = rng.random((self.bands, self.dates, clear.shape[1]), np.float32)
        values *= np.float32(0.05)
        season, phase = _season(rng, self.dates, clear.shape[1])
        reflectance = season.astype(np.float32) * np.float32(1e-4)
        for band in range(self.bands):
            for date in range(self.dates):
                values[band, date] += reflectance[date, phase]
                values[band, date][~clear[date]] = np.nan
        return Gaps(data=values)


Recipe = StackRecipe | GapsRecipe


def _cut(array: Array, number: int) -> list[Array]:
    return [np.ascontiguousarray(part) for part in np.array_split(array, number, axis=-1)]


def _clear(rng: np.random.Generator, dates: int, side: int, share: float) -> Array:
    """Clouds with edges, more on some dates than on others: bool ``(time, pixel)``."""
    points = side // CLOUD_SIZE + 2
    sky = np.empty((dates, side * side), np.float32)
    for date in range(dates):
        noise = rng.normal(size=(points, points)) + rng.normal()
        cut = ndimage.zoom(noise, CLOUD_SIZE, order=1)[:side, :side]
        sky[date] = cut.ravel()
    return sky <= np.quantile(sky[:, ::7], share)


def _season(rng: np.random.Generator, dates: int, pixels: int) -> tuple[Array, Array]:
    """Values over the year for eight kinds of field: uint16 ``(time, kind)``, and the kind of each pixel."""
    peaks = np.linspace(0.3, 0.7, 8)
    times = np.linspace(0, 1, dates)[:, None]
    season = (3000 * np.exp(-(((times - peaks) / 0.12) ** 2))).astype(np.uint16)
    return season, np.repeat(rng.integers(0, 8, -(-pixels // 16)), 16)[:pixels]
