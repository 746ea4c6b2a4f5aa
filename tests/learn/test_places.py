"""One field on the ground is one field, however many years it was sampled in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from toolkit.learn.places import fields_on_the_ground
from toolkit.learn.samples import Samples, join_samples


def pixels(corner: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels of a square field with an edge of 0.002 degrees."""
    rng = np.random.default_rng(seed)
    return corner + rng.random(n) * 0.002, 40 + rng.random(n) * 0.002


def part(corners: dict[int, float], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    drawn = [pixels(corner, 12, seed + field) for field, corner in corners.items()]
    ids = np.repeat(np.array(list(corners), np.int32), 12)
    return ids, np.concatenate([lon for lon, _ in drawn]), np.concatenate([lat for _, lat in drawn])


def test_fields_that_overlap_between_parts_become_one_and_others_stay_apart() -> None:
    first, second = part({1: 10.0, 2: 10.01}, seed=0), part({1: 10.01, 9: 10.02}, seed=50)
    one, other = fields_on_the_ground([first, second])
    assert len(set(one)) == len(set(other)) == 2
    assert set(one[12:]) == set(other[:12])  # field 2 of the first is field 1 of the second
    assert len({*one, *other}) == 3


def test_neighbours_inside_one_part_are_never_joined() -> None:
    (ids,) = fields_on_the_ground([part({1: 10.0, 2: 10.001}, seed=0)])
    assert len(set(ids)) == 2


def test_nothing_gives_nothing() -> None:
    empty = np.empty(0)
    assert [len(ids) for ids in fields_on_the_ground([(empty.astype(np.int32), empty, empty)])] == [0]


def test_the_same_samples_twice_keep_their_number_of_fields(make_samples: Callable[..., Samples]) -> None:
    samples = make_samples(24)
    joined = join_samples([samples, samples])
    assert len(np.unique(joined.field)) == len(np.unique(samples.field))


def test_samples_of_no_known_field_stay_so() -> None:
    ids, lon, lat = part({1: 10.0, 2: 10.01}, seed=0)
    packaged = np.zeros(5, np.int32), np.full(5, np.nan), np.full(5, np.nan)
    unknown, fields = fields_on_the_ground([packaged, (ids, lon, lat)])
    np.testing.assert_array_equal(unknown, 0)
    assert sorted(set(fields)) == [1, 2]
    mixed, _ = fields_on_the_ground([(np.where(ids == 2, 0, ids), lon, lat), (ids, lon, lat)])
    np.testing.assert_array_equal(mixed == 0, ids == 2)


def test_parts_of_no_known_field_at_all_are_all_unknown() -> None:
    packaged = np.zeros(3, np.int32), np.full(3, np.nan), np.full(3, np.nan)
    for ids in fields_on_the_ground([packaged, packaged]):
        assert ids.dtype == np.int32
        np.testing.assert_array_equal(ids, 0)


def test_fields_without_a_place_are_never_joined() -> None:
    nowhere = np.full(4, np.nan)
    ids = np.array([1, 1, 2, 2], np.int32)
    one, other = fields_on_the_ground([(ids, nowhere, nowhere), (ids, nowhere, nowhere)])
    assert len({*one, *other}) == 4
    assert one[0] == one[1] != one[2] == one[3]


def test_joined_samples_keep_unknown_fields(make_samples: Callable[..., Samples]) -> None:
    samples = make_samples(24)
    nowhere = np.full(24, np.nan)
    packaged = replace(samples, field=np.zeros(24, np.int32), lon=nowhere, lat=nowhere)
    joined = join_samples([packaged, samples])
    np.testing.assert_array_equal(joined.field[:24], 0)
    assert (joined.field[24:] > 0).all()
