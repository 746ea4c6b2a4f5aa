"""How EMIT files are laid out, swaths or grids, and the way from pixels to spectra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from toolkit.kernels.glt import gather_spectra, swath_pixels
from toolkit.scenes.emit_bands import in_usable_range, nearest_bands
from toolkit.scenes.emit_file import EmitFile
from toolkit.scenes.emit_place import Lattice, Positions, pixel_centres

REFLECTANCE = "reflectance"
MOST_BANDS = 4096
"""A file with more is none of EMIT's, which has 285."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Bands:
    """Bands of a granule."""

    wavelengths_nm: Floats
    """Centres."""
    fwhm_nm: Floats
    """Full widths at half maximum."""
    good: npt.NDArray[np.bool_]
    """True where both the granule's flag and the wavelength say that the band is of use."""


def bands_of(file: EmitFile) -> Bands:
    """Return the bands of an open file."""
    names = ("wavelengths", "fwhm", "good_wavelengths")
    count = file.shape(REFLECTANCE)[-1 if is_swath(file) else 0]
    centres, widths, flags = (_band_numbers(file, f"sensor_band_parameters/{name}", count) for name in names)
    # Some granules call every band good: the wavelength decides, too.
    return Bands(wavelengths_nm=centres, fwhm_nm=widths, good=(flags == 1) & in_usable_range(centres))


def _band_numbers(file: EmitFile, path: str, count: int) -> Floats:
    """Read a number for each band."""
    shape, kind = file.shape(path), file.variable(path).dtype.kind
    if shape != (count,) or count > MOST_BANDS or kind not in "iuf":
        raise file.failed("layout", f"{path!r} has shape {shape} and type {kind!r} for {count} bands")
    return np.asarray(file.read(path), np.float64)


def band_positions(file: EmitFile, found: Bands, wanted_nm: Floats) -> npt.NDArray[np.intp]:
    """Positions of the bands wanted; every one must be there."""
    bands = nearest_bands(found.wavelengths_nm, wanted_nm)
    if (bands < 0).any():
        missing = ", ".join(f"{nm:.1f}" for nm in wanted_nm[bands < 0][:5])
        raise file.failed("band_missing", f"it has no bands at {missing} nm")
    return bands


def is_swath(file: EmitFile) -> bool:
    """Whether a file holds a swath with its lookup table, rather than a gridded product.

    Raises:
        AssetError: it is neither.
    """
    dims = file.dims(REFLECTANCE) if file.has(REFLECTANCE) else ()
    if dims[:2] == ("downtrack", "crosstrack") and len(dims) == 3:
        return True
    if dims[1:] == ("lat", "lon") and len(dims) == 3:
        return False
    raise file.failed(
        "layout",
        f"'reflectance' has the dimensions {dims}; known: (downtrack, crosstrack, bands), (bands, lat, lon)",
    )


def lattice_of(file: EmitFile) -> Lattice:
    """Return the cells in longitude and latitude that a file is offered on.

    Raises:
        AssetError: its geotransform is missing or rotated.
    """
    if is_swath(file):
        numbers, shape = file.attribute("geotransform"), file.shape("location/glt_x")
        if len(shape) != 2 or shape != file.shape("location/glt_y"):
            raise file.failed("layout", "its lookup tables differ in shape")
    else:
        crs = dict(file.netcdf["crs"].attrs) if file.has("crs") else {}
        numbers, shape = crs.get("GeoTransform"), file.shape(REFLECTANCE)[1:]
    numbers = _numbers(numbers)
    if len(numbers) != 6 or numbers[2] or numbers[4] or numbers[1] <= 0 or numbers[5] >= 0:
        raise file.failed("layout", f"its geotransform is {numbers}; needed: six numbers, north up")
    return Lattice(
        west=numbers[0], north=numbers[3], width=numbers[1], height=-numbers[5], shape=(shape[0], shape[1])
    )


