"""Items of an earlier search: those of another place or time are left out, and counted."""

from datetime import UTC, datetime

import pystac
import pytest
import shapely
from shapely.geometry import mapping

from toolkit.area.aoi import AOI
from toolkit.area.season import season
from toolkit.catalog.filters import OUTSIDE_AREA, OUTSIDE_SEASON, TOO_CLOUDY, fitting

PLACE = AOI(shapely.box(4.2, 50.2, 4.4, 50.4), "place")
SEASON = season(2021, aoi=PLACE)


def item(name: str, *, west: float = 4.0, day: tuple[int, int, int] = (2021, 7, 1), cloud: float = 5.0):
    shape = shapely.box(west, 50, west + 1, 51)
    when = datetime(*day, tzinfo=UTC)
    return pystac.Item(name, mapping(shape), list(shape.bounds), when, {"eo:cloud_cover": cloud})


@pytest.fixture
def saved() -> pystac.ItemCollection:
    items = [
        item("fits"),
        item("elsewhere", west=9),
        item("last year", day=(2020, 7, 1)),
        item("cloudy", cloud=80),
        item("cloudy elsewhere", west=9, cloud=80),
    ]
    told = {"found": 7, "skipped": {OUTSIDE_AREA: ["far"], "duplicate": ["twice"]}, "catalog": "c"}
    return pystac.ItemCollection(items, extra_fields=told)


def test_items_of_another_area_or_year_are_left_out_and_named(saved):
    kept = fitting(saved, PLACE, SEASON, None)
    assert [one.id for one in kept] == ["fits", "cloudy"]
    assert kept.extra_fields["skipped"] == {
        OUTSIDE_AREA: ["far", "elsewhere", "cloudy elsewhere"],
        "duplicate": ["twice"],
        OUTSIDE_SEASON: ["last year"],
    }
    assert kept.extra_fields["catalog"] == "c"
    assert saved.extra_fields["skipped"] == {OUTSIDE_AREA: ["far"], "duplicate": ["twice"]}  # as it was


def test_each_item_is_left_out_for_one_reason_and_all_add_up(saved):
    kept = fitting(saved, PLACE, SEASON, 50.0)
    skipped = kept.extra_fields["skipped"]
    assert skipped[TOO_CLOUDY] == ["cloudy"]
    assert len(kept) + sum(map(len, skipped.values())) == kept.extra_fields["found"]


def test_items_that_all_fit_come_back_as_they_are(saved):
    fine = fitting(saved, PLACE, SEASON, None)
    assert fitting(fine, PLACE, SEASON, 100.0) is fine
