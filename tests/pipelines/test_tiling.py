"""Tiles of a run: those of one block of the files come one after the other, workers as memory allows."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox

from pipelines.config import MapRequest
from pipelines.tiling import TileCut, budget_of, worker_bytes, workers_of
from toolkit.area.grid import Lattice
from toolkit.cluster import cores, memory_bytes
from toolkit.errors import MemoryBudgetError
from toolkit.maps.memory import DEFAULT_BUDGET, GIB, MemoryNeed

GRID = GeoBox.from_bbox(BoundingBox(500_000, 5_000_000, 502_000, 5_001_500, "EPSG:32631"), resolution=10)


def asked(**options) -> MapRequest:
    return MapRequest(aoi="area.geojson", year=2023, out="out", **options)


@given(y=st.integers(-90, 90), x=st.integers(-90, 90), size=st.integers(16, 64))
def test_tiles_of_a_block_follow_each_other_and_cover_the_grid(y: int, x: int, size: int) -> None:
    cut = TileCut(size=size, lattice=Lattice(y=y, x=x, height=64, width=48))
    order = list(cut.tiles(GRID))
    assert sum(tile.geobox.shape.y * tile.geobox.shape.x for tile in order) == 150 * 200
    blocks = [block for block, _ in groupby(order, key=cut.block)]
    assert len(blocks) == len(set(blocks))
    groups = [group for group, _ in groupby(order, key=cut.group)]
    assert len(groups) == len(set(groups))
    assert len({(cut.group(tile), cut.block(tile)) for tile in order}) == len(blocks)  # a block is in one
    for tile in order:  # a tile lies in its block
        row, column = cut.block(tile)
        assert y + row * 64 <= tile.y.start < tile.y.stop <= y + (row + 1) * 64
        assert x + column * 48 <= tile.x.start < tile.x.stop <= x + (column + 1) * 48


def test_without_blocks_each_tile_stands_alone() -> None:
    cut = TileCut(size=50, lattice=None)
    order = list(cut.tiles(GRID))
    assert len({cut.block(tile) for tile in order}) == len(order) == 12
    assert [cut.group(tile) for tile in order] == [(0, 0)] * 12  # three by four tiles


@given(edge=st.sampled_from([16, 32, 64, 128]))
def test_groups_are_four_tiles_across_and_whole_blocks(edge: int) -> None:
    cut = TileCut(size=16, lattice=Lattice(y=0, x=0, height=edge, width=edge))
    wide = max(64, edge)
    for tile in cut.tiles(GRID):
        assert cut.group(tile) == (tile.y.start // wide, tile.x.start // wide)


def test_the_budget_is_the_users_or_the_default_or_with_tiles_of_the_users_a_share_of_the_machine() -> None:
    assert budget_of(asked()) == DEFAULT_BUDGET
    assert budget_of(asked(memory=2.5, tile_size=512)) == int(2.5 * GIB)
    assert budget_of(asked(tile_size=512, workers=2)) == pytest.approx(0.45 * memory_bytes(), rel=1e-6)


def test_there_are_as_many_workers_as_cores_tiles_and_memory_allow() -> None:
    order, small = list(TileCut(size=50, lattice=None).tiles(GRID)), MemoryNeed(base=10**6, pixel=1)
    assert workers_of(asked(), small, order) == min(cores(), 12)
    assert workers_of(asked(workers=5), small, order) == 5
    assert workers_of(asked(), small, order[:1]) == 1
    half = MemoryNeed(base=int(0.4 * memory_bytes()), pixel=1)
    assert workers_of(asked(memory=1000), half, order) == min(cores(), 2)
    with pytest.raises(MemoryBudgetError, match="Give --workers 2"):
        workers_of(asked(memory=1000, workers=4), half, order)
    assert workers_of(asked(memory=1000, workers=4), half, order, elsewhere=True) == 4
    assert worker_bytes(small, order) == 10**6 + 50 * 50
