"""Ledger: which tiles of a map are done, from what, and the checksum of each."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import LedgerDamagedWarning, StorageError
from toolkit.maps.tile_files import TileFile, rebuilt_rows

VERSION = 1
"""Layout of the database; one of another version is set aside and made anew from the tiles."""
DAMAGED = "ledger.damaged"
SCHEMA = """
CREATE TABLE IF NOT EXISTS tiles (
    name TEXT PRIMARY KEY, content_key TEXT NOT NULL, sha256 TEXT NOT NULL, report TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deaths (name TEXT PRIMARY KEY, content_key TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A tile that is done."""

    name: str
    """Name of the tile."""
    content_key: str
    """Digest of all that its pixels depend on."""
    sha256: str
    """Of its file."""
    report: str
    """What the worker told of it, JSON."""

    @property
    def file(self) -> TileFile:
        """File that holds it."""
        return TileFile(name=self.name, content_key=self.content_key, sha256=self.sha256)


class Ledger:
    """The rows of one output folder; one process writes them, and a row is on the disk when it is told."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Take an open database of the right layout."""
        self._connection = connection

    def rows(self) -> Iterator[Row]:
        """Yield every tile that is done, by name."""
        for name, key, sha256, report in self._connection.execute(
            "SELECT name, content_key, sha256, report FROM tiles ORDER BY name"
        ):
            yield Row(name=name, content_key=key, sha256=sha256, report=report)

    def commit(self, row: Row) -> None:
        """Write that a tile is done; its file must be on the disk under its final name.

        Raises:
            StorageError: the row cannot be written.
        """
        with _told(), self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?)",
                (row.name, row.content_key, row.sha256, row.report),
            )
            self._connection.execute("DELETE FROM deaths WHERE name = ?", (row.name,))

    def forget(self, name: str) -> None:
        """Remove the row of a tile whose file is gone or damaged."""
        with _told(), self._connection:
            self._connection.execute("DELETE FROM tiles WHERE name = ?", (name,))

    def quarantine(self, name: str, content_key: str) -> None:
        """Write that workers died on a tile, so that the next run knows."""
        with _told(), self._connection:
            self._connection.execute("INSERT OR REPLACE INTO deaths VALUES (?, ?)", (name, content_key))

    def quarantined(self) -> dict[str, str]:
        """Return tile -> content key of those on which workers died."""
        return dict(self._connection.execute("SELECT name, content_key FROM deaths ORDER BY name"))


@contextmanager
def open_ledger(path: Path) -> Iterator[Ledger]:
    """Open the ledger of a folder, and make it if it is not there.

    A damaged one is set aside and made anew from the tiles, whose names tell content key and checksum.

    Args:
        path: database; the tiles lie in the folder ``tiles`` beside it.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        connection = _opened(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise _unwritable(error) from error
        aside = _set_aside(path)
        msg = (
            f"The ledger {str(path)!r} is damaged ({error}); it was set aside as {aside.name!r} and made "
            "anew from the tiles beside it. Tiles whose checksum does not hold are made again."
        )
        warnings.warn(msg, LedgerDamagedWarning, stacklevel=3)
        connection = _opened(path)
    try:
        ledger = Ledger(connection)
        if next(ledger.rows(), None) is None:  # new, or lost
            for row in rebuilt_rows(path.parent / "tiles"):
                ledger.commit(Row(**row))
        yield ledger
    finally:
        with suppress(sqlite3.Error):
            connection.close()


def _opened(path: Path) -> sqlite3.Connection:
    """Open and check the database.

    The lock is exclusive: then SQLite's log needs no shared memory, which network file systems lack.
    """
    connection = sqlite3.connect(path, isolation_level="IMMEDIATE", timeout=5)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        (found,) = connection.execute("PRAGMA quick_check").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        if version not in (0, VERSION):
            msg = f"its layout is {version}, not {VERSION}"
            raise sqlite3.DatabaseError(msg)
        connection.executescript(SCHEMA)
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("SELECT name, content_key, sha256, report FROM tiles LIMIT 1")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _set_aside(path: Path) -> Path:
    """Rename a damaged database, and its log, to a name that is free."""
    number = next(n for n in range(1, 1_000) if not path.with_name(f"{DAMAGED}-{n}.sqlite").exists())
    aside = path.with_name(f"{DAMAGED}-{number}.sqlite")
    path.replace(aside)
    for log in ("-wal", "-shm"):
        path.with_name(path.name + log).unlink(missing_ok=True)
    return aside


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _unwritable(error) from error


def _unwritable(error: Exception) -> StorageError:
    return StorageError(
        f"The ledger of the map cannot be written ({error}). Check free space and permissions, then run "
        "again: tiles that are done stay."
    )
