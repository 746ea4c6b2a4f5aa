"""Tables of a transfer benchmark: CSV, JSON, Markdown, picture, terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.folder import write_json
from pipelines.train import HELD_OUT
from pipelines.transfer_text import (
    comparison_rows,
    markdown,
    matrix_rows,
    number,
    offset_rows,
    pooled_rows,
    ranking_rows,
)
from toolkit.learn.distance import MEASURES
from toolkit.learn.source_ranking import Ranking, season_offsets
from toolkit.learn.transfer import Configuration, TargetResult, TrialResult
from toolkit.learn.transfer_protocols import PROTOCOLS, Protocol, accuracy_of
from toolkit.learn.transfer_summary import METRICS, Comparison, Summary
from toolkit.legend import Legend
from toolkit.maps.transfer_picture import draw_transfer
from toolkit.storage import write_text

NO_PICTURE = (
    "transfer.png was not drawn, as matplotlib is not installed; the tables hold all of it. "
    "Install cropglobe[plots] and run the same command again: nothing is trained anew."
)

HEADLINE = ("mmd", "phenology_days", "confidence")
"""Measures for the terminal, the first that there is: MMD is free of the features' scale and bounded, so that
sources compare whose networks differ."""
PAIRED = (
    "Mean of first minus second over cells; 95 % by a paired t over cells, as if they were independent, and "
    "by a bootstrap over sources."
)
LATER = (
    "Days by which the mean NDVI of a target is later than that of a source, in whole steps. A map of the "
    "target with the source's model may be made with `--season-shift` of these days."
)
RANKED = (
    "Rank correlation (Spearman) of closeness and macro F1 (plain), 1: ranked rightly. Regret: macro F1 lost "
    "by taking the closest source instead of the best."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What the tables are made of."""

    results: Sequence[TrialResult]
    """Every trial."""
    summaries: Sequence[Summary]
    """Every cell over seeds, both protocols."""
    comparisons: Sequence[Comparison]
    """Each two configurations."""
    rankings: Sequence[Ranking]
    """Sources ranked by each measure."""
    legend: Legend
    """Classes of the matrices."""
    protocol: Protocol
    """What is shown."""
    simulated: bool
    """Whether any region is simulated."""


