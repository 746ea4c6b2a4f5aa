"""Maps of cropland alone: what is masked is neither read nor predicted, and the status says so."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest
import rasterio
import shapely
import yaml
from rasterio.enums import Resampling
from rasterio.warp import reproject

from pipelines import crop_map, search
from pipelines.config import FindRequest, MapRequest
from tests.conftest import GEOBOX, footprint, make_scene, write_catalog
from tests.pipelines.test_bad_input import START, checkpoint, fails, geojson, request
from tests.servers.ranges import serve
from tests.servers.worldcover import PIXEL, add_worldcover, worldcover_tile, write_raster
from toolkit.errors import InputError, NothingMappedWarning
from toolkit.learn.checkpoint import write_checkpoint
from toolkit.legend import Status
from toolkit.scenes.cropland_sources import read_saved_cropland
from toolkit.scenes.sensors import SENTINEL2_BANDS

EXTENT = GEOBOX.geographic_extent.boundingbox
WEST, NORTH = EXTENT.left - 9 * PIXEL, EXTENT.top + 11 * PIXEL
SHAPE = (80, 100)
LAYERS = ("crop_map", "confidence", "observations", "longest_gap")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Scenes of random numbers in blocks of 16 pixels, an untrained model, an area without a corner."""
    folder = tmp_path_factory.mktemp("cropland")
    rng = np.random.default_rng(0)
    corner = shapely.box(EXTENT.right - 8 * PIXEL, EXTENT.top - 8 * PIXEL, EXTENT.right, EXTENT.top)
    area = GEOBOX.geographic_extent.geom.difference(corner)
    geojson(folder / "aoi.geojson", shapely.geometry.mapping(area))
    geojson(folder / "small.geojson", footprint(GEOBOX[:8, :8]))
    items = [
        make_scene(
            folder,
            f"d{k}",
            START + timedelta(days=40 * k),
            value={band: rng.integers(1, 9000, GEOBOX.shape.yx) for band in SENTINEL2_BANDS},
            block=16,
        )
        for k in range(4)
    ]
    write_catalog(folder, items)
    write_checkpoint(checkpoint(simulated=False), folder / "model")
    return folder


@pytest.fixture(scope="module")
def classes():
    """Land cover with cropland, other classes, and no data."""
    values = np.random.default_rng(1).choice([10, 40, 40, 50], SHAPE).astype(np.uint8)
    values[:30, 40:] = 0
    return values


@pytest.fixture(scope="module")
def covered(place, classes):
    """The catalog with WorldCover of two years, the older one all forest."""
    tiles = [
        worldcover_tile(place, np.full(SHAPE, 10, np.uint8), WEST, NORTH, year=2020),
        worldcover_tile(place, classes, WEST, NORTH),
    ]
    (place / "covered.json").write_bytes((place / "catalog.json").read_bytes())
    path = add_worldcover(place / "catalog.json", tiles)
    with_it = path.read_bytes()
    (place / "catalog.json").write_bytes((place / "covered.json").read_bytes())
    (place / "covered.json").write_bytes(with_it)
    return place / "covered.json"


def map_of(place, out, client, **more):
    options = {
        "aoi": place / "aoi.geojson",
        "catalog": str(place / "catalog.json"),
        "year": 2021,
        "model": place / "model",
        "radiometry": "trust",
        "tile_size": 16,
        "out": out,
    }
    return crop_map.run(MapRequest.make({**options, **more}), client, progress=False)


def pixels(folder, layer):
    with rasterio.open(folder / f"{layer}.tif") as file:
        return file.read(1)


def warped(path, folder):
    """What GDAL makes of a raster on the grid of a map, nearest neighbour, in the one call it has for it."""
    with rasterio.open(path) as source, rasterio.open(folder / "status.tif") as target:
        out = np.zeros(target.shape, np.uint8)
        reproject(
            rasterio.band(source, 1),
            out,
            dst_transform=target.transform,
            dst_crs=target.crs,
            resampling=Resampling.nearest,
            tolerance=0,
        )
    return out


def record_of(folder):
    return json.loads((folder / "run.json").read_text())["cropland"]


@pytest.fixture(scope="module")
def unmasked(place, client, tmp_path_factory):
    """The map of all the area."""
    return map_of(place, tmp_path_factory.mktemp("all"), client, cropland="none")


