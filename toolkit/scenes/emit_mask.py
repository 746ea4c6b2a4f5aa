"""Clear sky from EMIT's mask: its flags by name, whatever their number and order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from toolkit.errors import InputError

CLOUDS = ("cloud", "cirrus", "spacecraft", "dilatedcloud", "spectfcloud")
"""Flags of clouds and of the station's own parts before the lens. The aggregate flag is none of them: it
holds water, too, and would erase flooded rice (sum of the flags, emit-sds-masks)."""

PRESETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "default": CLOUDS,
        "strict": (*CLOUDS, "water", "aggregate"),
        "lenient": ("cloud", "spacecraft"),
    }
)
"""Preset -> flags of pixels that are not clear; versions of the mask lack some of them."""

NEEDED = "cloud"
"""Flag without which a mask tells nothing."""


def flag_key(name: str) -> str:
    """Return the key of a layer of the mask.

    ``Cloud flag`` and ``Cloud Flag`` are ``cloud``, ``SpecTf-Cloud Flag`` is ``spectfcloud``; quantities
    (``AOD550``, ``SpecTf-Cloud Probability``) have keys of their own.

    Args:
        name: name of the layer as the file gives it.
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return plain.removesuffix("flag")


def flag_positions(names: Sequence[str], preset: str) -> list[int]:
    """Return which layers of a mask say that a pixel is not clear.

    Args:
        names: layer names as the file gives them.
        preset: name in :data:`PRESETS`.

    Returns:
        Positions in ``names``; none if the mask has no cloud flag, without which it tells nothing.

    Raises:
        InputError: the preset is unknown.
    """
    if preset not in PRESETS:
        msg = f"Clear-sky preset {preset!r} is unknown for EMIT. Known presets: {', '.join(PRESETS)}."
        raise InputError(msg)
    keys = [flag_key(name) for name in names]
    if NEEDED not in keys:
        return []
    return [position for position, key in enumerate(keys) if key in PRESETS[preset]]


def clear_from_flags(layers: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return which pixels are clear.

    Args:
        layers: float32 ``(pixel, flag)``, 1 where a flag is set, 0 where not, -9999 without data.

    Returns:
        bool ``(pixel,)``, True where no flag is set and all have data.
    """
    return np.asarray(((layers >= 0) & (layers < 0.5)).all(axis=1))
