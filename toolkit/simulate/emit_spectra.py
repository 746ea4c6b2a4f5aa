"""Spectra of pure surfaces in the 285 bands of EMIT, and their mixture.

``emit_spectra.csv`` holds reflectance x 10 000 and elasticities x 1000 by band. Canopies, dead matter
and elasticities come from the PROSAIL runs behind the ten-band tables of
:mod:`toolkit.simulate.spectra`, where leaf and canopy numbers stand (PROSPECT-D and 4SAIL, PyPI package
prosail 2.0.5; sun 30 degrees, view 5 degrees, relative azimuth 90 degrees, hot spot 0.1, the half-and-half
mixture of PROSAIL's two soils), seen through a Gaussian of each band's width. Dry and wet soil are those
two soils. Below 400 nm, where the models end, the value at 400 nm holds. Averaged over the Sentinel-2
bands, the runs give the ten-band tables within 0.0005; their values at EMIT's bands within 3.5 %, most
in the narrow bands of the red edge.

Water is the ten-band table, interpolated monotonically (PCHIP), with four anchors more. The ends, 0.026 at
400 nm and 0.008 from 2311 nm on, make the means over B02 and B12 those of the table. Between B8A and B11,
0.016 at 970 nm and 0.014 at 1200 nm: pure water absorbs 45 per metre at 970 nm and 100 at
1200 nm (Hale & Querry 1973, doi:10.1364/AO.12.000555), so only stems and glint reflect there.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from toolkit.simulate.growth import Growth
from toolkit.simulate.spectra import GREEN, SENESCENT, Endmembers, mix

TABLE = Path(__file__).with_name("emit_spectra.csv")
"""One row per band."""
REFLECTANCE_UNIT, ELASTICITY_UNIT = 1e-4, 1e-3


@cache
def emit_endmembers() -> Endmembers:
    """Return the spectra of the pure surfaces, bands as in :mod:`toolkit.scenes.emit_bands`."""
    with TABLE.open(encoding="utf-8") as file:
        names = file.readline().strip().split(",")
        numbers = np.loadtxt(file, delimiter=",").T
    columns = dict(zip(names, numbers, strict=True))

    def spectrum(name: str) -> tuple[float, ...]:
        return tuple((columns[name] * REFLECTANCE_UNIT).tolist())

    def elasticity(name: str) -> tuple[float, ...]:
        return tuple((columns[name] * ELASTICITY_UNIT).tolist())

    return Endmembers(
        green={name: spectrum(name) for name in GREEN},
        senescent={name: spectrum(name) for name in SENESCENT},
        dry_soil=spectrum("dry_soil"),
        wet_soil=spectrum("wet_soil"),
        water=spectrum("water"),
        chlorophyll=elasticity("chlorophyll"),
        leaf_water=elasticity("leaf_water"),
        leaf_angle=elasticity("leaf_angle"),
    )


def mix_spectra(
    parts: npt.NDArray[np.float64], growth: Growth, wetness: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Return the reflectance of pixels in all bands of EMIT from what covers them (linear mixture).

    Args:
        parts: ``(fraction, *shape)`` in the order of :data:`toolkit.simulate.growth.FRACTIONS`.
        growth: the year of each pixel, with its leaves and soil.
        wetness: wetness of the soil, 0 to 1, ``shape``.

    Returns:
        float32 ``(285, *shape)``, unit 1; bands of water vapour hold the ground's reflectance too.
    """
    return mix(parts, growth, wetness, emit_endmembers())
