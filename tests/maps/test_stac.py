"""The STAC item: valid, readable by pystac's extensions, true to the files, the same every time."""

import hashlib
import json
from datetime import UTC, date, datetime

import jsonschema
import numpy as np
import pystac
import pytest
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from odc.geo.xr import xr_coords
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from toolkit.area.aoi import AOI, read_aoi
from toolkit.legend import CROPGLOBE, CropClass, Legend
from toolkit.maps.areas import class_areas, write_areas
from toolkit.maps.geotiff import write_crop_map
from toolkit.maps.layers import LAYERS
from toolkit.maps.stac import MapFacts, bounds_on_globe, map_item, public_address, write_item

CROP = LAYERS[0]
CONSTRAINTS = {
    # What the extensions ask of the fields that the item uses, said anew from their READMEs: the schemas
    # themselves lie on the network, where tests do not go.
    "type": "object",
    "properties": {
        "properties": {
            "required": ["proj:code", "proj:shape", "proj:transform", "processing:software"],
            "properties": {
                "proj:code": {"type": ["string", "null"], "pattern": "^[A-Z]+:[0-9]+$"},
                "proj:shape": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
                "proj:transform": {
                    "type": "array",
                    "items": {"type": "number"},
                    "minItems": 6,
                    "maxItems": 6,
                },
                "processing:software": {"type": "object", "additionalProperties": {"type": "string"}},
                "processing:lineage": {"type": "string"},
                "processing:level": {"type": "string"},
            },
        },
        "assets": {
            "additionalProperties": {
                "required": ["href", "type", "roles", "file:size", "file:checksum"],
                "properties": {
                    "href": {"pattern": "^[.]/[^/]+$"},
                    "file:size": {"type": "integer", "minimum": 1},
                    "file:checksum": {"pattern": "^1220[0-9a-f]{64}$"},
                    "classification:classes": {
                        "type": "array",
                        "minItems": 1,
                        "uniqueItems": True,
                        "items": {
                            "required": ["value", "name"],
                            "properties": {
                                "value": {"type": "integer"},
                                "name": {"pattern": "^[0-9A-Za-z_-]+$"},
                                "title": {"type": "string"},
                                "color_hint": {"pattern": "^[0-9A-F]{6}$"},
                                "nodata": {"type": "boolean"},
                                "count": {"type": "integer", "minimum": 0},
                            },
                            "additionalProperties": False,
                        },
                    },
                },
            }
        },
    },
}


def made(folder, geobox, *, legend=CROPGLOBE, aoi=None, **more):
    """A map of one layer and its table, and the item that tells of them."""
    values = np.ones(geobox.shape.yx, np.uint8)
    values[0] = 0
    labels = xr.Dataset({"crop": (("y", "x"), values)}, coords=xr_coords(geobox))
    path = write_crop_map(labels, folder / "crop_map.tif", legend)
    areas = class_areas(path, legend)
    facts = MapFacts(
        aoi=aoi or read_aoi(geobox.geographic_extent.geom),
        geobox=geobox,
        first_day=date(2021, 5, 1),
        last_day=date(2021, 12, 1),
        lineage="cropnet2d, applied to 4 scenes.",
        notice="Contains modified Copernicus Sentinel data 2021",
        software={"cropglobe": "0.1.0"},
        **more,
    )
    tables = [write_areas(areas, folder / "areas.csv")]
    return map_item({CROP: path}, tables, facts, legend=legend, areas=areas)


def check(item):
    """Validate against the core schema that pystac brings along, and against the constraints above."""
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    JsonSchemaSTACValidator().validate_core(document, pystac.STACObjectType.ITEM, document["stac_version"])
    jsonschema.Draft7Validator(CONSTRAINTS).validate(document)
    return document


def test_item_is_valid_stac_and_survives_a_round_trip(geobox, tmp_path):
    item = made(tmp_path, geobox)
    document = check(item)
    assert document["stac_version"] == "1.1.0"
    path = write_item(item, tmp_path / "crop_map.stac.json")
    again = pystac.Item.from_file(str(path))
    assert again.to_dict(include_self_link=False, transform_hrefs=False) == json.loads(path.read_text())
    assert again.assets["crop"].get_absolute_href() == str(tmp_path / "crop_map.tif")


