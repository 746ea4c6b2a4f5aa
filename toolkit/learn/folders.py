"""Folders that appear complete under their name, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import StorageError


@contextmanager
def whole_folder(path: Path, *, mark: str, overwrite: bool) -> Iterator[Path]:
    """Yield an empty sibling folder that takes its final name when the block ends well.

    Args:
        path: final name; missing parents are made.
        mark: file by which a folder of the same kind is known; nothing else is ever overwritten.
        overwrite: replace a folder of the same kind.

    Yields:
        Folder to write to. It is removed if the block raises.

    Raises:
        StorageError: the name is taken, or the disk refuses.
    """
    check_free(path, mark=mark, overwrite=overwrite)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        yield part
        _flush(part)
        _take_name(part, path)
    except OSError as error:
        msg = (
            f"{str(path)!r} cannot be written ({error}). "
            "Nothing was left there; free space or choose a folder that you may write to."
        )
        raise StorageError(msg) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_free(path: Path, *, mark: str, overwrite: bool) -> None:
    """Raise unless a folder may be written: new, empty, or of the same kind and free to overwrite.

    Raises:
        StorageError: the name is taken.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        msg = f"{str(path)!r} exists already. Choose another name, or allow it to be overwritten."
        raise StorageError(msg)
    if not (path / mark).is_file():
        msg = (
            f"{str(path)!r} is not overwritten: it holds no {mark!r}, so it is something else. "
            "Choose another name, or remove it yourself."
        )
        raise StorageError(msg)


def _flush(folder: Path) -> None:
    """Bring every file to the disk before it gets its name (a crash must not leave empty ones)."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())


def _take_name(part: Path, path: Path) -> None:
    """Rename; a folder that is in the way is moved aside first, and back if that fails."""
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
    if not path.exists():
        part.rename(path)
        return
    aside = part.with_suffix(".old")
    path.rename(aside)
    try:
        part.rename(path)
    except OSError:
        aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)
