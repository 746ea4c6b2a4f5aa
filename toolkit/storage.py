"""Files that appear complete under their name, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from toolkit.errors import StorageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside a file; on success it takes the file's place, else it is removed.

    Args:
        path: final name, in an existing folder.

    Raises:
        StorageError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:  # rasterio's errors of reading and writing are OSErrors too
        msg = f"{str(path)!r} cannot be written ({error}). Check free space and permissions, then run again."
        raise StorageError(msg) from error
    finally:
        for leftover in path.parent.glob(f"{temporary.stem}*") if path.parent.is_dir() else ():
            with suppress(OSError):
                leftover.unlink()


def make_folder(path: Path) -> Path:
    """Make a folder and its parents, if they are not there.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"The folder {str(path)!r} cannot be written ({error.strerror}). Choose another."
        raise StorageError(msg) from error
    return path


def write_text(text: str, path: Path) -> Path:
    """Write a text file in one step.

    Raises:
        StorageError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
