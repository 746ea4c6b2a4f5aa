"""Parts of the whole-map benchmark: scenes, what a run took, and its downloads alone."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import rasterio
from distributed import Client
from odc.geo.geobox import GeoBox

from pipelines import crop_map
from pipelines.config import MapRequest
from pipelines.result import CropMap
from tests.benchmarks.peak_memory import resident
from tests.benchmarks.threads import CORES
from toolkit.area.season import Season
from toolkit.catalog.access import access_to
from toolkit.catalog.saved_items import read_items
from toolkit.cluster import connect
from toolkit.cubes.recipe import SENTINEL2_BANDS
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.ranges import RangeFile
from toolkit.scenes.threads import in_threads
from toolkit.scenes.tile import TileScenes, open_tile
from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.scenes import simulate_scenes

YEAR, SEED = 2023, 1
CLOUD_AMOUNT = 0.31
"""Mean cloud amount asked of the simulator; with shadows and cirrus 44 % of 256 x 256 pixels were lost."""
NO_DATA, CLOUDY = 0, (3, 7, 8, 9, 10)
"""Codes of the scene classification: outside the swath; shadow, clouds of all kinds, cirrus."""

SERVER = "tests.benchmarks.slow_server"
Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a run took, workers' start and end in it."""

    wall_s: float
    cpu_s: float
    """Of the driver and all workers, without the server."""
    workers: int
    peak_bytes: tuple[int, ...]
    """Most memory that each worker had resident."""
    driver_peak_bytes: int

    def least_s(self, download_s: float) -> float:
        """The larger of the work spread evenly over the cores and the download alone."""
        return max(self.cpu_s / CORES, download_s)

    def over_least(self, download_s: float) -> float:
        """Wall time over the least it could be: 1 if all waiting were hidden behind work."""
        return self.wall_s / self.least_s(download_s)


def make_season(folder: Path, side: int) -> Path:
    """Simulate a season, once; return its folder."""
    out = folder / f"season-{side}"
    landscape = make_landscape(SEED, shape=(side, side))
    simulate_scenes(out, landscape=landscape, year=YEAR, cloud_cover=CLOUD_AMOUNT)
    return out


def cloudy_share(season: Path) -> float:
    """Share of the pixels that were seen which the scene classification calls cloud, shadow or cirrus."""
    cloudy = seen = 0
    for path in sorted(season.glob("*/SCL.tif")):
        with rasterio.open(path) as file:
            scl = file.read(1)
        cloudy += int(np.isin(scl, CLOUDY).sum())
        seen += int((scl != NO_DATA).sum())
    return cloudy / seen


def run_map(request: MapRequest, workers: int) -> tuple[CropMap, Costs]:
    """Make a map with workers of our own, and say what it took."""
    start, cpu = time.perf_counter(), cpu_seconds()
    with connect(workers=workers) as client:
        made = crop_map.run(request, client=client, progress=False)
        used: Mapping[str, tuple[float, int]] = client.run(usage)
    wall = time.perf_counter() - start
    costs = Costs(
        wall_s=wall,
        cpu_s=cpu_seconds() - cpu + sum(seconds for seconds, _ in used.values()),
        workers=workers,
        peak_bytes=tuple(peak for _, peak in used.values()),
        driver_peak_bytes=resident("VmHWM"),
    )
    return made, costs


def usage() -> tuple[float, int]:
    """CPU seconds and peak memory of this process since its start."""
    return cpu_seconds(), resident("VmHWM")


def cpu_seconds() -> float:
    """CPU seconds of this process, of user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def server_cpu_seconds() -> float:
    """CPU seconds of the server that this process started."""
    servers = [one for one in psutil.Process().children() if SERVER in one.cmdline()]
    return sum(one.cpu_times().user + one.cpu_times().system for one in servers)


def read_log(path: Path) -> list[tuple[str, Span]]:
    """Return the ranges of scenes in a server's log: path and bytes, in the order of the answers."""
    lines = [line.split(maxsplit=2) for line in path.read_text().splitlines()]
    return [(name, (int(first), int(stop))) for first, stop, name in lines if name.endswith(".tif")]


def openings(ranges: Iterable[tuple[str, Span]]) -> list[tuple[str, list[Span]]]:
    """Put ranges together to openings of files: each starts with the header.

    Returns:
        Path, and the ranges asked for after the header.
    """
    done: list[tuple[str, list[Span]]] = []
    latest: dict[str, list[Span]] = {}
    for name, span in ranges:
        if span[0] == 0 or name not in latest:
            latest[name] = []
            done.append((name, latest[name]))
        if span[0] != 0:
            latest[name].append(span)
    return done


def fetch_all(job: tuple[Path, str, Sequence[tuple[str, list[Span]]]]) -> int:
    """Fetch ranges by the reader of maps and its threads, without decoding; return the bytes."""
    saved, url, wanted = job
    access = access_to(read_items(saved, allow_hosts=("127.0.0.1",))[0])

    def fetch(one: tuple[str, list[Span]]) -> int:
        file = RangeFile(url + one[0], access)
        file.size()
        for span in one[1]:
            file.prefetch([span])
        return file.received

    return sum(in_threads(fetch, wanted, remote=True))


def download_seconds(
    client: Client, saved: Path, url: str, wanted: Sequence[tuple[str, list[Span]]]
) -> tuple[float, int]:
    """Seconds and bytes of a run's ranges fetched again, each worker its part; workers have started before.

    Args:
        client: as many workers as the run had.
        saved: items of the run.
        url: server.
        wanted: what :func:`openings` gives of the server's log.
    """
    n_workers = len(client.scheduler_info(n_workers=-1)["workers"])
    client.run(cpu_seconds)  # imports what the workers need
    start = time.perf_counter()
    jobs = [(saved, url, wanted[k::n_workers]) for k in range(n_workers)]
    received = client.gather(client.map(fetch_all, jobs, pure=False))
    return time.perf_counter() - start, sum(received)


def blocks_needed(saved: Path, geobox: GeoBox, season: Season) -> ReadCounts:
    """Count each block once that some tile needs: of one tile over the whole map.

    A block is needed where it holds a pixel that is clear and chosen, which no cut into tiles changes.

    Args:
        saved: items of the run, their files on a disk or a server.
        geobox: grid of the map.
        season: season of the map; overpasses outside it are asked for their quality layer alone.
    """
    items = read_items(saved, allow_hosts=("127.0.0.1",))
    scenes = _inside(open_tile(items, geobox, bands=SENTINEL2_BANDS), season)
    for band in SENTINEL2_BANDS:
        scenes.read(band)
    return scenes.log.counts


def _inside(scenes: TileScenes, season: Season) -> TileScenes:
    days = scenes.time.astype("datetime64[D]")
    kept = np.flatnonzero((days >= np.datetime64(season.start)) & (days <= np.datetime64(season.end)))
    return replace(
        scenes,
        overpasses=tuple(scenes.overpasses[k] for k in kept),
        quality=tuple(scenes.quality[k] for k in kept),
    )
