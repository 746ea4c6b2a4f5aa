"""EMIT L2A granules as files: reflectance and masks in the producer's NetCDF-4 layout.

The layout is that of granule ``EMIT_L2A_RFL_001_20220903T163129_2224611_012`` and of the producer's
writers (emit-sds/emit-sds-l2a and emit-sds-masks, ``output_conversion.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import h5netcdf
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from toolkit.scenes.emit_bands import BAD_VALUE, in_usable_range
from toolkit.simulate.emit_metadata import MASK_BANDS, GranuleName, global_attributes
from toolkit.simulate.emit_swath import Swath
from toolkit.storage import replacing

NO_DATA = -9999.0
BYTE_FILL = 241
"""What -9999 becomes in a byte: the fill value of the producer's ``u1`` variables."""

SPECTF_PROBABILITY = (0.02, 0.98)
"""Cloud probability written where the cloud flag is 0 and 1; the producer's flag starts at 0.51."""


def write_granule(
    folder: Path,
    name: GranuleName,
    swath: Swath,
    *,
    simulated: bool = True,
    chunks: tuple[int, int, int] | None = None,
    glt_fill: int = 0,
) -> tuple[Path, Path | None]:
    """Write the reflectance file of a granule and, if the swath has one, its mask file.

    Bands in which water vapour absorbs all light hold -0.01, whatever the swath says.

    Args:
        folder: where, an existing folder.
        name: names of the files, version and time.
        swath: what to write.
        simulated: say in the files that they are simulated.
        chunks: shape of the chunks of reflectance, then compressed by gzip; None: contiguous and
            uncompressed, as the producer's files.
        glt_fill: number of empty cells in the lookup table: 0, or -9999 as in early files.

    Returns:
        Paths of the reflectance file and of the mask file, None without mask.

    Raises:
        StorageError: a file cannot be written.
    """
    rfl = folder / f"{name.rfl}.nc"
    _write(rfl, name, swath, "rfl", simulated=simulated, chunks=chunks, glt_fill=glt_fill)
    if swath.mask is None:
        return rfl, None
    mask = folder / f"{name.mask}.nc"
    _write(mask, name, swath, "mask", simulated=simulated, chunks=None, glt_fill=glt_fill)
    return rfl, mask


def _write(
    path: Path,
    name: GranuleName,
    swath: Swath,
    kind: Literal["rfl", "mask"],
    *,
    simulated: bool,
    chunks: tuple[int, int, int] | None,
    glt_fill: int,
) -> None:
    """Write one of the two files under a temporary name, then give it its own."""
    lines, samples = swath.lon.shape
    attributes = global_attributes(
        name,
        kind,
        lines=lines,
        geotransform=swath.geotransform,
        ortho_shape=swath.glt_x.shape,
        simulated=simulated,
    )
    bands = len(swath.wavelengths_nm) if kind == "rfl" else len(MASK_BANDS[name.mask_number])
    with replacing(path) as temporary, h5netcdf.File(temporary, "w") as file:
        file.attrs.update(attributes)
        file.dimensions = {"downtrack": lines, "crosstrack": samples, "bands": bands}
        file.dimensions["ortho_y"], file.dimensions["ortho_x"] = swath.glt_x.shape
        if kind == "rfl":
            _add_bands(file, swath)
        else:
            _add_mask_names(file, MASK_BANDS[name.mask_number])
        _add_location(file, swath, glt_fill)
        if kind == "rfl":
            _add_reflectance(file, name, swath, chunks)
        else:
            _add_masks(file, name, swath)


def _add(
    file: h5netcdf.File,
    name: str,
    dimensions: tuple[str, ...],
    data: npt.NDArray[Any],
    attributes: dict[str, str],
    *,
    fill: float,
    **storage: Any,
) -> None:
    """Add a variable; its type is that of the data."""
    kind = data.dtype.type
    variable = file.create_variable(
        name, dimensions, dtype=data.dtype, data=data, fillvalue=kind(fill), **storage
    )
    variable.attrs.update(attributes)


def _add_bands(file: h5netcdf.File, swath: Swath) -> None:
    """Add centres, widths and usability of the bands."""
    group, along = "sensor_band_parameters", ("bands",)
    centres, widths = (np.asarray(v, np.float32) for v in (swath.wavelengths_nm, swath.fwhm_nm))
    text = {"long_name": "Wavelength Centers", "units": "nm"}
    _add(file, f"{group}/wavelengths", along, centres, text, fill=NO_DATA)
    text = {"long_name": "Full Width at Half Max", "units": "nm"}
    _add(file, f"{group}/fwhm", along, widths, text, fill=NO_DATA)
    meaning = "Wavelengths where reflectance is useable: 1 = good data, 0 = bad data"
    text = {"long_name": meaning, "units": "unitless"}
    _add(file, f"{group}/good_wavelengths", along, swath.good.astype(np.uint8), text, fill=BYTE_FILL)


