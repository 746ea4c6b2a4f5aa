"""Runs of a map that are killed at a chosen step: a warm process forks one child for each.

``python -m tests.pipelines.killing PLACE`` reads lines of JSON, ``{"out": folder, "kill_at": n, ...}``, and
answers each with ``{"status": exit status, "steps": steps counted}``. A step is a call that brings something
to the disk: fsync, rename, a transaction's end. The child is killed before step ``kill_at``, or before the
first step at which the output folder holds a file like ``kill_when``, or ``kill_after`` seconds, whatever it
is doing then.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import sys
import threading
from functools import wraps
from pathlib import Path

# All is imported before the first fork, and nothing of it has started a thread then.
import torch  # noqa: F401  # loaded in the parent, so that no child has to
from distributed import Client, LocalCluster

import pipelines.crop_map as workflow
from pipelines.cli import main  # noqa: F401  # as above
from pipelines.config import MapRequest
from toolkit.area import zones
from toolkit.errors import CropglobeError

COMPILED = (".nbi", ".nbc")
"""Ends of the files in which numba keeps kernels: written by the first run only, and no step of a map."""


class Steps:
    """Counts steps and kills this process before a chosen one."""

    def __init__(self, kill_at, kill_when, out):
        self.count, self.kill_at, self.kill_when, self.out = 0, kill_at, kill_when, out

    def __call__(self):
        self.count += 1
        if self.count == self.kill_at or (self.kill_when and any(self.out.glob(self.kill_when))):
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, call):
        @wraps(call)
        def stepped(*args, **options):
            if not str(args[-1]).endswith(COMPILED):
                self()
            return call(*args, **options)

        return stepped

    def install(self):
        step = self

        class Connection(sqlite3.Connection):
            def __exit__(self, *raised):
                step()
                ended = super().__exit__(*raised)
                step()
                return ended

        connect = sqlite3.connect
        os.fsync, os.replace, os.rename = map(self.before, (os.fsync, os.replace, os.rename))
        sqlite3.connect = lambda *args, **options: connect(*args, factory=Connection, **options)


def make_map(place, job):
    """Make the map in this process, or on the cluster of an address."""
    request = MapRequest.make(
        {
            "aoi": place / "aoi.geojson",
            "catalog": str(place / "catalog.json"),
            "year": 2021,
            "model": place / "model",
            "radiometry": "trust",
            "tile_size": 16,
            "out": Path(job["out"]),
            **job.get("request", {}),
        }
    )
    zones.REACH = job.get("reach", zones.REACH)
    if limit := job.get("largest_file"):  # a disk that is full: no file may grow beyond
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if after := job.get("kill_after"):
        threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()
    steps = Steps(job.get("kill_at"), job.get("kill_when"), request.out)
    steps.install()
    options = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    if address := job.get("address"):
        workflow.run(request, address, progress=False)
    else:
        with LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
            workflow.run(request, client, progress=False)
    return steps.count


def child(place, job):
    """Fork, make the map in the child, and tell how it ended."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        status = 1
        try:
            steps = make_map(place, job)
            os.write(writing, str(steps).encode())
            status = 0
        except CropglobeError as error:
            os.write(writing, str(error).encode())
            status = error.exit_code
        finally:
            os._exit(status)
    os.close(writing)
    _, status = os.waitpid(process, 0)
    with os.fdopen(reading) as told:
        text = told.read()
    steps = int(text) if text.isdecimal() else 0
    return {"status": os.waitstatus_to_exitcode(status), "steps": steps, "error": text if not steps else ""}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(child(Path(sys.argv[1]), json.loads(line))) + "\n")
        sys.stdout.flush()
