"""The table: each workload with the methods that do it. A row more is a test and a line of results more."""

from __future__ import annotations

from tests.benchmarks import clear_methods, fill_methods, harmonic_methods, series_methods, window_methods
from tests.benchmarks.methods import COPY, Comparison, Target
from tests.benchmarks.stacks import YEAR_HOURS, GapsRecipe, StackRecipe
from tests.benchmarks.window_methods import (
    BOTTLENECK,
    BOTTLENECK_THREADS,
    EXACT,
    ROUNDED,
    XARRAY,
    XARRAY_NUMBAGG,
    XARRAY_NUMPY,
)

MASK_BESIDE = "The copy is of the bands alone, without their clear mask."

COMPARISONS: dict[str, Comparison] = {
    "median-73": Comparison(
        title="Median, 73 windows of 2 dates",
        recipe=StackRecipe(),
        methods=window_methods.median_methods(),
        targets=(
            Target(what="uint16, x copy", time_of=(ROUNDED,), over=COPY, at_most=1.5),
            Target(what="float32, x copy", time_of=(EXACT,), over=COPY, at_most=2.5),
            Target(
                what="xarray resample (the fastest of three), x ours in float32",
                time_of=(XARRAY, XARRAY_NUMBAGG, XARRAY_NUMPY),
                over=EXACT,
                at_least=100,
            ),
            Target(
                what="bottleneck (the faster of two), x ours in float32",
                time_of=(BOTTLENECK, BOTTLENECK_THREADS),
                over=EXACT,
                at_least=10,
            ),
        ),
        note=MASK_BESIDE,
    ),
    "median-12": Comparison(
        title="Median, 12 windows of 12 or 13 dates",
        recipe=StackRecipe(window_hours=YEAR_HOURS // 12),
        methods=window_methods.median_methods(),
        note=MASK_BESIDE,
    ),
    "median-1": Comparison(
        title="Median, one window of 146 dates",
        recipe=StackRecipe(window_hours=YEAR_HOURS),
        methods=window_methods.median_methods(),
        note=MASK_BESIDE,
    ),
    "percentile-12": Comparison(
        title=f"Percentile {window_methods.PERCENT}, 12 windows of 12 or 13 dates",
        recipe=StackRecipe(window_hours=YEAR_HOURS // 12),
        methods=window_methods.percentile_methods(),
        note=MASK_BESIDE,
    ),
    "minimum-12": Comparison(
        title="Minimum, 12 windows of 12 or 13 dates",
        recipe=StackRecipe(window_hours=YEAR_HOURS // 12),
        methods=window_methods.minimum_methods(),
        note=MASK_BESIDE,
    ),
    "maximum-12": Comparison(
        title="Maximum, 12 windows of 12 or 13 dates",
        recipe=StackRecipe(window_hours=YEAR_HOURS // 12),
        methods=window_methods.maximum_methods(),
        note=MASK_BESIDE,
    ),
    "harmonic": Comparison(
        title="Harmonic least squares of order 2, 73 dates",
        recipe=StackRecipe(dates=73, every_hours=120),
        methods=harmonic_methods.METHODS,
        targets=(
            Target(what="x copy", time_of=(harmonic_methods.OURS,), over=COPY, at_most=3),
            Target(
                what="numpy normal equations, x ours",
                time_of=(harmonic_methods.NORMAL_EQUATIONS,),
                over=harmonic_methods.OURS,
                at_least=10,
            ),
            Target(
                what="numpy normal equations spread over our threads too, x ours",
                time_of=(harmonic_methods.NORMAL_EQUATIONS_THREADS,),
                over=harmonic_methods.OURS,
                at_least=10,
            ),
            Target(
                what="numpy normal equations in float64 from the same input, x ours",
                time_of=(harmonic_methods.NORMAL_EQUATIONS_FLOAT64,),
                over=harmonic_methods.OURS,
                at_least=10,
            ),
        ),
        note=f"{MASK_BESIDE} The first normal equations are in float32 and get values with zeros for clouds.",
    ),
    "fill-held": Comparison(
        title="Linear gap filling, 43 steps, 42 % missing, ends held",
        recipe=GapsRecipe(),
        methods=fill_methods.HELD_METHODS,
        targets=(Target(what="x copy", time_of=(fill_methods.OURS,), over=COPY, at_most=3),),
    ),
    "fill-periodic": Comparison(
        title="Linear gap filling, 43 steps, 42 % missing, across the turn of the year",
        recipe=GapsRecipe(),
        methods=fill_methods.PERIODIC_METHODS,
        targets=(Target(what="x copy", time_of=(fill_methods.OURS,), over=COPY, at_most=3),),
    ),
    "series": Comparison(
        title="Series of 43 filled medians out of 86 dates in season",
        recipe=StackRecipe(dates=86),
        methods=series_methods.METHODS,
        targets=(
            Target(
                what="separate kernels, x fused",
                time_of=(series_methods.SEPARATE,),
                over=series_methods.FUSED,
                at_least=2,
            ),
        ),
        note=f"{MASK_BESIDE} All write (pixel, band, step), but the cube: (band, step, pixel).",
    ),
    "count": Comparison(
        title="Count of clear dates, 73 windows of 2 dates",
        recipe=StackRecipe(bands=1, side=1024),
        methods=clear_methods.COUNT_METHODS,
        copied=lambda part: part.clear,
        note="The input is the clear mask. Ours, too, makes the memory of its result.",
    ),
    "gap": Comparison(
        title="Longest gap, 73 dates",
        recipe=StackRecipe(dates=73, bands=1, side=1024, every_hours=120),
        methods=clear_methods.GAP_METHODS,
        copied=lambda part: part.clear,
        note="The input is the clear mask. Ours, too, makes the memory of its result.",
    ),
}