def _numbers(value: Any) -> list[float]:
    """Six numbers from an array, or from text as GDAL writes it."""
    parts = (
        value.split() if isinstance(value, str) else np.atleast_1d([] if value is None else value).tolist()
    )
    try:
        return [float(part) for part in parts]
    except ValueError:
        return []


def source_pixels(file: EmitFile, geobox: GeoBox) -> tuple[Positions, Positions]:
    """Line and sample that each pixel of a grid comes from, -1 for none."""
    lon, lat = pixel_centres(geobox)
    rows, columns = lattice_of(file).cells(lon.ravel(), lat.ravel())
    inside = rows >= 0
    if not is_swath(file) or not inside.any():
        return rows, columns
    top, left = int(rows[inside].min()), int(columns[inside].min())
    window = (slice(top, int(rows.max()) + 1), slice(left, int(columns.max()) + 1))
    # Read as they lie; holes are 0, -9999 or, in copies that xarray made, NaN.
    raw = [np.nan_to_num(file.read(f"location/glt_{axis}", *window), nan=0) for axis in "xy"]
    size = file.shape(REFLECTANCE)
    if raw[0].max() > size[1] or raw[1].max() > size[0]:
        raise file.failed("damaged", "its lookup table points beyond the swath")
    tables = [np.maximum(table, 0).astype(np.int32) for table in raw]
    shift = (np.where(inside, rows - top, -1), np.where(inside, columns - left, -1))
    return swath_pixels(*tables, *(positions.astype(np.int32) for positions in shift))


def gather(
    file: EmitFile,
    path: str,
    place: tuple[Positions, Positions],
    bands: npt.NDArray[np.intp],
    wanted: npt.NDArray[np.intp],
    out: npt.NDArray[np.float32],
) -> int:
    """Copy the spectra of the pixels wanted to their rows of ``out``; returns the bytes read."""
    lines, samples = place
    if not wanted.size:
        return 0
    if file.dims(path)[1:] == ("lat", "lon"):
        return _gather_grid(file, path, place, bands, wanted, out)
    wanted = wanted[np.argsort(lines[wanted], kind="stable")]
    ordered, read = lines[wanted], 0
    for block in file.line_blocks(path, np.unique(ordered)):
        here = wanted[np.searchsorted(ordered, block.start) : np.searchsorted(ordered, block.stop)]
        across = slice(int(samples[here].min()), int(samples[here].max()) + 1)
        for part in file.sample_blocks(path, block, across):
            inside = here[(part.start <= samples[here]) & (samples[here] < part.stop)]
            if inside.size:
                values = np.asarray(file.read(path, block, part), np.float32)
                rows, columns = lines[inside] - block.start, samples[inside] - part.start
                gather_spectra(values, rows, columns, bands, inside, out)
                read += values.nbytes
    return read


def _gather_grid(
    file: EmitFile,
    path: str,
    place: tuple[Positions, Positions],
    bands: npt.NDArray[np.intp],
    wanted: npt.NDArray[np.intp],
    out: npt.NDArray[np.float32],
) -> int:
    """The same from a gridded product, whose bands lie apart: a window of each is read."""
    rows, columns = (positions[wanted] for positions in place)
    top, left = int(rows.min()), int(columns.min())
    window = (slice(top, int(rows.max()) + 1), slice(left, int(columns.max()) + 1))
    chunk, read = (file.variable(path).chunks or (1,))[0], 0
    for first in range(0, file.shape(path)[0], chunk):
        here = np.flatnonzero((first <= bands) & (bands < first + chunk))
        if not here.size:
            continue
        stop = min(first + chunk, file.shape(path)[0])
        planes = np.asarray(file.read(path, slice(first, stop), *window), np.float32)
        cube = np.ascontiguousarray(planes.transpose(1, 2, 0))
        part = np.empty((len(wanted), len(here)), np.float32)
        pixels = np.arange(len(wanted))
        gather_spectra(cube, rows - top, columns - left, bands[here] - first, pixels, part)
        out[wanted[:, None], here] = part
        read += planes.nbytes
    return read
