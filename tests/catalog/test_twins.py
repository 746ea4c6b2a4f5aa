"""One acquisition found twice: the newest stays, halves of a granule stay both."""

from datetime import UTC, datetime

import pystac
from shapely.geometry import box, mapping

from toolkit.catalog.twins import older_twins

WHOLE = box(4, 50, 5, 51)
WEST, EAST = box(4, 50, 4.55, 51), box(4.45, 50, 5, 51)  # halves overlap at the seam


def item(
    name,
    baseline="05.09",
    *,
    place=WHOLE,
    generated="2023-01-01T00:00:00Z",
    take="GS2A_1",
    strip=None,
    **more,
):
    properties = {
        "s2:datatake_id": f"{take}_N{baseline}",
        "grid:code": "MGRS-31UES",
        "s2:processing_baseline": baseline,
        "s2:generation_time": generated,
        **({"s2:datastrip_id": f"S2A_OPER_{strip}_N{baseline}"} if strip else {}),
        **more,
    }
    return pystac.Item(name, mapping(place), list(place.bounds), datetime(2021, 6, 1, tzinfo=UTC), properties)


def test_the_newest_baseline_replaces_all_older_ones():
    assert older_twins([item("b", "05.00"), item("c", "05.10"), item("a", "02.14")]) == {"a": "c", "b": "c"}


def test_baselines_are_compared_as_numbers():
    assert older_twins([item("a", "09.99"), item("b", "10.00")]) == {"a": "b"}


def test_of_one_baseline_the_latest_generation_stays():
    early, late = (
        item("late-name", generated="2023-01-01T00:00:00Z"),
        item("a", generated="2024-01-01T00:00:00Z"),
    )
    assert older_twins([early, late]) == {"late-name": "a"}


def test_halves_of_a_split_granule_stay_both():
    assert older_twins([item("west", place=WEST), item("east", place=EAST)]) == {}


def test_halves_under_the_footprint_of_the_whole_tile_stay_both_if_together_they_fill_it_once():
    gap = {"s2:nodata_pixel_percentage": 50.0}
    assert older_twins([item("west", **gap), item("east", **gap)]) == {}


def test_a_tile_at_the_edge_of_the_swath_processed_twice_is_no_pair_of_halves():
    gap = {"s2:nodata_pixel_percentage": 67.6, "strip": "173704_S20200305T103210"}
    assert older_twins([item("old", "02.14", **gap), item("new", "05.00", **gap)]) == {"old": "new"}


def test_a_half_without_a_newer_twin_stays():
    halves = [item("west", "02.14", place=WEST), item("east", "02.14", place=EAST)]
    assert older_twins([*halves, item("west again", "05.00", place=WEST)]) == {"west": "west again"}


def test_two_orbits_over_one_tile_on_one_day_are_no_twins():
    assert older_twins([item("a", take="GS2A_1"), item("b", take="GS2A_2")]) == {}


def test_items_that_tell_no_datatake_or_tile_are_left_alone():
    plain = pystac.Item("a", mapping(WHOLE), list(WHOLE.bounds), datetime(2021, 6, 1, tzinfo=UTC), {})
    assert older_twins([plain, plain.clone()]) == {}
