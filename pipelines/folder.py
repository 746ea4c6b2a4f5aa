"""The output folder: checked before work starts, its small files written whole."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toolkit.errors import StorageError

REPORTED = ("cropglobe", "torch", "numpy", "xarray", "dask", "odc-stac", "rasterio", "numba")
"""Packages whose versions are recorded with a result."""


def prepare(folder: Path) -> Path:
    """Make an output folder and check that files can be written in it.

    Raises:
        StorageError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        msg = f"The output folder {str(folder)!r} cannot be written ({error.strerror}). Give another --out."
        raise StorageError(msg) from error
    return folder


def write_json(values: dict[str, Any], path: Path) -> Path:
    """Write JSON under a temporary name, then under its own."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(json.dumps(values, indent=2, default=str) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        msg = f"{str(path)!r} cannot be written ({error.strerror}). Check free space and permissions."
        raise StorageError(msg) from error
    return path


def versions() -> dict[str, str]:
    """Versions that decide what a result holds."""
    return {"python": platform.python_version(), **{name: version(name) for name in REPORTED}}
