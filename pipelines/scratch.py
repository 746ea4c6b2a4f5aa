"""Folders for unfinished work: gone when it ends, or when the next begins beside it."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from toolkit.errors import FolderInUseError, StorageError
from toolkit.maps.lock import locked

SCRATCH = ".work-"
"""First letters of these folders."""
NEW = ".new-"
"""The same until the folder is locked, a moment later."""
NAME = re.compile(r"\.work-[0-9a-f]{8}")
LOCK = ".lock"
"""File in each, locked while the work goes on."""


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Give a folder inside another that is removed at the end, whatever happens.

    Its name is new each time: a task that ends late can never write into a later run's work.

    Raises:
        StorageError: it cannot be written.
    """
    remove_abandoned(folder)
    name = secrets.token_hex(4)
    new, work = folder / f"{NEW}{name}", folder / f"{SCRATCH}{name}"
    try:
        new.mkdir()
    except OSError as error:
        msg = f"{str(work)!r} cannot be written ({error}). Check free space and permissions."
        raise StorageError(msg) from error
    try:
        with ExitStack() as held:
            with suppress(
                StorageError
            ):  # some file systems have no locks: then nobody can tell it is abandoned
                held.enter_context(locked(new / LOCK))
            new.rename(work)
            yield work
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def room_for_blocks(folder: Path, *, elsewhere: bool) -> Iterator[Path | None]:
    """Give a folder in which the workers of this machine keep decoded blocks for one another.

    Args:
        folder: where it is made, and removed at the end.
        elsewhere: whether workers are on other machines: each then has a folder of its own, and this is None.
    """
    if elsewhere:
        yield None
        return
    with scratch(folder) as room:
        yield room.resolve()


def remove_abandoned(folder: Path) -> None:
    """Remove what work that was killed left in a folder; what a process still works in is locked, and stays.

    Args:
        folder: the folder in which :func:`scratch` was called.
    """
    for work in folder.glob(f"{SCRATCH}*"):
        if not (NAME.fullmatch(work.name) and (work / LOCK).exists()):
            continue  # a folder of the user's
        try:
            with locked(work / LOCK):
                pass  # whoever locked it is gone
        except (FolderInUseError, StorageError):
            continue
        shutil.rmtree(work, ignore_errors=True)