def test_worldcover_of_the_catalog_is_taken_by_itself_recorded_and_told(
    place, covered, unmasked, client, tmp_path
):
    with serve(place) as server:
        result = map_of(place, tmp_path / "out", client, catalog=f"{server.url}/{covered.name}")
    folder = result.folder
    status, whole = pixels(folder, "status"), pixels(unmasked.folder, "status")
    classes = warped(place / f"ESA_WorldCover_10m_2021_{WEST:.4f}_{NORTH:.4f}_Map.tif", folder)
    area = whole != Status.OUTSIDE_AREA
    masked = area & ~np.isin(classes, (0, 40))
    np.testing.assert_array_equal(status, np.where(masked, Status.NOT_CROPLAND, whole))
    assert 0.2 < masked[area].mean() < 0.6
    fills = {"crop_map": 0, "confidence": 255, "observations": 255, "longest_gap": 255}
    for layer in LAYERS:  # what is mapped is what it would have been
        expected = np.where(masked, fills[layer], pixels(unmasked.folder, layer))
        np.testing.assert_array_equal(pixels(folder, layer), expected, err_msg=layer)
    record = record_of(folder)
    assert record["source"] == "worldcover"
    assert record["title"] == "ESA WorldCover 10 m 2021, version 2.0.0"
    assert record["values"] == [40]
    assert record["pixels"] == area.sum()
    assert record["pixels_not_cropland"] == masked.sum()
    assert record["pixels_unknown"] == (area & (classes == 0)).sum() > 0
    assert record["share_not_cropland"] == pytest.approx(masked[area].mean(), abs=1e-6)
    saved = read_saved_cropland(folder / "cropland.json")
    assert saved.content_hash == record["sha256"]
    (line,) = [line for line in result.lines() if line.startswith("cropland: ")]
    assert "ESA WorldCover 10 m 2021, version 2.0.0, " in line
    assert f"{masked[area].mean():.1%} of the area is not cropland" in line
    assert "pixels without data count as cropland" in line
    assert "ESA WorldCover project 2021" in result.attribution
    with rasterio.open(folder / "crop_map.tif") as file:
        assert "ESA WorldCover project 2021" in file.tags()["TIFFTAG_COPYRIGHT"]


def test_a_catalog_without_it_maps_all_and_says_why(place, unmasked, client, tmp_path):
    result = map_of(place, tmp_path / "out", client)
    for layer in (*LAYERS, "status"):
        np.testing.assert_array_equal(pixels(result.folder, layer), pixels(unmasked.folder, layer))
    record = record_of(result.folder)
    assert record["source"] is None
    assert "has no ESA WorldCover, which is offered by planetary-computer" in record["reason"]
    assert any(line.startswith("cropland: all of the area (") for line in result.lines())
    assert not (result.folder / "cropland.json").exists()
    assert "WorldCover" not in result.attribution
    assert record_of(unmasked.folder) == {"source": None, "reason": "asked for"}


