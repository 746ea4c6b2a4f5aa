"""The offset seen in pixels: decided where they tell, never wrongly, silent where they cannot."""

from collections import Counter
from functools import lru_cache

import numpy as np
import pystac
import pytest

from tests.scenes.offset_scenes import OUTCOMES, SCOPES, confusion, decided, outcome_of, wrongly
from toolkit.errors import BandError, InputError
from toolkit.scenes.blocks import read_on_grid
from toolkit.scenes.offset_evidence import CHECK_BANDS, look_at_item
from toolkit.scenes.offsets import check_offsets

SEEDS = range(200, 206)
"""Places that no threshold was set with."""
ASKED = SCOPES[:2]
"""One item of a series wrong, and every item."""


@lru_cache(maxsize=8)
def table(kind):
    return confusion(kind, SEEDS)


def part(kind, scopes):
    return {key: row for key, row in table(kind).items() if key[0] in scopes}


@pytest.mark.parametrize("kind", ["vegetation", "soil", "water", "snow", "mixed"])
def test_one_wrong_item_or_all_of_them_are_never_taken_for_something_else(kind):
    assert wrongly(part(kind, ASKED)) == 0


@pytest.mark.parametrize(("kind", "seed"), [("vegetation", 24), ("mixed", 63), ("mixed", 97)])
def test_growth_under_haze_and_clipped_vegetation_do_not_mislead(kind, seed):
    """Place 24 grows darker by 0.06 to 0.08 in all bands; on 63 and 97 a fifth of it is clipped."""
    asked = {key: row for key, row in confusion(kind, [seed]).items() if key[0] in ASKED}
    assert wrongly(asked) == 0


@pytest.mark.parametrize("kind", ["vegetation", "soil", "water", "snow", "mixed"])
def test_a_series_half_wrong_or_a_single_item_is_hardly_ever_taken_for_something_else(kind):
    others = part(kind, SCOPES[2:])
    assert wrongly(others) <= 0.002 * sum(row.total() for row in others.values())


@pytest.mark.parametrize(
    ("kind", "least"), [("vegetation", 0.95), ("mixed", 0.93), ("water", 0.94), ("soil", 0.65)]
)
def test_most_items_are_decided(kind, least):
    assert decided(table(kind), ASKED) >= least


def test_snow_decides_nothing():
    assert set(sum(table("snow").values(), Counter())) == {"cannot tell"}


@pytest.fixture(scope="module")
def flanders(shared_data):
    """Numbers and classes of 72 real dates; their baseline has no offset."""
    items = sorted(
        pystac.Catalog.from_file(str(shared_data / "flanders_2019" / "catalog.json")).get_items(),
        key=lambda item: item.datetime,
    )
    import rasterio
    from odc.geo.geobox import GeoBox

    first = items[0]
    first.make_asset_hrefs_absolute()
    with rasterio.open(first.assets["blue"].href) as file:
        grid = GeoBox(file.shape, file.transform, file.crs.to_wkt())
    keys = {"B02": "blue", "B04": "red", "B12": "swir22", "SCL": "scl"}
    stacks = {}
    for band, key in keys.items():
        planes = []
        for item in items:
            item.make_asset_hrefs_absolute()
            planes.append(read_on_grid(item.assets[key].href, grid)[0])
        stacks[band] = np.stack(planes)
    return {band: stacks[band].astype(np.uint16) for band in CHECK_BANDS}, stacks["SCL"].astype(np.uint8)


def held(numbers, scl, states):
    """Numbers with 1000 added or taken per item; what falls below 1 stays at 1."""
    more = 1000 * np.asarray(states)[:, None, None]
    return {
        band: np.where(plane == 0, 0, np.clip(plane.astype(int) + more, 1, 65535)).astype(np.uint16)
        for band, plane in numbers.items()
    }


def outcomes(flanders, states):
    numbers, scl = flanders
    found = check_offsets(held(numbers, scl, states), scl, [0.0] * len(scl))
    return [(one.outcome, outcome_of(0.0, state)) for one, state in zip(found, states, strict=True)]


@pytest.mark.parametrize("state", [0, 1, -1])
def test_every_item_of_the_real_series_is_told_right_or_not_at_all(flanders, state):
    found = outcomes(flanders, [state] * 72)
    assert {outcome for outcome, _ in found} <= {outcome_of(0.0, state), "cannot tell"}
    assert sum(outcome == truth for outcome, truth in found) >= 39  # 31 have clear land over most of it


@pytest.mark.parametrize("state", [1, -1])
def test_single_items_of_the_real_series_are_told_right_or_not_at_all(flanders, state):
    right = 0
    for item in range(0, 72, 3):
        states = [0] * 72
        states[item] = state
        found = outcomes(flanders, states)
        assert all(outcome in (truth, "cannot tell") for outcome, truth in found)
        right += found[item][0] == outcome_of(0.0, state)
    assert right >= 8


def plain(count=3, scl=4, **values):
    base = {"B02": 300, "B04": 350, "B12": 900} | values
    shape = (count, 16, 16)
    return {band: np.full(shape, base[band], np.uint16) for band in CHECK_BANDS}, np.full(
        shape, scl, np.uint8
    )


def test_clouds_and_empty_scenes_decide_nothing():
    for scl in (0, 9):
        numbers, classes = plain(scl=scl)
        assert {one.outcome for one in check_offsets(numbers, classes, [0.0] * 3)} == {"cannot tell"}


def test_a_green_crop_is_told_with_any_metadata():
    numbers, classes = plain()
    assert [one.outcome for one in check_offsets(numbers, classes, [0.0, -0.1, 0.0])] == [
        "fine",
        "doubled",
        "fine",
    ]
    more = {band: plane + np.uint16(1000) for band, plane in numbers.items()}
    found = check_offsets(more, classes, [0.0, -0.1, 0.0])
    assert [one.outcome for one in found] == ["missing", "fine", "missing"]
    assert {one.offset_seen for one in found} == {-0.1}


def test_the_evidence_is_told_in_plain_values():
    import json

    numbers, classes = plain()
    (first, *_) = check_offsets(numbers, classes, [0.0] * 3)
    told = json.loads(json.dumps(first.to_dict()))
    assert told["outcome"] in OUTCOMES
    assert told["pixels"]["vegetation_dark"] == pytest.approx(0.03)


def test_few_pixels_of_a_class_are_not_looked_at():
    numbers, classes = plain(1)
    classes[0, 2:] = 9
    evidence = look_at_item({band: plane[0] for band, plane in numbers.items()}, classes[0])
    assert evidence.vegetation_dark is None


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda n, s, o: (dict(list(n.items())[:2]), s, o), BandError, "lacks B12"),
        (lambda n, s, o: (n, s.astype(int), o), InputError, "uint8"),
        (lambda n, s, o: (n, s[0], o), InputError, "2 dimensions"),
        (lambda n, s, o: ({**n, "B02": n["B02"][:1]}, s, o), InputError, "B02 of the offset check"),
        (lambda n, s, o: ({**n, "B04": n["B04"].astype(float)}, s, o), InputError, "must be uint16"),
        (lambda n, s, o: (n, s, o[:2]), InputError, "2 offsets for 3 items"),
        (lambda n, s, _: (n, s, [0.0, -0.2, 0.0]), InputError, r"\[-0.2\]"),
    ],
)
def test_bad_input_is_named(spoil, error, message):
    numbers, classes = plain()
    with pytest.raises(error, match=message):
        check_offsets(*spoil(numbers, classes, [0.0] * 3))
