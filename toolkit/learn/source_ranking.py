"""Which source region suits a target: sources ranked by closeness, and how right that is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from toolkit.learn.distance import MEASURES
from toolkit.learn.transfer import Configuration, TrialResult
from toolkit.learn.transfer_summary import summarise
from toolkit.legend import Legend


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How well a measure ranks the sources of one target, or of all."""

    configuration: Configuration
    """Whose accuracy is foretold."""
    measured_with: Configuration
    """Whose networks gave the measure."""
    target: str
    """Region, or ``all`` for the cells of all targets together."""
    measure: str
    """Key of :data:`toolkit.learn.distance.MEASURES`."""
    n_sources: int
    """Cells that are ranked."""
    spearman: float
    """Rank correlation of closeness and macro F1, 1: as true accuracy ranks them; NaN if all are equal."""
    recommended: str
    """Closest source, or several that are equally close, with commas; empty for ``all``."""
    best: str
    """Source with the highest macro F1; empty for ``all``."""
    regret: float
    """Macro F1 of the best source minus that of the recommended one, or the mean of several; for ``all`` the
    mean over targets."""


def rank_sources(
    results: Sequence[TrialResult], configuration: Configuration, legend: Legend
) -> list[Ranking]:
    """Return how well each measure ranks the sources of each target, and of all targets together.

    Closeness and macro F1 (protocol ``plain``) are averaged over seeds. Measures that need features of a
    network are those of the first configuration that has them, where the model itself has none.

    Args:
        results: finished trials.
        configuration: whose accuracy is to be foretold.
        legend: classes of the confusion matrices.
    """
    truth = _truth(results, configuration, legend)
    order = list(dict.fromkeys(name for cell in truth for name in cell))  # sources first, as in the matrix
    targets = sorted({target for _, target in truth}, key=order.index)
    rankings = []
    for measure in MEASURES:
        measured_with, close = _closeness(results, configuration, measure)
        per_target = [
            _ranking(configuration, measured_with, target, measure, truth, close) for target in targets
        ]
        known = [one for one in per_target if one is not None]
        rankings += known
        cells = [cell for cell in truth if cell in close]
        if len(known) > 1:
            rankings.append(
                Ranking(
                    configuration=configuration,
                    measured_with=measured_with,
                    target="all",
                    measure=measure,
                    n_sources=len(cells),
                    spearman=_spearman([close[c] for c in cells], [truth[c] for c in cells]),
                    recommended="",
                    best="",
                    regret=float(np.mean([one.regret for one in known])),
                )
            )
    return rankings


def season_offsets(results: Iterable[TrialResult]) -> dict[tuple[str, str], float]:
    """Return by how many days the crops of a target are later than those of a source, where it is known.

    Args:
        results: finished trials.

    Returns:
        Source and target -> days; the same for all configurations and seeds, as no model is asked.
    """
    found: dict[tuple[str, str], float] = {}
    for result in results:
        for target, tested in result.tested.items():
            days = tested.closeness.get("phenology_days")
            if days is not None:
                found[result.trial.source, target] = days
    return found


def _truth(
    results: Iterable[TrialResult], configuration: Configuration, legend: Legend
) -> dict[tuple[str, str], float]:
    return {
        (one.source, one.target): one.mean["macro_f1"]
        for one in summarise(
            (one for one in results if one.trial.configuration == configuration), "plain", legend
        )
        if one.source != one.target and np.isfinite(one.mean["macro_f1"])
    }


def _closeness(
    results: Sequence[TrialResult], configuration: Configuration, measure: str
) -> tuple[Configuration, dict[tuple[str, str], float]]:
    """Return how close each source is to each target, larger is closer, and whose networks say so."""
    others = dict.fromkeys(result.trial.configuration for result in results)
    for candidate in (configuration, *others):
        values: dict[tuple[str, str], list[float]] = defaultdict(list)
        for result in results:
            if result.trial.configuration != candidate:
                continue
            for target, tested in result.tested.items():
                value = tested.closeness.get(measure)
                if value is not None:
                    values[result.trial.source, target].append(MEASURES[measure].closeness(value))
        if values:
            return candidate, {cell: float(np.mean(found)) for cell, found in values.items()}
    return configuration, {}


def _ranking(
    configuration: Configuration,
    measured_with: Configuration,
    target: str,
    measure: str,
    truth: Mapping[tuple[str, str], float],
    close: Mapping[tuple[str, str], float],
) -> Ranking | None:
    cells = [cell for cell in truth if cell[1] == target and cell in close]
    if len(cells) < 2:  # nothing to choose from
        return None
    closest = [cell for cell in cells if close[cell] == max(close[other] for other in cells)]
    best = max(cells, key=lambda cell: truth[cell])
    return Ranking(
        configuration=configuration,
        measured_with=measured_with,
        target=target,
        measure=measure,
        n_sources=len(cells),
        spearman=_spearman([close[c] for c in cells], [truth[c] for c in cells]),
        recommended=", ".join(source for source, _ in closest),
        best=best[0],
        regret=truth[best] - float(np.mean([truth[cell] for cell in closest])),
    )


def _spearman(a: Sequence[float], b: Sequence[float]) -> float:
    if len(set(a)) < 2 or len(set(b)) < 2:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)
