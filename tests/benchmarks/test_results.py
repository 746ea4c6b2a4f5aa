"""The runner: times in turns, sections, targets, memory."""

from __future__ import annotations

import pytest

from tests.benchmarks import peak_memory
from tests.benchmarks.comparisons import COMPARISONS
from tests.benchmarks.linear_cost import GROWTHS
from tests.benchmarks.machine import surroundings, watch_the_processor
from tests.benchmarks.methods import COPY
from tests.benchmarks.results import Outcome, Section, document, figure, seconds, table
from tests.benchmarks.run import comparison_section
from tests.benchmarks.timing import Settings, Times, time_comparison, time_in_turns

SMALL = Settings(rounds=2, shrink=64)


def test_a_section_has_a_row_per_method_and_one_for_the_copy() -> None:
    comparison = COMPARISONS["fill-periodic"]
    section = comparison_section(comparison, time_comparison(comparison, SMALL), SMALL)
    assert [row[0] for row in section.rows] == [COPY, *comparison.methods]
    assert [outcome.limit for outcome in section.outcomes] == [3]
    assert "43 steps x 10 bands x 16 x 16 pixels" in section.text


def test_ratios_are_those_of_medians_and_scaled_methods_say_their_size() -> None:
    comparison = COMPARISONS["fill-periodic"]
    names = [COPY, *comparison.methods]
    times = Times(
        seconds={name: (0.5, 2.0 * (k + 1), 90.0) for k, name in enumerate(names)},
        sides=dict.fromkeys(names, 32),
    )
    section = comparison_section(comparison, times, Settings())
    assert [row[4] for row in section.rows] == ["1.00", "2.00", "3.00", "4.00", "5.00"]
    assert section.rows[0][1:3] == ["32^2", "2.00 s (500 ms)"]
    assert section.outcomes[0].measured == 2


def test_each_call_is_made_once_before_and_once_per_round() -> None:
    made = []
    calls = {name: lambda name=name: made.append(name) for name in "abc"}
    times = time_in_turns(calls, 3)
    assert made[:3] == ["a", "b", "c"]
    assert [sorted(made[k : k + 3]) for k in (3, 6, 9)] == [["a", "b", "c"]] * 3
    assert all(len(taken) == 3 for taken in times.values())


@pytest.mark.parametrize(
    ("measured", "direction", "verdict"),
    [
        (1.5, "at most", "met"),
        (1.6, "at most", "missed"),
        (1.5, "at least", "met"),
        (1.4, "at least", "missed"),
    ],
)
def test_outcomes(measured: float, direction: str, verdict: str) -> None:
    outcome = Outcome(what="time", measured=measured, limit=1.5, at_most=direction == "at most")
    assert outcome.met is (verdict == "met")
    assert outcome.line.replace("*", "").endswith(f", {verdict}")


def test_the_document_lists_targets_first() -> None:
    outcome = Outcome(what="x copy", measured=2, limit=1.5, at_most=True)
    section = Section(title="Median", columns=("method", "time"), rows=[("ours", "1 ms")], outcomes=[outcome])
    text = document([section], "How.", {"date": "today"})
    assert text.index("| Median | x copy | <= 1.5 | 2.00 | **missed** |") < text.index("## Median")
    assert "- date: today" in text


def test_tables_align_figures_to_the_right() -> None:
    assert table(("a", "b"), [("x", "1.0"), ("y", "20")]).splitlines()[1] == "| --- | ---: |"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234.5, "1,234")],
)
def test_figures(number: float, text: str) -> None:
    assert figure(number) == text


def test_seconds() -> None:
    assert (seconds(0.0123), seconds(1.5)) == ("12.3 ms", "1.50 s")


def test_surroundings_name_the_versions() -> None:
    facts = surroundings()
    assert {"date", "processor", "libraries"} <= set(facts)
    assert "numbagg" in facts["libraries"]
    assert watch_the_processor()()


def test_sizes_grow_along_one_axis() -> None:
    for growth in GROWTHS:
        for axis in ("dates", "bands", "side"):
            recipes = growth.sizes(axis, Settings())
            sizes = [getattr(recipe, axis) for recipe in recipes]
            assert sizes == sorted(set(sizes))


def test_a_year_of_a_tile_takes_little_more_than_a_band_and_the_cube() -> None:
    found = peak_memory.measure(256)
    assert found.cube == 10 * 73 * 256**2 * 4
    assert 0.9 < found.ratio <= 1.3
