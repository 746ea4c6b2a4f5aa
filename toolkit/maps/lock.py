"""One run in one output folder: a lock that the system gives back by itself."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from toolkit.errors import FolderInUseError, StorageError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder, and tell in it who does.

    The kernel gives it back when the process ends, killed or not: no lock is ever stale. It holds between
    the machines that share a folder where their file system passes locks on, as NFS 4 does.

    Args:
        path: lock file, in an existing folder; it stays, empty of meaning, when the lock is given back.

    Raises:
        FolderInUseError: another run holds it; names process, machine and since when.
        StorageError: it cannot be written.
    """
    try:
        file = path.open("a+b", buffering=0)
    except OSError as error:
        msg = f"{str(path)!r} cannot be written ({error.strerror}). Check permissions, or give another --out."
        raise StorageError(msg) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            msg = (
                f"Another run writes to {str(path.parent.parent)!r}: {_told(file.read())}. Wait for it, stop "
                "it, or give another --out."
            )
            raise FolderInUseError(msg) from None
        except OSError as error:
            msg = f"{str(path)!r} cannot be locked ({error.strerror}). Give an --out on another file system."
            raise StorageError(msg) from error
        with suppress(OSError):  # on a full disk nobody is named: what fills it can still be removed
            file.truncate(0)
            file.write(json.dumps(_holder()).encode())
        try:
            yield
        finally:
            with suppress(OSError):
                file.truncate(0)


def _holder() -> dict[str, str | int]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"process": os.getpid(), "machine": socket.gethostname(), "since": since}


def _told(text: bytes) -> str:
    """Return who holds a lock, in words."""
    try:
        holder = json.loads(text)
        return f"process {holder['process']} on {holder['machine']}, since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # it is being written just now, or could not be
        return "one that does not tell its name"
