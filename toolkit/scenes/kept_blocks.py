"""Decoded blocks that several tiles need, in files that the workers of a machine share."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from toolkit.scenes.targets import Pixels

KEPT_BYTES = 4_000_000_000
"""Most that a worker keeps: the blocks of 73 overpasses, 11 files each, take 3.4 GB over 2048 x 2048 pixels,
if four of 10 m and one of 20 m lie there; more where the edges of the square cut others."""
LEFT_FREE = 0.5
"""Part of the free space that stays free: of those on one disk, each worker looks before it keeps a block."""
POLL_S = 0.01
"""How often a block is asked for that another worker is decoding: that takes about as long."""
LONGEST_WAIT_S = 60.0
"""After that the other worker hangs, and the block is decoded here."""


class KeptBlocks:
    """Blocks of files by their place, for many threads and processes.

    Files of live catalogs have blocks of 1024 pixels: those of a season over 20 x 20 km are two gigabytes,
    more than a worker has memory, and each serves many tiles. In files they take none that is counted
    against the worker; what is read again soon comes from the system's cache.
    """

    def __init__(self, folder: Path, limit_bytes: int = KEPT_BYTES) -> None:
        """Start empty, or with what other workers have kept.

        Args:
            folder: where files are kept; removed by whoever made it.
            limit_bytes: most that this worker keeps; the oldest blocks go first. However many workers share
                the disk, half of what is free now stays free.
        """
        self._folder, self._size, self._limit = folder, 0, limit_bytes
        self._least_free = int(LEFT_FREE * shutil.disk_usage(folder).free)
        self._mine: deque[tuple[Path, int]] = deque()
        self._changing = threading.Lock()

    @contextmanager
    def alone_with(self, file: str) -> Iterator[None]:
        """Wait until no other worker decodes blocks of a file, and keep others waiting meanwhile.

        Args:
            file: what it is called and its version: of a file that was replaced nothing is kept.
        """
        lock = FileLock(self._path(file, "lock"), poll_interval=POLL_S)
        try:
            lock.acquire(timeout=LONGEST_WAIT_S)
        except (Timeout, OSError):  # the other one hangs, or the disk is full: nobody must wait for that
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def take(self, file: str, row: int, column: int, like: tuple[tuple[int, int], str]) -> Pixels | None:
        """Return a block if it is kept, a view of what was written.

        Args:
            file: what it is called and its version: of a file that was replaced nothing is kept.
            row: row of the block.
            column: column of the block.
            like: its shape ``(y, x)`` and type, as numpy names it.
        """
        shape, dtype = like
        with suppress(OSError, ValueError):  # whatever is wrong with it: the scene is there to be read
            # Not .npy: Python 3.11's ast fails in many threads that parse its header at once.
            return np.memmap(self._path(file, f"{row}-{column}"), dtype, mode="r", shape=shape)
        return None

    def keep(self, file: str, row: int, column: int, pixels: Pixels) -> None:
        """Keep a block; where the disk fills it is left.

        Args:
            file: what it is called and its version: of a file that was replaced nothing is kept.
            row: row of the block.
            column: column of the block.
            pixels: ``(y, x)``, in the file's type.
        """
        path = self._path(file, f"{row}-{column}")
        try:
            if not self._make_room(pixels.nbytes):
                return
            _write(pixels, path)
        except OSError:
            return
        with self._changing:
            self._mine.append((path, pixels.nbytes))
            self._size += pixels.nbytes

    def _make_room(self, n_bytes: int) -> bool:
        """Remove the oldest blocks of this worker until one more fits; False if it cannot."""
        with self._changing:
            while not (fits := self._fits(n_bytes)) and self._mine:
                oldest, size = self._mine.popleft()
                self._size -= size
                with suppress(OSError):
                    oldest.unlink()
        return fits

    def _fits(self, n_bytes: int) -> bool:
        free = shutil.disk_usage(self._folder).free
        return self._size + n_bytes <= self._limit and free - n_bytes >= self._least_free

    def _path(self, file: str, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(file.encode()).hexdigest()[:32]}-{name}"


def _write(pixels: Pixels, path: Path) -> None:
    """Write a block so that others see all of it or nothing."""
    number, half = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(number, "wb") as content:
            content.write(pixels.tobytes())
        Path(half).replace(path)
    except OSError:
        Path(half).unlink(missing_ok=True)
        raise
