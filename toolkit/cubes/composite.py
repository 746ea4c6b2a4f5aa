"""Composites: one value per band and step, the median or another statistic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from toolkit.area.season import Steps
from toolkit.cubes.blocks import bands_of, over_blocks, pixels, scenes_in
from toolkit.cubes.recipe import FILLS, Fill
from toolkit.errors import InputError
from toolkit.kernels.fill import fill_linear
from toolkit.kernels.observations import count_clear, longest_gap
from toolkit.kernels.ranks import windowed_maximum, windowed_minimum, windowed_percentile
from toolkit.kernels.series import HELD, NO_FILL, PERIODIC, filled_median
from toolkit.kernels.stacks import Mask, Numbers, Windows
from toolkit.scenes.sensors import SENSORS

FILL_CODES: Mapping[str, int] = MappingProxyType({"none": NO_FILL, "linear": HELD, "periodic": PERIODIC})
"""Fill -> what the kernel calls it."""


class Kernel(Protocol):
    """A windowed statistic of :mod:`toolkit.kernels`."""

    def __call__(
        self,
        values: npt.NDArray[np.uint16],
        clear: Mask,
        starts: Windows,
        stops: Windows,
        *,
        out: Numbers | None = None,
    ) -> Numbers:
        """Return the statistic of each window."""


STATISTICS: Mapping[str, Kernel] = MappingProxyType(
    {"minimum": windowed_minimum, "maximum": windowed_maximum}
)
"""Statistics by name beside the median and percentiles."""


def median_cube(scenes: xr.Dataset, season: Steps, *, fill: Fill = "linear") -> xr.DataArray:
    """Return the median reflectance of each band and step.

    Args:
        scenes: dims ``(time, y, x)``, uint16 variables and ``clear`` (see
            :func:`toolkit.scenes.sentinel2.load_scenes`); lazy or not.
        season: steps of any length, or windows such as calendar months.
        fill: ``linear`` fills steps without observation between their neighbours in time and holds the
            ends, ``periodic`` fills the ends across the turn of the year, ``none`` leaves them NaN.

    Returns:
        float32 ``(band, step, y, x)``, reflectance (unit 1); NaN = not observed. Lazy if ``scenes`` is, then
        one task per spatial block of ``scenes``. Coordinate ``step_observations`` (step, y, x), uint8, holds
        the clear dates per step.

    Raises:
        InputError: ``fill`` unknown.
        NoItemsError: no scene lies in the season.
        BandError: there is no band, or no ``clear``.
    """
    return composite_cube(scenes, season, statistic="median", fill=fill)


def composite_cube(
    scenes: xr.Dataset, season: Steps, *, statistic: str | float = "median", fill: Fill = "none"
) -> xr.DataArray:
    """Return a statistic of the clear observations of each band and step.

    Args:
        scenes: dims ``(time, y, x)``, uint16 variables and ``clear``; lazy or not.
        season: steps of any length, or windows such as calendar months.
        statistic: ``median``, ``minimum``, ``maximum``, or a percentile as a number from 0 to 100.
        fill: as in :func:`median_cube`.

    Returns:
        As :func:`median_cube`.

    Raises:
        InputError: statistic or ``fill`` unknown.
        NoItemsError: no scene lies in the season.
        BandError: there is no band, or no ``clear``.
    """
    if fill not in FILLS:
        msg = f"fill is {fill!r}; allowed: {', '.join(map(repr, FILLS))}."
        raise InputError(msg)
    kernel = _kernel(statistic)
    bands = bands_of(scenes)
    scenes, starts, stops = scenes_in(scenes, season)
    cube = over_blocks(
        partial(
            _composite_block,
            kernel=kernel,
            starts=starts,
            stops=stops,
            scale=_scale(scenes),
            fill=FILL_CODES[fill],
        ),
        scenes,
        bands,
        dims=("band", "step"),
        sizes=(len(bands), season.n_steps),
    )
    counts = step_observations(scenes, season)
    cube = cube.assign_coords(
        band=bands, step=np.arange(season.n_steps), step_observations=(("step", "y", "x"), counts.data)
    )
    name = statistic if isinstance(statistic, str) else f"percentile {statistic:g} of"
    cube.attrs = {
        "units": "1",
        "long_name": f"{name} surface reflectance",
        "simulated": scenes.attrs.get("simulated", 0),
    }
    return cube.rename("reflectance")


def step_observations(scenes: xr.Dataset, season: Steps) -> xr.DataArray:
    """Return the number of clear dates in each step.

    Args:
        scenes: dims ``(time, y, x)`` with ``clear``.
        season: steps.

    Returns:
        uint8 ``(step, y, x)``, at most 255.
    """
    scenes, starts, stops = scenes_in(scenes, season)
    counts = over_blocks(
        partial(_count_block, starts=starts, stops=stops),
        scenes,
        [],
        dims=("band", "step"),
        sizes=(1, season.n_steps),
        dtype=np.uint8,
    )
    return counts.isel(band=0)


def observation_layers(counts: xr.DataArray) -> xr.Dataset:
    """Return how well each pixel was observed.

    Args:
        counts: clear dates per step, uint8 ``(step, y, x)``, not lazy.

    Returns:
        ``observations`` uint8 ``(y, x)``, clear dates in the season (at most 255), and ``longest_gap``
        uint8 ``(y, x)``, the longest run of steps without a clear date.
    """
    values = counts.to_numpy()
    observed = (values > 0).reshape(values.shape[0], -1)
    total = np.minimum(values.sum(axis=0, dtype=np.uint32), 255).astype(np.uint8)
    gap = longest_gap(observed).reshape(values.shape[1:])
    place = {name: counts.coords[name] for name in ("y", "x", "spatial_ref") if name in counts.coords}
    return xr.Dataset({"observations": (("y", "x"), total), "longest_gap": (("y", "x"), gap)}, coords=place)


def _kernel(statistic: str | float) -> Kernel | None:
    """Return the kernel of a statistic; None is the median, which is fused with scale and fill."""
    if statistic == "median":
        return None
    if isinstance(statistic, str) and statistic in STATISTICS:
        return STATISTICS[statistic]
    if isinstance(statistic, int | float) and 0 <= statistic <= 100:
        return partial(windowed_percentile, percent=float(statistic))
    known = ", ".join(map(repr, ("median", *STATISTICS)))
    msg = f"statistic is {statistic!r}; allowed: {known}, or a percentile from 0 to 100."
    raise InputError(msg)


def _scale(scenes: xr.Dataset) -> float:
    """Reflectance of one digital number."""
    return SENSORS[scenes.attrs.get("sensor", "sentinel-2")].scale


def _composite_block(
    stacks: Sequence[Numbers],
    clear: Mask,
    *,
    kernel: Kernel | None,
    starts: Windows,
    stops: Windows,
    scale: float,
    fill: int,
) -> npt.NDArray[np.float32]:
    """Composite a block band by band: ``(band, step, y, x)``."""
    out = np.empty((len(stacks), starts.size, *clear.shape[1:]), np.float32)
    flat = pixels(clear)
    for stack, target in zip(stacks, out, strict=True):
        cube = pixels(target)
        if kernel is None:
            filled_median(pixels(stack), flat, starts, stops, scale=scale, fill=fill, out=cube)
            continue
        kernel(pixels(stack), flat, starts, stops, out=cube)
        cube *= np.float32(scale)
        if fill != NO_FILL:
            fill_linear(cube, periodic=fill == PERIODIC, out=cube)
    return out


def _count_block(
    stacks: Sequence[Any], clear: Mask, *, starts: Windows, stops: Windows
) -> npt.NDArray[np.uint8]:
    del stacks
    return count_clear(pixels(clear), starts, stops).reshape(1, -1, *clear.shape[1:])
