"""Mosaics: every pixel from the nearest of its zone's map, no seam, in bounded memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rio_cogeo import cog_validate
from shapely.geometry import box

from toolkit.area.aoi import AOI, read_aoi, square_metres
from toolkit.area.grid import inside, output_geobox
from toolkit.area.zones import split_by_zone
from toolkit.legend import CROPGLOBE, Status
from toolkit.maps import mosaic
from toolkit.maps.geotiff import write_layer
from toolkit.maps.layers import LAYERS
from toolkit.maps.mosaic import ZoneFiles, join_zones, mosaic_crs, mosaic_geobox

CROP, STATUS = LAYERS[0], LAYERS[-1]
NORTH_SEA = AOI(shapely.Polygon([(5.99, 50.0), (6.012, 50.001), (6.011, 50.01), (6.0, 50.014)]), "border")
FIJI = read_aoi(shapely.Polygon([(179.99, -17), (180.012, -17.001), (180.011, -16.99), (180.0, -16.986)]))


def zone_maps(aoi, folder, *, resolution=10.0, layers=(CROP, STATUS)):
    """A map of each zone with known pixels: class by place, each zone's own; status 2 outside its part."""
    made = {}
    for number, part in enumerate(split_by_zone(aoi, resolution=resolution)[0]):
        geobox = output_geobox(part.with_overlap, resolution=resolution, crs=f"EPSG:{part.epsg}")
        within = inside(part.with_overlap, geobox)
        rows, columns = np.indices(geobox.shape.yx)
        crop = np.where(within, (rows * 7 + columns * 3) % 3 + 1 + 3 * (number % 2), 0).astype(np.uint8)
        values = {"crop": crop, "status": np.where(within, 1, 2).astype(np.uint8)}
        (folder / part.name).mkdir()
        window = rasterio.windows.Window(0, 0, geobox.shape.x, geobox.shape.y)
        files = {
            layer.name: write_layer(
                [(window, values[layer.name])], geobox, layer, folder / part.name / layer.file, CROPGLOBE, {}
            )
            for layer in layers
        }
        made[part.epsg] = (ZoneFiles(epsg=part.epsg, files=files), geobox, values)
    return made


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def join(aoi, zones, folder, **options):
    geobox = mosaic_geobox(aoi, resolution=10, **options)
    folder.mkdir(exist_ok=True)
    return geobox, join_zones(zones, aoi, geobox, (CROP, STATUS), folder, legend=CROPGLOBE, tags={})


@pytest.mark.parametrize("aoi", [NORTH_SEA, FIJI], ids=["two zones", "across 180 degrees"])
@pytest.mark.parametrize("crs", [None, "utm"])
def test_each_pixel_is_the_nearest_of_its_zones_map(aoi, crs, tmp_path):
    maps = zone_maps(aoi, tmp_path)
    assert len(maps) == 2
    crs = crs and f"EPSG:{min(maps)}"
    geobox, files = join(aoi, [zone for zone, _, _ in maps.values()], tmp_path / "out", crs=crs)
    crop, status = read(files["crop"]), read(files["status"])
    within = inside(aoi, geobox)
    assert (crop[~within] == 0).all()
    assert (status[~within] == Status.OUTSIDE_AREA).all()
    x, y = np.meshgrid(geobox.coordinates["x"].values, geobox.coordinates["y"].values)
    lon, _ = Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True).transform(x, y)
    meridian = 6 if aoi is NORTH_SEA else 0
    in_west = lon < meridian if aoi is NORTH_SEA else lon > 0
    codes = (32631, 32632) if aoi is NORTH_SEA else (32760, 32701)
    for epsg, mine in zip(codes, (in_west, ~in_west), strict=True):
        _, grid, values = maps[epsg]
        to_zone = Transformer.from_crs(str(geobox.crs), f"EPSG:{epsg}", always_xy=True)
        for i, j in zip(*np.nonzero(mine & within), strict=True):
            east, north = to_zone.transform(x[i, j], y[i, j])
            row = np.abs(grid.coordinates["y"].values - north).argmin()
            column = np.abs(grid.coordinates["x"].values - east).argmin()
            assert crop[i, j] == values["crop"][row, column]
            assert status[i, j] == values["status"][row, column]


def test_there_is_no_seam_between_zones(tmp_path):
    maps = zone_maps(NORTH_SEA, tmp_path)
    geobox, files = join(NORTH_SEA, [zone for zone, _, _ in maps.values()], tmp_path / "out")
    inner = AOI(
        shapely.transform(
            shapely.transform(NORTH_SEA.geometry, lambda xy: xy * [70_000, 111_000]).buffer(-30),
            lambda xy: xy / [70_000, 111_000],
        )
    )
    deep = inside(inner, geobox)
    assert deep.sum() > 5_000
    assert (read(files["crop"])[deep] > 0).all()
    assert (read(files["status"])[deep] == Status.MAPPED).all()


