"""A season of simulated scenes on disk: COGs behind a static STAC catalog."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from odc.geo.geobox import GeoBox
from rasterio import Affine

from toolkit.area.season import season
from toolkit.cubes.recipe import SENTINEL2_BANDS
from toolkit.errors import InputError
from toolkit.simulate.clouds import cloud_amounts
from toolkit.simulate.growth import Growth, grow
from toolkit.simulate.landscape import Landscape, make_landscape
from toolkit.simulate.once import make_once, write_json
from toolkit.simulate.outlines import rings_of, valid_outline, write_outlines
from toolkit.simulate.sentinel2 import (
    BANDS_10M,
    REVISIT_DAYS,
    Scene,
    overpass_dates,
    render_scene,
    to_20m,
)
from toolkit.simulate.stac_items import (
    Radiometry,
    item_id,
    make_catalog,
    make_item,
    mgrs_tile,
)
from toolkit.simulate.streams import stream

SIMULATOR = 1
"""Version of the simulation: raised when the same seed gives other pixels."""

CLOUD_COVER = 0.37
"""Mean cloud amount; with thin cirrus about 40 % of the pixels are cloudy."""

WORKERS = 2
"""Threads that render and write; GDAL and numpy release the GIL. More would only hold more memory."""

COG_OPTIONS = {
    "driver": "COG",
    "compress": "DEFLATE",
    "predictor": "2",
    "blocksize": 128,
    "overview_count": 1,  # small scenes fit a few blocks; live ones have overviews all the same
    "num_threads": 1,
}


def season_dates(year: int, *, hemisphere: str = "north") -> tuple[date, ...]:
    """Return the days of acquisition of a season, one revisit before it to one after it.

    Args:
        year: year in which the season's (hemisphere's) year starts.
        hemisphere: ``north`` or ``south``.
    """
    window = season(year, hemisphere="south" if hemisphere == "south" else "north")
    margin = timedelta(days=REVISIT_DAYS)
    return overpass_dates(window.start - margin, window.end + margin)


def simulate_scenes(
    out: str | Path,
    *,
    landscape: Landscape | int,
    year: int,
    dates: Sequence[date] | None = None,
    radiometry: Radiometry | None = None,
    cloud_cover: float = CLOUD_COVER,
    aoi_share: float | None = None,
) -> Path:
    """Write a season of simulated scenes, its catalog, fields and area of interest.

    ``out`` holds in the end ``catalog.json``, one folder per scene with item and COGs,
    ``fields.geojson`` (property ``crop``), ``aoi.geojson`` and ``simulation.json``. It appears under
    its name only when complete. The same request in the same folder does no work.

    Args:
        out: folder, new or empty or made by the same request.
        landscape: landscape or the seed of one in the region of reference.
        year: year of the season; decides the dates and cover of the fields.
        dates: days of acquisition; by default those of the season (:func:`season_dates`).
        radiometry: how reflectance is stored; by default baseline 05.09, offset taken off already.
        cloud_cover: mean cloud amount over the dates, 0 to 1.
        aoi_share: part of the landscape that ``aoi.geojson`` covers with an irregular outline; None:
            nearly all of it.

    Returns:
        Path of ``catalog.json``.

    Raises:
        InputError: ``out`` holds something else, or an argument is out of range.
    """
    folder = Path(out)
    place = landscape if isinstance(landscape, Landscape) else make_landscape(landscape)
    days = tuple(dates) if dates is not None else season_dates(year, hemisphere=place.region.hemisphere)
    if not days or len(set(days)) != len(days) or not 0 <= cloud_cover <= 1:
        msg = (
            f"Simulation of {len(days)} dates with cloud cover {cloud_cover!r}; allowed: one date or "
            "more, each once, and a cloud cover of 0 to 1."
        )
        raise InputError(msg)
    request = _request(place, year, sorted(days), radiometry or Radiometry(), cloud_cover, aoi_share)
    make_once(folder, request, lambda part: _write_all(part, place, request, radiometry or Radiometry()))
    return folder / "catalog.json"


def _request(
    landscape: Landscape,
    year: int,
    days: Sequence[date],
    radiometry: Radiometry,
    cloud_cover: float,
    aoi_share: float | None,
) -> dict[str, Any]:
    """Everything that decides the files, as plain values for JSON."""
    return {
        "simulator": SIMULATOR,
        "simulated": True,
        "seed": landscape.seed,
        "region": asdict(landscape.region),
        "shape": list(landscape.geobox.shape.yx),
        "n_fields_asked": landscape.n_fields_asked,
        "year": year,
        "dates": [day.isoformat() for day in days],
        "radiometry": asdict(radiometry),
        "cloud_cover": cloud_cover,
        "aoi_share": aoi_share,
    }


def _write_all(folder: Path, landscape: Landscape, request: dict[str, Any], radiometry: Radiometry) -> None:
    """Write scenes, catalog and outlines."""
    days = [date.fromisoformat(day) for day in request["dates"]]
    growth = grow(landscape, year=request["year"])
    rng = stream(landscape.seed, "cloud amounts", request["year"])
    amounts = cloud_amounts(len(days), request["cloud_cover"], rng)

    def write(day: date, amount: float) -> dict[str, Any]:
        return _write_scene(folder, landscape, growth, day, float(amount), radiometry)

    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        items = list(pool.map(write, days, amounts))
    write_json(folder / "catalog.json", make_catalog(items, landscape.seed))
    write_outlines(folder, landscape, aoi_share=request["aoi_share"])


def _write_scene(
    folder: Path,
    landscape: Landscape,
    growth: Growth,
    day: date,
    amount: float,
    radiometry: Radiometry,
) -> dict[str, Any]:
    """Render one date, write its files and return its item."""
    scene = render_scene(landscape, growth, day, cloud_amount=amount)
    geobox = landscape.geobox
    place = folder / item_id(day, mgrs_tile(geobox))
    place.mkdir()
    for band, pixels in digital_numbers(scene, radiometry).items():
        _write_cog(place / f"{band}.tif", pixels, geobox, day)
    _write_cog(place / "SCL.tif", scene.scl, geobox, day)
    outline = rings_of(valid_outline(scene.valid, geobox), geobox)
    item = make_item(scene, geobox, outline, radiometry)
    write_json(place / f"{place.name}.json", item)
    return item


def digital_numbers(scene: Scene, radiometry: Radiometry) -> dict[str, npt.NDArray[np.uint16]]:
    """Return the digital numbers of each band at its resolution, 0 where nothing was seen.

    Args:
        scene: acquisition.
        radiometry: how reflectance is stored.
    """
    bands = {}
    for k, band in enumerate(SENTINEL2_BANDS):
        pixels, valid = scene.reflectance[k], scene.valid
        if band not in BANDS_10M:
            pixels, valid = to_20m(pixels), valid[::2, ::2]
        numbers = np.clip(np.rint(pixels * 10_000.0) + radiometry.added_dn, 1, 65_535)
        bands[band] = np.where(valid, numbers, 0).astype(np.uint16)
    return bands


def _write_cog(
    path: Path, pixels: npt.NDArray[np.uint16] | npt.NDArray[np.uint8], geobox: GeoBox, day: date
) -> None:
    """Write a cloud-optimised GeoTIFF on the landscape's grid, at 10 or 20 m."""
    height, width = pixels.shape
    resolution = 10 * geobox.shape.x // width
    bounds = geobox.boundingbox
    resampling = "nearest" if path.stem == "SCL" else "average"
    with rasterio.open(
        path,
        "w",
        **COG_OPTIONS,
        width=width,
        height=height,
        count=1,
        dtype=pixels.dtype.name,
        nodata=0,
        crs=str(geobox.crs),
        transform=Affine(resolution, 0, bounds.left, 0, -resolution, bounds.top),
        overview_resampling=resampling,
    ) as dst:
        dst.write(pixels, 1)
        dst.update_tags(
            simulated="true",
            TIFFTAG_IMAGEDESCRIPTION=f"simulated Sentinel-2 {path.stem}, {day.isoformat()}",
            TIFFTAG_SOFTWARE="cropglobe",
        )
