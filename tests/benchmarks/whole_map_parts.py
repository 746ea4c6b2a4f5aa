"""Parts of the whole-map benchmark: scenes, what a run took, and its downloads alone."""

from __future__ import annotations

import json
import resource
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import rasterio
import rasterio.shutil
import shapely
from distributed import Client
from odc.geo import geom
from odc.geo.geobox import GeoBox

from pipelines import crop_map
from pipelines.config import MapRequest
from pipelines.result import CropMap
from tests.benchmarks.peak_memory import resident
from tests.benchmarks.threads import CORES
from toolkit.area.season import Season
from toolkit.catalog.access import access_to
from toolkit.catalog.saved_items import read_items
from toolkit.cluster import count_workers
from toolkit.cubes.recipe import SENTINEL2_BANDS
from toolkit.learn.checkpoint import read_checkpoint, write_checkpoint
from toolkit.learn.networks import build_network
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.ranges import RangeFile
from toolkit.scenes.threads import in_threads
from toolkit.scenes.tile import TileScenes, open_tile
from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.scenes import simulate_scenes
from toolkit.storage import write_text

YEAR, SEED = 2023, 1
SCENE, BLOCK = 2048, 1024
"""Edges of a scene and of the blocks of its files, pixels; those of live catalogs have 10,980 and 1024."""
LOOK_S = 0.2
"""How often the memory of workers is looked at: their peak so far, so little is missed."""
EDGE_M = 4
"""An area ends so many metres within its outermost pixels: rounded degrees must not reach the next ones."""
DONE = ".done"
"""Mark in the folder of a season that is complete."""
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


def make_season(folder: Path) -> Path:
    """Simulate a season of scenes with the blocks of live catalogs, once; return its folder."""
    out = folder / f"season-{SCENE}"
    if not (out / DONE).exists():
        landscape = make_landscape(SEED, shape=(SCENE, SCENE))
        simulate_scenes(out, landscape=landscape, year=YEAR, cloud_cover=CLOUD_AMOUNT)
        with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
            list(pool.map(enlarge_blocks, sorted(out.glob("*/*.tif"))))
        (out / DONE).touch()
    return out


def enlarge_blocks(path: Path) -> None:
    """Write a file again with larger blocks."""
    new = path.with_suffix(".new")
    options = {"blocksize": BLOCK, "compress": "DEFLATE", "predictor": "YES", "overview_count": 1}
    rasterio.shutil.copy(path, new, driver="COG", **options)
    new.replace(path)


def area_in(season: Path, side: int, start: int | None = None) -> Path:
    """Write a square area within a season's scenes; return its file.

    Args:
        season: folder of the scenes.
        side: edge of the area, pixels.
        start: its first row and column; default in the middle, over the corner of four blocks.
    """
    with rasterio.open(next(season.glob("*/SCL.tif"))) as file:
        left, top = file.transform.c, file.transform.f
        crs = str(file.crs)
    first = (SCENE - side) // 2 if start is None else start
    near, far = 10 * first + EDGE_M, 10 * (first + side) - EDGE_M
    outline = geom.box(left + near, top - far, left + far, top - near, crs).to_crs("EPSG:4326")
    path = season / f"aoi-{first}-{side}.geojson"
    write_text(json.dumps(shapely.geometry.mapping(outline.geom)), path)
    return path


def cloudy_share(season: Path) -> float:
    """Share of the pixels that were seen which the scene classification calls cloud, shadow or cirrus."""
    cloudy = seen = 0
    for path in sorted(season.glob("*/SCL.tif")):
        with rasterio.open(path) as file:
            scl = file.read(1)
        cloudy += int(np.isin(scl, CLOUDY).sum())
        seen += int((scl != NO_DATA).sum())
    return cloudy / seen


def quick_model(folder: Path, like: Path) -> Path:
    """Write an untrained model that is quick and takes the features of another; return its folder."""
    sample, out = read_checkpoint(like), folder / "quick-model"
    if not out.exists():
        state = build_network("mlp", sample.recipe.shape, len(sample.legend.names)).state_dict()
        write_checkpoint(replace(sample, network="mlp", state=state), out)
    return out


def run_map(request: MapRequest, workers: int) -> tuple[CropMap, Costs]:
    """Make a map with local workers, as the command does, and say what it took."""
    start, cpu = time.perf_counter(), cpu_seconds() + cpu_seconds(resource.RUSAGE_CHILDREN)
    with peaks_of_workers() as peaks:
        made = crop_map.run(request.model_copy(update={"workers": workers}), progress=False)
    costs = Costs(
        wall_s=time.perf_counter() - start,
        cpu_s=cpu_seconds() + cpu_seconds(resource.RUSAGE_CHILDREN) - cpu,
        workers=workers,
        peak_bytes=tuple(peaks.values()),
        driver_peak_bytes=resident("VmHWM"),
    )
    return made, costs


@contextmanager
def peaks_of_workers() -> Iterator[dict[int, int]]:
    """Give the peak memory of each process started meanwhile, by its number, complete at the end."""
    peaks: dict[int, int] = {}
    before, done = {one.pid for one in psutil.Process().children()}, threading.Event()

    def look() -> None:
        while not done.wait(LOOK_S):
            for one in psutil.Process().children(recursive=True):
                if one.pid not in before:
                    with suppress(OSError, LookupError):  # it has just ended
                        peaks[one.pid] = max(peaks.get(one.pid, 0), resident("VmHWM", one.pid))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield peaks
    finally:
        done.set()
        looking.join()


def cpu_seconds(whose: int = resource.RUSAGE_SELF) -> float:
    """CPU seconds of this process, or of its children that have ended, of user and system."""
    used = resource.getrusage(whose)
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
    n_workers = count_workers(client)
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
