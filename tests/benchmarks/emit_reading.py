"""EMIT: 10 km of a granule of full size, beside plain h5py reading the same lines; memory and bytes.

``python -m tests.benchmarks.emit_reading FILE METRES`` reads in a process of its own and writes JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import pystac
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox

from tests.benchmarks.peak_memory import ROOT, resident
from tests.benchmarks.results import Outcome, Section, seconds
from tests.benchmarks.timing import Settings
from toolkit.area.grid import tiles
from toolkit.cubes.recipe import emit_recipe
from toolkit.cubes.spectra import centres
from toolkit.scenes.emit import combine
from toolkit.scenes.emit_granule import emit_granule
from toolkit.simulate.emit_granule import write_granule
from toolkit.simulate.emit_metadata import GranuleName
from toolkit.simulate.emit_swath import Swath, make_glt, swath_lonlat

LINES, SAMPLES, BANDS = 1280, 1242, 285
CENTRE = (10.0, 45.0)
SIDE_M = 10_000
TILE = 128
"""Edge of a tile at 10 m, pixels: spectra of 244 bands take 16 MB."""
IO = Path("/proc/self/io")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What reading the area cost."""

    output: int
    """Bytes of the result; of the largest tile, if it was read tile by tile."""
    peak: int
    """Most that was resident beyond what was before, bytes."""
    read: int
    """Bytes that system calls read."""
    needed: int
    """Bytes of the lines that hold the area."""
    ours_s: list[float]
    plain_s: list[float]
    """Seconds of each round; plain h5py reads the lines whole."""
    mapped: int
    """Pixels with a spectrum."""

    @property
    def beyond_output(self) -> float:
        return (self.peak - self.output) / 1e6


def area(metres: float) -> GeoBox:
    """Grid of the area in the middle of the granule."""
    x, y = 578_800, 4_983_400  # near 10 degrees east, 45 north
    return GeoBox.from_bbox(
        BoundingBox(x - SIDE_M / 2, y - SIDE_M / 2, x + SIDE_M / 2, y + SIDE_M / 2, crs="EPSG:32632"),
        resolution=metres,
    )


def write_full_granule(folder: Path, *, lines: int = LINES, samples: int = SAMPLES) -> Path:
    """Write a granule of full size, 1.8 GB, turned by 40 degrees."""
    lon, lat = swath_lonlat(*CENTRE, lines=lines, samples=samples, heading_deg=40.0)
    glt_x, glt_y, geotransform = make_glt(lon, lat)
    spectrum = np.linspace(0.1, 0.5, BANDS, dtype=np.float32)
    place = np.arange(lines * samples, dtype=np.float32).reshape(lines, samples, 1) / (lines * samples)
    swath = Swath(
        reflectance=spectrum + place / 10,
        mask=np.zeros((lines, samples, 8), np.float32),
        lon=lon,
        lat=lat,
        elev=np.zeros_like(lon),
        glt_x=glt_x,
        glt_y=glt_y,
        geotransform=geotransform,
    )
    name = GranuleName(time=datetime(2023, 7, 10, 10, 31, 29, tzinfo=UTC), version=1, orbit=2319107, scene=1)
    path, _ = write_granule(folder, name, swath)
    return path


def item_of(path: Path) -> pystac.Item:
    """Item of the granule and the mask beside it."""
    when = datetime(2023, 7, 10, 10, 31, 29, tzinfo=UTC)
    item = pystac.Item(path.stem, None, None, when, {"emit:product_version": "001"})
    item.add_asset("reflectance", pystac.Asset(str(path)))
    item.add_asset("mask", pystac.Asset(str(path).replace("_RFL_", "_MASK_")))
    return item


def work(path: Path, metres: float, rounds: int) -> Reading:
    """Read the area in this process: bytes and memory first, then times in turns with plain h5py."""
    granule, bands = [emit_granule(item_of(path))], centres(emit_recipe())
    grid = area(metres)
    places = [grid] if metres >= 60 else [tile.geobox for tile in tiles(grid, size=TILE)]
    combine(granule, grid[:8, :8], bands)  # compiles
    before, read_before = resident("VmRSS"), _bytes_read()
    output = mapped = 0
    for place in places:
        spectra = combine(granule, place, bands)
        output = max(output, spectra.values.nbytes)
        mapped += int((spectra.observations > 0).sum())
    read, peak = _bytes_read() - read_before, resident("VmHWM") - before
    del spectra
    first, last = _lines(granule, bands)
    with h5py.File(path) as file:
        line_bytes = 4 * int(np.prod(file["reflectance"].shape[1:]))
    ours, plain = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        for place in places:
            combine(granule, place, bands)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        with h5py.File(path) as file:
            file["reflectance"][first : last + 1]
        plain.append(time.perf_counter() - start)
    return Reading(
        output=output,
        peak=peak,
        read=read,
        needed=(last - first + 1) * line_bytes,
        ours_s=ours,
        plain_s=plain,
        mapped=mapped,
    )


def _lines(granule: list, bands: np.ndarray) -> tuple[int, int]:
    from toolkit.scenes.emit_granule import read_spectra

    lines = read_spectra(granule[0], area(60), bands[:1]).lines
    return int(lines[lines >= 0].min()), int(lines.max())


def _bytes_read() -> int:
    """Bytes that read calls of this process returned, from caches or not."""
    return int(next(line for line in IO.read_text().splitlines() if line.startswith("rchar")).split()[1])


def measure(path: Path, metres: float, rounds: int = 3) -> Reading:
    """Run the work in a new process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.emit_reading", str(path), str(metres), str(rounds)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return Reading(**json.loads(done.stdout))


def sections(settings: Settings) -> Iterator[Section]:
    """10 km x 10 km of a full granule at 60 m, and at 10 m tile by tile."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_full_granule(Path(folder))
        found = {metres: measure(path, metres, min(settings.rounds, 5)) for metres in (60, 10)}
    rows = [
        [
            f"{metres} m",
            f"{one.mapped:,}",
            f"{one.output / 1e6:,.0f}",
            f"{one.beyond_output:,.0f}",
            f"{one.read / 1e6:,.0f}",
            f"{one.needed / 1e6:,.0f}",
            f"{seconds(median(one.ours_s))} ({seconds(min(one.ours_s))})",
            f"{seconds(median(one.plain_s))} ({seconds(min(one.plain_s))})",
        ]
        for metres, one in found.items()
    ]
    coarse = found[60]
    yield Section(
        title="EMIT, 10 km x 10 km of a granule of 1280 x 1242 x 285",
        text="A contiguous granule of 1.8 GB on a disk, turned by 40 degrees, with its mask; 244 bands. "
        "At 10 m "
        f"tile by tile ({TILE} pixels a side), output and memory of one tile, bytes and seconds of all. "
        "Needed are the whole lines that hold a pixel of the area, which plain h5py reads; bytes are those "
        "of system calls.",
        columns=(
            "grid",
            "pixels",
            "output, MB",
            "peak beyond output, MB",
            "read, MB",
            "needed, MB",
            "ours",
            "h5py",
        ),
        rows=rows,
        outcomes=[
            Outcome(
                what="60 m, peak beyond output, MB", measured=coarse.beyond_output, limit=400, at_most=True
            ),
            Outcome(
                what="60 m, bytes read over bytes of the lines needed",
                measured=coarse.read / coarse.needed,
                limit=1.2,
                at_most=True,
            ),
            Outcome(
                what="60 m, time over plain h5py",
                measured=median(coarse.ours_s) / median(coarse.plain_s),
                limit=1.5,
                at_most=True,
            ),
        ],
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(work(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))))
