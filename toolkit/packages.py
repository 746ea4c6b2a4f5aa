"""Versions of installed packages, and those that workers must share."""

from __future__ import annotations

import os
import socket
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from toolkit.errors import WorkerError

SAME_EVERYWHERE = ("cropglobe", "torch", "numpy", "numba", "xarray", "rasterio", "pyproj", "odc-stac")
"""Packages that workers must have in the versions of the process that starts a run: they make the pixels."""
Versions = tuple[tuple[str, str], ...]
"""Name and version of packages."""


def installed_versions(*packages: str) -> Versions:
    """Return name and version of packages, of those installed."""
    found = []
    for name in packages:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)


@cache
def check_same(wanted: Versions) -> None:
    """Raise unless packages have the same versions in this process (runs on a worker, once in each).

    Args:
        wanted: versions in the process that started the run.

    Raises:
        WorkerError: some differ, or are missing; names this process, and them.
    """
    here = dict(installed_versions(*(name for name, _ in wanted)))
    wrong = [
        f"{name} {here.get(name, 'missing')}, not {told}" for name, told in wanted if here.get(name) != told
    ]
    if wrong:
        msg = (
            f"The worker with process {os.getpid()} on {socket.gethostname()} differs from the process that "
            f"started the run: {'; '.join(wrong)}. Install the same environment there."
        )
        raise WorkerError(msg)