def write_tables(tables: Tables, folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write every table and the picture, each in one step.

    Args:
        tables: what they are made of.
        folder: where to write.

    Returns:
        The files, and sentences about what could not be made.

    Raises:
        StorageError: a file cannot be written.
    """
    files = [
        _write_csv(_trial_rows(tables), folder / "transfer.csv"),
        _write_csv(_summary_rows(tables), folder / "summary.csv"),
        write_json({"classes": tables.legend.names, "cells": _matrices(tables)}, folder / "confusion.json"),
        write_text(_report(tables), folder / "transfer.md"),
    ]
    shown = [one for one in tables.summaries if one.protocol == tables.protocol]
    note = f"macro F1, protocol {tables.protocol}" + (", simulated data" if tables.simulated else "")
    picture = draw_transfer(shown, folder / "transfer.png", title=note)
    if picture is None:
        return tuple(files), (NO_PICTURE,)
    return (*files, picture), ()


def screen_lines(tables: Tables) -> list[str]:
    """Return the matrices and what is recommended, for a terminal.

    Args:
        tables: what they are made of.
    """
    lines: list[str] = []
    held_out = _held_out(tables.results)
    for configuration in _configurations(tables.summaries):
        rows = matrix_rows(tables.summaries, configuration, tables.protocol)
        lines += ["", f"{configuration}: macro F1 ({tables.protocol}; brackets: {held_out})"]
        lines += _aligned(rows)
        ranked = [one for one in tables.rankings if one.configuration == configuration]
        lines += _recommended(ranked)
    if tables.comparisons:
        lines += ["", f"paired differences of macro F1 ({tables.protocol})"]
        lines += _aligned(comparison_rows(tables.comparisons))
    if offsets := season_offsets(tables.results):
        lines += ["", "days by which crops are later than at the source (map --season-shift)"]
        lines += _aligned(offset_rows(offsets))
    return lines


def _held_out(results: Sequence[TrialResult]) -> str:
    """Say what the cells on the diagonal were judged on."""
    kinds = sorted({str(result.facts.get("split", "field")) for result in results})
    return "the source's own " + ", or ".join(HELD_OUT[kind] for kind in kinds)


def _recommended(rankings: Sequence[Ranking]) -> list[str]:
    """One line per target with the closest source, and how far closeness is to be trusted."""
    measured = {one.measure for one in rankings}
    measure = next((name for name in HEADLINE if name in measured), None)
    if measure is None:
        return ["sources cannot be ranked: each target has one source only"]
    lines = [f"closest source, without labels of the target ({MEASURES[measure].meaning}):"]
    for one in (one for one in rankings if one.measure == measure and one.target != "all"):
        right = "the best" if one.best == one.recommended else f"best {one.best}, {one.regret:+.3f} macro F1"
        lines.append(f"  {one.target}: {one.recommended} ({right})")
    if pooled := [one for one in rankings if one.target == "all"]:
        lines.append(f"rank correlation of closeness and macro F1 over all {pooled[0].n_sources} cells:")
        lines.append("  " + ", ".join(f"{one.measure} {number(one.spearman, 2)}" for one in pooled))
    return lines


def _trial_rows(tables: Tables) -> list[dict[str, Any]]:
    rows = []
    for result in tables.results:
        own = TargetResult(confusion=result.held_out, n_not_observed=0, closeness={})
        for target, tested in ((result.trial.source, own), *result.tested.items()):
            for protocol in PROTOCOLS:
                found = accuracy_of(tested.confusion, protocol, tables.legend)
                f1 = zip(tables.legend.names, found.f1.tolist(), strict=True)
                rows.append(
                    {
                        **_labels(result.trial.configuration),
                        "source": result.trial.source,
                        "target": target,
                        "seed": result.trial.seed,
                        "protocol": protocol,
                        "n": found.n,
                        "n_not_observed": tested.n_not_observed,
                        **{name: _plain(metric(found)) for name, metric in METRICS.items()},
                        **{f"f1_{name}": _plain(value) for name, value in f1},
                        **{name: _plain(tested.closeness.get(name)) for name in MEASURES},
                    }
                )
    return rows


def _summary_rows(tables: Tables) -> list[dict[str, Any]]:
    return [
        {
            **_labels(one.configuration),
            "source": one.source,
            "target": one.target,
            "protocol": one.protocol,
            "seeds": one.n_seeds,
            **{f"{name}_mean": _plain(one.mean[name]) for name in METRICS},
            **{f"{name}_std": _plain(one.std[name]) for name in METRICS},
            **{
                f"f1_{name}": _plain(value)
                for name, value in zip(tables.legend.names, one.class_f1.tolist(), strict=True)
            },
        }
        for one in tables.summaries
    ]


def _matrices(tables: Tables) -> list[dict[str, Any]]:
    return [
        {
            **_labels(one.configuration),
            "source": one.source,
            "target": one.target,
            "protocol": one.protocol,
            "seeds": one.n_seeds,
            "confusion": one.confusion.tolist(),
        }
        for one in tables.summaries
    ]


def _report(tables: Tables) -> str:
    """Return the report in Markdown."""
    parts = ["# Transfer: train on a source, test on a target"]
    if tables.simulated:
        parts.append(
            "**Simulated data**: the figures say how the models behave there, and nothing of real fields."
        )
    parts.append(
        f"Macro F1, mean and standard deviation over seeds. In brackets: {_held_out(tables.results)}."
    )
    for configuration in _configurations(tables.summaries):
        seen: dict[str, Protocol] = {}
        for protocol in PROTOCOLS:
            matrix = markdown(matrix_rows(tables.summaries, configuration, protocol))
            same = f"As protocol {seen[matrix]}." if matrix in seen else matrix
            parts += [f"## {configuration}, protocol {protocol}", same]
            seen.setdefault(matrix, protocol)
    if tables.comparisons:
        parts += [
            f"## Paired comparisons, macro F1, protocol {tables.protocol}",
            PAIRED,
            markdown(comparison_rows(tables.comparisons)),
        ]
    parts += [
        "## Which source, without labels of the target",
        RANKED,
    ]
    if not tables.rankings:
        parts.append("Sources cannot be ranked: each target has one source only.")
    elif any(one.target == "all" for one in tables.rankings):
        parts += ["Over all cells, in brackets the mean regret:", markdown(pooled_rows(tables.rankings))]
    if tables.rankings:
        parts += ["Target by target:", markdown(ranking_rows(tables.rankings))]
    if offsets := season_offsets(tables.results):
        parts += [LATER, markdown(offset_rows(offsets))]
    return "\n\n".join(parts) + "\n"


def _configurations(summaries: Sequence[Summary]) -> list[Configuration]:
    return list(dict.fromkeys(one.configuration for one in summaries))


def _labels(configuration: Configuration) -> dict[str, str]:
    return {
        "features": configuration.features,
        "model": configuration.model,
        "augmentation": configuration.augmentation,
    }


def _plain(value: float | None) -> float | None:
    """Return a number for a table; None, an empty cell, where it is undefined."""
    return None if value is None or math.isnan(value) else round(value, 6)


def _write_csv(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_text(stream.getvalue(), path)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines, columns under each other."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
