"""Memory: tiles are as large as a worker's budget allows, and what cannot fit is refused with what would."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from toolkit.cubes.recipe import FeatureRecipe, emit_recipe
from toolkit.errors import MemoryBudgetError
from toolkit.maps.memory import (
    DEFAULT_BUDGET,
    GIB,
    SIZES,
    MemoryNeed,
    check_memory,
    fitting_size,
    memory_need,
)

NEED = MemoryNeed(base=GIB, pixel=2048)


def test_a_tile_of_a_season_fits_into_the_default_budget() -> None:
    assert fitting_size(memory_need([FeatureRecipe()], [73]), DEFAULT_BUDGET) == 512


def test_more_scenes_and_bands_need_more() -> None:
    recipe = FeatureRecipe()
    few, many = (memory_need([recipe], [n]) for n in (20, 200))
    assert few.of(512**2) < many.of(512**2)
    both = memory_need([recipe, emit_recipe()], [20, 4])
    assert both.pixel == max(few.pixel, memory_need([emit_recipe()], [4]).pixel)  # one after the other


@pytest.mark.parametrize("size", SIZES)
def test_the_largest_tile_that_fits_is_taken(size: int) -> None:
    assert fitting_size(NEED, NEED.of(size**2)) == size
    if size > SIZES[-1]:
        assert fitting_size(NEED, NEED.of(size**2) - 1) < size


def test_a_budget_below_the_smallest_tile_is_refused_with_what_suffices() -> None:
    with pytest.raises(MemoryBudgetError, match=r"A worker has 0.5 GiB") as told:
        fitting_size(NEED, GIB // 2)
    advised = re.search(r"--memory (\d+\.\d)", str(told.value))
    assert advised
    assert fitting_size(NEED, int(float(advised[1]) * GIB)) == SIZES[-1]


def test_tiles_beyond_the_budget_are_refused_with_a_size_that_fits() -> None:
    needed, budget = NEED.of(1024**2), int(1.6 * GIB)
    with pytest.raises(MemoryBudgetError, match=r"need 3.0 GiB in each worker.*--tile-size 512") as told:
        check_memory(NEED, needed=needed, size=1024, budget=budget, machine=None, workers=9)
    check_memory(NEED, needed=NEED.of(512**2), size=512, budget=budget, machine=None, workers=9)
    advised = re.search(r"--memory (\d+\.\d)", str(told.value))
    assert advised
    enough = int(float(advised[1]) * GIB)
    check_memory(NEED, needed=needed, size=1024, budget=enough, machine=None, workers=9)


def test_more_workers_than_the_machine_holds_are_refused() -> None:
    tiles = {"needed": 2 * GIB, "size": 512, "budget": 2 * GIB}
    with pytest.raises(MemoryBudgetError, match=r"4 workers .* need 2.0 GiB each.*Give --workers 3"):
        check_memory(NEED, **tiles, machine=7 * GIB, workers=4)
    check_memory(NEED, **tiles, machine=7 * GIB, workers=3)
    with pytest.raises(MemoryBudgetError, match="smaller tiles"):
        check_memory(replace(NEED, pixel=1), **tiles, machine=GIB, workers=1)
