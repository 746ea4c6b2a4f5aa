"""Search: static catalogs and an API on loopback, with the same call."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pystac
import pytest
from shapely.geometry import box

from tests.conftest import footprint, make_scene, write_catalog
from toolkit.area.aoi import AOI, read_aoi
from toolkit.area.season import season
from toolkit.catalog.search import search_items
from toolkit.errors import BandError, InputError, NoItemsError, RemoteError, UnsafeReferenceError

START = datetime(2021, 5, 1, 10, 50, tzinfo=UTC)
SEASON = season(2021, hemisphere="north")


@pytest.fixture
def catalog(tmp_path):
    items = [
        make_scene(
            tmp_path, f"day{days:03d}", START + timedelta(days=days), properties={"eo:cloud_cover": cloud}
        )
        for days, cloud in [(-1, 0), (0, 10), (30, 80), (100, 20), (300, 5)]
    ]
    return write_catalog(tmp_path, items)


@pytest.fixture
def aoi(geobox):
    return read_aoi(footprint(geobox))


def test_season_area_and_clouds_decide_and_every_item_is_accounted_for(catalog, aoi):
    found = search_items(catalog, aoi, SEASON, max_cloud_cover=50)
    assert [item.id for item in found] == ["day000", "day100"]
    skipped = {reason: sorted(ids) for reason, ids in found.extra_fields["skipped"].items()}
    assert skipped == {"outside_season": ["day-01", "day300"], "too_cloudy": ["day030"]}


def test_items_are_normalised_and_readable(catalog, aoi):
    item = search_items(catalog, aoi, SEASON).items[0]
    assert set(item.assets) == {"B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12", "SCL"}
    with Path(item.assets["B02"].href).open("rb") as file:
        assert file.read(2) == b"II"


def test_saved_item_collection_is_a_catalog_too(catalog, aoi, tmp_path):
    everything = pystac.Catalog.from_file(str(catalog)).get_items()
    collection = pystac.ItemCollection([item.clone() for item in everything])
    for item in collection:
        item.make_asset_hrefs_absolute()
    collection.save_object(str(tmp_path / "all.json"))
    assert len(search_items(tmp_path / "all.json", aoi, SEASON)) == 3


def test_items_without_a_needed_band_are_skipped_by_name(tmp_path, aoi):
    whole, partial = (make_scene(tmp_path, name, START) for name in ("whole", "partial"))
    del partial.assets["nir08"]
    catalog = write_catalog(tmp_path, [whole, partial])
    found = search_items(catalog, aoi, SEASON)
    assert [item.id for item in found] == ["whole"]
    assert found.extra_fields["skipped"] == {"asset_missing": ["partial"]}
    assert len(search_items(catalog, aoi, SEASON, bands=("B02",))) == 2


def test_empty_search_says_what_each_filter_removed(catalog, aoi):
    with pytest.raises(NoItemsError, match="5 outside_season"):
        search_items(catalog, aoi, season(2012, hemisphere="north"))


def test_swapped_coordinates_are_recognised_by_what_the_catalog_holds(catalog, aoi):
    with pytest.raises(NoItemsError, match="probably swapped"):
        search_items(catalog, aoi.swapped(), SEASON)


def test_area_in_the_sea_is_not_called_swapped(catalog):
    with pytest.raises(NoItemsError, match="Check area, year and cloud limit"):
        search_items(catalog, AOI(box(-30, 40, -29.9, 40.1)), SEASON)


def test_missing_catalog_lists_the_known_ones(aoi, tmp_path):
    with pytest.raises(InputError, match=r"There is no catalog '.*nowhere.json'.*earth-search"):
        search_items(tmp_path / "nowhere.json", aoi, SEASON)


def test_file_that_is_no_catalog_is_refused(aoi, tmp_path):
    (tmp_path / "a.json").write_text('{"type": "Topology"}')
    with pytest.raises(InputError, match="cannot be read"):
        search_items(tmp_path / "a.json", aoi, SEASON)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bands": ["B02", "B99"]}, BandError, r"Bands \['B99'\] are unknown"),
        ({"sensor": "modis"}, InputError, "Sensor 'modis' is unknown"),
        ({"max_cloud_cover": 130}, InputError, "Cloud cover is 130"),
    ],
)
def test_bad_options_are_named(catalog, aoi, options, error, message):
    with pytest.raises(error, match=message):
        search_items(catalog, aoi, SEASON, **options)


class StacApi(BaseHTTPRequestHandler):
    """A STAC API on loopback: landing page, POST search with two pages, first answer 503."""

    items: list = []
    failures = 1
    disable_nagle_algorithm = True

    def do_GET(self):
        base = f"http://127.0.0.1:{self.server.server_port}"
        self.answer(
            {
                "type": "Catalog",
                "id": "api",
                "stac_version": "1.0.0",
                "description": "loopback",
                "conformsTo": [f"https://api.stacspec.org/v1.0.0/{part}" for part in ("core", "item-search")],
                "links": [
                    {"rel": "self", "href": base},
                    {"rel": "root", "href": base},
                    {
                        "rel": "search",
                        "href": f"{base}/search",
                        "method": "POST",
                        "type": "application/geo+json",
                    },
                ],
            }
        )

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if type(self).failures > 0:
            type(self).failures -= 1
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        page = int(body.get("token", 0))
        link = {
            "rel": "next",
            "href": f"http://127.0.0.1:{self.server.server_port}/search",
            "method": "POST",
            "body": {**body, "token": page + 1},
        }
        self.answer(
            {
                "type": "FeatureCollection",
                "features": self.items[2 * page : 2 * page + 2],
                "links": [link] if 2 * page + 2 < len(self.items) else [],
            }
        )

    def answer(self, document):
        text = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


@pytest.fixture
def api(catalog):
    items = []
    for item in pystac.Catalog.from_file(str(catalog)).get_items():
        features = item.to_dict(include_self_link=False)
        for asset in features["assets"].values():
            asset["href"] = "http://127.0.0.1/pixels/" + asset["href"].rsplit("/", 2)[-1]
        features["links"] = []
        items.append(features)
    StacApi.items, StacApi.failures = items, 1
    with ThreadingHTTPServer(("127.0.0.1", 0), StacApi) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_api_is_searched_over_pages_and_busy_answers_are_repeated(api, aoi):
    found = search_items(api, aoi, SEASON)
    assert [item.id for item in found] == ["day000", "day030", "day100"]
    assert found.items[0].assets["B02"].href.startswith("http://127.0.0.1/pixels/")


def test_an_api_that_points_at_local_files_is_refused(api, aoi):
    StacApi.items[1]["assets"]["blue"]["href"] = "/etc/passwd"
    with pytest.raises(UnsafeReferenceError, match="may not name local files"):
        search_items(api, aoi, SEASON)


def test_an_api_that_points_at_other_hosts_is_refused_until_they_are_allowed(api, aoi):
    for item in StacApi.items:
        for asset in item["assets"].values():
            asset["href"] = "http://pixels.example.org/a.tif"
    with pytest.raises(UnsafeReferenceError, match=r"host 'pixels.example.org' is not among"):
        search_items(api, aoi, SEASON)
    assert len(search_items(api, aoi, SEASON, allow_hosts=("pixels.example.org",))) == 3


def test_a_server_that_is_down_is_a_remote_error(aoi):
    with pytest.raises(RemoteError, match="cannot be read"):
        search_items("http://127.0.0.1:9/v1", aoi, SEASON)


def test_an_acquisition_processed_twice_counts_once_in_its_newest_baseline(tmp_path, aoi):
    def twin(name, baseline, take="GS2A_20210501T105031_030600", **more):
        properties = {"s2:datatake_id": f"{take}_N{baseline}", "s2:processing_baseline": baseline}
        return make_scene(tmp_path, name, START, properties={"grid:code": "MGRS-31UES", **properties, **more})

    half = {"s2:nodata_pixel_percentage": 52.0}
    halves = [twin("half_a", "05.00", **half), twin("half_b", "05.00", **half)]
    other_tile = twin("other", "02.14", **{"grid:code": "MGRS-31UET"})
    catalog = write_catalog(tmp_path, [twin("old", "02.14"), *halves, other_tile])
    found = search_items(catalog, aoi, SEASON)
    assert sorted(item.id for item in found) == ["half_a", "half_b", "other"]
    assert found.extra_fields["skipped"] == {"older_twin": ["old"]}
    assert found.extra_fields["found"] == 4


def test_more_items_than_can_be_looked_at_stop_the_search(catalog, aoi, monkeypatch):
    monkeypatch.setattr("toolkit.catalog.candidates.MAX_ITEMS", 3)
    with pytest.raises(InputError, match="gave more than"):
        search_items(catalog, aoi, SEASON)


def test_known_catalogs_are_recognised_by_their_address_too():
    from toolkit.catalog.profiles import PROFILES, resolve_profile

    assert resolve_profile(PROFILES["earth-search"].url + "/").name == "earth-search"


class Redirect(StacApi):
    """Sends whoever asks to another host."""

    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", "http://169.254.169.254/latest")
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_redirects_to_other_hosts_are_not_followed(aoi):
    with ThreadingHTTPServer(("127.0.0.1", 0), Redirect) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UnsafeReferenceError, match=r"169\.254\.169\.254"):
            search_items(f"http://127.0.0.1:{server.server_port}", aoi, SEASON)
        server.shutdown()
