"""What one item's pixels rule out about an offset left in, or taken twice from, its numbers.

The *state* of an item is what its digital numbers hold besides reflectance, in steps of 1000: 1 (the
offset of baseline 04.00 is in them), 0 (it is not) or -1 (it was subtracted where there was none).
Each piece of evidence only rules states out; what nothing rules out stays possible. The thresholds were
set with the real series of Flanders (72 items, 31 with clear land, truth 0) and simulated series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.scenes.radiometry import DARKEST

CHECK_BANDS = ("B02", "B04", "B12")
"""Bands that are read for the check: blue, red and a SWIR band, which haze hardly reaches."""
SCALE = 1e-4
"""Reflectance of one digital number (Sentinel-2 Products Specification Document)."""
STEP = 0.1
"""Reflectance of the offset: 1000 digital numbers."""
STATES = (-1, 0, 1)

VEGETATION, SOIL, WATER, CLOUDS = 4, 5, 6, (8, 9, 10)
"""Classes of the scene classification, see :data:`toolkit.scenes.clear.SCL_CLASSES`."""
MIN_PIXELS = 50
"""A class with fewer pixels is not looked at: 16 pixels of "vegetation" beside cloud read 0.126 in blue."""
MAX_CLOUD = 0.3
"""Beyond this share of cloud the rest may be veiled: brightness then says nothing. Flanders, 19 August 2018,
0.44 cloud: soils 0.1 brighter than usual in blue, red and SWIR alike, just as an offset would be."""

NOT_ADDED_BELOW = 0.098
"""A dark surface below this has no offset in it: its reflectance would be below 0. Clear items of Flanders:
0.006 to 0.046; haze of 0.05 in blue brings dense vegetation to 0.06."""
ADDED_ABOVE = 0.105
"""A darkest tenth of vegetation above this has the offset in it. Flanders: at most 0.046 below half cloud;
thin simulated vegetation on bright soil: up to 0.096."""
DENSE_SWIR_BELOW = 0.2
"""... unless even its darkest SWIR exceeds this: then it is thin vegetation on bright soil."""
WATER_ADDED_ABOVE = 0.095
"""Water is black in the SWIR (Doxaran et al. 2002, doi:10.1016/S0034-4257(01)00341-8); the rest is glint."""
SOIL_NOT_ADDED_BELOW = 0.1
"""Soil blue below this has no offset in it: it would be below 0. PROSAIL's wet soil: 0.025."""

MOSTLY_CLIPPED = 0.5
"""More than half of the dark pixels at 0 or 1: subtracted twice. Flanders: at most 0.02."""
CLIPPED_VEGETATION = 0.7
"""The same for vegetation, whose red an overcorrected haze alone clips: 0.50 of it in a simulated scene of
June with nothing taken from it. Taken twice, all but thin vegetation is clipped."""
PARTLY_CLIPPED = 0.2
"""Share of water at 0 or 1 in blue that is enough where most of it is in SWIR too: mud lifts the blue of the
rest. Of 1,111 simulated items with water and no offset one has most SWIR at 0, and none of its blue."""
HARDLY_CLIPPED = 0.05
"""Fewer than these at 0 or 1: vegetation and the SWIR of water would be clipped, thin vegetation in part."""

MIN_CONTRAST = 0.03
"""Red must differ by this much more than blue between dark and bright soils for a line. Below it the line is
noise: bare pixels of a real EMIT scene with a contrast of 0.016 cross at -0.1."""
MAX_CUT = 0.05
"""With a larger share of land at 0 or 1 the dark end of the line is cut off."""
ONE_DATE = (-0.15, 0.04, 0.02, 0.18)
"""Where a line of one date crosses the diagonal: below -0.15 not 0, above 0.04 not -1, below 0.02 not 1,
above 0.18 not 0. Flanders: -0.023 to 0.091, median 0.02; simulated soils under haze: -0.12 to 0.13."""

