"""Versions of the packages that engines need."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_versions(*packages: str) -> tuple[tuple[str, str], ...]:
    """Return name and version of packages, of those installed."""
    found = []
    for name in packages:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)
