"""Layers of labels that a catalog offers: which files, from where."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from tests.servers.layer_api import layer_tile, serve_layer
from toolkit.area.aoi import AOI
from toolkit.catalog.access import guard_of
from toolkit.catalog.layer_search import layer_profile, search_layer
from toolkit.catalog.layers import LABEL_LAYERS
from toolkit.catalog.profiles import resolve_profile
from toolkit.errors import NoItemsError, UnsafeReferenceError

CDL = LABEL_LAYERS["usda-cdl"]
AREA = AOI(shapely.box(-97.2, 39.2, -97.1, 39.25))
X, Y = -106095.0, 1807605.0
CODES = np.ones((500, 500), np.uint8)


@pytest.fixture
def tile(tmp_path):
    """Make the item of a tile that covers the area."""
    return lambda **options: layer_tile(tmp_path, CODES, X, Y, **options)


def test_the_cropland_of_a_year_is_found_among_other_products(tile, tmp_path):
    items = [tile(), tile(kind="cultivated"), tile(kind="frequency"), tile(year=2020)]
    items.append(layer_tile(tmp_path, CODES, X + 900_000, Y))
    items[2]["assets"]["cropland"] = items[2]["assets"]["frequency"]
    with serve_layer(tmp_path, items) as (server, asked):
        found = search_layer(CDL, AREA, 2021, catalog=server.url)
        assert dict(found.files) == {items[0]["id"]: f"{server.url}/{items[0]['id']}.tif"}
    assert asked[0]["collections"] == ["usda-cdl"]
    assert asked[0]["datetime"] == "2021-01-01T00:00:00Z/2021-12-31T23:59:59.999Z"


def test_a_year_without_the_layer_says_what_there_is(tile, tmp_path):
    with (
        serve_layer(tmp_path, [tile(year=2020), tile(kind="cultivated")]) as (server, _),
        pytest.raises(
            NoItemsError,
            match=r"for 2021, longitude -97.2000.*1 outside_season, 1 asset_missing.*2008 to 2021.*GeoTIFF",
        ),
    ):
        search_layer(CDL, AREA, 2021, catalog=server.url)


def test_files_on_hosts_nobody_named_are_refused(tile, tmp_path):
    item = tile()
    item["assets"]["cropland"]["href"] = "http://elsewhere.example/cdl.tif"
    with (
        serve_layer(tmp_path, [item]) as (server, _),
        pytest.raises(UnsafeReferenceError, match=r"'elsewhere\.example' is not among"),
    ):
        search_layer(CDL, AREA, 2021, catalog=server.url)


def test_the_known_catalog_may_read_the_files_of_the_layer_and_signs_them():
    profile = layer_profile(CDL)
    assert profile.url == "https://planetarycomputer.microsoft.com/api/stac/v1"
    assert profile.collections == ("usda-cdl",)
    assert profile.signing == "planetary-computer"
    file = "https://landcoverdata.blob.core.windows.net/usda-cdl/tile.tif"
    assert guard_of(profile).check(file) == file
    with pytest.raises(UnsafeReferenceError, match="landcoverdata"):
        guard_of(resolve_profile("planetary-computer")).check(file)
