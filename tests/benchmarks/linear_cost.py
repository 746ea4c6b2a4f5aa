"""Whether the cost of our kernels is linear: three sizes each in dates, bands and pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from tests.benchmarks import fill_methods, harmonic_methods
from tests.benchmarks.methods import Call
from tests.benchmarks.results import Section, figure
from tests.benchmarks.stacks import GapsRecipe, Recipe, StackRecipe
from tests.benchmarks.timing import Settings, time_in_turns
from tests.benchmarks.window_methods import ROUNDED, median_methods

AXES: Mapping[str, str] = {"dates": "dates", "bands": "bands", "side": "pixels"}


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A kernel and the sizes it is timed at."""

    title: str
    recipe: Recipe
    prepare: Callable[[Any], Call]
    dates: tuple[int, int, int]
    bands: tuple[int, int, int] = (5, 10, 20)
    side: tuple[int, int, int] = (256, 384, 512)

    def sizes(self, axis: str, settings: Settings) -> list[Recipe]:
        """The recipe with one size changed, smallest first."""
        base = replace(self.recipe, side=settings.side(self.recipe.side))
        values = [settings.side(n) for n in self.side] if axis == "side" else getattr(self, axis)
        return [replace(base, **{axis: value}) for value in values]


GROWTHS = (
    Growth(
        title="median, windows of 2 dates, uint16",
        recipe=StackRecipe(),
        prepare=median_methods()[ROUNDED].prepare,
        dates=(73, 146, 292),
    ),
    Growth(
        title="harmonics of order 2",
        recipe=StackRecipe(dates=73, every_hours=120),
        prepare=harmonic_methods.ours,
        dates=(73, 146, 219),
    ),
    Growth(
        title="gap filling, ends held",
        recipe=GapsRecipe(),
        prepare=fill_methods.ours(periodic=False),
        dates=(43, 86, 172),
    ),
)


def linear_cost(settings: Settings) -> Section:
    """Time each kernel at its sizes."""
    rows = [_row(growth, axis, settings) for growth in GROWTHS for axis in AXES]
    return Section(
        title="Linear cost",
        text="ns per date x band x pixel (per step x band x pixel for gap filling) with as many threads as "
        "cores, at three sizes of one axis, the others as above; spread = dearest over cheapest.",
        columns=("kernel", "axis", "sizes", "ns, small", "ns, middle", "ns, large", "spread"),
        rows=rows,
    )


def _row(growth: Growth, axis: str, settings: Settings) -> list[str]:
    recipes = growth.sizes(axis, settings)
    calls = {str(number): growth.prepare(recipe.make()) for number, recipe in enumerate(recipes)}
    seconds = time_in_turns(calls, settings.rounds)
    costs = [
        1e9 * median(seconds[str(number)]) / (recipe.dates * recipe.bands * recipe.side**2)
        for number, recipe in enumerate(recipes)
    ]
    power = "^2" if axis == "side" else ""
    sizes = ", ".join(f"{getattr(recipe, axis)}{power}" for recipe in recipes)
    spread = max(costs) / min(costs)
    return [growth.title, AXES[axis], sizes, *(f"{cost:.3f}" for cost in costs), figure(spread)]
