"""EMIT stage: granules without a mask, and versions that a model does not know, are told."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import pystac

from pipelines.config import EmitRequest
from pipelines.search import FoundScenes
from toolkit.catalog.emit import MASK, MASK_VERSION
from toolkit.catalog.granule_folder import SOFTWARE
from toolkit.catalog.items import PRODUCT_VERSION
from toolkit.errors import InputError, MissingMaskWarning, ProductVersionWarning
from toolkit.learn.checkpoint import Checkpoint

NAMED = 3
"""Granules named in a message."""
VERSIONS = (PRODUCT_VERSION, MASK_VERSION, SOFTWARE)
"""Properties that tell how a granule was made."""
MADE_FROM = "product_versions"
"""Provenance of samples: versions of EMIT's reflectance among them."""


def refuse_offset(config: EmitRequest) -> None:
    """Raise InputError if an offset is given for a run of EMIT alone, whose reflectance has none."""
    if config.offset is not None:
        msg = f"An offset of {config.offset} is given, but EMIT's reflectance has none. Drop --offset."
        raise InputError(msg)


def settle_masks(found: FoundScenes, config: EmitRequest) -> list[str]:
    """Return the granules of the season without a mask, whose pixels all count as clear.

    Args:
        found: EMIT granules and the season they are read in.
        config: says whether to go on.

    Raises:
        InputError: there are some, and the run is to stop then.
    """
    first, last = found.season.start, found.season.end
    used = [item for item in found.items if item.datetime and first <= item.datetime.date() <= last]
    names = [item.id for item in used if MASK not in item.assets]
    if not names:
        return []
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    told = f"{len(names)} of {len(used)} EMIT granules have no mask ({shown})"
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


def product_versions(items: Iterable[pystac.Item]) -> list[str]:
    """Return the versions of reflectance among EMIT items."""
    return sorted(
        {str(item.properties[PRODUCT_VERSION]) for item in items if PRODUCT_VERSION in item.properties}
    )


def trained_versions(provenance: Any) -> set[str]:
    """Return the versions of reflectance in the provenance of samples, however often they were joined."""
    if isinstance(provenance, dict):
        inner = [trained_versions(value) for key, value in provenance.items() if key != MADE_FROM]
        return set(provenance.get(MADE_FROM, ())).union(*inner)
    if isinstance(provenance, list):
        return set().union(*(trained_versions(part) for part in provenance))
    return set()


def check_versions(checkpoint: Checkpoint, items: Iterable[pystac.Item]) -> None:
    """Warn if spectra of one product version are mapped with a model of another: they differ.

    Args:
        checkpoint: the model.
        items: granules to be mapped.
    """
    trained, mapped = trained_versions(checkpoint.provenance), set(product_versions(items))
    if trained and not mapped <= trained:
        msg = (
            f"The model was trained on EMIT version {', '.join(sorted(trained))}, the granules are of "
            f"version {', '.join(sorted(mapped))}, whose spectra differ. Train on that version, or choose "
            "granules with --collection."
        )
        warnings.warn(msg, ProductVersionWarning, stacklevel=2)
