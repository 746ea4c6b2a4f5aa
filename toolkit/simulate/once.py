"""Folders of simulated data: complete or absent, and made once for the same request."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.errors import InputError

REQUEST_FILE = "simulation.json"
"""All that decides the files, beside them."""


def make_once(folder: Path, request: dict[str, Any], write: Callable[[Path], None]) -> None:
    """Fill a folder, which appears under its name only when complete; the same request does no work.

    Args:
        folder: new or empty or made by the same request.
        request: everything that decides the files, as plain values for JSON.
        write: writes the files into the folder that it is given.

    Raises:
        InputError: the folder holds something else.
    """
    if _is_done(folder, request):
        return
    partial = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.partial"
    partial.mkdir(parents=True)
    try:
        write(partial)
        write_json(partial / REQUEST_FILE, request)
        if folder.exists():
            folder.rmdir()
        os.replace(partial, folder)  # noqa: PTH105  # Path.replace says the same; os names the atomic call
    except OSError:
        # Another process may have made the same folder in the meantime.
        if not _is_done(folder, request):
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_done(folder: Path, request: dict[str, Any]) -> bool:
    """Return whether the folder holds this very simulation; refuse folders that hold others.

    Raises:
        InputError: the folder is not empty and was not made by the same request.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads((folder / REQUEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        msg = f"{folder} exists and is not a simulation. Give a new or empty folder."
        raise InputError(msg) from None
    if found == request:
        return True
    keys = sorted(set(found) | set(request)) if isinstance(found, dict) else []
    differing = [key for key in keys if found.get(key) != request.get(key)]
    msg = (
        f"{folder} holds a simulation made with other values of: {', '.join(differing)}. "
        "Give another folder, or delete this one."
    )
    raise InputError(msg)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with a fixed layout and line ends."""
    path.write_bytes((json.dumps(content, indent=2) + "\n").encode())
