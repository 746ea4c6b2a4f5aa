"""How kernels are compiled: without the GIL, kept on disk until any kernel changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import config as numba_config

Kernel = Callable[..., Any]
HERE = Path(__file__).parent
config: Any = numba_config  # its settings are made at run time


def compiled(function: Kernel | None = None, **options: Any) -> Any:
    """Compile a function with numba on its first call; ``@compiled`` or ``@compiled(inline="never")``.

    Compiled code is kept in a folder named by the content of all kernel files. numba itself looks at the
    file of a function only: after an upgrade, one that did not change would go on with the old code of those
    it calls.
    """
    if function is None:
        return lambda given: compiled(given, **options)
    folder, before = _folder(), config.CACHE_DIR
    config.CACHE_DIR = folder or before
    try:
        return njit(nogil=True, cache=folder is not None, **options)(function)
    finally:
        config.CACHE_DIR = before


@cache
def _folder() -> str | None:
    """Return the folder for compiled code; None where none can be written."""
    sources = b"".join(path.read_bytes() for path in sorted(HERE.glob("*.py")))
    name = hashlib.sha256(sources).hexdigest()[:16]
    for parent in (HERE / "__pycache__", Path("~/.cache/cropglobe").expanduser()):
        folder = parent / f"kernels-{name}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return str(folder)
    return None
