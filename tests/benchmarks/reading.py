"""Reading of tiles: ours beside plain rasterio and odc-stac, from a disk and from a server far away."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import odc.stac
import pystac
import rasterio
from odc.geo.geobox import GeoBox

from tests.benchmarks.cogs import BANDS, BLOCK, area, write_scenes
from tests.benchmarks.results import Outcome, Section, figure, seconds
from tests.benchmarks.stacks import Array
from tests.benchmarks.threads import CORES
from tests.benchmarks.timing import Settings, time_in_turns, timed
from toolkit.catalog.guard import GDAL_OPTIONS
from toolkit.catalog.items import NAMED_HOSTS
from toolkit.scenes.threads import LOCAL_THREADS, READ_THREADS
from toolkit.scenes.tile import open_tile

Call = Callable[[], Mapping[str, Array]]
SIDE, DATES, DATES_FAR = 1024, 73, 24
PAUSE = 0.05

OURS = "ours"
RASTERIO = "plain rasterio, our threads"
RASTERIO_MANY = f"plain rasterio, {READ_THREADS} threads"
ODC_POOL = f"odc-stac, no Dask, pool of {CORES}"
ODC_WHOLE = f"odc-stac, Dask, whole images, {CORES} threads"
ODC_256 = f"odc-stac, Dask, chunks of 256, {CORES} threads"


def ours(items: list[pystac.Item], geobox: GeoBox) -> Call:
    def call() -> Mapping[str, Array]:
        tile = open_tile(items, geobox)
        return dict(tile.stacks(BANDS))

    return call


def plain_rasterio(items: list[pystac.Item], geobox: GeoBox, threads: int) -> Call:
    """What there is to do: open each file, read it, repeat 20 m pixels."""

    def read(uri: str) -> Array:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(uri) as file:
            pixels = file.read(1)
        repeat = geobox.shape.y // pixels.shape[0]
        return pixels if repeat == 1 else pixels.repeat(repeat, 0).repeat(repeat, 1)

    def call() -> Mapping[str, Array]:
        with ThreadPoolExecutor(threads) as pool:
            names = (*BANDS, "SCL")
            files = [(band, item.assets[band].href) for band in names for item in items]
            images = list(pool.map(read, (uri for _, uri in files)))
        out = {}
        for number, band in enumerate(names):
            out[band] = np.stack(images[number * len(items) : (number + 1) * len(items)])
        return out

    return call


def odc_stac(items: list[pystac.Item], geobox: GeoBox, chunks: dict[str, int] | None) -> Call:
    def call() -> Mapping[str, Array]:
        with rasterio.Env(**GDAL_OPTIONS):
            options = {"pool": CORES} if chunks is None else {"chunks": chunks}
            scenes = odc.stac.load(items, bands=[*BANDS, "SCL"], geobox=geobox, groupby="id", **options)
            scenes = scenes.load(scheduler="threads", num_workers=CORES) if chunks is not None else scenes
        return {band: scenes[band].to_numpy() for band in BANDS}

    return call


def near(items: list[pystac.Item], geobox: GeoBox) -> dict[str, Call]:
    """Methods for files on a disk."""
    return {
        OURS: ours(items, geobox),
        RASTERIO: plain_rasterio(items, geobox, LOCAL_THREADS),
        RASTERIO_MANY: plain_rasterio(items, geobox, READ_THREADS),
        ODC_POOL: odc_stac(items, geobox, None),
        ODC_WHOLE: odc_stac(items, geobox, {}),
        ODC_256: odc_stac(items, geobox, {"x": 256, "y": 256}),
    }


def far(items: list[pystac.Item], geobox: GeoBox) -> dict[str, Call]:
    """Methods for files on a server."""
    whole = {"x": geobox.shape.x, "y": geobox.shape.y}
    return {
        OURS: ours(items, geobox),
        RASTERIO: plain_rasterio(items, geobox, READ_THREADS),
        ODC_WHOLE: odc_stac(items, geobox, whole),
    }


def sections(settings: Settings) -> Iterator[Section]:
    """Time both and count what ours read."""
    side, rounds = max(settings.side(SIDE), 64), min(settings.rounds, 2)
    dates = max(DATES // settings.shrink, 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items, geobox = write_scenes(folder, dates=dates, side=side), area(side)
        yield _section(
            f"Reading {dates} dates of {side} x {side} pixels from a disk",
            near(items, geobox),
            rounds,
            note=_counts(items, geobox),
            targets=[(OURS, RASTERIO, "ours over plain rasterio in the same threads", 1.5, True)],
        )
        few = items[: max(DATES_FAR // settings.shrink, 2)]
        with served(folder) as url:
            there = [_moved(item, url) for item in few]
            yield _section(
                f"Reading {len(few)} dates from a server that answers after {PAUSE * 1e3:.0f} ms",
                far(there, geobox),
                rounds,
                note="Every request waits that long; the server is a process of its own on the same machine. "
                f"Ours has {READ_THREADS} threads there.",
                targets=[
                    (ODC_WHOLE, OURS, "odc-stac with Dask, as many threads as cores, over ours", 4, False)
                ],
            )


def _section(
    title: str,
    calls: dict[str, Call],
    rounds: int,
    *,
    note: str,
    targets: list[tuple[str, str, str, float, bool]],
) -> Section:
    once = {name: call for name, call in calls.items() if name == ODC_256}  # over a minute
    times = time_in_turns({name: call for name, call in calls.items() if name not in once}, rounds)
    times |= {name: [timed(call)] for name, call in once.items()}
    middle = {name: median(taken) for name, taken in times.items()}
    rows = [
        [
            name,
            f"{seconds(middle[name])} ({seconds(min(times[name]))})",
            figure(middle[name] / middle[RASTERIO]),
            figure(middle[name] / middle[OURS]),
        ]
        for name in calls
    ]
    return Section(
        title=title,
        text=f"{note} {rounds} rounds" + (f"; {ODC_256} once." if once else "."),
        columns=("method", "time", "x plain rasterio", "x ours"),
        rows=rows,
        outcomes=[
            Outcome(what=what, measured=middle[name] / middle[over], limit=limit, at_most=at_most)
            for name, over, what, limit, at_most in targets
        ],
    )


def _counts(items: list[pystac.Item], geobox: GeoBox) -> str:
    """Say what ours read, beside what there is."""
    tile = open_tile(items, geobox)
    for band in BANDS:
        tile.read(band)
    counts = tile.log.counts
    there = 0
    for item in items:
        for asset in item.assets.values():
            with rasterio.open(asset.href) as file:
                there += len(list(file.block_windows(1)))
    return (
        f"Ten bands and the quality layer, all clear, DEFLATE, blocks of {BLOCK}. Ours, in {LOCAL_THREADS} "
        f"threads, decoded {counts.blocks} blocks ({counts.bytes / 1e6:.0f} MB) of {counts.files} files; the "
        f"files have {there}."
    )


@contextmanager
def served(folder: Path, pause: float = PAUSE, log: Path | None = None) -> Iterator[str]:
    """Serve a folder on loopback, slowly; give its URL. The log gets the ranges asked for."""
    command = [sys.executable, "-m", "tests.benchmarks.slow_server", str(folder), str(pause)]
    command += [] if log is None else [str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        port = server.stdout.readline().strip() if server.stdout else ""
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _moved(item: pystac.Item, url: str) -> pystac.Item:
    """The same item with its files on a server."""
    moved = item.clone()
    for asset in moved.assets.values():
        asset.href = f"{url}/{Path(asset.href).name}"
    moved.properties[NAMED_HOSTS] = ["127.0.0.1"]
    return moved
