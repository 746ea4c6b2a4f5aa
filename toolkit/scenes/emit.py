"""EMIT spectra on a grid: granules orthorectified, masked, and several joined to one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pystac
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from toolkit.catalog.items import is_simulated
from toolkit.errors import BandError, InputError, NoItemsError
from toolkit.kernels.spectra import median_spectra
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.emit_bands import TOLERANCE_NM, nearest_bands
from toolkit.scenes.emit_granule import (
    GranuleSpectra,
    cloudiness,
    emit_granule,
    read_bands,
    read_spectra,
)
from toolkit.scenes.emit_layout import Bands, Floats
from toolkit.scenes.granules import Granule, degrees
from toolkit.scenes.sensors import STATISTICS, Statistic
from toolkit.scenes.threads import in_threads


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Spectra:
    """Spectra of a grid, one per pixel."""

    values: npt.NDArray[np.float32]
    """float32 ``(pixel, band)``, pixels row by row, reflectance (unit 1); NaN where not observed."""
    observations: npt.NDArray[np.uint8]
    """uint8 ``(pixel,)``, clear granules."""
    granule: npt.NDArray[np.int16]
    """int16 ``(pixel,)``, position of the granule a pixel is taken from; -1 for none, -2 for a median of
    several."""
    counts: ReadCounts
    """What was read."""


def load_emit(
    items: Iterable[pystac.Item],
    geobox: GeoBox,
    *,
    bands: Literal["good", "all"] | Sequence[float] = "good",
    clear: str = "default",
    statistic: Statistic = "median",
) -> xr.Dataset:
    """Load the clear EMIT spectra of a season on a grid.

    Each pixel takes the cell of EMIT's lattice that its centre lies in, and the spectrum that the granule's
    lookup table names for it. Only lines with such a spectrum are read, in blocks.

    Args:
        items: normalised items (see :func:`toolkit.catalog.search.search_items`).
        geobox: output grid.
        bands: ``good`` (outside of water vapour, and flagged good by the first granule that may lie on the
            grid), ``all``, or centres in nm, each within 1 nm of a band. Bands that a granule flags bad are
            NaN in what is taken from it, but for ``all``.
        clear: preset of :data:`toolkit.scenes.emit_mask.PRESETS`; granules without a mask count as clear.
        statistic: where several granules are clear, their ``median`` band by band, or the spectrum of the
            one with the fewest clouds as a whole (``clearest``).

    Returns:
        Dataset with ``reflectance`` float32 ``(wavelength, y, x)``, NaN = not observed; ``clear`` bool
        ``(y, x)``, True = usable; ``observations`` uint8, clear granules; ``granule`` int16, position in
        ``attrs["items"]`` that a pixel is taken from (-1 none, -2 median of several). Coordinates
        ``wavelength`` and ``fwhm`` in nm, and ``good``.

    Raises:
        NoItemsError: no item given, or none of them has a pixel on the grid.
        BandError: a band is not there.
        InputError: unknown preset or statistic.
        AssetError: a granule cannot be read; names item and file.
    """
    items = list(items)
    granules = sorted(map(emit_granule, items), key=_order)
    if not granules:
        msg = "No EMIT granule is given. Search again with another area or season."
        raise NoItemsError(msg)
    area = degrees(geobox)
    near = next((granule for granule in granules if granule.touches(area)), granules[0])
    found = read_bands(near)
    chosen = _choose(found, bands)
    spectra = combine(
        granules,
        geobox,
        found.wavelengths_nm[chosen],
        clear=clear,
        statistic=statistic,
        bad_bands=isinstance(bands, str) and bands == "all",
    )
    if spectra is None:
        msg = (
            f"None of {len(granules)} EMIT granules (e.g. {granules[0].name}) has a pixel on the grid "
            f"{tuple(round(v, 4) for v in geobox.geographic_extent.boundingbox.bbox)} (degrees). Search for "
            "this area."
        )
        raise NoItemsError(msg)
    return _dataset(spectra, geobox, found, chosen).assign_attrs(
        sensor="emit",
        simulated=int(any(is_simulated(item) for item in items)),
        items=[granule.name for granule in granules],
    )


def combine(
    granules: Sequence[Granule],
    geobox: GeoBox,
    wavelengths_nm: Floats,
    *,
    clear: str = "default",
    statistic: Statistic = "median",
    bad_bands: bool = False,
) -> Spectra | None:
    """Read granules on a grid and join them to one spectrum per pixel.

    Args:
        granules: from :func:`toolkit.scenes.emit_granule.emit_granule`.
        geobox: output grid.
        wavelengths_nm: centres of the bands wanted.
        clear: clear-sky preset.
        statistic: how several are joined, see :func:`load_emit`.
        bad_bands: give the numbers of bands that a granule flags bad, too.

    Returns:
        Spectra; None if no granule has a pixel there.

    Raises:
        InputError: unknown preset or statistic.
        AssetError: a granule cannot be read; names item and file.
    """
    if statistic not in STATISTICS:
        msg = f"statistic is {statistic!r}; allowed: {', '.join(STATISTICS)}."
        raise InputError(msg)
    area = degrees(geobox)
    near = [k for k, granule in enumerate(granules) if granule.touches(area)]
    remote = any("://" in uri for k in near for uri in granules[k].files.values())
    read = in_threads(
        lambda k: read_spectra(granules[k], geobox, wavelengths_nm, clear=clear, bad_bands=bad_bands),
        near,
        remote=remote,
    )
    parts = {k: part for k, part in zip(near, read, strict=True) if part is not None}
    if not parts:
        return None
    if statistic == "median":
        values, source = _median(parts)
    else:
        order = sorted(parts, key=lambda k: (cloudiness(granules[k], clear), k)) if len(parts) > 1 else parts
        values, source = _clearest(parts, order)
    return Spectra(
        values=values,
        observations=np.sum([part.clear for part in parts.values()], axis=0).astype(np.uint8),
        granule=source,
        counts=sum((part.counts for part in parts.values()), ReadCounts()),
    )


def _median(parts: dict[int, GranuleSpectra]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
    clear = np.stack([part.clear for part in parts.values()])
    count = clear.sum(axis=0)
    numbers = np.array(list(parts), np.int16)
    source = np.where(count == 0, -1, np.where(count == 1, numbers[clear.argmax(axis=0)], -2))
    if len(parts) == 1:
        return next(iter(parts.values())).values, source.astype(np.int16)
    return median_spectra(np.stack([part.values for part in parts.values()]), clear), source.astype(np.int16)


def _clearest(
    parts: dict[int, GranuleSpectra], order: Iterable[int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
    values = np.full_like(next(iter(parts.values())).values, np.nan)
    source = np.full(len(values), -1, np.int16)
    for k in order:
        open_ = (source == -1) & parts[k].clear
        values[open_] = parts[k].values[open_]
        source[open_] = k
    return values, source


def _order(granule: Granule) -> tuple[str, str]:
    return str(granule.when), granule.name


def _choose(found: Bands, bands: str | Sequence[float]) -> npt.NDArray[np.intp]:
    """Positions of the bands asked for."""
    if isinstance(bands, str):
        if bands not in ("good", "all"):
            msg = f"bands is {bands!r}; allowed: 'good', 'all' or centres in nm."
            raise BandError(msg)
        return np.flatnonzero(found.good if bands == "good" else np.ones_like(found.good))
    wanted = np.asarray(bands, np.float64)
    chosen = nearest_bands(found.wavelengths_nm, wanted)
    if (chosen < 0).any():
        missing = ", ".join(f"{nm:g}" for nm in wanted[chosen < 0][:5])
        msg = (
            f"EMIT has no bands within {TOLERANCE_NM:g} nm of {missing} nm; it has "
            f"{len(found.wavelengths_nm)} from {found.wavelengths_nm[0]:.1f} to "
            f"{found.wavelengths_nm[-1]:.1f} nm."
        )
        raise BandError(msg)
    return chosen


def _dataset(spectra: Spectra, geobox: GeoBox, found: Bands, chosen: npt.NDArray[np.intp]) -> xr.Dataset:
    shape = geobox.shape.yx
    grid, along = ("y", "x"), ("wavelength",)
    cube = spectra.values.reshape(*shape, -1).transpose(2, 0, 1)  # a view: pixel after pixel in memory
    return xr.Dataset(
        {
            "reflectance": ((*along, *grid), cube, {"units": "1"}),
            "clear": (grid, (spectra.observations > 0).reshape(shape)),
            "observations": (grid, spectra.observations.reshape(shape)),
            "granule": (grid, spectra.granule.reshape(shape)),
        },
        coords={
            **xr_coords(geobox),
            "wavelength": (along, found.wavelengths_nm[chosen], {"units": "nm"}),
            "fwhm": (along, found.fwhm_nm[chosen], {"units": "nm"}),
            "good": (along, found.good[chosen]),
        },
    )
