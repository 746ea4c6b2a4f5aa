"""Headers of remote files, kept so that the next tile opens the file without a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Header:
    """The first bytes of a file, and what tells whether later ones belong to it."""

    size: int
    """Bytes of the whole file."""
    tag: str
    """Its strong ETag: the next range is asked for under the condition that it still holds."""
    content: bytes
    """The first bytes."""


def header_of(first: bytes, size: int | None, tag: str | None) -> Header | None:
    """Return the header of a file; None of one without an ETag, whose change would go unnoticed.

    Args:
        first: the first bytes.
        size: bytes of the whole file.
        tag: strong ETag.
    """
    return Header(size, tag, first) if first and size is not None and tag is not None else None
