"""Rows of a transfer benchmark's tables as text, the first with the names of the columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from toolkit.learn.source_ranking import Ranking
from toolkit.learn.transfer import Configuration
from toolkit.learn.transfer_protocols import Protocol
from toolkit.learn.transfer_summary import Comparison, Summary

Rows = list[list[str]]


def matrix_rows(summaries: Sequence[Summary], configuration: Configuration, protocol: Protocol) -> Rows:
    """Return macro F1 of every source (row) on every target (column).

    Args:
        summaries: every cell.
        configuration: of the matrix.
        protocol: of the matrix.
    """
    cells = {
        (one.source, one.target): one
        for one in summaries
        if one.configuration == configuration and one.protocol == protocol
    }
    sources = list(dict.fromkeys(source for source, _ in cells))
    targets = list(dict.fromkeys(target for _, target in cells))
    targets = [name for name in sources if name in targets] + [
        name for name in targets if name not in sources
    ]
    rows = [["source \\ target", *targets]]
    for source in sources:
        rows.append([source])
        for target in targets:
            one = cells.get((source, target))
            text = "" if one is None else _mean_and_std(one.mean["macro_f1"], one.std["macro_f1"])
            rows[-1].append(f"({text})" if source == target else text)
    return rows


def offset_rows(offsets: Mapping[tuple[str, str], float]) -> Rows:
    """Return by how many days the crops of each target (column) are later than those of each source (row).

    Args:
        offsets: as :func:`toolkit.learn.source_ranking.season_offsets` gives them.
    """
    sources = list(dict.fromkeys(source for source, _ in offsets))
    targets = list(dict.fromkeys([*sources, *(target for _, target in offsets)]))
    rows = [["source \\ target", *targets]]
    for source in sources:
        days = [offsets.get((source, target)) for target in targets]
        rows.append([source, *map(_days, days)])
    return rows


def comparison_rows(comparisons: Sequence[Comparison]) -> Rows:
    """Return the paired differences.

    Args:
        comparisons: each two configurations.
    """
    head = ["first", "second", "cells", "difference", "95 % over cells", "95 % over sources"]
    return [
        head,
        *(
            [
                str(one.first),
                str(one.second),
                str(one.n_cells),
                f"{one.difference:+.3f}",
                _interval(one.interval),
                _interval(one.by_source),
            ]
            for one in comparisons
        ),
    ]


def pooled_rows(rankings: Sequence[Ranking]) -> Rows:
    """Return rank correlation and mean regret over all targets, a row per configuration.

    Args:
        rankings: as :func:`toolkit.learn.source_ranking.rank_sources` gives them; those of ``all`` are used.
    """
    pooled = [one for one in rankings if one.target == "all"]
    found = {(one.configuration, one.measure): one for one in pooled}
    measures = list(dict.fromkeys(one.measure for one in pooled))
    rows = [["configuration", *measures]]
    for configuration in dict.fromkeys(one.configuration for one in pooled):
        cells = [found.get((configuration, measure)) for measure in measures]
        texts = ["" if one is None else f"{number(one.spearman, 2)} ({one.regret:.3f})" for one in cells]
        rows.append([str(configuration), *texts])
    return rows


def ranking_rows(rankings: Sequence[Ranking]) -> Rows:
    """Return how well each measure ranks the sources of each target.

    Args:
        rankings: as :func:`toolkit.learn.source_ranking.rank_sources` gives them.
    """
    head = ["configuration", "features of", "target", "measure", "sources", "rank correlation"]
    return [
        [*head, "recommended", "best", "regret"],
        *(
            [
                str(one.configuration),
                "itself" if one.measured_with == one.configuration else str(one.measured_with),
                one.target,
                one.measure,
                str(one.n_sources),
                number(one.spearman, 2),
                one.recommended,
                one.best,
                number(one.regret, 3),
            ]
            for one in rankings
        ),
    ]


def markdown(rows: Rows) -> str:
    """Return rows as a table in Markdown.

    Args:
        rows: the first holds the names of the columns.
    """
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def number(value: float, digits: int) -> str:
    """Return a number as text; a dash where it is undefined.

    Args:
        value: the number, or NaN.
        digits: after the point.
    """
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _mean_and_std(mean: float, std: float) -> str:
    return number(mean, 3) if math.isnan(std) else f"{mean:.3f} ± {std:.3f}"


def _days(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:+.0f}" if value else "0"


def _interval(ends: tuple[float, float]) -> str:
    return "-" if any(map(math.isnan, ends)) else f"{ends[0]:+.3f} to {ends[1]:+.3f}"
