"""Clear sky from the Sentinel-2 scene classification (SCL)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from toolkit.errors import InputError

SCL_CLASSES: Mapping[int, str] = MappingProxyType(
    {
        0: "no data",
        1: "saturated or defective",
        2: "dark area or topographic shadow",
        3: "cloud shadow",
        4: "vegetation",
        5: "not vegetated",
        6: "water",
        7: "unclassified",
        8: "cloud, medium probability",
        9: "cloud, high probability",
        10: "thin cirrus",
        11: "snow or ice",
    }
)
"""Sentinel-2 L2A scene classification (ESA, Level-2A algorithm overview)."""

GROWN = (3, 8, 9, 10)
"""Classes that dilation grows: cloud shadow and clouds, whose edges SCL misses."""

PRESETS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "default": (0, 1, 3, 8, 9, 10, 11),  # as openEO's examples
        "strict": (0, 1, 2, 3, 6, 7, 8, 9, 10, 11),  # clear is vegetation and bare soil only
        "lenient": (0, 1, 3, 8, 9),
    }
)
"""Preset -> SCL classes that are not clear."""


@dataclass(frozen=True, slots=True)
class ClearSky:
    """What counts as clear."""

    preset: str = "default"
    """Name in :data:`PRESETS`."""
    dilation_m: float = 0.0
    """Clouds and shadows are grown by this many metres."""

    def __post_init__(self) -> None:
        """Refuse unknown presets."""
        if self.preset not in PRESETS:
            msg = f"Clear-sky preset {self.preset!r} is unknown. Known presets: {', '.join(PRESETS)}."
            raise InputError(msg)

    def reach(self, resolution: float) -> int:
        """Pixels that a cloud can reach beyond its edge, at a resolution in metres."""
        return int(np.ceil(self.dilation_m / resolution))


def clear_from_scl(scl: npt.NDArray[np.uint8], sky: ClearSky, *, resolution: float) -> npt.NDArray[np.bool_]:
    """Return which pixels are clear.

    Args:
        scl: uint8 ``(time, y, x)`` or ``(y, x)``, classes of :data:`SCL_CLASSES`; others count as not clear.
        sky: preset and dilation.
        resolution: pixel size in metres, for the dilation.

    Returns:
        bool, shape of ``scl``, True where usable. A pixel is lost when the centre of a cloud or
        shadow pixel lies within the dilation of its own centre.
    """
    lookup = np.zeros(256, bool)
    lookup[[value for value in SCL_CLASSES if value not in PRESETS[sky.preset]]] = True
    clear: npt.NDArray[np.bool_] = lookup[scl]
    if sky.dilation_m > 0:
        planes = scl.reshape(-1, *scl.shape[-2:])
        near = np.stack([_within(np.isin(plane, GROWN), sky.dilation_m / resolution) for plane in planes])
        clear &= ~near.reshape(scl.shape)
    return clear


def _within(cloud: npt.NDArray[np.bool_], radius: float) -> npt.NDArray[np.bool_]:
    """Pixels at most ``radius`` pixels from a cloud."""
    if not cloud.any():
        return cloud
    distance: npt.NDArray[np.float64] = ndimage.distance_transform_edt(~cloud)
    return distance <= radius
