"""Numbers as people read them: with a noun, in bytes, in time."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """Return a number with its noun: ``1 tile``, ``9 tiles``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def size(n_bytes: float) -> str:
    """Return bytes as text: ``1.5 GB``."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}"
    return f"{n_bytes / 1e3:.3g} kB"


def duration(seconds: float) -> str:
    """Return seconds as text: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
