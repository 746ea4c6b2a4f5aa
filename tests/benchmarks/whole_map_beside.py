"""What the whole map is measured beside: the obvious script, an overlapping granule, a bare dispatch."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import pystac
import rasterio
import torch
from distributed import Client
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from tests.benchmarks.peak_memory import resident
from tests.benchmarks.whole_map_parts import BLOCK
from toolkit.catalog.guard import GDAL_OPTIONS
from toolkit.cluster import connect
from toolkit.cubes.recipe import SENTINEL2_BANDS
from toolkit.learn.checkpoint import read_checkpoint
from toolkit.maps.dispatch import run_tiles
from toolkit.simulate.scenes import COG_OPTIONS

CLEAR = (2, 4, 5, 6, 7, 11)
BATCH = 1024
WIDE = 1229 // 2 * 2
"""Columns of 10 m of the first of two granules."""
SHIFT = 10_000 % 1024
"""Columns at which the second one starts: neighbours lie 10,000 apart, which is no whole number of blocks."""


def obvious_map(items: list[pystac.Item], geobox: GeoBox, model: Path, threads: int) -> np.ndarray[Any, Any]:
    """What an analyst writes: odc-stac, xarray's median by five days, interpolation, PyTorch eager.

    Returns:
        uint8 ``(y, x)``, class index + 1; 0 where nothing was seen.
    """
    checkpoint = read_checkpoint(model)
    bands = list(SENTINEL2_BANDS)
    with rasterio.Env(**GDAL_OPTIONS):
        lazy = odc.stac.load(
            items, bands=[*bands, "SCL"], geobox=geobox, groupby="solar_day", chunks={"x": 512, "y": 512}
        )
        scenes = lazy.load(scheduler="threads", num_workers=threads)
    clear = scenes["SCL"].isin(CLEAR)
    reflectance = scenes[bands].where(clear & (scenes[bands] > 0)) / 10_000
    steps = reflectance.resample(time="5D").median()
    filled = steps.interpolate_na("time").bfill("time").ffill("time")
    n_steps = checkpoint.recipe.n_steps
    series = filled.isel(time=slice(n_steps)).to_array("band").transpose("y", "x", "band", "time")
    pixels = series.to_numpy().reshape(-1, len(bands), series.sizes["time"]).astype(np.float32)
    short = n_steps - pixels.shape[2]
    if short > 0:
        pixels = np.pad(pixels, ((0, 0), (0, 0), (0, short)), mode="edge")
    mean, std = (np.array(part, np.float32)[:, None] for part in (checkpoint.mean, checkpoint.std))
    network, crops = checkpoint.build(), []
    with torch.no_grad():
        for first in range(0, len(pixels), BATCH):
            batch = torch.from_numpy((pixels[first : first + BATCH] - mean) / std)
            crops.append(network(batch).argmax(dim=1).numpy())
    seen = np.isfinite(pixels).all(axis=(1, 2))
    return np.where(seen, np.concatenate(crops) + 1, 0).astype(np.uint8).reshape(geobox.shape.yx)


def two_granules(season: Path, out: Path) -> Path:
    """Cut each scene into two granules that overlap, with blocks that do not meet; return the folder.

    Args:
        season: folder of simulated scenes.
        out: folder to make; what is there is replaced.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    catalog = json.loads((season / "catalog.json").read_text())
    links = []
    for link in catalog["links"]:
        if link["rel"] != "item":
            links.append(link)
            continue
        links += [{**link, "href": f"./{_granule(season / link['href'], out, part)}"} for part in (0, 1)]
    (out / "catalog.json").write_text(json.dumps({**catalog, "links": links}))
    return out


def columns_of(part: int, width: int) -> tuple[int, int]:
    """First column and number of columns of a granule, of a scene so many 10 m pixels wide."""
    return (0, WIDE) if part == 0 else (SHIFT, width - SHIFT)


def _granule(source: Path, out: Path, part: int) -> str:
    """Write one granule of a scene; return its item's place in the catalog."""
    item = json.loads(source.read_text())
    tile = "".join(str(item["properties"][f"mgrs:{key}"]) for key in ("utm_zone", "latitude_band"))
    square = item["properties"]["mgrs:grid_square"]
    other = square if part == 0 else f"W{square[1]}"
    name = item["id"].replace(tile + square, tile + other)
    for asset in item["assets"].values():
        place = source.parent / asset["href"]
        height, width = asset["proj:shape"]
        factor = asset["proj:transform"][0] // 10
        left, wide = (int(n // factor) for n in columns_of(part, int(width * factor)))
        cut(place, out / name / place.name, left, wide)
        asset["proj:shape"] = [height, wide]
        asset["proj:transform"][2] += left * 10 * factor
    item["id"] = name
    item["properties"] |= {"mgrs:grid_square": other, "grid:code": f"MGRS-{tile}{other}"}
    (out / name / f"{name}.json").write_text(json.dumps(item))
    return f"{name}/{name}.json"


def cut(source: Path, target: Path, left: int, width: int) -> None:
    """Write columns of a file as a COG of its own."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(source) as file:
        window = Window(left, 0, width, file.height)
        profile = {
            **COG_OPTIONS,
            "blocksize": BLOCK,
            "width": width,
            "height": file.height,
            "count": 1,
            "dtype": file.dtypes[0],
            "nodata": 0,
            "crs": file.crs,
            "transform": file.window_transform(window),
        }
        with rasterio.open(target, "w", **profile) as part:
            part.write(file.read(1, window=window), 1)


def dispatch(n_tiles: int, workers: int = 2) -> tuple[float, int]:
    """Seconds a tile, and the driver's most memory in bytes, of tiles without work."""
    with connect(workers=workers) as client:
        return time_dispatch(client, n_tiles)


def time_dispatch(client: Client, n_tiles: int) -> tuple[float, int]:
    """Run tiles without work; the first round starts the workers' imports and is not timed."""
    list(run_tiles(range(8), nothing, client=client))
    start = time.perf_counter()
    done = sum(1 for _ in run_tiles(range(n_tiles), nothing, client=client))
    if done != n_tiles:
        msg = f"{done} of {n_tiles} tiles came back."
        raise RuntimeError(msg)
    return (time.perf_counter() - start) / n_tiles, resident("VmHWM")


def nothing(tile: int) -> int:
    """No work."""
    return tile
