"""Tiles through a Dask cluster: a few per worker, neighbours to one, none lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

from distributed import Client, Future, KilledWorker, as_completed
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError

from toolkit.errors import CropglobeError, RemoteError, WorkerError
from toolkit.maps.crew import Crew
from toolkit.maps.lanes import Lanes, assigned
from toolkit.packages import SAME_EVERYWHERE, Versions, check_same, installed_versions

TASKS_PER_WORKER = 4
"""Tiles handed to the cluster ahead of need; the rest wait here, so that the graph stays small."""
LOOK_S = 5.0
"""How often is looked which workers there are."""
POLL_S = 0.01
FETCH_S = 2.0
"""First wait for what a tile that is done gave; if it is not lost, the next wait is twice as long."""
SCHEDULER_LOST = (CancelledError, ClosedClientError, CommClosedError, TimeoutError)
"""What a client raises when its scheduler is gone."""
LOST = (
    "The Dask scheduler was lost while tiles were made. Start it again, or leave it out to work on this "
    "machine, and run the same command again: tiles that are done stay."
)
_ONE_TILE = threading.Lock()
"""Held by the tile that a process makes."""

Place = TypeVar("Place")
Report = TypeVar("Report")


def run_tiles(
    tiles: Iterable[Place],
    work: Callable[[Place], Report],
    *,
    client: Client,
    instead: Callable[[Place], Report] | None = None,
    near: Callable[[Place], Hashable] = id,
) -> Iterator[Report]:
    """Work on tiles on a cluster and yield what each gives, as they finish.

    A tile on which a worker died is tried once more after all others, alone, so that no tile is blamed for
    what its neighbour on the same worker did. Workers may come and go.

    Args:
        tiles: tiles, or what stands for them; those of a group after each other.
        work: works on one tile; sent to the workers, so it must be picklable.
        client: Dask client.
        instead: gives the report of a tile on which workers died twice; by default that is an error.
        near: gives the same for a group of tiles that share blocks of the files: one worker makes them, as
            long as no other is idle, so that it decodes those blocks once.

    Raises:
        WorkerError: workers died on a tile twice.
        RemoteError: the scheduler was lost, or had no worker for long.
        Exception: what ``work`` raised for the first tile that failed; tiles not yet started are cancelled.
    """
    suspects: list[Place] = []
    yield from _in_window(Lanes(tiles, near), work, client, suspects)
    for place in suspects:
        again: list[Place] = []
        yield from _in_window(Lanes([place], near), work, client, again)
        if again and instead is None:
            msg = (
                "The workers died on one tile twice, most often for lack of memory. Use fewer workers "
                "(--workers) or smaller tiles (--tile-size)."
            )
            raise WorkerError(msg)
        if again and instead is not None:
            yield instead(place)


def _in_window(
    waiting: Lanes[Place], work: Callable[[Place], Report], client: Client, deaths: list[Place]
) -> Iterator[Report]:
    """Work on tiles, a few per worker in the cluster's hands; note those on which workers died."""
    window = _Window(client, work, waiting)
    try:
        with _lost_is_named():
            window.look()
        while window.started:
            with _lost_is_named():
                future, task = window.next_finished()
                try:
                    reports = window.fetched(future, task)
                except KilledWorker:
                    reports = []
                    deaths.append(task.place)
            yield from reports
            with _lost_is_named():
                window.start(task.lane)
    finally:
        with suppress(*SCHEDULER_LOST):
            client.cancel(list(window.started), force=True)


@dataclass(frozen=True, slots=True)
class _Task(Generic[Place]):
    """A tile in the cluster's hands."""

    place: Place
    lane: int
    home: str | None
    """Worker that it was meant for."""


