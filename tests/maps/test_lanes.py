"""Lanes of workers: each tile once, neighbours together, none idle while tiles wait."""

from hypothesis import given
from hypothesis import strategies as st

from toolkit.maps.lanes import Lanes, assigned

GROUPS = st.lists(st.integers(1, 9), max_size=8)


def near(place):
    return place[0]


def places_of(sizes):
    return [(group, k) for group, size in enumerate(sizes) for k in range(size)]


@given(GROUPS, st.lists(st.integers(0, 3), max_size=100))
def test_each_place_is_given_once_whichever_lane_asks(sizes, asking):
    places = places_of(sizes)
    lanes = Lanes(places, near)
    given = [lanes.take(lane) for lane in asking]
    while (place := lanes.take(0)) is not None:
        given.append(place)
    assert sorted(place for place in given if place is not None) == places
    assert all(place is not None for place in given[: len(places)])  # none is idle while places wait


def test_a_lane_takes_groups_whole_and_at_the_end_half_of_what_the_longest_has_left():
    lanes = Lanes(places_of([8, 2]), near)
    assert [lanes.take(0) for _ in range(2)] == [(0, 0), (0, 1)]
    assert [lanes.take(1) for _ in range(2)] == [(1, 0), (1, 1)]
    assert [lanes.take(1) for _ in range(3)] == [(0, 5), (0, 6), (0, 7)]
    assert [lanes.take(0) for _ in range(3)] == [(0, 2), (0, 3), (0, 4)]
    assert lanes.take(0) is lanes.take(1) is None


def test_new_workers_take_the_lanes_of_those_that_are_gone_or_more():
    assert assigned([], ["a", "b"]) == ["a", "b"]
    assert assigned(["a", "b"], ["b", "c", "d"]) == ["c", "b", "d"]
    assert assigned(["a", "b"], ["a"]) == ["a", "b"]  # it may come back
    assert assigned(["a", "b"], []) == ["a", "b"]
