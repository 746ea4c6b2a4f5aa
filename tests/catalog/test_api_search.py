"""Searches of APIs that misbehave: every item, or an error that says what happened, in bounded time."""

import time
from datetime import date

import pytest
import shapely
from shapely.geometry import box, mapping

from tests.catalog.recorded import responses
from tests.catalog.stac_stand_in import page, stac_stand_in
from toolkit.area.aoi import AOI
from toolkit.area.season import season
from toolkit.catalog import transport
from toolkit.catalog.search import search_items
from toolkit.errors import InputError, NoItemsError, RemoteError

AREA = AOI(box(4.0, 50.0, 4.1, 50.1))
SEASON = season(2021, hemisphere="north")
BANDS = ["B02", "SCL"]


def feature(name, day="2021-06-01", *, place=AREA.geometry, host="127.0.0.1", **properties):
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "sentinel-2-l2a",
        "geometry": mapping(place),
        "bbox": list(place.bounds),
        "properties": {"datetime": f"{day}T10:50:00Z", "s2:processing_baseline": "05.11", **properties},
        "assets": {band: {"href": f"http://{host}/{name}/{band}.tif"} for band in BANDS},
        "links": [],
    }


def found(server, **options):
    return search_items(server.url, AREA, SEASON, bands=["B02"], **options)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    quick = transport.Patience(first_wait_s=0.01)
    monkeypatch.setattr(
        transport.read_all, "__kwdefaults__", {**transport.read_all.__kwdefaults__, "patience": quick}
    )


def failing(first, *then):
    """Answer with failures first, then with an item."""
    left = [first, *then]

    def search(body, url):
        return left.pop(0) if left else page([feature("a")], url)

    return search


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_searches_are_repeated_although_they_are_posts(status):
    with stac_stand_in(failing((status, {}, b"busy"), (status, {}, b"busy"))) as server:
        assert [item.id for item in found(server)] == ["a"]
        assert len(server.asked) == 3


def test_a_search_is_repeated_no_sooner_than_the_server_wishes():
    with stac_stand_in(failing((429, {"Retry-After": "1"}, b""))) as server:
        start = time.monotonic()
        assert len(found(server)) == 1
        assert time.monotonic() - start >= 1


def test_a_quota_used_up_ends_the_search_at_once():
    with (
        stac_stand_in(failing((429, {"Retry-After": "86400"}, b""))) as server,
        pytest.raises(RemoteError, match="asks to wait 86400 s"),
    ):
        found(server)


def test_pages_too_large_for_the_server_are_asked_for_in_smaller_ones():
    def search(body, url):
        if body["limit"] > 30:
            return (502, {}, b"Internal server error")
        token = body.get("token", 0)
        return page([feature(f"i{token}")], url, token + 1 if token < 2 else None)

    with stac_stand_in(search) as server:
        assert [item.id for item in found(server)] == ["i0", "i1", "i2"]
        assert [body["limit"] for body in server.asked] == [100, 50, 25, 25, 25]


TEXTS = {
    "truncated": b'{"type": "FeatureCollection", "features": [{"id": "a", ',
    "login": b"<html>Please log in</html>",
    "no page": b'{"message": "Forbidden"}',
    "no list": b'{"features": 7}',
}


@pytest.mark.parametrize("name", TEXTS)
def test_answers_that_are_no_items_end_the_search_by_name(name):
    with (
        stac_stand_in(failing((200, {}, TEXTS[name]))) as server,
        pytest.raises(RemoteError, match=r"JSON|no list of items"),
    ):
        found(server)


def test_a_server_that_refuses_tells_why():
    with (
        stac_stand_in(failing((400, {}, b'{"detail": "limit is too large"}'))) as server,
        pytest.raises(RemoteError, match=r"answers 400 .*limit is too large"),
    ):
        found(server)


def test_one_item_that_is_none_is_counted_and_the_others_are_used():
    broken = {**feature("broken"), "properties": {"datetime": "yesterday"}}

    with stac_stand_in(lambda _, url: page([feature("a"), broken, feature("b")], url)) as server:
        items = found(server)
    assert [item.id for item in items] == ["a", "b"]
    assert items.extra_fields["skipped"] == {"item_invalid": ["broken"]}
    assert items.extra_fields["found"] == 3


def test_the_same_item_on_two_pages_counts_once():
    def search(body, url):
        token = body.get("token", 0)
        return page([feature("a"), feature(f"b{token}")], url, 1 if token == 0 else None)

    with stac_stand_in(search) as server:
        items = found(server)
    assert [item.id for item in items] == ["a", "b0", "b1"]
    assert items.extra_fields["skipped"] == {"duplicate": ["a"]}
    assert items.extra_fields["found"] == 4


