"""Tiles that the area does not touch are not made, and the map is the same, byte for byte."""

import json

import pytest
import rasterio
import shapely

from pipelines import crop_map
from tests.conftest import write_catalog
from tests.pipelines.test_bad_input import geojson
from tests.pipelines.test_resume import GRID, files_of, model, request, scenes, tiles_told
from toolkit.area.aoi import read_aoi
from toolkit.area.grid import inside, output_geobox, tiles
from toolkit.learn.checkpoint import write_checkpoint
from toolkit.legend import Status

CORNER = GRID.geographic_extent.boundingbox
WIDTH, HEIGHT = CORNER.right - CORNER.left, CORNER.top - CORNER.bottom


def rectangle(left, bottom, right, top):
    """Part of the scenes, each side told from 0 to 1."""
    return shapely.box(
        CORNER.left + left * WIDTH,
        CORNER.bottom + bottom * HEIGHT,
        CORNER.left + right * WIDTH,
        CORNER.bottom + top * HEIGHT,
    )


AREAS = {
    "an L": shapely.union(rectangle(0.05, 0.05, 0.25, 0.95), rectangle(0.05, 0.05, 0.95, 0.2)),
    "two parts": shapely.MultiPolygon([rectangle(0.05, 0.05, 0.3, 0.3), rectangle(0.75, 0.7, 0.95, 0.95)]),
}


def made(place, out, area, client, **options):
    aoi = geojson(out.parent / "area.geojson", json.loads(shapely.to_geojson(area)))
    asked = request(place, out, **options).model_copy(update={"aoi": aoi})
    return crop_map.run(asked, client, progress=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Scenes of random values, and an untrained model."""
    folder = tmp_path_factory.mktemp("place")
    write_catalog(folder, scenes(folder))
    write_checkpoint(model(), folder / "model")
    return folder


@pytest.fixture(scope="module")
def polygons(tmp_path_factory):
    """A corn field that lies across the parts and what is between them."""
    field = json.loads(shapely.to_geojson(rectangle(0.1, 0.1, 0.9, 0.9)))
    features = [{"type": "Feature", "properties": {"crop": "corn", "name": "all"}, "geometry": field}]
    path = tmp_path_factory.mktemp("polygons") / "fields.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.mark.parametrize("area", AREAS.values(), ids=AREAS)
def test_the_map_is_that_of_one_tile_over_everything(area, place, polygons, tmp_path, client):
    options = {"zones": polygons, "fields": polygons}
    parts = made(place, tmp_path / "parts", area, client, tile_size=16, **options)
    whole = made(place, tmp_path / "whole", area, client, tile_size=1024, **options)
    assert files_of(parts.folder) == files_of(whole.folder)
    assert {"status.tif", "areas.csv", "areas_by_zone.csv", "status.tif.aux.xml"} <= set(
        files_of(parts.folder)
    )
    assert parts.accuracy.n > 0
    assert parts.areas == whole.areas
    assert (parts.accuracy.confusion == whole.accuracy.confusion).all()
    aoi = read_aoi(tmp_path / "area.geojson")
    grid = output_geobox(aoi)
    every = list(tiles(grid, size=16))
    holding = sum(bool(inside(aoi, tile.geobox).any()) for tile in every)
    assert holding <= len(parts.tiles.made) < 0.7 * len(every)
    assert tiles_told(parts.folder)["made"] == len(parts.tiles.made)
    assert f"tiles: {len(parts.tiles.made)}, " in parts.tiles.lines()[0]
    with rasterio.open(parts.files["status"]) as file:
        assert ((file.read(1) == Status.OUTSIDE_AREA) == ~inside(aoi, grid)).all()
