"""The folder of a run: one run at a time, its request remembered, its tiles kept."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.folder import prepare, write_json
from pipelines.scratch import remove_abandoned
from toolkit.errors import ChangedRequestError, StorageError
from toolkit.maps.lock import locked
from toolkit.storage import make_folder

RECORD = "run.json"
"""What the map was made from; written last: a map is whole when it is there."""
LOCK = "lock"
HALF_WRITTEN = re.compile(r"\..+\.\d+\.part(\..+)?")
"""Temporary names that :func:`toolkit.storage.replacing` gives."""
OURS = re.compile(r"\.(run|plan|items|aoi)\.\d+\.part\.(json|yaml|geojson)")
"""Those of files that are written in the output folder itself, where the user may have files too."""
DIGEST = re.compile(r"[0-9a-f]{64}")
"""Of files that count by what they hold."""
STATE = ".cropglobe"
"""Folder inside the output folder: what a later run goes on from."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run keeps what it goes on from after an interruption."""

    out: Path
    """Output folder."""

    @property
    def state(self) -> Path:
        """Frozen items and choices, the ledger, the tiles."""
        return self.out.resolve() / STATE

    @property
    def tiles(self) -> Path:
        """Finished tiles."""
        return self.state / "tiles"

    @property
    def ledger(self) -> Path:
        """Which tiles are finished."""
        return self.state / "ledger.sqlite"

    @property
    def choices(self) -> Path:
        """How the tiles are cut, as the memory of the first machine allowed."""
        return self.state / "choices.json"

    @property
    def engines(self) -> Path:
        """What the trials of engines saw and chose."""
        return self.state / "engines.json"

    @property
    def inputs(self) -> Path:
        """What was settled of the scenes."""
        return self.state / "inputs.json"

    @property
    def request(self) -> Path:
        """What was asked for."""
        return self.state / "request.json"

    def remember(self, asked: Mapping[str, Any]) -> None:
        """Write what was asked for, after all that belongs to it is written."""
        write_json(dict(asked), self.request)

    def remembers(self, asked: Mapping[str, Any], *, allow_change: bool) -> bool:
        """Return whether the folder holds a run of this request that can be gone on with.

        Where nothing was made yet, as memory did not suffice for instance, any request may follow.

        Args:
            asked: plain values: what the result depends on.
            allow_change: start anew from another request, instead of refusing.

        Raises:
            ChangedRequestError: it holds one of another request; names what differs.
        """
        earlier = read_json(self.request)
        if earlier is None:
            return False
        wanted = json.loads(json.dumps(dict(asked), default=str))
        changed = [key for key in {**earlier, **wanted} if earlier.get(key) != wanted.get(key)]
        made = (self.out / RECORD).exists() or any(self.tiles.iterdir())
        if changed and made and not allow_change:
            told = "; ".join(_difference(key, earlier.get(key), wanted.get(key)) for key in changed)
            msg = (
                f"{str(self.out)!r} holds a map of another request ({told}). Give another --out, or "
                "--allow-change to make it anew there: tiles that stay the same are kept."
            )
            raise ChangedRequestError(msg)
        return not changed


def _difference(key: str, then: Any, now: Any) -> str:
    """Say what differs between two requests; what is known by its digest has no value to show."""
    if any(isinstance(value, str) and DIGEST.fullmatch(value) for value in (then, now)):
        return f"{key}: another"
    before, after = ("not given" if value is None else repr(value) for value in (then, now))
    return f"{key}: {before} then, {after} now"


@contextmanager
def run_folder(out: Path) -> Iterator[RunFolder]:
    """Make an output folder, and hold its lock: one run writes to it at a time.

    Args:
        out: output folder.

    Raises:
        FolderInUseError: another run writes to it.
        StorageError: it cannot be written.
    """
    folder = RunFolder(prepare(out))
    make_folder(folder.state)
    with locked(folder.state / LOCK):
        _remove_leftovers(folder)
        make_folder(folder.tiles)
        try:
            yield folder
        finally:
            if not folder.request.exists() and not any(folder.tiles.iterdir()):
                _remove_all_but_lock(folder)


def _remove_all_but_lock(folder: RunFolder) -> None:
    """Remove a state that nothing can be gone on from; a lock that is removed could be held twice."""
    for path in folder.state.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK:
            path.unlink(missing_ok=True)


def _remove_leftovers(folder: RunFolder) -> None:
    """Remove what a killed run left half-written; nobody else writes here while the lock is held."""
    for place, half_written in ((folder.out, OURS), (folder.state, HALF_WRITTEN)):
        remove_abandoned(place)
        for path in place.glob(".*"):
            if path.is_file() and half_written.fullmatch(path.name):
                path.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return what :func:`pipelines.folder.write_json` wrote, None if it is not there or damaged.

    Raises:
        StorageError: the file is there and may not be read.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        msg = f"{str(path)!r} cannot be read ({error.strerror}). Check permissions."
        raise StorageError(msg) from error
    return values if isinstance(values, dict) else None
