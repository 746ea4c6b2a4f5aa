"""One file onto the disk: taken up where it broke off, checked before it has its name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from toolkit.catalog.hub import Hub, HubFile, HubListing, refusal
from toolkit.catalog.redaction import redact
from toolkit.catalog.transport import BUSY, TROUBLE, Answer, send
from toolkit.errors import RemoteError, StorageError

CHUNK = 1 << 16
"""Bytes read at once; so many at most are lost when a connection breaks off."""
Progress = Callable[[int], None]
"""Told how many bytes of a file are on the disk."""


class BrokenOffError(RemoteError):
    """A connection ended before the file did; asking again goes on from there."""


def fetch_file(
    source: Hub,
    listing: HubListing,
    file: HubFile,
    folder: Path,
    *,
    replaces: str | None = None,
    progress: Progress | None = None,
) -> bool:
    """Fetch one file of a data set, unless it is there already.

    What arrived of it is kept beside it as ``.NAME.CHECKSUM.part``, so that a later run goes on from there.

    Args:
        source: the Hub.
        listing: the data set.
        file: one of its files.
        folder: folder of the data set; the file gets its path in it.
        replaces: checksum of an older version that may be replaced; nothing else is.
        progress: told the bytes on the disk.

    Returns:
        Whether anything was fetched; False if the file was there.

    Raises:
        RemoteError: it does not arrive, or not as listed (nothing of it is kept then).
        StorageError: the disk refuses, or another file of that name is there.
        UnsafeReferenceError: a redirect leads to a host that is not allowed.
    """
    target = folder / file.path
    try:
        if target.exists() and not _is_older(file, target, replaces):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(file, folder)
        taken_up = part.exists()
        _complete(source, listing, file, part, progress or _untold)
        if taken_up and not _as_listed(file, part):  # what an earlier run left may be at fault
            part.unlink()
            _complete(source, listing, file, part, progress or _untold)
        _check_listed(listing, file, part)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)
    except OSError as error:
        msg = (
            f"{str(target)!r} cannot be written ({error}). Free space or choose another folder, and run "
            "again: what has arrived is kept."
        )
        raise StorageError(msg) from error
    return True


def part_of(file: HubFile, folder: Path) -> Path:
    """Return where a file grows; content of another checksum never grows there."""
    target = folder / file.path
    return target.with_name(f".{target.name}.{str(file.sha256 or file.git_sha1)[:16]}.part")


def bytes_missing(file: HubFile, folder: Path) -> int:
    """Return how many bytes of a file are still to come."""
    if (folder / file.path).exists():
        return 0
    part = part_of(file, folder)
    return max(0, file.size - (part.stat().st_size if part.exists() else 0))


def _is_older(file: HubFile, target: Path, replaces: str | None) -> bool:
    """Tell an older version from the file as listed; raise if another file has the name."""
    wanted, found = file.digest(target) if target.is_file() else ("", "none")
    if found in (wanted, replaces):
        return found != wanted
    msg = (
        f"{str(target)!r} exists and is not the file of the hub. Move it away, or choose another folder: "
        "nothing is overwritten."
    )
    raise StorageError(msg)


def _as_listed(file: HubFile, path: Path) -> bool:
    wanted, found = file.digest(path)
    return wanted == found


def _check_listed(listing: HubListing, file: HubFile, part: Path) -> None:
    """Remove what arrived, and raise, if it is not what the hub lists."""
    wanted, found = file.digest(part)
    if wanted != found:
        part.unlink()
        msg = (
            f"{file.path} of {listing.repository} arrived damaged: its checksum is {found}, listed is "
            f"{wanted}. It was removed; run again. If that repeats, something between you and the hub "
            "changes files."
        )
        raise RemoteError(msg)


def _complete(source: Hub, listing: HubListing, file: HubFile, part: Path, progress: Progress) -> None:
    """Ask for what is missing until all of it is there."""
    failures = 0
    while (have := _size(part)) != file.size:
        retry_after = None
        try:
            retry_after, trouble = _ask(source, listing, file, part, progress)
        except BrokenOffError as error:
            trouble = str(error)
        now = _size(part) or 0
        failures = 0 if now > (have or 0) else failures + 1
        if failures == source.patience.attempts:
            msg = (
                f"{file.path} of {listing.repository} does not arrive ({trouble}; {now} of {file.size} bytes "
                f"are there, asked {failures} times without more). Run again to go on from there."
            )
            raise RemoteError(msg)
        if _size(part) != file.size:
            source.patience.wait(max(failures, 1), retry_after)


def _ask(
    source: Hub, listing: HubListing, file: HubFile, part: Path, progress: Progress
) -> tuple[str | None, str]:
    """Ask once for what is missing, and append it.

    Returns:
        What the server says of when to ask again, and what was wrong, if anything.
    """
    have = _size(part) or 0
    headers = {**source.headers, **({"Range": f"bytes={have}-"} if have else {})}
    try:
        answer = send(source.guard, "GET", source.address(listing, file), headers=headers)
    except TROUBLE as error:
        raise BrokenOffError(redact(str(error))) from None
    try:
        host = urlsplit(answer.url).hostname
        trouble = f"{host} answers {answer.status}"
        whole = answer.status == 200
        if whole or (answer.status == 206 and _starts_at(answer, have, file.size)):
            _append(answer, part, 0 if whole else have, file, progress)
        elif answer.status in (206, 416):  # not what was asked for: from the start again
            part.unlink(missing_ok=True)
        elif answer.status not in BUSY and not (answer.status == 403 and host != source.host):
            raise refusal(answer.status, answer.headers, listing.repository)
        # A 403 of a host that the hub led to: its signature is refused; the next one may come from another.
        return answer.headers.get("Retry-After"), trouble
    finally:
        answer.close()


def _starts_at(answer: Answer, have: int, size: int) -> bool:
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    return found is not None and (int(found[1]), int(found[2])) == (have, size)


def _append(answer: Answer, part: Path, have: int, file: HubFile, progress: Progress) -> None:
    """Write the body behind what is there; never more than the file has."""
    with part.open("ab") as out:
        out.truncate(have)
        while True:
            try:
                chunk = answer.response.read(CHUNK, decode_content=False)
            except TROUBLE as error:
                raise BrokenOffError(redact(str(error))) from None
            if not chunk:
                return
            have += len(chunk)
            if have > file.size:
                out.truncate(0)
                msg = f"more than the {file.size} bytes listed arrive"
                raise BrokenOffError(msg)
            out.write(chunk)
            progress(have)


def _size(part: Path) -> int | None:
    """Return the bytes there, None if there is no file."""
    return part.stat().st_size if part.exists() else None


def _untold(_: int) -> None:
    """Tell nobody."""