Numbers = Mapping[str, npt.NDArray[np.uint16]]
Floats = npt.NDArray[np.float64]
Classes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelEvidence:
    """What the pixels of one item say on their own; reflectance before any offset, None where not known."""

    vegetation_pixels: int
    soil_pixels: int
    water_pixels: int
    cloud_share: float
    """Share of cloud and cirrus among the pixels with data, 0 to 1."""
    vegetation_dark: float | None
    """10th percentile of the lower of blue and red over vegetation, reflectance."""
    vegetation_dark_swir: float | None
    """10th percentile of SWIR over vegetation, reflectance."""
    vegetation_clipped: float | None
    """Share of vegetation with blue or red at 0 or 1."""
    soil_dark: float | None
    """5th percentile of blue over bare soil, reflectance."""
    soil_clipped: float | None
    """Share of bare soil with blue at 0 or 1."""
    soil_line: float | None
    """Reflectance at which the line of blue against red over land crosses the diagonal."""
    water_dark: float | None
    """25th percentile of the lowest band over water, reflectance."""
    water_clipped_blue: float | None
    """Share of water with blue at 0 or 1."""
    water_clipped_swir: float | None
    """Share of water with SWIR at 0 or 1."""

    def excluded(self, *, veiled: bool) -> frozenset[int]:
        """States that the item's own pixels rule out.

        Args:
            veiled: haze or thin cloud was seen against the neighbours in time, so that brightness does
                not speak for an offset.

        Returns:
            Some of -1, 0 and 1; empty where nothing can be told.
        """
        trusted = not veiled and self.cloud_share <= MAX_CLOUD
        out = self._by_vegetation(trusted) | self._by_soil(trusted) | self._by_water(trusted)
        return out if trusted else out - {-1}

    def _by_vegetation(self, trusted: bool) -> frozenset[int]:  # noqa: FBT001 - private
        if (
            self.vegetation_dark is None
            or self.vegetation_clipped is None
            or self.vegetation_dark_swir is None
        ):
            return frozenset()
        out = _by_clipping(self.vegetation_clipped)
        out |= {1} if self.vegetation_dark < NOT_ADDED_BELOW else set()
        if trusted and self.vegetation_dark > ADDED_ABOVE and self.vegetation_dark_swir < DENSE_SWIR_BELOW:
            out |= {0}
        return frozenset(out)

    def _by_soil(self, trusted: bool) -> frozenset[int]:  # noqa: FBT001 - private
        out: set[int] = set()
        if self.soil_dark is not None and self.soil_clipped is not None:
            out |= {1} if self.soil_dark < SOIL_NOT_ADDED_BELOW else set()
            out |= {0, 1} if self.soil_clipped > MOSTLY_CLIPPED else set()
        if trusted:
            out |= excluded_by_line(self.soil_line, ONE_DATE)
        return frozenset(out)

    def _by_water(self, trusted: bool) -> frozenset[int]:  # noqa: FBT001 - private
        if self.water_dark is None or self.water_clipped_swir is None or self.water_clipped_blue is None:
            return frozenset()
        out: set[int] = {-1} if self.water_clipped_swir < HARDLY_CLIPPED else set()
        if self.water_clipped_swir > MOSTLY_CLIPPED and self.water_clipped_blue > PARTLY_CLIPPED:
            out |= {0, 1}
        out |= {1} if self.water_dark < NOT_ADDED_BELOW else set()
        out |= {0} if trusted and self.water_dark > WATER_ADDED_ABOVE else set()
        return frozenset(out)


