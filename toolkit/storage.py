"""Files and folders that appear complete under their name, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
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
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def publish_folder(finished: Path, path: Path, *, mark: str, holding: str = "") -> Path:
    """Give a finished folder its final name, where only a folder of the same kind is replaced.

    Args:
        finished: complete folder on the same disk.
        path: final name, in an existing folder.
        mark: file by which a folder of the same kind is known; nothing else is ever overwritten.
        holding: text that this file holds.

    Returns:
        The final name.

    Raises:
        StorageError: the name is taken, or the disk refuses.
    """
    check_free(path, mark=mark, holding=holding, overwrite=True)
    try:
        _flush(finished)
        _take_name(finished, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def check_free(path: Path, *, mark: str, holding: str = "", overwrite: bool) -> None:
    """Raise unless a folder may be written: new, empty, or of the same kind and free to overwrite.

    Args:
        path: name to write to.
        mark: file by which a folder of the same kind is known.
        holding: text that this file holds.
        overwrite: whether a folder of the same kind may be replaced.

    Raises:
        StorageError: the name is taken.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        msg = f"{str(path)!r} exists already. Choose another name, or allow it to be overwritten."
        raise StorageError(msg)
    file = path / mark
    if not (file.is_file() and holding in file.read_text(encoding="utf-8", errors="replace")):
        wanted = f"{mark!r} with {holding!r}" if holding else repr(mark)
        msg = (
            f"{str(path)!r} is not overwritten: it holds no {wanted}, so it is something else. "
            "Choose another name, or remove it yourself."
        )
        raise StorageError(msg)


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{str(path)!r} cannot be written ({error}). "
        "What stood there before is unchanged; free space or choose a folder that you may write to."
    )


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
