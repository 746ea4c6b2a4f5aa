"""Simulated scenes on disk: COGs behind a static STAC catalog, with the true fields beside them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
import shapely
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.io import MemoryFile

from toolkit.area.season import Season
from toolkit.cubes.recipe import SENTINEL2_BANDS
from toolkit.errors import InputError, StorageError
from toolkit.simulate.clouds import cloud_amounts
from toolkit.simulate.growth import Growth, grow
from toolkit.simulate.landscape import Landscape, make_landscape
from toolkit.simulate.sentinel2 import BANDS_10M, Scene, overpass_dates, render_scene, to_20m
from toolkit.simulate.stac_items import Radiometry, item_id, scene_item
from toolkit.simulate.streams import stream

FORMAT = 1
"""Layout of the folder; raised when the same request would give other pixels."""
REQUEST_FILE = "simulation.json"
MEAN_CLOUD = 0.4
"""Usual cloud cover of the humid South in summer at the time of overpass (MODIS: 0.35 to 0.5)."""
SCALE = 1e-4
THREADS = 2
NOTE = "Simulated scenes made by cropglobe; contains no Copernicus data"


def simulate_scenes(
    out: str | Path,
    *,
    seed: int,
    year: int,
    region: str = "reference",
    shape: tuple[int, int] = (256, 256),
    full_year: bool = False,
    radiometry: Radiometry | None = None,
    area_share: float = 1.0,
) -> Path:
    """Write simulated scenes of a landscape, unless the same ones are there already.

    Beside the scenes, ``fields.geojson`` holds the true fields (property ``crop``) and
    ``aoi.geojson`` an area of interest, both in degrees.

    Args:
        out: folder to make; it must not exist, or hold the same simulation.
        seed: seed of every draw.
        year: year of the season.
        region: name in :data:`toolkit.simulate.regions.REGIONS`.
        shape: rows and columns of 10 m pixels.
        full_year: scenes of the whole year instead of the season's (May to November in the north).
        radiometry: how reflectance becomes digital numbers; default as in Earth Search today.
        area_share: share of the landscape that the area of interest covers, above 0, up to 1.

    Returns:
        Path of ``catalog.json``.

    Raises:
        InputError: a parameter is not allowed, or the folder holds something else.
        StorageError: the folder cannot be written.
    """
    out = Path(out)
    coding = radiometry or Radiometry()
    if not 0 < area_share <= 1:
        msg = f"area_share is {area_share!r}; allowed: above 0, up to 1."
        raise InputError(msg)
    landscape = make_landscape(seed, region=region, shape=shape)
    hemisphere = landscape.region.hemisphere
    steps = {"first_step": 0, "n_steps": 73} if full_year else {}
    season = Season(year=year, hemisphere=hemisphere, **steps)
    request = {
        "format": FORMAT,
        "note": NOTE,
        "seed": seed,
        "year": year,
        "region": region,
        "shape": list(shape),
        "first_day": str(season.start),
        "last_day": str(season.end),
        "radiometry": asdict(coding),
        "area_share": area_share,
    }
    if _is_there(out, request):
        return out / "catalog.json"
    days = overpass_dates(season.start, season.end)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        _write_all(part, landscape, days, year=year, coding=coding, area_share=area_share)
        _write_json(request, part / REQUEST_FILE)
        part.replace(out)
    except OSError as error:
        msg = f"Simulated scenes cannot be written to {str(out)!r} ({error}). Check space and permissions."
        raise StorageError(msg) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out / "catalog.json"


def _is_there(out: Path, request: dict[str, Any]) -> bool:
    """Whether the folder holds this very simulation; raise if it holds something else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        found = json.loads((out / REQUEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found == request:
        return True
    what = "another simulation" if isinstance(found, dict) else "something else"
    msg = f"{str(out)!r} holds {what} already. Remove it, or choose another folder with --out."
    raise InputError(msg)


def _write_all(
    folder: Path,
    landscape: Landscape,
    days: Sequence[date],
    *,
    year: int,
    coding: Radiometry,
    area_share: float,
) -> None:
    growth = grow(landscape, year=year)
    amounts = cloud_amounts(len(days), MEAN_CLOUD, stream(landscape.seed, "clouds", year))
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = [
            pool.submit(_write_scene, folder, landscape, growth, day, float(amount), coding)
            for day, amount in zip(days, amounts, strict=True)
        ]
        for job in jobs:
            job.result()
    _write_catalog(folder, landscape, days)
    _write_vectors(folder, landscape, area_share)


def _write_scene(
    folder: Path, landscape: Landscape, growth: Growth, day: date, amount: float, coding: Radiometry
) -> None:
    """Write the pixels and the item of one date."""
    scene = render_scene(landscape, growth, day, cloud_amount=amount)
    name = item_id(day, landscape.geobox)
    pixels = folder / "scenes" / name
    pixels.mkdir(parents=True)
    for band in (*SENTINEL2_BANDS, "SCL"):
        grid = landscape.geobox if band in BANDS_10M else landscape.geobox.zoom_out(2)
        write_cog(numbers(scene, band, coding), grid, pixels / f"{band}.tif")
    item = scene_item(scene, landscape.geobox, coding, place=f"../scenes/{name}")
    links = [
        {"rel": rel, "href": "../catalog.json", "type": "application/json"} for rel in ("root", "parent")
    ]
    (folder / name).mkdir()
    _write_json({**item, "links": links}, folder / name / f"{name}.json")


def numbers(scene: Scene, band: str, coding: Radiometry) -> npt.NDArray[np.unsignedinteger]:
    """Return the digital numbers of a band as stored: 0 is nodata, valid pixels are 1 or more."""
    if band == "SCL":
        return scene.scl
    reflectance = scene.reflectance[SENTINEL2_BANDS.index(band)]
    valid = scene.valid
    if band not in BANDS_10M:
        reflectance, valid = to_20m(reflectance).astype(np.float32), scene.valid[::2, ::2]
    dn = np.clip(np.rint(reflectance / SCALE) + coding.added, 1, 65_534)
    return np.where(valid, dn, 0).astype(np.uint16)


def write_cog(pixels: npt.NDArray[np.unsignedinteger], grid: GeoBox, path: Path) -> None:
    """Write one band as a cloud-optimised GeoTIFF with overviews.

    Args:
        pixels: uint8 or uint16 ``(y, x)``, 0 is nodata.
        grid: its grid.
        path: file to write.
    """
    profile = {
        "driver": "GTiff",
        "count": 1,
        "dtype": pixels.dtype.name,
        "nodata": 0,
        "height": grid.shape.y,
        "width": grid.shape.x,
        "crs": str(grid.crs),
        "transform": grid.affine,
    }
    options = {
        "driver": "COG",
        "compress": "DEFLATE",
        "predictor": "YES",
        "level": 1,  # three times as fast as the default, 5 % larger
        "blocksize": 128,
        "overview_count": 1,
        "overview_resampling": "nearest",
        "num_threads": 1,
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(pixels, 1)
            file.update_tags(TIFFTAG_IMAGEDESCRIPTION=NOTE)
        with memory.open() as file:
            rasterio.shutil.copy(file, path, **options)


def _write_catalog(folder: Path, landscape: Landscape, days: Sequence[date]) -> None:
    links: list[dict[str, str]] = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}]
    for day in days:
        name = item_id(day, landscape.geobox)
        links.append({"rel": "item", "href": f"./{name}/{name}.json", "type": "application/geo+json"})
    _write_json(
        {
            "type": "Catalog",
            "id": f"simulated-sentinel-2-{landscape.region.name}-{landscape.seed}",
            "stac_version": "1.0.0",
            "title": "Simulated Sentinel-2 L2A scenes",
            "description": f"{NOTE}. Region {landscape.region.name!r}, seed {landscape.seed}.",
            "links": links,
        },
        folder / "catalog.json",
    )


def _write_vectors(folder: Path, landscape: Landscape, area_share: float) -> None:
    """Write the true fields and an area of interest, in degrees."""
    to_degrees = Transformer.from_crs(str(landscape.geobox.crs), "EPSG:4326", always_xy=True)

    def in_degrees(shape: shapely.Geometry) -> Any:
        moved = shapely.transform(
            shape, lambda xy: np.column_stack(to_degrees.transform(xy[:, 0], xy[:, 1])).round(7)
        )
        return shapely.geometry.mapping(moved)

    fields = [
        ({"field": number, "crop": landscape.crop_of(number), "simulated": True}, in_degrees(outline))
        for number, outline in enumerate(landscape.polygons, start=1)
    ]
    area = area_of_interest(landscape, area_share)
    _write_features(fields, folder / "fields.geojson")
    _write_features(
        [({"name": "simulated area", "simulated": True}, in_degrees(area))], folder / "aoi.geojson"
    )


def area_of_interest(landscape: Landscape, share: float) -> shapely.Polygon:
    """Return an area inside a landscape: all of it but a margin, or an irregular octagon.

    Args:
        landscape: where.
        share: share of the landscape that it covers; 1 leaves out 20 m along the edges.
    """
    bounds = landscape.geobox.boundingbox
    whole = shapely.box(bounds.left, bounds.bottom, bounds.right, bounds.top)
    if share >= 1:
        return whole.buffer(-20, join_style="mitre")
    centre, angles = whole.centroid, np.radians(np.arange(8) * 45 + 11)
    radii = stream(landscape.seed, "area").uniform(0.85, 1.0, size=8)
    ring = np.column_stack([centre.x + radii * np.cos(angles), centre.y + radii * np.sin(angles)])
    outline = shapely.Polygon(ring)
    factor = float(np.sqrt(share * whole.area / outline.area))
    grown = shapely.transform(outline, lambda xy: (xy - [centre.x, centre.y]) * factor + [centre.x, centre.y])
    return shapely.intersection(grown, whole.buffer(-20, join_style="mitre"))


def _write_features(entries: list[tuple[dict[str, Any], Any]], path: Path) -> None:
    features = [{"type": "Feature", "properties": p, "geometry": geometry} for p, geometry in entries]
    _write_json({"type": "FeatureCollection", "features": features}, path)


def _write_json(document: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
