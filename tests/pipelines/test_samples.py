"""Samples from labels of every kind: what becomes of codes, and sentences for labels that cannot be used."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from pyproj import Transformer

from pipelines import samples, search
from pipelines.config import FindRequest
from pipelines.sample_labels import ReadLabels
from pipelines.samples_config import SamplesRequest
from tests.conftest import GEOBOX, footprint, make_scene, write_catalog
from tests.pipelines.test_bad_input import fails, geojson
from tests.servers.layer_api import layer_tile, serve_layer
from toolkit.area.aoi import read_aoi
from toolkit.catalog.saved_items import read_items
from toolkit.errors import InputError, LabelError, NoItemsError
from toolkit.learn.samples import read_samples

START = datetime(2021, 5, 2, 10, 50, tzinfo=UTC)
PRAIRIE = GeoBox.from_bbox(
    BoundingBox(660_000, 4_340_000, 660_600, 4_340_600, crs="EPSG:32614"), resolution=10
)


def scenes(folder, geobox):
    """An area and four scenes of it."""
    geojson(folder / "aoi.geojson", footprint(geobox))
    made = [
        make_scene(folder, f"d{k}", START + timedelta(days=40 * k), geobox=geobox, value=1000 + k)
        for k in range(4)
    ]
    write_catalog(folder, made)
    return folder


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    return scenes(tmp_path_factory.mktemp("flat"), GEOBOX)


@pytest.fixture(scope="module")
def prairie(tmp_path_factory):
    return scenes(tmp_path_factory.mktemp("prairie"), PRAIRIE)


def request(folder, out, **changes):
    options = {
        "aoi": folder / "aoi.geojson",
        "catalog": str(folder / "catalog.json"),
        "year": 2021,
        "radiometry": "trust",  # the pixels are those of no real surface
        "out": out,
    }
    return SamplesRequest.make({**options, **changes})


def fields(path, *codes, column="code", geobox=GEOBOX):
    """Write squares of 6 x 6 pixels along the diagonal."""
    left, top = geobox.affine.c, geobox.affine.f
    squares = [
        shapely.box(left + 80 * k, top - 80 * k - 60, left + 80 * k + 60, top - 80 * k)
        for k in range(len(codes))
    ]
    frame = gpd.GeoDataFrame({column: list(codes)}, geometry=squares, crs=str(geobox.crs))
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
    return path


def test_items_given_from_the_same_folder_stay_as_they_are(flat, client, tmp_path):
    found = {
        "aoi": flat / "aoi.geojson",
        "catalog": str(flat / "catalog.json"),
        "year": 2021,
        "out": tmp_path,
    }
    items = search.run(FindRequest.make(found)).path
    cloudy = json.loads(items.read_text())
    cloudy["features"][0]["properties"]["eo:cloud_cover"] = 90
    items.write_text(json.dumps(cloudy))
    before = items.read_bytes()
    labels = fields(tmp_path / "parcels.parquet", 316.0)
    how = {"labels": labels, "labels_property": "code", "labels_scheme": "eurocrops-nl-2020"}
    asked = request(flat, tmp_path, catalog=None, items=items, max_cloud_cover=50, offset=-0.1, **how)
    samples.run(asked, client, progress=False)
    assert items.read_bytes() == before
    assert len(read_items(tmp_path / "used_items.json")) == 3


def test_codes_of_a_scheme_become_samples_that_say_how(flat, client, tmp_path):
    labels = fields(tmp_path / "parcels.parquet", 316.0, 233.0, 265.0, 999.0)  # grassland is not listed
    asked = request(
        flat,
        tmp_path / "out",
        labels=labels,
        labels_property="code",
        labels_scheme="eurocrops-nl-2020",
        other_codes=("265",),
        unknown_codes="drop",
        inner_buffer=10,
        balance=10,
    )
    made = samples.run(asked, client, progress=False)
    found = read_samples(made.path)
    assert np.bincount(found.crop, minlength=7).tolist() == [10, 0, 0, 10, 0, 0, 10]
    assert np.unique(found.field).tolist() == [1, 2, 3]
    wanted = {
        "labels": "parcels.parquet",
        "labels_scheme": "eurocrops-nl-2020",
        "dropped_codes": {"999": 1},
        "inner_buffer_m": 10.0,
        "balance": 10,
        "cap_per_field": None,
        "seed": 0,
        "start": "2021-01-01",
        "end": "2021-12-31",
    }
    assert {key: found.provenance[key] for key in wanted} == wanted
    assert found.provenance["bbox"] == pytest.approx(read_aoi(flat / "aoi.geojson").geometry.bounds)


def test_points_become_samples_without_a_buffer(flat, client, tmp_path):
    x, y = GEOBOX.affine.c, GEOBOX.affine.f
    points = [shapely.Point(x + 10 * k + 3, y - 10 * k - 7) for k in (0, 5, 9)]
    frame = gpd.GeoDataFrame({"crop": ["corn", "rice", "corn"]}, geometry=points, crs=str(GEOBOX.crs))
    frame.to_file(tmp_path / "points.gpkg")
    made = samples.run(
        request(flat, tmp_path / "out", labels=tmp_path / "points.gpkg"), client, progress=False
    )
    assert made.samples.crop.tolist() == [0, 2, 0]
    assert made.samples.field.tolist() == [1, 2, 3]
    assert made.samples.provenance["inner_buffer_m"] == 0


def test_a_layer_by_name_is_searched_read_and_eroded_by_its_own_pixel(prairie, client, tmp_path):
    to_albers = Transformer.from_crs(str(PRAIRIE.crs), "EPSG:5070", always_xy=True)
    west, _, east, north = to_albers.transform_bounds(660_000, 4_340_000, 660_600, 4_340_600)
    corner = 30 * round(west / 30) - 300, 30 * round(north / 30) + 300
    codes = np.full((60, 60), 176)  # grassland
    columns = np.arange(60) * 30 + corner[0]
    codes[:, columns < (west + east) / 2 - 60] = 1
    codes[:, columns > (west + east) / 2 + 60] = 5
    codes[: round((corner[1] - north) / 30) + 5] = 26  # winter wheat, then soybeans
    tile = layer_tile(tmp_path, codes, *corner)
    with serve_layer(tmp_path, [tile]) as (server, _):
        asked = request(
            prairie, tmp_path / "out", labels="usda-cdl", labels_catalog=server.url, unknown_codes="drop"
        )
        made = samples.run(asked, client, progress=False)
        saved = SamplesRequest.read(tmp_path / "out" / "run.yaml", {})
        with pytest.raises(LabelError, match=r"'usda-cdl' holds codes without a class: 176 \(\d+\)"):
            samples.run(request(prairie, tmp_path / "b", labels="usda-cdl", labels_catalog=server.url))
    assert saved == asked
    told = made.samples.provenance
    assert told["labels"] == told["labels_scheme"] == "usda-cdl"
    assert told["labels_items"] == [tile["id"]]
    assert told["inner_buffer_m"] == 30
    assert set(told["dropped_codes"]) == {"26", "176"}
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:5070", always_xy=True).transform(
        made.samples.lon, made.samples.lat
    )
    column = np.floor((x - corner[0]) / 30).astype(int)
    row = np.floor((corner[1] - y) / 30).astype(int)
    expected = {1: 0, 5: 1}
    assert set(made.samples.crop.tolist()) == {0, 1}
    # inside by 30 m: no neighbour has another code
    for step in (-1, 0, 1):
        found = codes[row, column + step]
        assert [expected[code] for code in found.tolist()] == made.samples.crop.tolist()


def test_dropped_codes_are_told_the_most_frequent_first():
    dropped = {str(code): code for code in range(1, 13)}
    read = ReadLabels(labels=xr.Dataset(), made_from={"dropped_codes": dropped})
    (line,) = read.lines()
    assert line.startswith("codes left unlabelled: 12 (12), 11 (11), ")
    assert line.endswith("3 (3) and 2 more")
    assert ReadLabels(labels=xr.Dataset(), made_from={"dropped_codes": {}}).lines() == []


def command(folder, out, **options):
    options = {"aoi": folder / "aoi.geojson", "catalog": folder / "catalog.json", "year": 2021, **options}
    options |= {"out": out, "workers": 1, "radiometry": "trust"}
    flags = [(f"--{key.replace('_', '-')}", str(value)) for key, value in options.items()]
    return ["samples", *(part for pair in flags for part in pair)]


def test_unknown_codes_are_listed_with_what_to_do(flat, tmp_path, capfd):
    labels = fields(tmp_path / "a.geojson", "MIS", "PTR", "PTR", "")
    asked = command(flat, tmp_path / "out", labels=labels, labels_scheme="eurocrops-fr-2018")
    fails(
        [*asked, "--labels-property", "code"],
        capfd,
        code=4,
        saying=["without a class: PTR (2), (empty) (1).", "other_codes CODE", "unknown_codes drop"],
    )


@pytest.mark.parametrize(
    ("options", "saying"),
    [
        ({"labels_scheme": "eurocrops-xx"}, ["'eurocrops-xx' cannot be read", "usda-cdl"]),
        ({"labels_scheme": "au-alum-v8"}, ["never checked against ABARES"]),
        ({"labels_property": "culture"}, ["no property 'culture'", "code"]),
        ({"labels": "a.txt"}, ["a.txt' are of a kind that is not read", ".geojson", ".tif", "usda-cdl"]),
        ({"labels": "none.geojson"}, ["There is no file"]),
        ({"balance": 0}, ["balance is 0", "greater than or equal to 1"]),
    ],
)
def test_labels_that_cannot_be_used(flat, tmp_path, capfd, options, saying):
    labels = fields(tmp_path / "a.geojson", "1", "5")
    given = {"labels": labels, "labels_property": "code", "labels_scheme": "usda-cdl", **options}
    fails(command(flat, tmp_path / "out", **given), capfd, code=4, saying=saying)
    assert not list((tmp_path / "out").glob("*"))


def test_labels_elsewhere_are_refused_before_any_scene_is_read(flat, client, tmp_path):
    labels = fields(tmp_path / "far.geojson", "corn", column="crop", geobox=PRAIRIE)
    with pytest.raises(LabelError, match="do not overlap: labels lie in -97"):
        samples.run(request(flat, tmp_path / "out", labels=labels), client, progress=False)


def test_labels_that_no_scene_sees_give_no_sample(flat, client, tmp_path):
    beside = GeoBox.from_bbox(
        BoundingBox(600_320, 5_600_000, 600_640, 5_600_320, crs=GEOBOX.crs), resolution=10
    )
    both = BoundingBox(600_000, 5_600_000, 600_640, 5_600_320, crs=GEOBOX.crs)
    area = geojson(tmp_path / "aoi.geojson", footprint(GeoBox.from_bbox(both, resolution=10)))
    labels = fields(tmp_path / "a.geojson", "corn", "rice", column="crop", geobox=beside)
    asked = request(flat, tmp_path / "out", labels=labels, aoi=area)
    with pytest.raises(LabelError, match="There is no sample"):
        samples.run(asked, client, progress=False)


def test_a_layer_without_the_year_is_told(prairie, client, tmp_path):
    tile = layer_tile(tmp_path, np.ones((10, 10)), -100_000, 1_800_000)
    with serve_layer(tmp_path, [tile]) as (server, _):
        asked = request(prairie, tmp_path / "out", labels="usda-cdl", labels_catalog=server.url, year=2020)
        with pytest.raises(NoItemsError, match="No labels of usda-cdl in"):
            samples.run(asked, client, progress=False)


def test_codes_of_real_parcels_are_unknown_to_the_scheme_of_another_year(shared_data, tmp_path, client):
    flanders = shared_data / "flanders_2019"
    asked = request(
        flanders, tmp_path / "out", labels=flanders / "labels.tif", labels_scheme="eurocrops-be-vlg-2021"
    )
    with pytest.raises(InputError, match=r"9120 \(1387\), 1110 \(1378\).*No code is known"):
        samples.run(asked, client, progress=False)
    with rasterio.open(flanders / "labels.tif") as file:
        assert json.dumps(np.unique(file.read(1)).tolist()) == "[0, 1110, 1200, 1500, 1510, 5100, 8100, 9120]"