def _add_mask_names(file: h5netcdf.File, names: tuple[str, ...]) -> None:
    """Add the names of the mask's layers."""
    text = np.dtype("O", metadata={"vlen": str})  # how HDF5's strings of any length are asked for
    data = np.array(names, dtype=object)
    variable = file.create_variable("sensor_band_parameters/mask_bands", ("bands",), dtype=text, data=data)
    variable.attrs["long_name"] = "Mask Band Names"


def _add_location(file: h5netcdf.File, swath: Swath, glt_fill: int) -> None:
    """Add where the pixels lie, and the lookup table."""
    pixels, cells = ("downtrack", "crosstrack"), ("ortho_y", "ortho_x")
    for key, data, meaning, units in (
        ("lon", swath.lon, "Longitude (WGS-84)", "degrees east"),
        ("lat", swath.lat, "Latitude (WGS-84)", "degrees north"),
        ("elev", swath.elev, "Surface Elevation", "m"),
    ):
        text = {"long_name": meaning, "units": units}
        _add(file, f"location/{key}", pixels, np.asarray(data, np.float64), text, fill=NO_DATA)
    for key, table, meaning in (
        ("glt_x", swath.glt_x, "GLT Sample Lookup"),
        ("glt_y", swath.glt_y, "GLT Line Lookup"),
    ):
        numbers = np.where(table > 0, table, glt_fill).astype(np.int32)
        text = {"long_name": meaning, "units": "pixel location"}
        _add(file, f"location/{key}", cells, numbers, text, fill=glt_fill)


def _add_reflectance(
    file: h5netcdf.File, name: GranuleName, swath: Swath, chunks: tuple[int, int, int] | None
) -> None:
    """Add reflectance, with the producer's value in the bands of water vapour."""
    values = swath.reflectance.astype(np.float32)
    dark = ~in_usable_range(swath.wavelengths_nm)
    values[..., dark] = np.where(values[..., dark] == NO_DATA, values[..., dark], BAD_VALUE)
    text = {"long_name": "Surface Reflectance", "units": "unitless"}
    if name.version == 2:
        text["long_name"] = "Hemispherical-Directional Reflectance Factor"
        text["standard_name"] = "surface_bidirectional_reflectance"
    storage = {"chunks": chunks, "compression": "gzip", "compression_opts": 4} if chunks else {}
    _add(file, "reflectance", ("downtrack", "crosstrack", "bands"), values, text, fill=NO_DATA, **storage)


def _add_masks(file: h5netcdf.File, name: GranuleName, swath: Swath) -> None:
    """Add the mask's layers and, in version 1, the bits of the bands (all 0: none was interpolated)."""
    if swath.mask is None:
        return
    storage = {"compression": "gzip", "compression_opts": 9}
    layers = mask_layers(swath.mask, name.mask_number)
    text = {"long_name": "Masks", "units": "unitless"}
    _add(file, "mask", ("downtrack", "crosstrack", "bands"), layers, text, fill=NO_DATA, **storage)
    if name.mask_number == 1:
        packed = -(-len(swath.wavelengths_nm) // 8)
        file.dimensions["packed_wavelength_bands"] = packed
        bits = np.zeros((*swath.lon.shape, packed), np.uint8)
        text = {"long_name": "Per-Wavelength Mask", "units": "unitless"}
        along = ("downtrack", "crosstrack", "packed_wavelength_bands")
        _add(file, "band_mask", along, bits, text, fill=BYTE_FILL, **storage)


def mask_layers(classic: npt.NDArray[np.float32], version: Literal[1, 2, 3]) -> npt.NDArray[np.float32]:
    """Return the layers of a version of the mask product from those of version 1.

    Args:
        classic: layers of version 1, ``(downtrack, crosstrack, 8)``.
        version: version wanted. The layers that later ones take from a deep network (SpecTf) repeat the
            cloud flag; their distance to the nearest cloud is in pixels.
    """
    if version == 1:
        return classic
    cloud = classic[..., 0] > 0
    if cloud.any():
        distance = ndimage.distance_transform_edt(~cloud)
    else:
        distance = np.full(cloud.shape, float(max(cloud.shape)))
    probability = np.where(cloud, SPECTF_PROBABILITY[1], SPECTF_PROBABILITY[0])
    spectf = np.stack([probability, cloud, distance], axis=-1).astype(np.float32)
    kept = classic if version == 2 else classic[..., [0, 1, 2, 4]]
    return np.concatenate([kept, spectf], axis=-1).astype(np.float32)