def test_item_tells_place_and_time(geobox, tmp_path):
    item = made(tmp_path, geobox)
    extent = geobox.geographic_extent.geom
    assert shapely.geometry.shape(item.geometry).equals(extent)
    assert item.bbox == pytest.approx(extent.bounds)
    assert item.datetime is None
    assert item.common_metadata.start_datetime == datetime(2021, 5, 1, tzinfo=UTC)
    assert item.common_metadata.end_datetime == datetime(2021, 12, 1, 23, 59, 59, tzinfo=UTC)
    assert shapely.geometry.shape(item.geometry).exterior.is_ccw  # RFC 7946, section 3.1.6


def test_pystac_reads_grid_classes_and_checksums(geobox, tmp_path):
    item = pystac.Item.from_dict(made(tmp_path, geobox).to_dict())
    grid = ProjectionExtension.ext(item)
    assert (grid.code, grid.shape, grid.transform) == ("EPSG:32631", [32, 32], list(geobox.affine)[:6])
    asset = item.assets["crop"]
    assert asset.media_type == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert asset.roles == ["data"]
    classes = ClassificationExtension.ext(asset).classes
    assert [(one.value, one.name) for one in classes] == list(enumerate(["nodata", *CROPGLOBE.names]))
    assert classes[0].nodata
    assert classes[1].color_hint == "FFD300"
    assert classes[1].to_dict()["count"] == 31 * 32
    data = (tmp_path / "crop_map.tif").read_bytes()
    assert FileExtension.ext(asset).size == len(data)
    assert FileExtension.ext(asset).checksum == "1220" + hashlib.sha256(data).hexdigest()
    assert item.assets["areas.csv"].media_type == "text/csv"


def test_same_files_and_facts_give_the_same_bytes(geobox, tmp_path):
    texts = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        item = made(tmp_path / name, geobox)
        texts.add(write_item(item, tmp_path / name / "item.json").read_text())
    assert len(texts) == 1
    assert "created" not in texts.pop()


def test_names_of_classes_and_areas_become_words_for_machines(geobox, tmp_path):
    legend = Legend((CropClass("winter wheat (fodder)", (1, 2, 3)), CropClass("小麦", (4, 5, 6))))
    aoi = AOI(geobox.geographic_extent.geom, "Öst / 1: ü")
    document = check(made(tmp_path, geobox, legend=legend, aoi=aoi))
    _, first, second = document["assets"]["crop"]["classification:classes"]
    assert (first["name"], first["title"]) == ("winter_wheat_fodder", "winter wheat (fodder)")
    assert (second["name"], second["title"]) == ("class_2", "小麦")
    assert document["id"] == "crop-map_st-1_20210501_20211201"


def test_a_crs_without_epsg_code_is_told_as_text(tmp_path):
    crs = "+proj=laea +lat_0=50 +lon_0=4 +datum=WGS84 +units=m"
    geobox = GeoBox.from_bbox(BoundingBox(0, 0, 320, 320, crs=crs), resolution=10)
    document = check(made(tmp_path, geobox))
    assert document["properties"]["proj:code"] is None
    assert "Lambert Azimuthal Equal Area" in document["properties"]["proj:wkt2"]


def test_an_area_over_180_degrees_has_its_west_in_the_east(geobox, tmp_path):
    aoi = read_aoi({"type": "Polygon", "coordinates": [[[179, 1], [181, 1], [181, 2], [179, 2], [179, 1]]]})
    document = check(made(tmp_path, geobox, aoi=aoi))
    assert document["bbox"] == [179, 1, -179, 2]
    assert document["geometry"]["type"] == "MultiPolygon"
    assert bounds_on_globe(shapely.box(-180, -10, 180, 10)) == [-180, -10, 180, 10]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://example.com/items/a?sig=secret#x", "https://example.com/items/a"),
        ("https://user:secret@example.com:8443/items/a", "https://example.com:8443/items/a"),
        ("/data/items/a.json", None),
        ("file:///data/items/a.json", None),
        ("s3://bucket/a.json", None),
        (None, None),
    ],
)
def test_addresses_of_scenes_hold_neither_secrets_nor_paths(address, told, geobox):
    item = pystac.Item("a", None, None, datetime(2021, 5, 1, tzinfo=UTC), {})
    if address:
        item.set_self_href(address)
    assert public_address(item) == told


def test_scenes_are_linked_in_the_order_of_their_names(geobox, tmp_path):
    sources = {"b": "https://example.com/b", "a": "https://example.com/a"}
    links = check(made(tmp_path, geobox, sources=sources))["links"]
    assert [(link["rel"], link["href"], link["title"]) for link in links] == [
        ("derived_from", "https://example.com/a", "a"),
        ("derived_from", "https://example.com/b", "b"),
    ]
