"""The folder of a map: every product beside it, the same from run to run, true to the pixels."""

import hashlib
import json
from datetime import timedelta

import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
from rio_cogeo import cog_validate

from pipelines import crop_map
from pipelines.config import MapRequest
from tests.conftest import footprint, make_scene, write_catalog
from tests.maps.test_stac import check
from tests.pipelines.test_bad_input import START, checkpoint, fails, geojson, request
from toolkit.learn.checkpoint import write_checkpoint
from toolkit.maps.model_item import write_model_item

LAYERS = ("confidence", "crop_map", "longest_gap", "observations", "status")


@pytest.fixture
def place(tmp_path, geobox):
    """A complete request in files: 16 x 16 pixels, four dates, an untrained model."""
    geojson(tmp_path / "aoi.geojson", footprint(geobox[:16, :16]))
    write_catalog(tmp_path, [make_scene(tmp_path, f"d{k}", START + timedelta(days=40 * k)) for k in range(4)])
    write_checkpoint(checkpoint(simulated=False), tmp_path / "model")
    return tmp_path


def config(place, out, **more):
    return MapRequest(
        aoi=place / "aoi.geojson",
        catalog=str(place / "catalog.json"),
        year=2021,
        model=place / "model",
        out=out,
        radiometry="trust",
        **more,
    )


def pixels(path):
    with rasterio.open(path) as file:
        return file.read(1)


@pytest.fixture
def zones(place):
    """The area of the map itself, named."""
    feature = json.loads((place / "aoi.geojson").read_text())
    feature["properties"] = {"name": "Öst"}
    path = place / "zones.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature, feature]}))
    return path


def test_products_of_a_map_agree_with_its_pixels(place, zones, client):
    result = crop_map.run(config(place, place / "result", zones=zones), client, progress=False)
    folder = result.folder
    assert {path.name for path in folder.iterdir()} == {
        *(f"{layer}.tif" for layer in LAYERS),
        *("crop_map.tif.aux.xml", "status.tif.aux.xml"),
        *("crop_map.qml", "confidence.qml", "status.qml"),
        *("areas.csv", "areas_by_zone.csv", "crop_map.stac.json"),
        *(".cropglobe", "items.json", "run.json", "run.yaml"),
    }
    crops = pixels(folder / "crop_map.tif")
    counts = np.bincount(crops.ravel(), minlength=8)[1:].tolist()
    assert sum(counts) == 256
    assert pd.read_csv(folder / "areas.csv").pixels.tolist() == counts
    by_zone = pd.read_csv(folder / "areas_by_zone.csv")
    assert set(by_zone.name) == {"Öst"}
    assert by_zone[by_zone.zone == 2].pixels.tolist() == counts
    item = pystac.Item.from_file(str(folder / "crop_map.stac.json"))
    classes = item.assets["crop"].extra_fields["classification:classes"]
    assert [one["count"] for one in classes[1:]] == counts
    record = json.loads((folder / "run.json").read_text())
    told = {path.name for path in folder.iterdir() if path.suffix in {".tif", ".qml", ".csv"}}
    assert set(record["files"]) == told | {"crop_map.stac.json"}
    assert any("crop_map.stac.json" in line for line in result.lines())


def test_item_of_a_map_is_valid_and_holds_the_checksums_of_its_files(place, client):
    folder = crop_map.run(config(place, place / "result"), client, progress=False).folder
    item = pystac.Item.from_file(str(folder / "crop_map.stac.json"))
    document = check(item)
    assert set(item.assets) == {
        *("crop", "confidence", "observations", "longest_gap", "status"),
        *("areas.csv", "crop_map.qml", "confidence.qml", "status.qml"),
    }
    for asset in item.assets.values():
        data = (folder / asset.href).read_bytes()
        assert asset.extra_fields["file:checksum"] == "1220" + hashlib.sha256(data).hexdigest()
        if asset.media_type == pystac.MediaType.COG:
            assert cog_validate(folder / asset.href)[0]
    assert document["properties"]["start_datetime"] == "2021-05-01T00:00:00Z"
    assert "cropnet2d trained on labelled fields" in document["properties"]["processing:lineage"]
    (told,) = document["properties"]["cropglobe:models"]
    described = pystac.Item.from_file(str(write_model_item(place / "model")))
    assert told["sensor"] == "sentinel-2"
    assert told["mlm:name"] == described.properties["mlm:name"] == described.id
    assert told["sha256"] == described.properties["cropglobe:sha256"]
    assert told["sha256"] in document["properties"]["processing:lineage"]
    assert document["links"] == []  # the scenes lie on this machine
    assert str(place) not in json.dumps(document)


def test_two_runs_give_the_same_bytes(place, zones, client):
    folders = [
        crop_map.run(config(place, place / name, zones=zones), client, progress=False).folder
        for name in ("one", "two")
    ]
    names = {path.name for path in folders[0].iterdir() if path.is_file()}
    names -= {"run.json", "run.yaml"}  # times and folders
    assert len(names) == 14
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_table_of_zones_of_an_earlier_map_does_not_stay(place, zones, client):
    out = place / "result"
    crop_map.run(config(place, out, zones=zones), client, progress=False)
    assert (out / "areas_by_zone.csv").is_file()
    crop_map.run(config(place, out), client, progress=False)
    assert not (out / "areas_by_zone.csv").exists()
    assert (out / "areas.csv").is_file()


def test_wrong_zones_are_told_before_any_work(place, capfd):
    points = geojson(place / "points.geojson", {"type": "Point", "coordinates": [4, 50]})
    fails(request(place, zones=points), capfd, code=4, saying=["holds no polygon", "Draw a polygon"])
    fails(request(place, zones=place / "none.gpkg"), capfd, code=4, saying=["There is no file", "none.gpkg"])
    assert not (place / "result").exists()
