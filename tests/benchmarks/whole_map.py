"""A whole map from a slow server: what hides behind work, what the obvious script takes, blocks and dispatch.

``python -m tests.benchmarks.whole_map --work DIR`` makes the scenes once and writes WHOLE_MAP.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from pipelines import plan
from pipelines.config import MapRequest, PlanRequest
from tests.benchmarks.machine import surroundings, watch_the_processor
from tests.benchmarks.reading import served
from tests.benchmarks.results import Outcome, Section, document, figure
from tests.benchmarks.threads import CORES
from tests.benchmarks.whole_map_beside import dispatch, obvious_map, two_granules
from tests.benchmarks.whole_map_parts import (
    SCENE,
    YEAR,
    area_in,
    blocks_needed,
    cloudy_share,
    download_seconds,
    make_season,
    openings,
    quick_model,
    read_log,
    run_map,
    server_cpu_seconds,
)
from toolkit.area.season import Season
from toolkit.catalog.saved_items import read_items
from toolkit.cluster import connect
from toolkit.maps.memory import DEFAULT_BUDGET
from toolkit.storage import write_text

RESULTS = Path(__file__).with_name("WHOLE_MAP.md")
MODEL = Path(__file__).resolve().parents[2] / "sample_aoi" / "model"
PHASES = ("map", "obvious", "blocks", "dispatch")
TILES = 1000
SMALL, LARGE, OVERLAP = "a sixteenth", "one granule", "two that overlap"


def request(season: str, aoi: Path, out: Path, tile_size: int | None = None) -> MapRequest:
    """The map of an area from a season, by the URL or folder of its scenes."""
    return MapRequest(
        aoi=aoi,
        year=YEAR,
        catalog=f"{season}/catalog.json",
        model=MODEL,
        out=out,
        tile_size=tile_size,
    )


def map_section(
    season: Path, side: int, work: Path, workers: int, tile_size: int | None, obvious_share: int
) -> Section:
    """Make the map, fetch its ranges again with nothing else, and run the obvious script on a part."""
    log = work / "ranges.log"
    log.unlink(missing_ok=True)
    out, aoi = work / f"map-{side}-{workers}-{time.time_ns()}", area_in(season, side)  # never resumed
    with served(season, log=log) as url:
        before = server_cpu_seconds()
        made, costs = run_map(request(url, aoi, out, tile_size), workers)
        beside = server_cpu_seconds() - before
        wanted = openings(read_log(log))
        with connect(workers=CORES) as client:
            download_s, received = download_seconds(client, out / "items.json", url, wanted)
        rows = [
            ["whole map", f"{costs.wall_s:.1f}"],
            ["CPU, driver and workers", f"{costs.cpu_s:.1f}"],
            ["CPU / cores", f"{costs.cpu_s / CORES:.1f}"],
            ["CPU of the server, on the same cores, not counted", f"{beside:.1f}"],
            [f"download alone, {received / 1e6:.0f} MB", f"{download_s:.1f}"],
            *([f"all workers: {name}", f"{value:.1f}"] for name, value in made.worker_seconds.items()),
        ]
        what = "whole map over the larger of CPU / cores and download alone"
        outcomes = [Outcome(what=what, measured=costs.over_least(download_s), limit=1.2, at_most=True)]
        if obvious_share:
            part, seconds = _obvious(out, obvious_share)
            whole = seconds * obvious_share
            rows.append([f"obvious script on 1 / {obvious_share} of the rows", f"{seconds:.1f}"])
            rows.append(["its classes like ours, %", f"{100 * part:.1f}"])
            what = f"obvious script, x {obvious_share}, over the whole map"
            outcomes.append(Outcome(what=what, measured=whole / costs.wall_s, limit=10, at_most=False))
    peak = max(costs.peak_bytes)
    planned = plan.run(
        PlanRequest(**request(str(season), aoi, work / "plan", tile_size).model_dump() | {"no_trial": True}),
        progress=False,
    ).worker_bytes
    outcomes += [
        Outcome(what="memory of a worker over the plan's", measured=peak / planned, limit=1.1, at_most=True),
        Outcome(
            what="memory of a worker over its budget", measured=peak / DEFAULT_BUDGET, limit=1, at_most=True
        ),
    ]
    text = (
        f"{side} x {side} pixels, {100 * cloudy_share(season):.0f} % of what was seen under cloud, shadow or "
        "cirrus; "
        f"{workers} workers, at most {peak / 2**20:.0f} MiB each of {planned / 2**20:.0f} planned, driver "
        f"{costs.driver_peak_bytes / 2**20:.0f} MiB. "
        f"{made.reads.line()}; {made.reads.kept_blocks} blocks kept."
    )
    return Section(title="Whole map", text=text, columns=("what", "seconds"), rows=rows, outcomes=outcomes)


def _obvious(out: Path, share: int) -> tuple[float, float]:
    """Run the obvious script on the first rows of a map; share of classes like ours, and seconds."""
    with rasterio.open(out / "crop_map.tif") as file:
        ours, geobox = file.read(1), GeoBox.from_rio(file)
    rows = ours.shape[0] // share
    items = list(read_items(out / "items.json", allow_hosts=("127.0.0.1",)))
    start = time.perf_counter()
    theirs = obvious_map(items, geobox[:rows], MODEL, CORES)
    seconds = time.perf_counter() - start
    both = (ours[:rows] > 0) & (theirs > 0)
    return float(np.mean(ours[:rows][both] == theirs[both])), seconds


def blocks_section(season: Path, work: Path, workers: int) -> Section:
    """Count the blocks decoded over those needed, and the memory of workers as areas grow."""
    model, rows, outcomes, peaks = quick_model(work, MODEL), [], [], {}
    whole, part = area_in(season, SCENE), area_in(season, SCENE // 4, start=SCENE // 4)
    two = two_granules(season, work / "granules")
    for name, folder, aoi in ((SMALL, season, part), (LARGE, season, whole), (OVERLAP, two, whole)):
        out = work / f"blocks-{time.time_ns()}"
        with served(folder) as url:
            asked = {"model": model, "engine": "torch", "precision": "fp32"}
            made, costs = run_map(request(url, aoi, out).model_copy(update=asked), workers)
            with rasterio.open(out / "crop_map.tif") as file:
                geobox = GeoBox.from_rio(file)
            needed = blocks_needed(out / "items.json", geobox, Season(year=YEAR)).blocks
        peaks[name] = max(costs.peak_bytes)
        decoded = made.reads.blocks
        counts = str(decoded), str(needed), str(made.reads.kept_blocks)
        rows.append([name, str(len(made.tiles.made)), *counts, f"{peaks[name] / 2**20:.0f}"])
        what = f"decoded over needed, {name}"
        outcomes.append(Outcome(what=what, measured=decoded / needed, limit=1.1, at_most=True))
    what, grown = "memory of a worker, 16 times the area", peaks[LARGE] / peaks[SMALL]
    outcomes.append(Outcome(what=what, measured=grown, limit=1.05, at_most=True))
    columns = ("area", "tiles", "decoded", "needed", "taken again", "MiB of a worker")
    text = f"{workers} workers, from a server, an untrained small network; blocks of 1024 pixels."
    return Section(title="Blocks and memory", text=text, columns=columns, rows=rows, outcomes=outcomes)


def dispatch_section() -> Section:
    """Run a thousand tiles without work."""
    each, peak = dispatch(TILES)
    return Section(
        title="Dispatch",
        text=f"{TILES} tiles without work, 2 workers.",
        columns=("what", "measured"),
        rows=[["ms a tile", figure(each * 1e3)], ["driver, MB", figure(peak / 1e6)]],
        outcomes=[
            Outcome(what="ms a tile", measured=each * 1e3, limit=20, at_most=True),
            Outcome(what="memory of the driver, MB", measured=peak / 1e6, limit=600, at_most=True),
        ],
    )


@click.command()
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Where scenes are kept.")
@click.option("--only", multiple=True, type=click.Choice(PHASES), help="Only these; nothing is written then.")
@click.option(
    "--side", default=1000, type=click.IntRange(128, SCENE), help="Edge of the area, pixels of 10 m."
)
@click.option("--workers", default=CORES, type=click.IntRange(1))
@click.option("--tile-size", default=None, type=int)
@click.option("--share", default=4, type=click.IntRange(1), help="The obvious script gets 1 / share.")
def main(
    work: Path, only: tuple[str, ...], side: int, workers: int, tile_size: int | None, share: int
) -> None:
    """Measure what is asked for; write the results if that is all."""
    phases = only or PHASES
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:  # its memory is not the driver's
        season = apart.submit(make_season, work).result()
    watch = watch_the_processor()
    obvious = share if "obvious" in phases else 0
    calls: dict[str, Callable[[], Section]] = {
        "dispatch": dispatch_section,  # first: it measures the driver's peak memory
        "map": lambda: map_section(season, side, work, workers, tile_size, obvious),
        "blocks": lambda: blocks_section(season, work, workers),
    }
    wanted = {"map" if phase == "obvious" else phase for phase in phases}
    sections = [call() for name, call in calls.items() if name in wanted]
    for section in sections:
        click.echo(section.markdown())
    if not only:
        intro = f"Written by `python -m tests.benchmarks.whole_map`. Processor meanwhile: {watch()}."
        write_text(document(sections, intro, surroundings()), RESULTS)


if __name__ == "__main__":
    main()
