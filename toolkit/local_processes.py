"""Local worker processes that do not begin the user's script anew."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import spawn
from typing import Any

DASK_WORKER = "Dask Worker process"
"""First words of the names that Dask gives to the processes of local workers."""
MAIN = ("init_main_from_name", "init_main_from_path")
"""What tells a new process which script to import as its main module."""

_changing = threading.Lock()
_users = 0
_prepared = spawn.get_preparation_data


@contextmanager
def main_script_left_alone() -> Iterator[None]:
    """Start Dask's workers, and those that replace them, without the script that called us.

    Python imports the main script into each process that it spawns: one without
    ``if __name__ == "__main__":`` would begin the map again in every worker, where it fails. Our tasks are
    functions of our own modules and need nothing of it, as in a notebook, which has no script. Other
    processes that the user starts meanwhile are prepared as ever.
    """
    global _users  # noqa: PLW0603  # maps in several threads share one process
    with _changing:
        _users += 1
        spawn.get_preparation_data = _without_main
    try:
        yield
    finally:
        with _changing:
            _users -= 1
            if not _users:
                spawn.get_preparation_data = _prepared


def _without_main(name: str) -> dict[str, Any]:
    """Return what a new process is told, a worker nothing of the main script."""
    told = dict(_prepared(name))
    if name.startswith(DASK_WORKER):
        for key in MAIN:
            told.pop(key, None)
    return told
