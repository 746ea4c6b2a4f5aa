"""Time everything and write RESULTS.md: ``python -m tests.benchmarks.run``, or ``make bench``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import click

from tests.benchmarks import emit_reading, peak_memory, reading, training
from tests.benchmarks.comparisons import COMPARISONS
from tests.benchmarks.linear_cost import linear_cost
from tests.benchmarks.machine import surroundings, watch_the_processor
from tests.benchmarks.methods import COPY, Comparison
from tests.benchmarks.results import Outcome, Section, document, figure, seconds
from tests.benchmarks.timing import Settings, Times, time_comparison

RESULTS = Path(__file__).with_name("RESULTS.md")
TILE_SIDE = 1024
INTRO = """\
Written by `make bench`; the methods are those of `tests/benchmarks/comparisons.py`, and the tests hold each
of them to our result. All methods of a workload take turns in one process, in a new order every round, on
data of the same kind: fields with a season, clouds with edges, 55 % clear. Times are the median of {rounds}
rounds, the least in brackets; ratios are those of the medians. Absolute figures belong to the machine,
ratios travel better.

Ours run in as many Python threads as there are cores, a block of the pixels each, and write into memory that
is there already; so does the copy (`numpy.copyto`), the measure of what memory allows. Libraries run as they
are normally used and make their own results; turning integers into floats with NaN, which they need and ours
do not, is not counted. Slow ones are timed on fewer pixels, as the table says, and scaled."""

SectionMaker = Callable[[Settings], Iterator[Section]]


def compare(settings: Settings) -> Iterator[Section]:
    """Our kernels beside those of others."""
    for comparison in COMPARISONS.values():
        yield comparison_section(comparison, time_comparison(comparison, settings), settings)


def grow(settings: Settings) -> Iterator[Section]:
    """Cost over size."""
    yield linear_cost(settings)


def remember(settings: Settings) -> Iterator[Section]:
    """Memory."""
    yield memory_section(settings.side(TILE_SIDE))


SECTIONS: Mapping[str, SectionMaker] = {
    "kernels": compare,
    "growth": grow,
    "memory": remember,
    "reading": reading.sections,
    "emit": emit_reading.sections,
    "training": training.sections,
}
"""Name -> what makes a part of the results, in their order."""


def comparison_section(comparison: Comparison, times: Times, settings: Settings) -> Section:
    """Times of a workload as a table."""
    medians = times.medians
    recipe = replace(comparison.recipe, side=settings.side(comparison.recipe.side))
    numbers = recipe.dates * recipe.bands * recipe.side**2
    reference = medians[comparison.reference]
    rows = [
        [
            name,
            f"{times.sides[name]}^2",
            f"{seconds(spent)} ({seconds(times.least(name))})",
            figure(1e9 * spent / numbers),
            figure(spent / medians[COPY]),
            figure(spent / reference),
        ]
        for name, spent in medians.items()
    ]
    outcomes = [
        Outcome(
            what=target.what,
            measured=target.ratio(medians),
            limit=target.at_most or target.at_least or 0,
            at_most=target.at_most is not None,
        )
        for target in comparison.targets
    ]
    return Section(
        title=comparison.title,
        text=f"{recipe.size}. {comparison.note}".strip(),
        columns=(
            "method",
            "pixels timed",
            "time (least)",
            "ns per number",
            "x copy",
            f"x {comparison.reference}",
        ),
        rows=rows,
        outcomes=outcomes,
    )


def memory_section(side: int) -> Section:
    """Peak memory of a tile as a table."""
    found = peak_memory.measure(side)
    mib = {
        "stack of one band, uint16": found.stack,
        "cube, float32": found.cube,
        "clear mask, beside them": found.clear,
        "resident before": found.baseline,
        "peak, less resident before": found.peak - found.baseline,
    }
    return Section(
        title="Peak memory",
        text=f"A year of {peak_memory.DATES} dates, {peak_memory.BANDS} bands, {side} x {side} pixels; one "
        "band's stack at a time, median and gaps filled by `filled_median` into one cube of 73 steps, in a "
        "process of its own. 'Before' is after imports and compilation.",
        columns=("", "MiB"),
        rows=[[name, f"{size / 2**20:,.0f}"] for name, size in mib.items()],
        outcomes=[
            Outcome(what="peak over stack + cube", measured=found.ratio, limit=1.3, at_most=True),
        ],
    )


@click.command()
@click.option("--rounds", default=Settings.rounds, show_default=True, type=click.IntRange(1))
@click.option(
    "--shrink", default=1, show_default=True, type=click.IntRange(1), help="Divide all sides by this."
)
@click.option(
    "--out", default=RESULTS, type=click.Path(dir_okay=False, path_type=Path), help="File to write."
)
@click.option("--only", default=None, type=click.Choice(list(SECTIONS)), help="One part; give --out, too.")
def main(rounds: int, shrink: int, out: Path, only: str | None) -> None:
    """Time our kernels beside those of others."""
    if only and out == RESULTS:
        msg = f"One part would replace the results of all in {RESULTS.name}. Give another file: --out FILE."
        raise click.UsageError(msg)
    settings = Settings(rounds=rounds, shrink=shrink)
    start, share = time.perf_counter(), watch_the_processor()
    sections = []
    for maker in [SECTIONS[only]] if only else SECTIONS.values():
        for section in maker(settings):
            click.echo(f"{time.perf_counter() - start:5.0f} s  {section.title}", err=True)
            sections.append(section)
    facts = {
        **surroundings(),
        "rounds": str(rounds),
        "took": f"{time.perf_counter() - start:.0f} s",
        "processor time during it": share(),
    }
    if only:
        facts["part"] = f"{only} alone: `python -m tests.benchmarks.run --only {only} --out FILE`"
    if shrink > 1:
        facts["note"] = f"**a trial: all sides divided by {shrink}, no results**"
    out.write_text(document(sections, INTRO.format(rounds=rounds), facts), encoding="utf-8")


if __name__ == "__main__":
    main()
