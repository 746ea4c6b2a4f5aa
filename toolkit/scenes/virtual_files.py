"""Names under which GDAL reads remote files: one file system for all threads."""

from __future__ import annotations

import atexit
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

import rasterio
from affine import Affine
from rasterio.io import MemoryFile

from toolkit.scenes.ranges import RangeFile
from toolkit.scenes.stream import RangeStream

PLACEHOLDER = "https://remote/"
"""GDAL gets names under it, and no address that it could open itself."""
ANCHOR = f"{PLACEHOLDER}anchor"
"""An empty raster that stays open, and the file system with it."""

_making = threading.Lock()
_made: list[tuple[str, Context]] = []
_files: dict[str, RangeFile] = {}


@contextmanager
def named(remote: RangeFile) -> Iterator[str]:
    """Give a remote file a name that GDAL can open, in this thread, until the block ends.

    rasterio's ``opener`` makes a file system for each file and takes it away again, in a table that GDAL
    (3.10) reads in other threads without a lock: a worker died of it after some 100,000 files, in
    ``VSISiblingFiles``. So one file is opened so, and stays; the others are opened by name in its system.

    Args:
        remote: the file; GDAL may open it several times.
    """
    prefix, context = _file_system()
    for variable, value in context.items():  # rasterio looks for openers in variables of the thread
        variable.set(value)
    name = f"{PLACEHOLDER}{id(remote)}"
    _files[name] = remote
    try:
        yield f"{prefix}{name}"
    finally:
        del _files[name]


def without_prefix(text: str) -> str:
    """Return a message of GDAL without the names of the file system."""
    for prefix, _ in _made:
        text = text.replace(prefix, "")
    return text.replace(PLACEHOLDER, "")


def _file_system() -> tuple[str, Context]:
    """Return what names of files in it begin with, and the variables of rasterio by which it works."""
    with _making:
        if not _made:
            context = Context()
            anchor = context.run(_open_anchor)
            atexit.register(context.run, anchor.close)  # left open, the process died at its end
            _made.append((anchor.name.removesuffix(ANCHOR), context))
        return _made[0]


def _open_anchor() -> Any:
    profile = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"}
    with MemoryFile() as memory:
        with memory.open(**profile, transform=Affine(1, 0, 1, 0, -1, 1)):
            pass
        content = memory.read()

    def opener(path: str, mode: str = "rb", **_: Any) -> io.RawIOBase | io.BytesIO:
        """Give GDAL a file; it looks for companions beside it, too, which do not exist."""
        if path == ANCHOR:
            return io.BytesIO(content)
        if path not in _files or mode not in ("r", "rb"):
            raise FileNotFoundError(path)
        return RangeStream(_files[path])

    return rasterio.open(ANCHOR, driver="GTiff", opener=opener, sharing=False)