def test_every_filter_is_applied_again_to_what_a_server_ignores():
    away = box(20, 50, 20.1, 50.1)
    wrong = {**feature("other"), "collection": "sentinel-2-l1c"}
    features = [
        feature("a", **{"eo:cloud_cover": 10}),
        feature("late", "2022-06-01"),
        feature("away", place=away),
        feature("cloudy", **{"eo:cloud_cover": 70}),
        {**feature("bandless"), "assets": {}},
        wrong,
    ]
    with stac_stand_in(lambda _, url: page(features, url)) as server:
        items = found(server, max_cloud_cover=50, collection="sentinel-2-l2a")
    assert [item.id for item in items] == ["a"]
    assert items.extra_fields["skipped"] == {
        "outside_season": ["late"],
        "outside_area": ["away"],
        "too_cloudy": ["cloudy"],
        "asset_missing": ["bandless"],
        "wrong_collection": ["other"],
    }


def in_period(features, body):
    first, last = (date.fromisoformat(part[:10]) for part in body["datetime"].split("/"))
    return [
        one for one in features if first <= date.fromisoformat(one["properties"]["datetime"][:10]) <= last
    ]


def test_a_search_that_comes_back_short_is_asked_again_by_month():
    everything = [
        feature(f"d{month}{day}", f"2021-{month:02}-{day:02}") for month in range(5, 11) for day in (3, 20)
    ]

    def search(body, url):  # gives at most three items and no way to more
        hits = in_period(everything, body)
        return page(hits[:3], url, numberMatched=len(hits))

    with stac_stand_in(search) as server:
        assert len(found(server)) == len(in_period(everything, {"datetime": f"{SEASON.start}/{SEASON.end}"}))
        assert len(server.asked) > 5


def test_a_search_that_stays_short_is_an_error_not_a_map_with_holes():
    def search(body, url):
        return page([feature("a", body["datetime"][:10])], url, numberMatched=2)

    with stac_stand_in(search) as server, pytest.raises(RemoteError, match="says it has 2 items"):
        found(server)


def test_an_area_across_the_antimeridian_is_asked_for_in_two_halves():
    fiji = AOI(shapely.union_all([box(179, -18, 180, -17), box(-180, -18, -179, -17)]))
    across = shapely.union_all([box(179.5, -18, 180, -17), box(-180, -18, -179.5, -17)])
    both = feature("both", "2021-01-10", place=across)
    east = feature("east", "2021-01-15", place=box(179, -18, 179.4, -17))

    def search(body, url):
        west, _, _, _ = shapely.bounds(shapely.from_geojson(str(body["intersects"]).replace("'", '"')))
        return page([both] if west < 0 else [both, east], url)

    with stac_stand_in(search) as server:
        items = search_items(server.url, fiji, season(2020, hemisphere="south"), bands=["B02"])
        assert len(server.asked) == 2
    assert [item.id for item in items] == ["both", "east"]
    assert items.extra_fields["found"] == 2


def test_a_collection_nobody_offers_is_named_with_those_there_are():
    with (
        stac_stand_in(lambda *_: page([], ""), ("landsat", "naip")) as server,
        pytest.raises(InputError, match=r"no collection 'sentinel-9'. It offers: landsat, naip"),
    ):
        found(server, collection="sentinel-9")


def test_bands_under_other_names_are_found_by_a_mapping_of_ones_own():
    own = feature("a")
    own["assets"] = {"azul": own["assets"]["B02"], "clase": own["assets"]["SCL"]}
    with stac_stand_in(lambda _, url: page([own], url)) as server:
        assert set(found(server, assets={"B02": "azul", "SCL": "clase"}).items[0].assets) == {"B02", "SCL"}
        with pytest.raises(NoItemsError, match="1 asset_missing"):
            found(server)


def test_recorded_pages_of_earth_search_give_every_item_and_the_newest_of_each_twin(shared_data, monkeypatch):
    """Two pages with 16 items, each acquisition twice; the last page still links to a next one."""
    pages = [body for name, _, _, body in responses(shared_data) if "earth-search_search" in name]
    asked = []

    def search(body, url):
        asked.append(body)
        text = pages[len(asked) - 1]
        link = {**next(one for one in text["links"] if one["rel"] == "next"), "href": f"{url}/search"}
        return {**text, "links": [link]}

    area, period = AOI(box(9, 47, 10, 48)), season(2020, hemisphere="north", first_step=12, n_steps=2)
    hosts = ("sentinel-cogs.s3.us-west-2.amazonaws.com",)
    with stac_stand_in(search) as server:
        items = search_items(server.url, area, period, allow_hosts=hosts)
    assert len(asked) == 2
    assert items.extra_fields["found"] == 16
    assert len(items) == 8
    assert {item.properties["s2:processing_baseline"] for item in items} == {"05.00"}
    assert len(items.extra_fields["skipped"]["older_twin"]) == 8
