"""Plans: what a map will take, reckoned from scenes, pixels and one tile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import StorageError
from toolkit.maps.plan import (
    FILES_PER_TILE_BYTE,
    Extent,
    Plan,
    TriedTile,
    check_disk,
    footprints_over,
    joined_plans,
    most_scenes,
    reckon,
    reckon_from,
)
from toolkit.maps.units import duration
from toolkit.scenes.counts import ReadCounts

AREA = shapely.box(0, 50, 2, 51)
TRIED = TriedTile(
    extent=Extent(pixels=1000, scene_pixels=10_000.0),
    seconds={"read and composite": 4.0, "predict": 6.0, "write": 0.5, "prepare the engine": 3.0},
    scenes=10,
    reads=ReadCounts(bytes=5_000_000),
    sparse=1.0,
    bytes_stored=2_000,
)
SHARING = replace(
    TRIED,
    reads=ReadCounts(
        bytes=5_000_000,
        needed_bytes=4_000_000,
        own_bytes=1e6,
        header_bytes=1_000_000,
        thread_s=8,
        decoding_s=6,
    ),
)


def plan_of(extent: Extent, tried: TriedTile | None = None, *, workers: int = 2) -> Plan:
    before = reckon(
        extent,
        scenes=10,
        tiles=8,
        tile_size=512,
        workers=workers,
        worker_bytes=10**9,
        bytes_to_read=1e9,
        beside_bytes=300,
    )
    return before if tried is None else reckon_from(tried, before, workers=workers)


def test_shares_of_an_area_are_those_of_the_footprints() -> None:
    half, beside, corner = shapely.box(1, 49, 5, 60), shapely.box(3, 50, 4, 51), shapely.box(-1, 49, 1, 50.5)
    shares = footprints_over([half, beside, corner, None, AREA], AREA)
    np.testing.assert_allclose(shares, [0.5, 0, 0.25, 1, 1])


@given(
    st.lists(
        st.tuples(st.floats(-1, 2), st.floats(49, 51), st.floats(0.1, 3), st.floats(0.1, 3)), max_size=12
    )
)
def test_no_share_is_beyond_the_whole(corners: list[tuple[float, float, float, float]]) -> None:
    boxes = [shapely.box(x, y, x + width, y + height) for x, y, width, height in corners]
    shares = footprints_over(boxes, AREA)
    assert ((shares >= 0) & (shares <= 1 + 1e-9)).all()
    assert most_scenes(boxes, AREA) <= len(boxes)


def test_scenes_are_counted_where_most_overlap() -> None:
    west, east = shapely.box(0, 50, 1.2, 51), shapely.box(0.8, 50, 2, 51)
    assert most_scenes([west] * 3 + [east] * 4, AREA) == 7
    assert most_scenes([west] * 3, AREA) == 3
    assert most_scenes([None, west], AREA) == 2
    assert most_scenes([], AREA) == 0


def test_a_map_takes_what_its_tile_took_times_scenes_and_pixels() -> None:
    whole = plan_of(Extent(pixels=20_000, scene_pixels=400_000.0), TRIED)
    assert whole.bytes_to_read == 40 * TRIED.reads.bytes
    assert whole.disk_bytes == 20 * TRIED.bytes_stored * FILES_PER_TILE_BYTE + 300
    assert whole.seconds == pytest.approx((40 * 4.0 + 20 * 6.5) / 2 + 3.0)


def test_of_shared_blocks_a_tile_counts_its_share_and_headers_each_worker_reads_once() -> None:
    whole = plan_of(Extent(pixels=20_000, scene_pixels=400_000.0), SHARING)
    assert whole.bytes_to_read == 40 * 1_000_000 + 2 * 1_000_000
    reading = 4.0 * (1 / 4 + 3 / 4 * 1 / 4)
    assert whole.seconds == pytest.approx((40 * reading + 20 * 6.5) / 2 + 3.0)


def test_where_few_tiles_of_a_grid_are_made_each_has_a_larger_share_of_its_blocks() -> None:
    sparse = replace(SHARING, sparse=2.0)
    assert (SHARING.own_bytes, sparse.own_bytes) == (1e6, 2e6)
    assert replace(SHARING, sparse=100.0).own_bytes == SHARING.reads.needed_bytes


def test_a_tile_whose_blocks_were_all_kept_counts_as_it_took() -> None:
    kept = replace(TRIED, reads=ReadCounts(needed_bytes=4_000_000, own_bytes=1e6, thread_s=8))
    whole = plan_of(Extent(pixels=20_000, scene_pixels=400_000.0), kept)
    assert whole.bytes_to_read == 40 * 1_000_000
    assert whole.seconds == pytest.approx((40 * 4.0 + 20 * 6.5) / 2 + 3.0)


def test_a_map_takes_no_less_time_than_one_tile_of_it() -> None:
    assert plan_of(TRIED.extent, TRIED, workers=8).seconds == pytest.approx(13.5)


def test_without_a_tile_there_is_no_time() -> None:
    rough = plan_of(Extent(pixels=20_000, scene_pixels=400_000.0))
    assert rough.seconds is None
    assert rough.bytes_to_read == 10**9
    assert "no tile was tried" in "\n".join(rough.lines())


@pytest.mark.parametrize("extent", [Extent(pixels=0, scene_pixels=0.0), Extent(pixels=900, scene_pixels=0.0)])
def test_a_tile_outside_the_area_or_without_scenes_says_nothing_of_others(extent: Extent) -> None:
    rough = plan_of(Extent(pixels=20_000, scene_pixels=400_000.0))
    assert plan_of(rough.extent, replace(TRIED, extent=extent)) == rough


def test_zones_are_added_but_for_their_workers() -> None:
    one = plan_of(Extent(pixels=20_000, scene_pixels=400_000.0), TRIED)
    both = joined_plans([one, replace(one, workers=1, worker_bytes=2 * 10**9)])
    assert (both.scenes, both.tiles, both.extent.pixels) == (20, 16, 40_000)
    assert both.worker_bytes == 2 * 10**9
    assert both.workers == 2
    assert both.seconds == pytest.approx(2 * (one.seconds or 0))
    assert joined_plans([one, replace(one, seconds=None)]).seconds is None
    assert joined_plans([one, replace(one, workers=None)]).workers == 2
    assert joined_plans([replace(one, workers=None)] * 2).workers is None


def test_a_full_disk_is_told_with_what_is_missing() -> None:
    whole = plan_of(Extent(pixels=10**9, scene_pixels=1e10))
    check_disk(whole, free=5 * 10**9 + 300)
    check_disk(whole, free=10**9 + 300, stored=4 * 10**9)
    with pytest.raises(StorageError, match=r"about 5 GB of disk, and 2 GB are free.*Free 3 GB"):
        check_disk(whole, free=2 * 10**9)


def test_times_are_told_in_units_that_people_use() -> None:
    assert [duration(one) for one in (42, 600, 7200)] == ["42 s", "10 min", "2.0 h"]
