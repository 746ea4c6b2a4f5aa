"""The folder of a map as the workers see it: the same one, and free to write."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

from distributed import Client

from toolkit.errors import StorageError

NAMED = 3
"""Workers named in a message."""
UNSEEN = "unseen"


def check_shared_folder(client: Client, folder: Path, *, written: bool) -> None:
    """Raise unless every worker sees a folder of this process, and may write in it.

    Without this a worker with a folder of its own under the same name would keep its tiles to itself.

    Args:
        client: its workers are asked.
        folder: existing folder that this process may write to; an absolute path.
        written: whether workers store files in it; else it is enough that they can read.

    Raises:
        StorageError: a worker has no such folder, another one, or may not write; names worker and folder.
    """
    mark = folder / f".{secrets.token_hex(8)}.part"  # a new name: no file system remembers that it is missing
    try:
        mark.touch()
        told = client.run(trouble_with, str(mark), written=written, on_error="return")
    except OSError as error:
        msg = f"{str(folder)!r} cannot be written ({error.strerror}). Check free space and permissions."
        raise StorageError(msg) from error
    finally:
        mark.unlink(missing_ok=True)
    # A worker that has just died answers with an exception; another does its work.
    unseen = [worker for worker, trouble in told.items() if trouble == UNSEEN]
    if unseen:
        msg = (
            f"Workers do not see the folder {str(folder)!r} of the process that started the map: "
            f"{_named(unseen)}. "
            "Give an --out on a disk that all machines share under one name: scenes found and tiles are "
            "exchanged there."
        )
        raise StorageError(msg)
    refused = [f"{worker} ({trouble})" for worker, trouble in told.items() if isinstance(trouble, str)]
    if refused:
        msg = (
            f"Workers cannot write to {str(folder)!r}: {_named(refused)}. Let them, or give --results "
            "returned: then they give tiles back to be stored."
        )
        raise StorageError(msg)


def trouble_with(mark: str, *, written: bool) -> str | None:
    """Return what keeps a worker from a folder, None if nothing does (runs on a worker).

    Args:
        mark: file that the process which makes the map has just put there.
        written: whether files are to be written.
    """
    try:
        Path(mark).stat()
    except OSError:
        return UNSEEN
    try:
        if written:
            with tempfile.TemporaryFile(dir=Path(mark).parent):
                pass
    except OSError as error:
        return error.strerror or str(error)
    return None


def _named(workers: list[str]) -> str:
    more = f" and {len(workers) - NAMED} more" if len(workers) > NAMED else ""
    return f"{', '.join(workers[:NAMED])}{more}"
