"""Our search, our pixels and a whole map against the server software behind public catalogs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pystac
import pytest
import requests
import xarray as xr
import yaml

from pipelines import crop_map, simulate
from pipelines.config import MapRequest, SimulateRequest
from tests.conftest import GEOBOX, footprint, make_scene, write_catalog
from tests.servers.ranges import serve
from toolkit.area.aoi import read_aoi
from toolkit.area.season import season
from toolkit.catalog.search import search_items
from toolkit.cluster import connect
from toolkit.errors import NoItemsError
from toolkit.maps.geotiff import read_layer
from toolkit.scenes.sentinel2 import load_scenes

SAMPLE = Path(__file__).resolve().parents[2] / "sample_aoi"
LOOPBACK = ("127.0.0.1",)
SENTINEL, OTHER = "sentinel-2-l2a", "landsat-c2-l2"
TILES = {
    "31UES": GEOBOX,
    "31UFS": GEOBOX.translate_pix(16, 0),  # half of it over the first
    "31UET": GEOBOX.translate_pix(0, -1000),  # ten kilometres to the north
}
DATES = [datetime(2021, 4, 25, 10, 50, tzinfo=UTC) + timedelta(days=12 * n) for n in range(16)]
CLOUDS = [7.0 * n % 101 for n in range(len(DATES))]
OLDER = f"S2A_31UES_{DATES[5]:%Y%m%d}_1_L2A"
AOI = read_aoi(footprint(GEOBOX.pad(-2)))
SEASON = season(2021, hemisphere="north")
CROWDED = season(2022, hemisphere="north")
N_CROWDED = 230


def collection(name):
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    described = {"type": "Collection", "stac_version": "1.0.0", "description": "Test", "license": "other"}
    return {**described, "id": name, "extent": extent, "links": []}


def feature(item, folder, url):
    """An item as a server stores it, its files behind a URL."""
    stored = {**item.to_dict(include_self_link=False), "collection": SENTINEL, "links": []}
    for asset in stored["assets"].values():
        asset["href"] = asset["href"].replace(str(folder), url)
    return stored


def scene_of(folder, tile, number):
    """Scenes that differ in every number: of tile, date and place."""
    when, baseline = DATES[number], "05.11"
    place = np.arange(32 * 32).reshape(32, 32)
    properties = {
        "eo:cloud_cover": CLOUDS[number],
        "grid:code": f"MGRS-{tile}",
        "s2:processing_baseline": baseline,
        "s2:datatake_id": f"GS2A_{when:%Y%m%dT%H%M%S}_030600_N{baseline}",
    }
    value = 1000 + 100 * number + place + 3000 * list(TILES).index(tile)
    name = f"S2A_{tile}_{when:%Y%m%d}_0_L2A"
    return make_scene(
        folder, name, when, geobox=TILES[tile], value=value, scl=4 + number % 3, properties=properties
    )


def older_twin(folder):
    """The sixth date of the first tile as it was processed first."""
    properties = {
        "grid:code": "MGRS-31UES",
        "eo:cloud_cover": 35.0,
        "s2:processing_baseline": "02.14",
        "s2:datatake_id": f"GS2A_{DATES[5]:%Y%m%dT%H%M%S}_030600_N02.14",
        "earthsearch:boa_offset_applied": False,
    }
    return make_scene(folder, OLDER, DATES[5], properties=properties)


def crowded(stored, number):
    """The same scene in another year, five items to the moment: tokens go wrong first between equals."""
    when = datetime(2022, 5, 1, 10, 50, tzinfo=UTC) + timedelta(days=number // 5)
    properties = {"datetime": f"{when:%FT%TZ}", "s2:datatake_id": f"crowd_{number}"}
    return {**stored, "id": f"crowd_{number:03d}", "properties": stored["properties"] | properties}


@pytest.fixture(scope="module")
def season_of_scenes(stac_api, tmp_path_factory):
    """Scenes of a season in the server, their pixels behind ranges, and the same as a local catalog."""
    folder = tmp_path_factory.mktemp("season")
    items = [scene_of(folder, tile, number) for tile in TILES for number in range(len(DATES))]
    items.append(older_twin(folder))
    with serve(folder) as files:
        stored = [feature(item, folder, files.url) for item in items]
        elsewhere = {
            **feature(items[5], folder, files.url),
            "id": "LC08_199025_20210624",
            "collection": OTHER,
        }
        crowd = [crowded(feature(items[0], folder, files.url), number) for number in range(N_CROWDED)]
        stac_api.load([collection(SENTINEL), collection(OTHER)], [*stored, elsewhere, *crowd])
        yield stac_api, files, write_catalog(folder, items)


@pytest.fixture
def api(season_of_scenes):
    return season_of_scenes[0]


def search(url, when=SEASON, **options):
    return search_items(url, AOI, when, allow_hosts=LOOPBACK, **options)


def content(item, root):
    """All that an item tells, its references counted from a root."""
    told = item.to_dict(include_self_link=False)
    told["properties"] = {k: v for k, v in told["properties"].items() if k != "cropglobe:named_hosts"}
    for asset in told["assets"].values():
        asset["href"] = asset["href"].removeprefix(root)
    return {key: told[key] for key in ("id", "geometry", "bbox", "properties", "assets", "stac_extensions")}


def names(tiles, numbers):
    return [f"S2A_{tile}_{DATES[number]:%Y%m%d}_0_L2A" for number in numbers for tile in sorted(tiles)]


def test_area_and_season_decide_and_items_come_in_order_of_time_and_name(api):
    found = search(api.url)
    assert [item.id for item in found] == names(["31UES", "31UFS"], range(1, 16))
    assert list(found.extra_fields["skipped"].values()) == [[OLDER]]


def test_an_area_in_one_tile_only_is_found_in_that_tile_only(api):
    west = read_aoi(footprint(GEOBOX[:, :8]))
    found = search_items(api.url, west, SEASON, allow_hosts=LOOPBACK)
    assert [item.id for item in found] == names(["31UES"], range(1, 16))


@pytest.mark.parametrize("limit", [7, 50, 99])
def test_cloud_limit_keeps_what_is_at_or_below_it(api, limit):
    found = search(api.url, max_cloud_cover=limit)
    assert [item.id for item in found] == names(
        ["31UES", "31UFS"], [n for n in range(1, 16) if CLOUDS[n] <= limit]
    )


def test_a_season_all_cloudier_than_the_limit_is_an_empty_search(api):
    with pytest.raises(NoItemsError, match="too_cloudy"):
        search(api.url, max_cloud_cover=3)


@pytest.mark.parametrize("options", [{}, {"max_cloud_cover": 40}, {"bands": ["B04", "B08"]}])
def test_the_api_gives_the_items_of_the_same_catalog_on_disk(season_of_scenes, options):
    api, files, path = season_of_scenes
    remote, local = search(api.url, **options), search_items(path, AOI, SEASON, **options)
    found = [content(item, files.url) for item in remote]
    assert found == [content(item, str(path.parent)) for item in local]


@pytest.mark.parametrize("context", ["off", "on"])
def test_every_page_is_read_once_whether_or_not_the_server_counts(api, context):
    with api.setting("context", context):
        before = len(api.requests())
        found = search(api.url, CROWDED)
        asked = api.requests()[before:]
    assert [item.id for item in found] == [f"crowd_{number:03d}" for number in range(N_CROWDED)]
    assert asked.count("POST /search") == 3  # 100, 100 and 30


def test_an_empty_search_says_so(api):
    with pytest.raises(NoItemsError, match="the catalog gave no item"):
        search(api.url, season(2012, hemisphere="north"))


def test_swapped_coordinates_are_recognised_by_what_the_server_holds(api):
    with pytest.raises(NoItemsError, match="probably swapped"):
        search_items(api.url, AOI.swapped(), SEASON, allow_hosts=LOOPBACK)


def test_pixels_over_ranges_are_those_on_disk(season_of_scenes, geobox):
    api, files, path = season_of_scenes
    wide = geobox.pad(8)
    before = len(files.log)
    found = load_scenes(search(api.url), wide)
    log = files.log[before:]
    expected = load_scenes(search_items(path, AOI, SEASON), wide)
    assert dict(found.sizes) == {"time": 15, "y": 48, "x": 48}  # two tiles of a date are one overpass
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    assert {one.status for one in log if one.method == "GET"} == {206}
    assert len({one.path for one in log}) == 2 * 15 * 11  # every file of every scene


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A season of simulated scenes on 64 x 64 pixels that the sample's model never saw."""
    folder = tmp_path_factory.mktemp("simulated")
    scenes = yaml.safe_load((SAMPLE / "scenes.yaml").read_text()) | {
        "seed": 11,
        "size": 64,
        "area_share": 0.2,
    }
    simulate.run(SimulateRequest.make(scenes | {"out": folder / "scenes"}))
    return folder


