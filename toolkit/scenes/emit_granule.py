"""Spectra of one EMIT granule at the pixels of a grid; only lines that hold them are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pystac
from odc.geo.geobox import GeoBox

from toolkit.catalog.access import Access, access_to
from toolkit.errors import AssetError, BandError
from toolkit.kernels.glt import FILL
from toolkit.kernels.spectra import complete
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.emit_file import EmitFile, opened_emit
from toolkit.scenes.emit_layout import (
    REFLECTANCE,
    Bands,
    Floats,
    band_positions,
    bands_of,
    gather,
    is_swath,
    source_pixels,
)
from toolkit.scenes.emit_mask import clear_from_flags, flag_positions
from toolkit.scenes.emit_place import Positions
from toolkit.scenes.granules import Granule

MASK = "mask"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GranuleSpectra:
    """What one granule shows of a grid."""

    values: npt.NDArray[np.float32]
    """float32 ``(pixel, band)``, pixels row by row; NaN where not clear, and in bands without light."""
    clear: npt.NDArray[np.bool_]
    """bool ``(pixel,)``, True where usable."""
    seen: npt.NDArray[np.bool_]
    """bool ``(pixel,)``, True where the granule has a pixel, cloudy or not."""
    lines: Positions
    """int32 ``(pixel,)``, line of the swath (row of a gridded product) each pixel comes from, -1 for none."""
    samples: Positions
    """int32 ``(pixel,)``, sample of the swath (column), -1 for none."""
    counts: ReadCounts
    """What was read."""


def emit_granule(item: pystac.Item) -> Granule:
    """Return what reading needs to know of a normalised EMIT item.

    Raises:
        BandError: the item has no reflectance under our name.
    """
    if REFLECTANCE not in item.assets:
        msg = (
            f"The item {item.id!r} has no asset {REFLECTANCE!r}, but {', '.join(item.assets) or 'none'}. Use "
            "items as search_items(..., sensor='emit') gives them."
        )
        raise BandError(msg)
    box = item.bbox
    plain = box is not None and len(box) == 4 and box[0] <= box[2]  # not across the antimeridian
    when, cover = item.datetime, item.properties.get("eo:cloud_cover")
    return Granule(
        name=item.id,
        when=np.datetime64("NaT") if when is None else np.datetime64(when.replace(tzinfo=None), "ns"),
        files={name: item.assets[name].href for name in (REFLECTANCE, MASK) if name in item.assets},
        offset=0,
        bounds=(box[0], box[1], box[2], box[3]) if plain and box is not None else None,
        access=access_to(item),
        cloud_cover=None if cover is None else float(cover),
    )


def read_bands(granule: Granule) -> Bands:
    """Return the bands of a granule.

    Raises:
        AssetError: its file cannot be read; names item and file.
    """
    try:
        with opened_emit(granule.files[REFLECTANCE], granule.access) as file:
            return bands_of(file)
    except AssetError as error:
        raise error.of(granule.name, REFLECTANCE) from None


def read_spectra(
    granule: Granule,
    geobox: GeoBox,
    wavelengths_nm: Sequence[float] | Floats,
    *,
    clear: str = "default",
    bad_bands: bool = False,
) -> GranuleSpectra | None:
    """Read the clear spectra of a granule on a grid.

    Args:
        granule: from :func:`emit_granule`.
        geobox: output grid.
        wavelengths_nm: centres of the bands wanted.
        clear: preset of :data:`toolkit.scenes.emit_mask.PRESETS`; without a mask file all is clear.
        bad_bands: give the numbers of bands, too, that this granule flags bad; else they are NaN.

    Returns:
        Spectra, or None if the granule has no pixel there.

    Raises:
        AssetError: a file cannot be read, lacks a band, or mask and reflectance do not belong together;
            names item and file.
    """
    try:
        with opened_emit(granule.files[REFLECTANCE], granule.access) as file:
            found = bands_of(file)
            bands = band_positions(file, found, np.asarray(wavelengths_nm, np.float64))
            lines, samples = source_pixels(file, geobox)
            if (lines < 0).all():
                return None
            sky, masked = _clear_sky(granule, file, lines, samples, clear)
            values = np.full((lines.size, len(bands)), np.nan, np.float32)
            wanted = np.flatnonzero(sky)
            read = gather(file, REFLECTANCE, (lines, samples), bands, wanted, values)
            counts = file.counts(read) + masked
    except AssetError as error:
        raise (error if error.item else error.of(granule.name, REFLECTANCE)) from None
    good = found.good[bands]
    if not bad_bands:
        values[:, ~good] = np.nan
    # A spectrum with a hole in a good band is none.
    sky &= complete(values, np.flatnonzero(good))
    values[wanted[~sky[wanted]]] = np.nan
    return GranuleSpectra(
        values=values, clear=sky, seen=lines >= 0, lines=lines, samples=samples, counts=counts
    )


def _clear_sky(
    granule: Granule, file: EmitFile, lines: Positions, samples: Positions, preset: str
) -> tuple[npt.NDArray[np.bool_], ReadCounts]:
    """Pixels that the mask calls clear; all that are seen where there is no mask."""
    sky = lines >= 0
    if MASK not in granule.files or not is_swath(file):  # gridded products come with clouds taken out
        return sky, ReadCounts()
    try:
        with opened_emit(granule.files[MASK], granule.access) as mask:
            _check_pair(file, mask)
            names = _layer_names(mask)
            flags = flag_positions(names, preset)
            if not flags:
                raise mask.failed("layout", f"it has no cloud flag, its layers are {', '.join(names)}")
            layers = np.full((lines.size, len(flags)), FILL, np.float32)
            wanted = np.flatnonzero(sky)
            read = gather(mask, MASK, (lines, samples), np.asarray(flags, np.intp), wanted, layers)
            sky[wanted] = clear_from_flags(layers[wanted])
            return sky, mask.counts(read)
    except AssetError as error:
        raise error.of(granule.name, MASK) from None


def cloudiness(granule: Granule, preset: str) -> float:
    """Return the share of a granule's pixels that are not clear, 0 to 1, wherever they lie.

    It is the same for every tile of a map: as the catalog tells, else counted in the whole mask. Granules
    with neither count as cloudier than all others.

    Args:
        granule: from :func:`emit_granule`.
        preset: clear-sky preset.

    Raises:
        AssetError: the mask cannot be read; names item and file.
    """
    if granule.cloud_cover is not None:
        return granule.cloud_cover / 100
    if MASK not in granule.files:
        return 2.0
    return _cloudiness(granule.name, granule.files[MASK], granule.access, preset)


@lru_cache(maxsize=256)
def _cloudiness(name: str, uri: str, access: Access, preset: str) -> float:
    try:
        with opened_emit(uri, access) as mask:
            flags = np.asarray(flag_positions(_layer_names(mask), preset), np.intp)
            lines, samples, _ = mask.shape(MASK)
            clear = 0
            for block in mask.line_blocks(MASK, np.arange(lines, dtype=np.int32)):
                layers = mask.read(MASK, block)[..., flags]
                clear += int(clear_from_flags(layers.reshape(-1, len(flags))).sum())
            return 1 - clear / max(1, lines * samples)
    except AssetError as error:
        raise error.of(name, MASK) from None


def _layer_names(mask: EmitFile) -> list[str]:
    """Names of a mask's layers."""
    path = "sensor_band_parameters/mask_bands"
    layers = mask.shape(MASK)
    if len(layers) != 3 or mask.shape(path) != layers[2:]:
        raise mask.failed("layout", f"'mask' has shape {layers}, its layers' names {mask.shape(path)}")
    names = [name.decode() if isinstance(name, bytes) else name for name in mask.read(path).tolist()]
    if not all(isinstance(name, str) for name in names):
        raise mask.failed("layout", f"the names of its layers are no text: {names[:8]}")
    return names


def _check_pair(file: EmitFile, mask: EmitFile) -> None:
    """Raise unless a mask belongs to the reflectance: the same swath, sensed at the same time."""
    ours, theirs = file.shape(REFLECTANCE)[:2], mask.shape(MASK)[:2]
    starts = [_second(one) for one in (file, mask)]
    if ours != theirs or (None not in starts and starts[0] != starts[1]):
        raise mask.failed(
            "mask_mismatch",
            f"it belongs to another granule: {theirs} pixels from {starts[1]}, the reflectance has {ours} "
            f"from {starts[0]}",
        )


def _second(file: EmitFile) -> datetime | None:
    """When sensing began, to the second; None if the file does not tell in a way we read."""
    try:
        told = datetime.fromisoformat(str(file.attribute("time_coverage_start")))
    except ValueError:
        return None
    return (told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)).replace(microsecond=0)
