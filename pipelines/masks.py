"""Masks stage: EMIT granules without a mask are told, or stop the run."""

from __future__ import annotations

import warnings

import pystac

from pipelines.config import EmitRequest
from toolkit.errors import InputError, MissingMaskWarning

NAMED = 3
"""Granules named in a message."""
MASK = "mask"


def settle_masks(items: pystac.ItemCollection, config: EmitRequest) -> list[str]:
    """Return the granules without a mask, whose pixels all count as clear.

    Args:
        items: normalised EMIT items.
        config: says whether to go on.

    Raises:
        InputError: there are some, and the run is to stop then.
    """
    names = [item.id for item in items if MASK not in item.assets]
    if not names:
        return []
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    told = f"{len(names)} of {len(items)} EMIT granules have no mask ({shown})"
    if config.without_mask == "stop":
        msg = (
            f"{told}. Put the EMIT_L2A_MASK files beside them, search again later, or go on with "
            "--without-mask warn."
        )
        raise InputError(msg)
    warnings.warn(
        f"{told}: clouds in them are taken for fields. They are named in run.json; --without-mask stop "
        "does not go on.",
        MissingMaskWarning,
        stacklevel=2,
    )
    return names