def test_blocks_without_cropland_are_not_read_and_tiles_without_it_open_no_scene(
    place, unmasked, client, tmp_path
):
    values = np.zeros(SHAPE, np.uint8)
    height, width = GEOBOX.shape.yx
    middle = GEOBOX[: height // 2 - 2, : width // 2 - 2].geographic_extent.boundingbox
    values[: int((NORTH - middle.bottom) / PIXEL), : int((middle.right - WEST) / PIXEL)] = 1
    mask = write_raster(tmp_path / "mask.tif", values, WEST, NORTH, nodata=None)
    result = map_of(place, tmp_path / "one", client, cropland=str(mask))
    assert (result.reads.scenes, unmasked.reads.scenes) == (4, 16)  # one tile of four
    status = pixels(result.folder, "status")
    inside = (pixels(unmasked.folder, "status") != Status.OUTSIDE_AREA) & (warped(mask, result.folder) == 0)
    np.testing.assert_array_equal(status == Status.NOT_CROPLAND, inside)
    one = map_of(place, tmp_path / "large", client, cropland=str(mask), tile_size=32)  # four blocks a tile
    bands_10m, bands_20m, quality = 4, 6, 1  # a file at 20 m is one block, at 10 m four
    assert one.reads.blocks == 4 * (bands_10m + bands_20m + quality)
    for layer in (*LAYERS, "status"):
        np.testing.assert_array_equal(pixels(one.folder, layer), pixels(result.folder, layer))


def test_an_area_without_cropland_opens_no_scene_at_all(place, tmp_path):
    mask = write_raster(tmp_path / "mask.tif", np.zeros(SHAPE, np.uint8), WEST, NORTH, nodata=0)
    with pytest.warns(NothingMappedWarning):
        # in a process of its own: threads that work in this one may take warnings away
        result = map_of(place, tmp_path / "out", None, workers=1, cropland=str(mask))
    assert (result.reads.scenes, result.reads.blocks, result.reads.files) == (0, 0, 4)  # the mask, by tile
    status = pixels(result.folder, "status")
    assert set(np.unique(status)) == {Status.OUTSIDE_AREA, Status.NOT_CROPLAND}
    assert record_of(result.folder)["share_not_cropland"] == 1


def test_polygons_tell_cropland_and_a_later_run_without_them_leaves_no_trace(
    place, unmasked, client, tmp_path
):
    fields = geojson(tmp_path / "fields.geojson", footprint(GEOBOX[4:20, 6:12]))
    result = map_of(place, tmp_path / "out", client, cropland=str(fields))
    status = pixels(result.folder, "status")
    expected = np.full(status.shape, Status.NOT_CROPLAND)
    expected[4:20, 6:12] = Status.MAPPED
    expected[pixels(unmasked.folder, "status") == Status.OUTSIDE_AREA] = Status.OUTSIDE_AREA
    np.testing.assert_array_equal(status, expected)
    assert (result.folder / "cropland.json").is_file()
    saved = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert saved["cropland"] == str(fields)
    changed = {"cropland": "none", "aoi": place / "small.geojson", "allow_change": True}
    map_of(place, tmp_path / "out", client, **changed)
    assert not (result.folder / "cropland.json").exists()


def test_wrong_masks_are_told_before_any_work(place, tmp_path, capfd):
    def asked(**options):
        return request(place, out=tmp_path / "result", tile_size=16, **options)

    far = geojson(
        tmp_path / "far.geojson", {"type": "Polygon", "coordinates": [[[9, 9], [9, 8], [8, 8], [9, 9]]]}
    )
    fails(asked(cropland="no.tif"), capfd, code=4, saying=["There is no cropland file", "worldcover, none"])
    fails(asked(cropland=far), capfd, code=4, saying=["does not meet the area: it lies in 8.0000, 8.0000"])
    values = [*asked(cropland="none"), "--cropland-values", "40"]
    fails(values, capfd, code=4, saying=["Values [40] of cropland are given, but no mask"])
    assert not (tmp_path / "result").exists()
    wanted = ["is asked for, but not to be had in", "offered by planetary-computer", "--cropland none"]
    fails(asked(cropland="worldcover"), capfd, code=4, saying=wanted)
    fails([*asked(), "--cropland-values", "40"], capfd, code=4, saying=wanted)
    assert {path.name for path in (tmp_path / "result").rglob("*")} == {".cropglobe", "lock"}


def test_saved_items_are_mapped_without_another_search(place, covered, unmasked, client, tmp_path):
    with serve(place) as server:
        url = f"{server.url}/{covered.name}"
        asked = FindRequest.make(
            {"aoi": place / "aoi.geojson", "catalog": url, "year": 2021, "out": tmp_path}
        )
        items = search.run(asked).path
        before = len(server.log)
        named = {"items": items, "allow_hosts": ("127.0.0.1",), "catalog": None}
        named["aoi"] = place / "small.geojson"
        result = map_of(place, tmp_path / "a", client, **named)
        assert not [one.path for one in server.log[before:] if one.path.endswith(".json")]
        assert record_of(result.folder)["source"] is None
        with pytest.raises(InputError, match="not to be had in the scenes' catalog"):
            map_of(place, tmp_path / "b", client, **named, cropland="worldcover")
        named["catalog"] = url
        result = map_of(place, tmp_path / "c", client, **named, cropland="worldcover")
    assert record_of(result.folder)["source"] == "worldcover"
