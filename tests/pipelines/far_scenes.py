"""Scenes on a server that is slow to answer, and the command that maps them in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import psutil
from odc.geo.geobox import GeoBox

from tests.conftest import ASSETS, footprint, make_scene, write_catalog
from tests.pipelines.test_bad_input import START, geojson
from tests.pipelines.test_resume import model
from tests.servers.ranges import Handler, RangeServer, in_thread
from toolkit.learn.checkpoint import write_checkpoint

UTM = "EPSG:32631"
WORKERS = 2
BLOCK = 16
"""Edge of the files' blocks and of the tiles, pixels."""
EDGE = 6
"""Tiles along each side."""
WITNESS = "/pixels/d1/B04.tif"
"""File that each tile opens once, so that its openings count the tiles begun."""
LONGEST_RUN_S = 300
POLL_S = 0.01


class FarHandler(Handler):
    """Answers after a pause, so that a tile takes the time that it takes with a store far away.

    Without ETags, so that each tile asks for the headers anew: they count the tiles begun.
    """

    pause_s = 0.03

    def do_GET(self):  # noqa: N802  # the name the server calls
        time.sleep(self.pause_s)
        super().do_GET()

    def answer(self):
        status, headers, body = super().answer()
        headers.pop("ETag", None)
        return status, headers, body


class FarServer(RangeServer):
    """Serves readers that are killed while they read."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def far_scenes(folder: Path, *, edge: int = EDGE) -> Iterator[RangeServer]:
    """Serve a request in files: ``edge ** 2`` tiles, four dates of random values, an untrained model."""
    size = edge * BLOCK
    grid = GeoBox.from_bbox(
        (600_000, 5_600_000, 600_000 + 10 * size, 5_600_000 + 10 * size), UTM, resolution=10
    )
    geojson(folder / "aoi.geojson", footprint(grid))
    draw = np.random.default_rng(7)
    scenes = []
    for k in range(4):
        value = draw.integers(1, 8000, grid.shape.yx).astype(np.uint16)
        bands = dict.fromkeys(ASSETS, 500) | {"B04": value, "B08": value[::-1], "B03": value.T}
        when = START + timedelta(days=40 * k)
        scenes.append(make_scene(folder, f"d{k}", when, geobox=grid, value=bands, block=BLOCK))
    write_catalog(folder, scenes)
    write_checkpoint(model(), folder / "model")
    with FarServer(folder, FarHandler) as server, in_thread(server):
        try:
            yield server
        finally:
            server.hang_up()


def tiles_begun(server: RangeServer) -> int:
    """Count the tiles that workers began to read so far."""
    return sum(one.path == WITNESS and (one.range or "").startswith("bytes=0-") for one in list(server.log))


@dataclass
class Run:
    """One process of the command."""

    arguments: list[str]
    log: Path
    """What it tells."""

    def __enter__(self):
        command = [sys.executable, "-W", "ignore", "-m", "pipelines.cli", "map", *self.arguments]
        with self.log.open("wb") as told:
            self.process = subprocess.Popen(
                command, stdout=told, stderr=told, cwd=Path(__file__).parents[2], start_new_session=True
            )
        self.begun = time.monotonic()
        return self

    def __exit__(self, *raised):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def over(self):
        return self.process.poll() is not None

    @property
    def seconds(self):
        return time.monotonic() - self.begun

    def wait(self):
        return self.process.wait(timeout=LONGEST_RUN_S)

    def wait_until(self, fulfilled):
        """Wait for something to be so, or for the end of the run."""
        while not (self.over or fulfilled()):
            assert time.monotonic() < self.begun + LONGEST_RUN_S, self.log.read_text()
            time.sleep(POLL_S)

    def workers(self):
        """Worker processes, as they are now."""
        found = []
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    if "spawn_main" in " ".join(child.cmdline()):
                        found.append(child)
        return found


def far_options(server: RangeServer, out: Path) -> dict[str, object]:
    """Return what maps the scenes of a server, by the names of the options."""
    folder = server.folder
    return {
        "aoi": folder / "aoi.geojson",
        "catalog": f"{server.url}/catalog.json",
        "year": 2021,
        "model": folder / "model",
        "radiometry": "trust",
        "tile_size": BLOCK,
        "engine": "torch",
        "precision": "fp32",
        "out": out,
    }


def far_words(server: RangeServer, out: Path, *more: object) -> list[str]:
    """Return the same as words after ``cropglobe map``."""
    options = far_options(server, out).items()
    words = [word for key, value in options for word in (f"--{key.replace('_', '-')}", value)]
    return [str(word) for word in (*words, *more)]


def far_command(server: RangeServer, out: Path, *more: object) -> Run:
    """Return the command with these words, not yet started."""
    return Run(far_words(server, out, *more), out.with_name(f"{out.name}.log"))
