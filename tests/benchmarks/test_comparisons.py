"""Every method of the table gives our result."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.comparisons import COMPARISONS
from tests.benchmarks.methods import COPY, comparable
from tests.benchmarks.stacks import Array, Recipe

SIDE, BANDS = 16, 3


@cache
def small(recipe: Recipe) -> Any:
    return dataclasses.replace(recipe, side=SIDE, bands=min(BANDS, recipe.bands)).make()


@cache
def ours(name: str) -> Array:
    comparison = COMPARISONS[name]
    call = comparison.methods[comparison.reference].prepare(small(comparison.recipe))
    return comparable(call()).copy()


ROWS = [
    pytest.param(name, method, marks=[pytest.mark.slow] if comparison.methods[method].compiles_long else [])
    for name, comparison in COMPARISONS.items()
    for method in comparison.methods
]


@pytest.mark.parametrize(("name", "method"), ROWS)
def test_each_method_gives_our_result(name: str, method: str) -> None:
    comparison = COMPARISONS[name]
    row = comparison.methods[method]
    result = comparable(row.prepare(small(comparison.recipe))())
    expected = ours(name)
    assert result.shape == expected.shape
    assert np.isfinite(expected).mean() > 0.3
    np.testing.assert_allclose(result, expected, rtol=0, atol=row.tolerance, equal_nan=True)


@pytest.mark.parametrize("name", COMPARISONS)
def test_the_copy_is_one_of_the_input(name: str) -> None:
    comparison = COMPARISONS[name]
    data = small(comparison.recipe)
    result = np.concatenate(comparison.copy().prepare(data)(), axis=-1)
    np.testing.assert_array_equal(result, comparison.copied(data))


@pytest.mark.parametrize("name", COMPARISONS)
def test_targets_speak_of_methods_that_are_timed(name: str) -> None:
    comparison = COMPARISONS[name]
    for target in comparison.targets:
        assert {*target.time_of, target.over} <= {COPY, *comparison.methods}
        assert (target.at_most is None) != (target.at_least is None)
