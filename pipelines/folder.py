"""The output folder: checked before work starts, its small files written whole."""

from __future__ import annotations

import hashlib
import json
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toolkit.errors import StorageError
from toolkit.packages import installed_versions
from toolkit.storage import write_text

REPORTED = ("cropglobe", "torch", "numpy", "xarray", "dask", "odc-stac", "rasterio", "pyproj", "numba")
"""Packages that every result depends on."""
OPTIONAL = ("onnx", "onnxruntime", "openvino")
"""Packages that some engines need; they decide a result only where such an engine is chosen."""


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


def copy_beside(path: Path, folder: Path) -> Path:
    """Copy a small file into a folder, under its name.

    Raises:
        StorageError: it cannot be written.
    """
    return write_text(path.read_text("utf-8"), folder / path.name)


def write_json(values: dict[str, Any], path: Path) -> Path:
    """Write JSON in one step.

    Raises:
        StorageError: the file cannot be written.
    """
    return write_text(json.dumps(values, indent=2, default=str) + "\n", path)


def digest(path: Path) -> str:
    """Return the sha256 of a file, as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def versions() -> dict[str, str]:
    """Versions to be recorded with a result: of what decides it, and of optional packages installed."""
    return {**deciding_versions(), **dict(installed_versions(*OPTIONAL))}


def deciding_versions() -> dict[str, str]:
    """Versions that every result depends on; those of an optional engine are in its setting."""
    return {"python": platform.python_version(), **{name: version(name) for name in REPORTED}}


def beside(folder: Path, name: str) -> Path:
    """Return the path of a file beside a folder, named after it.

    Args:
        folder: the folder; may be given as ``.``.
        name: name of the file with ``{}`` where the folder's name stands.
    """
    whole = folder.resolve()
    return whole.with_name(name.format(whole.name))