def test_a_zone_without_map_was_not_observed(tmp_path):
    maps = zone_maps(NORTH_SEA, tmp_path)
    geobox, files = join(NORTH_SEA, [maps[32631][0]], tmp_path / "out")
    within, status = inside(NORTH_SEA, geobox), read(files["status"])
    assert set(np.unique(status[within])) == {Status.MAPPED, Status.NOT_OBSERVED, Status.OUTSIDE_AREA}
    assert (status[within] == Status.OUTSIDE_AREA).mean() < 0.02  # along the outline
    assert (read(files["crop"])[status == Status.NOT_OBSERVED] == 0).all()


def test_the_same_maps_give_the_same_bytes_whatever_the_window(tmp_path, monkeypatch):
    zones = [zone for zone, _, _ in zone_maps(NORTH_SEA, tmp_path).values()]
    _, first = join(NORTH_SEA, zones, tmp_path / "a")
    monkeypatch.setattr(mosaic, "WINDOW", 64)
    _, second = join(NORTH_SEA, list(reversed(zones)), tmp_path / "b")
    for layer in ("crop", "status"):
        np.testing.assert_array_equal(read(first[layer]), read(second[layer]))
    monkeypatch.undo()
    _, third = join(NORTH_SEA, zones, tmp_path / "c")
    for layer in ("crop", "status"):
        assert first[layer].read_bytes() == third[layer].read_bytes()
        assert cog_validate(first[layer])[0]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(
        path.name for path in (tmp_path / "c").iterdir()
    )
    assert not (tmp_path / "a" / mosaic.STACK_FILE).exists()


def test_the_crs_of_a_mosaic_keeps_areas_around_a_rounded_centre():
    assert "+lat_0=50 +lon_0=6 " in mosaic_crs(NORTH_SEA)
    assert "+lat_0=-17 +lon_0=-180 " in mosaic_crs(FIJI) or "+lon_0=180 " in mosaic_crs(FIJI)
    wide = read_aoi(box(170, -50, 200, -20))
    geobox = mosaic_geobox(wide, resolution=2000)
    pixels = inside(wide, geobox).sum() * 2000**2
    assert pixels == pytest.approx(square_metres(wide.geometry), rel=1e-3)


PEAK = """
import resource, sys
from pathlib import Path
import numpy as np
from shapely.geometry import box
from rasterio.windows import Window
from toolkit.area.aoi import AOI
from toolkit.area.grid import output_geobox
from toolkit.area.zones import split_by_zone
from toolkit.legend import CROPGLOBE
from toolkit.maps.geotiff import write_layer
from toolkit.maps.layers import LAYERS
from toolkit.maps import mosaic
from toolkit.maps.mosaic import ZoneFiles, join_zones, mosaic_geobox
mosaic.WINDOW = 256
half, out = float(sys.argv[1]), Path(sys.argv[2])
aoi = AOI(box(6 - half, 50, 6 + half, 50 + half))
zones = []
for part in split_by_zone(aoi)[0]:
    grid = output_geobox(part.with_overlap, crs=f"EPSG:{part.epsg}")
    (out / part.name).mkdir(parents=True)
    corners = [(x, y) for y in range(0, grid.shape.y, 512) for x in range(0, grid.shape.x, 512)]
    windows = [Window(x, y, min(512, grid.shape.x - x), min(512, grid.shape.y - y)) for x, y in corners]
    blocks = ((one, np.full((one.height, one.width), one.row_off % 7 + 1, np.uint8)) for one in windows)
    path = write_layer(blocks, grid, LAYERS[0], out / part.name / "crop.tif", CROPGLOBE, {})
    zones.append(ZoneFiles(epsg=part.epsg, files={"crop": path}))
grid = mosaic_geobox(aoi, resolution=10)
join_zones(zones, aoi, grid, LAYERS[:1], out, legend=CROPGLOBE, tags={})
print(grid.shape.y * grid.shape.x, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_of_a_mosaic_does_not_grow_with_it(tmp_path):
    seen = []
    for half in (0.05, 0.2):
        command = [sys.executable, "-c", PEAK, str(half), str(tmp_path / str(half))]
        environment = {**os.environ, "GDAL_CACHEMAX": "4"}
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment, timeout=120
        )
        seen.append([int(word) for word in done.stdout.split()])
    (pixels, peak), (more_pixels, higher_peak) = seen
    assert more_pixels > 15 * pixels
    # The coordinates of the larger one alone would be 16 bytes a pixel, its classes one.
    assert higher_peak - peak < 2.5 * more_pixels
