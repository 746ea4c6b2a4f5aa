"""One field on the ground is one field, however many years it was sampled in."""

from __future__ import annotations

from collections.abc import Callable

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
