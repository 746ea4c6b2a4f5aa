"""Sentinel-2 bands made of EMIT spectra, so that both sensors can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import xarray as xr

from toolkit.errors import BandError
from toolkit.scenes.sensors import SENTINEL2_BANDS, resolve_bands

RESPONSES_NM: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "B02": (492.4, 66.0),
        "B03": (559.8, 36.0),
        "B04": (664.6, 31.0),
        "B05": (704.1, 15.0),
        "B06": (740.5, 15.0),
        "B07": (782.8, 20.0),
        "B08": (832.8, 106.0),
        "B8A": (864.7, 21.0),
        "B11": (1613.7, 91.0),
        "B12": (2202.4, 175.0),
    }
)
"""Centre and full width at half maximum of each band of Sentinel-2A, nm (ESA, MSI instrument overview)."""

LEAST_WEIGHT = 0.01
"""Part of the largest weight below which an EMIT band does not count: 1.3 widths from the centre."""


def response_weights(
    wavelengths_nm: npt.ArrayLike, bands: Sequence[str] = SENTINEL2_BANDS
) -> npt.NDArray[np.float64]:
    """Return the share that each EMIT band has in each Sentinel-2 band.

    The response is a Gaussian of the Sentinel-2 band's centre and full width at half maximum. EMIT's own
    width (8.4 to 8.8 nm) is left out: it widens the narrowest band (15 nm) by a seventh, all others less.

    Args:
        wavelengths_nm: centres of the EMIT bands, nm.
        bands: Sentinel-2 bands.

    Returns:
        float64 ``(band, wavelength)``, rows sum to 1.

    Raises:
        BandError: a band is unknown, or no EMIT band lies within its width.
    """
    centres = np.asarray(wavelengths_nm, np.float64)
    weights = np.empty((len(bands), len(centres)))
    for k, band in enumerate(resolve_bands("sentinel-2", tuple(bands))):
        centre, width = RESPONSES_NM[band]
        if not (np.abs(centres - centre) <= width).any():
            msg = f"No EMIT band lies within {width:g} nm of {centre:g} nm, so that {band} cannot be made."
            raise BandError(msg)
        weight = np.exp(-4 * np.log(2) * ((centres - centre) / width) ** 2)
        weight[weight < LEAST_WEIGHT * weight.max()] = 0
        weights[k] = weight / weight.sum()
    return weights


def as_sentinel2(spectra: xr.DataArray, bands: Sequence[str] = SENTINEL2_BANDS) -> xr.DataArray:
    """Return Sentinel-2 bands made of EMIT spectra.

    Args:
        spectra: float32 with the dimension ``wavelength`` and its centres in nm as coordinate.
        bands: Sentinel-2 bands wanted.

    Returns:
        float32, dimension ``band`` in the place of ``wavelength``; NaN where a spectrum has no value in a
        band that counts.

    Raises:
        BandError: a band is unknown, or no EMIT band lies within its width.
    """
    weights = response_weights(spectra["wavelength"].to_numpy(), bands)
    axis = spectra.dims.index("wavelength")
    values = np.moveaxis(spectra.to_numpy(), axis, 0)
    made = np.empty((len(bands), *values.shape[1:]), np.float32)
    for k, weight in enumerate(weights):
        used = np.flatnonzero(weight)  # a NaN elsewhere does not matter
        made[k] = np.tensordot(weight[used], values[used], axes=1)
    dims = [dim if dim != "wavelength" else "band" for dim in spectra.dims]
    coords = {name: value for name, value in spectra.coords.items() if "wavelength" not in value.dims}
    return xr.DataArray(
        np.moveaxis(made, 0, axis), dims=dims, coords={**coords, "band": list(bands)}, attrs=spectra.attrs
    )
