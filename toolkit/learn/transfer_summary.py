"""What the trials of a transfer benchmark say together: means and paired differences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import stats

from toolkit.learn.accuracy import Accuracy
from toolkit.learn.transfer import Configuration, TrialResult
from toolkit.learn.transfer_protocols import Protocol, accuracy_of
from toolkit.legend import Legend

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

METRICS: Mapping[str, Callable[[Accuracy], float]] = MappingProxyType(
    {
        "overall": lambda accuracy: accuracy.overall,
        "macro_f1": lambda accuracy: accuracy.macro_f1,
        "weighted_f1": lambda accuracy: accuracy.weighted_f1,
    }
)
"""Column of the tables -> value."""
N_BOOTSTRAP = 10_000
"""Draws of the bootstrap over sources."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Summary:
    """One cell of a transfer matrix, over seeds."""

    configuration: Configuration
    """Features, model and augmentation."""
    source: str
    """Region trained on."""
    target: str
    """Region tested on; the source itself: its held-out fields."""
    protocol: Protocol
    """How the predictions were counted."""
    n_seeds: int
    """Trainings in the cell."""
    mean: Mapping[str, float]
    """Key of :data:`METRICS` -> mean over seeds."""
    std: Mapping[str, float]
    """Key of :data:`METRICS` -> standard deviation over seeds (n - 1 below the line); NaN for one seed."""
    class_f1: Floats
    """Mean F1 over seeds, ``(crop_class,)``; NaN for classes neither in the reference nor predicted."""
    confusion: Counts
    """Sum over seeds in this protocol, ``(crop_class, crop_class)``, rows = reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two configurations over the cells that both have."""

    first: Configuration
    """The one whose gain is reported."""
    second: Configuration
    """The one it is compared with."""
    metric: str
    """Key of :data:`METRICS`."""
    n_cells: int
    """Pairs of source and target."""
    difference: float
    """Mean of first minus second over the cells, each averaged over seeds."""
    interval: tuple[float, float]
    """95 % of a paired t over cells; NaN for one cell. Takes the cells as independent."""
    by_source: tuple[float, float]
    """95 % of a bootstrap that draws whole sources, as cells of one source share their trainings."""


def summarise(results: Iterable[TrialResult], protocol: Protocol, legend: Legend) -> list[Summary]:
    """Return every cell over its seeds, in the order in which they come.

    Args:
        results: finished trials.
        protocol: how predictions are counted.
        legend: classes of the confusion matrices.
    """
    cells: dict[tuple[Configuration, str, str], list[Counts]] = defaultdict(list)
    for result in results:
        trial = result.trial
        cells[trial.configuration, trial.source, trial.source].append(result.held_out)
        for target, tested in result.tested.items():
            cells[trial.configuration, trial.source, target].append(tested.confusion)
    summaries = []
    for (configuration, source, target), matrices in cells.items():
        found = [accuracy_of(matrix, protocol, legend) for matrix in matrices]
        values = {name: np.array([metric(one) for one in found]) for name, metric in METRICS.items()}
        summaries.append(
            Summary(
                configuration=configuration,
                source=source,
                target=target,
                protocol=protocol,
                n_seeds=len(found),
                mean={name: float(one.mean()) for name, one in values.items()},
                std={
                    name: float(one.std(ddof=1)) if len(one) > 1 else float("nan")
                    for name, one in values.items()
                },
                class_f1=_mean_where_known(np.stack([one.f1 for one in found])),
                confusion=np.asarray(sum(one.confusion for one in found), np.int64),
            )
        )
    return summaries


def compare_configurations(
    summaries: Iterable[Summary],
    first: Configuration,
    second: Configuration,
    *,
    metric: str = "macro_f1",
    seed: int = 0,
) -> Comparison | None:
    """Return the paired difference of two configurations over the cells that both have.

    Args:
        summaries: cells of one protocol.
        first: configuration whose gain is asked for.
        second: configuration compared with.
        metric: key of :data:`METRICS`.
        seed: of the bootstrap.

    Returns:
        The comparison; None if the two share no cell.
    """
    values: dict[Configuration, dict[tuple[str, str], float]] = {first: {}, second: {}}
    for one in summaries:
        if one.configuration in values and one.source != one.target:
            values[one.configuration][one.source, one.target] = one.mean[metric]
    cells = sorted(values[first].keys() & values[second].keys())
    gains = np.array([values[first][cell] - values[second][cell] for cell in cells])
    if not cells:
        return None
    return Comparison(
        first=first,
        second=second,
        metric=metric,
        n_cells=len(cells),
        difference=float(gains.mean()),
        interval=_t_interval(gains),
        by_source=_bootstrap(gains, [source for source, _ in cells], seed),
    )


def _t_interval(gains: Floats) -> tuple[float, float]:
    """Return mean -+ t(0.975, n - 1) s / sqrt(n)."""
    if len(gains) < 2:
        return float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains)))
    return float(gains.mean()) - half, float(gains.mean()) + half


def _bootstrap(gains: Floats, sources: Sequence[str], seed: int) -> tuple[float, float]:
    """Return the percentile interval of the mean over all cells of sources drawn with replacement."""
    names, group = np.unique(np.array(sources), return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    sums, counts = np.bincount(group, gains), np.bincount(group)
    drawn = np.random.default_rng(seed).integers(len(names), size=(N_BOOTSTRAP, len(names)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _mean_where_known(values: Floats) -> Floats:
    known = np.isfinite(values)
    n = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    return np.asarray(np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))
