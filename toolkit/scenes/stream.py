"""A place in a remote file: what libraries that want a file object read from."""

from __future__ import annotations

import io
from typing import Any

from toolkit.scenes.ranges import RangeFile


class RangeStream(io.RawIOBase):
    """File object over a remote file; several may be open at once."""

    def __init__(self, file: RangeFile) -> None:
        """Start at the first byte."""
        super().__init__()
        self._file, self._place = file, 0

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether it can be read anywhere."""
        return True

    def tell(self) -> int:
        """Place, bytes."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place}.get(whence)
        self._place = max(0, (self._file.size() if start is None else start) + offset)
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Read bytes from the place on; none at the end and after a failure."""
        stop = self._file.size() if size < 0 else self._place + size
        found = self._file.read(self._place, stop)
        self._place += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer, as HDF5 asks for them; returns how many."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)
