"""Processes of a map that are killed at random moments: workers, and the process that started them."""

from __future__ import annotations

import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import psutil

from tests.pipelines.far_scenes import POLL_S, Run, tiles_begun
from tests.servers.ranges import RangeServer

KILLED = -signal.SIGKILL
LONGEST_ORPHAN_S = 30
WHOLE_RUN = 0.2
"""Share of the moments that are drawn from a whole run, its start and its end among them."""
SOON_S = 1.0
"""The other moments come so long, on average, after the first tile that is begun since the last kill."""


@dataclass
class Tally:
    """What the kills came to."""

    kills: Counter[str] = field(default_factory=Counter)
    """By victim: ``main``, ``main, workers frozen``, ``worker``."""
    ends: Counter[int] = field(default_factory=Counter)
    """Exit codes of runs."""
    maps: int = 0
    begun_again: int = 0
    """Tiles begun beyond one time each."""
    longest_orphan_s: float = 0.0
    """From the death of a main process to that of its last worker."""

    @property
    def n_kills(self):
        return sum(self.kills.values())


@dataclass
class Killer:
    """Draws victims and moments."""

    draw: np.random.Generator
    server: RangeServer
    tally: Tally = field(default_factory=Tally)
    frozen: list[psutil.Process] = field(default_factory=list)
    """Workers of a main process that is dead, stopped until the next run is under way."""

    def disturb(self, run: Run, usual_s: float, most: int) -> int:
        """Kill some workers of a run and then its main process, unless it is done before; kills counted."""
        kills = 0
        for _ in range(min(most - 1, int(self.draw.integers(0, 5)))):
            self._wait(run, usual_s)
            kills += self._kill_worker(run)
        self._wait(run, usual_s)
        return kills + self._kill_main(run)

    def _wait(self, run: Run, usual_s: float) -> None:
        """Wait for a random moment: of the whole run, or while it makes tiles."""
        if self.draw.random() < WHOLE_RUN:
            moment = time.monotonic() + self.draw.uniform(0, usual_s)
        else:
            before = tiles_begun(self.server)
            run.wait_until(lambda: tiles_begun(self.server) > before)
            moment = time.monotonic() + self.draw.exponential(SOON_S)
        run.wait_until(lambda: time.monotonic() > moment)

    def _kill_worker(self, run: Run) -> int:
        workers = run.workers()
        if run.over or not workers:
            return 0
        try:
            workers[int(self.draw.integers(len(workers)))].kill()
        except psutil.NoSuchProcess:
            return 0
        self.tally.kills["worker"] += 1
        return 1

    def _kill_main(self, run: Run) -> int:
        workers = run.workers()
        freeze = self.draw.random() < 0.25 and not self.frozen
        if freeze:
            self.frozen = [one for one in workers if _alive(one)]
            for one in self.frozen:
                one.suspend()
        if run.over:
            self.thaw()
            return 0
        run.process.kill()
        if run.wait() != KILLED:  # it was done in that very moment
            self.thaw()
            return 0
        if not freeze:
            self.watch_orphans(workers)
        self.tally.kills["main, workers frozen" if freeze else "main"] += 1
        return 1

    def thaw(self):
        """Let frozen workers go on: they must end by themselves."""
        for one in self.frozen:
            with suppress(psutil.NoSuchProcess):
                one.resume()
        self.watch_orphans(self.frozen)
        self.frozen = []

    def watch_orphans(self, orphans):
        """Wait for the workers of a dead main process to end."""
        since = time.monotonic()
        while any(map(_alive, orphans)):
            assert time.monotonic() < since + LONGEST_ORPHAN_S, f"still there: {orphans}"
            time.sleep(POLL_S)
        self.tally.longest_orphan_s = max(self.tally.longest_orphan_s, time.monotonic() - since)


def _alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
