"""The workers of a cluster while tiles are made: gone, replaced, or all paused."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import Client

from toolkit.errors import RemoteError, WorkerError
from toolkit.workers import replace_lost, workers_of

ALONE_S = 600.0
"""How long there may be no worker at all: batch systems let jobs wait."""
PAUSED = (
    "All workers are paused by Dask: each holds more than 80 % of its memory with no tile under way. Give "
    "them more memory, or another --out with a smaller --memory; tiles that are done stay."
)
GONE = (
    f"The Dask cluster had no worker for {ALONE_S:.0f} s. Start some, or leave the cluster out to work on "
    "this machine, and run the same command again: tiles that are done stay."
)


class Crew:
    """The workers of a cluster, looked at now and then."""

    def __init__(self, client: Client) -> None:
        """Look at no worker yet.

        Args:
            client: Dask client.
        """
        self._client = client
        self._none_since: float | None = None
        self._all_paused = False

    def look(self) -> frozenset[str]:
        """Return the addresses of the workers there are.

        Raises:
            WorkerError: all were paused, with nothing to do, at two looks after each other.
            RemoteError: there was none for a long time.
        """
        workers = workers_of(self._client)
        self._refuse_paused(list(workers.values()))
        self._refuse_none(workers)
        replace_lost(self._client, len(workers))
        return frozenset(workers)

    def _refuse_none(self, workers: Mapping[str, Any]) -> None:
        """Raise if there is no worker, and was none at all looks for a long time."""
        now = time.monotonic()
        self._none_since = None if workers else self._none_since or now
        if self._none_since is not None and now - self._none_since > ALONE_S:
            raise RemoteError(GONE)

    def _refuse_paused(self, workers: Sequence[Mapping[str, Any]]) -> None:
        """Raise if no worker will go on: Dask gives no task to one that holds too much memory."""
        before = self._all_paused
        self._all_paused = bool(workers) and all(
            worker["status"] == "paused" and not worker["metrics"].get("executing") for worker in workers
        )
        if before and self._all_paused:
            raise WorkerError(PAUSED)