def look_at_item(numbers: Numbers, scl: Classes) -> PixelEvidence:
    """Return what the pixels of one item say.

    Args:
        numbers: uint16 ``(y, x)`` by band, digital numbers as they lie in the file, 0 nodata.
        scl: uint8 ``(y, x)``, scene classification.

    Returns:
        Percentiles and shares of the classes with at least :data:`MIN_PIXELS` pixels.
    """
    blue, red, swir = (numbers[band].astype(np.float64) * SCALE for band in CHECK_BANDS)
    present = has_data(numbers, scl)
    vegetation, soil, water = (present & (scl == value) for value in (VEGETATION, SOIL, WATER))
    darker = np.minimum(blue, red)
    clouds = int(np.isin(scl, CLOUDS).sum())
    land = vegetation | soil
    seen = land & (darker > DARKEST * SCALE)
    line = (
        crossing(blue[seen], red[seen])
        if _enough(soil) and seen.sum() >= (1 - MAX_CUT) * land.sum()
        else None
    )
    return PixelEvidence(
        vegetation_pixels=int(vegetation.sum()),
        soil_pixels=int(soil.sum()),
        water_pixels=int(water.sum()),
        cloud_share=clouds / max(1, int((scl > 0).sum())),
        vegetation_dark=_percentile(darker, vegetation, 10),
        vegetation_dark_swir=_percentile(swir, vegetation, 10),
        vegetation_clipped=_clipped(darker, vegetation),
        soil_dark=_percentile(blue, soil, 5),
        soil_clipped=_clipped(blue, soil),
        soil_line=line,
        water_dark=_percentile(np.minimum(darker, swir), water, 25),
        water_clipped_blue=_clipped(blue, water),
        water_clipped_swir=_clipped(swir, water),
    )


def has_data(numbers: Numbers, scl: Classes) -> npt.NDArray[np.bool_]:
    """Return the pixels with data: a producer who subtracts twice leaves 0 in some bands of dark pixels.

    Args:
        numbers: uint16 by band, 0 nodata.
        scl: uint8, scene classification, 0 nodata.

    Returns:
        bool, True where the classification has a class. It does not depend on the offset.
    """
    return np.broadcast_to(scl > 0, numbers[CHECK_BANDS[0]].shape)


def crossing(blue: Floats, red: Floats) -> float | None:
    """Return the reflectance at which the line of blue against red crosses the diagonal.

    Soils that differ in brightness and moisture lie on a line through the origin; whatever is added to
    both bands moves the crossing by as much (the line as in Baret et al. 1993,
    doi:10.1080/01431169308904405, who use red and near infrared). The line goes through the medians of the
    darkest and brightest fifths by blue + red, which an offset does not reorder.

    Args:
        blue: reflectance, one-dimensional, unclipped.
        red: reflectance of the same pixels.

    Returns:
        Reflectance, None with fewer than :data:`MIN_PIXELS` pixels or too little contrast.
    """
    if len(blue) < MIN_PIXELS:
        return None
    total = blue + red
    dark, bright = total <= np.quantile(total, 0.2), total >= np.quantile(total, 0.8)
    (blue_low, blue_high), (red_low, red_high) = (
        (float(np.median(band[dark])), float(np.median(band[bright]))) for band in (blue, red)
    )
    contrast = (red_high - red_low) - (blue_high - blue_low)
    if contrast < MIN_CONTRAST:
        return None
    return (red_high * blue_low - red_low * blue_high) / contrast


def excluded_by_line(at: float | None, limits: tuple[float, float, float, float]) -> set[int]:
    """States that the crossing of the soil line rules out.

    Args:
        at: reflectance of the crossing, None if not known.
        limits: as :data:`ONE_DATE`, reflectance.

    Returns:
        Some of -1, 0 and 1.
    """
    if at is None:
        return set()
    too_low, not_doubled, not_added, too_high = limits
    out = {-1} if at > not_doubled else set()
    out |= {1} if at < not_added else set()
    out |= {0} if at < too_low or at > too_high else set()
    return out


def _by_clipping(share: float) -> set[int]:
    if share > CLIPPED_VEGETATION:
        return {0, 1}
    return {-1} if share < HARDLY_CLIPPED else set()


def _enough(where: npt.NDArray[np.bool_]) -> bool:
    return int(where.sum()) >= MIN_PIXELS


def _percentile(values: Floats, where: npt.NDArray[np.bool_], percent: float) -> float | None:
    return float(np.percentile(values[where], percent)) if _enough(where) else None


def _clipped(values: Floats, where: npt.NDArray[np.bool_]) -> float | None:
    return float((values[where] <= DARKEST * SCALE * 1.001).mean()) if _enough(where) else None