def test_a_map_from_the_api_is_the_map_from_the_local_catalog_pixel_by_pixel(stac_api, simulated):
    scenes = simulated / "scenes"
    request = {
        "aoi": scenes / "aoi.geojson",
        "year": 2023,
        "model": SAMPLE / "model",
        "tile_size": 32,
        "max_cloud_cover": 40.0,
    }
    local = {"catalog": str(scenes / "catalog.json"), "out": simulated / "local"}
    with serve(scenes) as files, connect(None, workers=1) as client:
        items = list(pystac.Catalog.from_file(scenes / "catalog.json").get_items())
        for item in items:
            item.make_asset_hrefs_absolute()
        stac_api.load([collection(SENTINEL)], [feature(item, scenes, files.url) for item in items])
        remote = {"catalog": stac_api.url, "allow_hosts": LOOPBACK, "out": simulated / "remote"}
        found = crop_map.run(MapRequest.make(request | remote), client, progress=False)
        asked = list(files.log)
        expected = crop_map.run(MapRequest.make(request | local), client, progress=False)
    assert {one.status for one in asked if one.method == "GET"} == {206}
    assert files.log == asked  # the local catalog's map read local files
    assert found.n_scenes == expected.n_scenes
    assert found.files.keys() == expected.files.keys()
    for name, path in expected.files.items():
        xr.testing.assert_identical(read_layer(found.files[name]), read_layer(path))
    assert (read_layer(found.files["crop"]) > 0).any()


