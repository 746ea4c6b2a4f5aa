"""The results as Markdown: sections of a title, a table and the targets it decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A target beside what was measured."""

    what: str
    measured: float
    limit: float
    at_most: bool

    @property
    def met(self) -> bool:
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What, limit, measured, verdict."""
        sign = "<=" if self.at_most else ">="
        return self.what, f"{sign} {self.limit:g}", figure(self.measured), "met" if self.met else "**missed**"

    @property
    def line(self) -> str:
        what, limit, measured, verdict = self.cells
        return f"- {what} {limit}: {measured}, {verdict}"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the results."""

    title: str
    text: str = ""
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    outcomes: Sequence[Outcome] = ()

    def markdown(self) -> str:
        blocks = [f"## {self.title}", self.text, table(self.columns, self.rows)]
        if self.outcomes:
            blocks.append("\n".join(["Targets:", "", *(outcome.line for outcome in self.outcomes)]))
        return "\n\n".join(block for block in blocks if block)


def document(sections: Sequence[Section], intro: str, surroundings: Mapping[str, str]) -> str:
    """Put all together: how it was measured, all targets, then the sections."""
    outcomes = [(section.title, *outcome.cells) for section in sections for outcome in section.outcomes]
    blocks = [
        "# Benchmark results",
        intro,
        "\n".join(f"- {name}: {fact}" for name, fact in surroundings.items()),
        "## Targets",
        table(("section", "target", "limit", "measured", ""), outcomes),
        *(section.markdown() for section in sections),
    ]
    return "\n\n".join(blocks) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, columns of figures aligned to the right."""
    figures = [all(cell[:1].isdigit() for cell in cells) for cells in zip(*rows, strict=True)]
    rule = ["---:" if right else "---" for right in figures]
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, rule, *rows))


def figure(number: float) -> str:
    """Three figures, never an exponent: 0.123, 1.23, 12.3, 123, 1,234."""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) < 1 else f"{number:.{1 if abs(number) >= 10 else 2}f}"


def seconds(number: float) -> str:
    """Return a time in ms, or in s from a second on."""
    return f"{figure(number)} s" if number >= 1 else f"{figure(number * 1e3)} ms"