class _Window(Generic[Place, Report]):
    """The tiles in the cluster's hands."""

    def __init__(self, client: Client, work: Callable[[Place], Report], waiting: Lanes[Place]) -> None:
        self.started: dict[Future[Report], _Task[Place]] = {}
        self._client, self._work, self._waiting = client, work, waiting
        self._packages = installed_versions(*SAME_EVERYWHERE)
        self._finished = as_completed()
        self._homes: list[str] = []
        self._there: frozenset[str] = frozenset()
        self._crew, self._looked = Crew(client), 0.0

    def start(self, lane: int) -> None:
        """Start the next tile of a lane, if one waits."""
        place = self._waiting.take(lane)
        if place is not None:
            self._submit(place, lane)

    def next_finished(self) -> tuple[Future[Report], _Task[Place]]:
        """Wait for a tile that is done, or failed."""
        while True:
            while not self._finished.has_ready():
                if time.monotonic() > self._looked + LOOK_S:
                    self.look()
                time.sleep(POLL_S)
            future = next(self._finished)
            if future in self.started:  # else it was started again
                return future, self.started.pop(future)

    def fetched(self, future: Future[Report], task: _Task[Place]) -> list[Report]:
        """Return what a tile gave; nothing if that was lost with its worker, then it is started again."""
        wait = FETCH_S
        while True:
            try:
                return [future.result(timeout=wait)]
            except TimeoutError:
                if future.status == "error":  # raised by the work itself
                    raise
            except ImportError as error:
                msg = f"A worker lacks a package ({error}). Install the same environment on all of them."
                raise WorkerError(msg) from error
            if future.key not in self._held([future]):
                self._start_again(future, task)
                return []
            wait *= 2

    def look(self) -> None:
        """See which workers there are: a lane for each, and no tile waits for one that is gone."""
        known = len(self._homes)
        self._there = self._crew.look()
        self._homes = assigned(self._homes, sorted(self._there))
        self._looked = time.monotonic()
        for lane in range(known, max(1, len(self._homes))):
            for _ in range(TASKS_PER_WORKER):
                self.start(lane)
        if self._there:
            self._start_stuck_again()

    def _start_stuck_again(self) -> None:
        """Start tiles again that were meant for a worker that is gone, and that no other has got."""
        waiting = {future: task.home for future, task in self.started.items() if not future.done()}
        gone = [future for future, home in waiting.items() if home is not None and home not in self._there]
        held = self._held(gone) if gone else set()
        for future in gone:
            if future.key not in held:
                self._start_again(future, self.started.pop(future))

    def _held(self, futures: Sequence[Future[Report]]) -> set[object]:
        """Return the keys of what workers compute, or have computed and still hold."""
        at_work = {key for keys in self._client.processing().values() for key in keys}
        return at_work | {key for key, holders in self._client.who_has(futures).items() if holders}

    def _start_again(self, future: Future[Report], task: _Task[Place]) -> None:
        """Start a tile again, on any worker.

        Dask (2026.8) leaves a task with a preferred worker in the state "no-worker" for ever, if there was no
        worker at all when it came, or came back as its result was lost with a worker. So a map waited for
        ever after its only worker was killed, and after the 71st of a hundred random kills.
        """
        self._client.cancel([future], force=True)
        self._submit(task.place, task.lane)

    def _submit(self, place: Place, lane: int) -> None:
        home = self._homes[lane] if lane < len(self._homes) else None
        home = home if home in self._there else None
        wish = {} if home is None else {"workers": [home], "allow_other_workers": True}
        future = self._client.submit(_attempt, self._work, place, self._packages, pure=False, **wish)
        self.started[future] = _Task(place, lane, home)
        self._finished.add(future)


@contextmanager
def _lost_is_named() -> Iterator[None]:
    try:
        yield
    except SCHEDULER_LOST as error:
        raise RemoteError(LOST) from error


def _attempt(work: Callable[[Place], Report], tile: Place, packages: Versions) -> Report:
    """Work on a tile; our own errors travel without their cause, which GDAL's errors make unpicklable.

    Workers with several threads make one tile after the other, too: engines have one buffer for their input,
    and memory is planned for one tile.
    """
    try:
        check_same(packages)  # a worker that came late was asked by nobody
        with _ONE_TILE:
            return work(tile)
    except CropglobeError as error:
        failure = copy(error)
    raise failure