def ask(api, **body):
    answer = requests.post(f"{api.url}/search", json={"collections": [SENTINEL], **body}, timeout=20)
    answer.raise_for_status()
    return answer.json()


def get(api, **parameters):
    answer = requests.get(
        f"{api.url}/search", params={"collections": SENTINEL, "limit": 100, **parameters}, timeout=20
    )
    answer.raise_for_status()
    return answer.json()


def test_the_server_filters_clouds_in_each_language_alike(api):
    limit, in_2021 = 35, "2021-01-01T00:00:00Z/2021-12-31T00:00:00Z"
    wanted = {"op": "<=", "args": [{"property": "eo:cloud_cover"}, limit]}
    options = {"datetime": in_2021, "limit": 100}
    answers = [
        ask(api, query={"eo:cloud_cover": {"lte": limit}}, **options),
        ask(api, filter=wanted, **{"filter-lang": "cql2-json"}, **options),
        get(api, filter=f"eo:cloud_cover <= {limit}", **{"filter-lang": "cql2-text"}, **options),
    ]
    found = [sorted(one["id"] for one in answer["features"]) for answer in answers]
    clear = names(TILES, [number for number in range(16) if CLOUDS[number] <= limit])
    assert found == [sorted([*clear, OLDER])] * 3


def test_the_server_sorts_and_leaves_fields_out(api):
    answer = ask(
        api,
        datetime="2021-01-01T00:00:00Z/2021-12-31T00:00:00Z",
        sortby=[{"field": "datetime", "direction": "desc"}, {"field": "id", "direction": "asc"}],
        fields={"include": ["id", "properties.datetime"], "exclude": ["assets", "geometry"]},
        limit=100,
    )
    found = answer["features"]
    assert len(found) == 49
    by_name = sorted(found, key=lambda one: one["id"])
    assert found == sorted(by_name, key=lambda one: one["properties"]["datetime"], reverse=True)
    assert all("assets" not in one and "geometry" not in one for one in found)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_servers_tokens_lead_through_all_items_once(api, method):
    first = {"datetime": "2022-01-01T00:00:00Z/2022-12-31T00:00:00Z", "limit": 40}
    page = ask(api, **first) if method == "POST" else get(api, **first)
    found = []
    while True:
        found += [one["id"] for one in page["features"]]
        link = next((one for one in page["links"] if one["rel"] == "next"), None)
        if link is None:
            break
        page = requests.request(method, link["href"], json=link.get("body"), timeout=20).json()
    assert sorted(found) == [f"crowd_{number:03d}" for number in range(N_CROWDED)]
