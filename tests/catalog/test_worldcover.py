"""ESA WorldCover in a catalog: found by name, the year that fits, nothing where there is none."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import make_scene, write_catalog
from tests.servers.layer_api import serve_layer
from tests.servers.ranges import serve
from tests.servers.worldcover import add_worldcover, worldcover_tile
from toolkit.area.aoi import AOI
from toolkit.catalog.worldcover import best_year, offering, search_worldcover, worldcover_access
from toolkit.errors import NoItemsError, RemoteError, UnsafeReferenceError

WEST, NORTH = 4.40, 50.55
CLASSES = np.full((64, 64), 40, np.uint8)
AREA = AOI(shapely.box(4.401, 50.546, 4.404, 50.549))
PC_FILE = "https://ai4edataeuwest.blob.core.windows.net/esa-worldcover/v200/2021/map/tile_Map.tif"


def tile(folder, **options):
    return worldcover_tile(folder, CLASSES, WEST, NORTH, **options)


@pytest.fixture
def catalog(tmp_path):
    """One scene behind a static catalog."""
    return write_catalog(tmp_path, [make_scene(tmp_path, "d0", datetime(2021, 6, 1, tzinfo=UTC))])


@given(st.sets(st.integers(2015, 2040), min_size=1), st.integers(2015, 2040))
def test_the_year_is_the_last_that_is_not_later_else_the_first(years, wanted):
    found = best_year(years, wanted)
    earlier = [year for year in years if year <= wanted]
    assert found == (max(earlier) if earlier else min(years))


@pytest.mark.parametrize(("wanted", "found"), [(2018, 2020), (2020, 2020), (2021, 2021), (2024, 2021)])
def test_a_static_catalog_gives_the_year_that_fits(catalog, tmp_path, wanted, found):
    elsewhere = worldcover_tile(tmp_path, CLASSES, WEST + 3, NORTH)
    add_worldcover(catalog, [tile(tmp_path, year=2020), tile(tmp_path), elsewhere])
    result = search_worldcover(str(catalog), AREA, wanted)
    assert (result.year, result.version) == (found, {2020: "1.0.0", 2021: "2.0.0"}[found])
    (file,) = result.tiles
    assert file.href == str(tmp_path / f"{file.name}_Map.tif")
    assert file.bounds == pytest.approx((WEST, NORTH - 64 / 12000, WEST + 64 / 12000, NORTH))
    assert f"ESA WorldCover project {found} / Contains modified Copernicus" in result.notice
    assert "CC BY 4.0" in result.notice


def test_scenes_of_a_static_catalog_are_not_looked_at(catalog, tmp_path):
    add_worldcover(catalog, [tile(tmp_path)])
    with serve(tmp_path) as server:
        result = search_worldcover(f"{server.url}/catalog.json", AREA, 2021)
        assert [one.name for one in result.tiles] == [tile(tmp_path)["id"]]
        assert not [request.path for request in server.log if "/d0" in request.path]


def test_catalogs_without_it_say_none(catalog, tmp_path):
    assert search_worldcover(str(catalog), AREA, 2021) is None
    assert search_worldcover(str(tmp_path), AREA, 2021) is None  # a folder of EMIT granules
    assert search_worldcover("earth-search", AREA, 2021) is None  # known: nothing is asked
    assert offering() == ["planetary-computer"]


def test_a_collection_without_the_area_says_so(catalog, tmp_path):
    add_worldcover(catalog, [worldcover_tile(tmp_path, CLASSES, WEST + 3, NORTH)])
    with pytest.raises(NoItemsError, match=r"over the area 4\.4010.*1 outside_area.*--cropland none"):
        search_worldcover(str(catalog), AREA, 2021)


def test_an_api_is_asked_for_the_collection_and_other_items_do_not_count(tmp_path):
    other = {**tile(tmp_path, name="scene"), "collection": "sentinel-2-l2a"}
    with serve_layer(tmp_path, [other, tile(tmp_path), tile(tmp_path, year=2020)]) as (server, asked):
        result = search_worldcover(server.url, AREA, 2021)
        assert [one.href for one in result.tiles] == [f"{server.url}/{tile(tmp_path)['id']}_Map.tif"]
        assert asked[0]["collections"] == ["esa-worldcover"]
    with serve_layer(tmp_path, [other]) as (server, _):
        assert search_worldcover(server.url, AREA, 2021) is None


def test_of_one_year_the_newest_version_comes_first(tmp_path):
    older, newer = tile(tmp_path, name="a"), tile(tmp_path, name="b")
    older["properties"]["esa_worldcover:product_version"] = "1.9.0"
    with serve_layer(tmp_path, [older, newer]) as (server, _):
        assert [one.name for one in search_worldcover(server.url, AREA, 2021).tiles] == ["b", "a"]


def test_files_on_hosts_nobody_named_are_refused(tmp_path):
    item = tile(tmp_path)
    item["assets"]["map"]["href"] = "http://elsewhere.example/map.tif"
    with (
        serve_layer(tmp_path, [item]) as (server, _),
        pytest.raises(UnsafeReferenceError, match=r"'elsewhere\.example' is not among"),
    ):
        search_worldcover(server.url, AREA, 2021)


def test_a_catalog_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "catalog.json").write_text("<html>")
    with serve(tmp_path) as server, pytest.raises(RemoteError, match="cannot be read"):
        search_worldcover(f"{server.url}/catalog.json", AREA, 2021)


def test_the_known_catalog_signs_its_files_and_others_reach_no_private_host_unnamed():
    access = worldcover_access("planetary-computer", [PC_FILE])
    assert access.signing == "planetary-computer"
    assert access.guard.check(PC_FILE) == PC_FILE
    for file in ("https://elsewhere.example/map.tif", PC_FILE.replace("ai4edataeuwest", "other")):
        with pytest.raises(UnsafeReferenceError, match="is not among"):
            access.guard.check(file)
    file = "http://127.0.0.1:1/map.tif"
    with pytest.raises(UnsafeReferenceError, match="private network"):
        worldcover_access("custom", [file]).guard.check_address("127.0.0.1", "127.0.0.1")
    worldcover_access("custom", [file], allow_hosts=["127.0.0.1"]).guard.check_address(
        "127.0.0.1", "127.0.0.1"
    )
