"""Transfer workflow: train on each source, test on each target, recommend sources."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.folder import prepare
from pipelines.learn_config import TransferRequest
from pipelines.progress import Progress
from pipelines.transfer_inputs import read_regions
from pipelines.transfer_plan import (
    configurations,
    content_hashes,
    keep_trial,
    plan_trials,
    read_trial,
    train_config,
    trial_key,
)
from pipelines.transfer_tables import Tables, screen_lines, write_tables
from toolkit.learn.source_ranking import rank_sources
from toolkit.learn.train import Epoch
from toolkit.learn.transfer import Trial, TrialResult, run_trial
from toolkit.learn.transfer_protocols import PROTOCOLS
from toolkit.learn.transfer_summary import Comparison, Summary, compare_configurations, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferMatrix:
    """Result of the workflow."""

    tables: Tables
    """Every trial, the matrices, the comparisons and the rankings."""
    files: tuple[Path, ...]
    """Tables and the picture."""
    n_trained: int
    """Trials of this run; the others were done before."""
    notes: tuple[str, ...]
    """What could not be made, and why."""

    def lines(self) -> list[str]:
        """The matrix and the source recommended for each target, for a terminal."""
        n_kept = len(self.tables.results) - self.n_trained
        return [
            *screen_lines(self.tables),
            "",
            f"{self.n_trained} trials trained, {n_kept} kept from before",
            *self.notes,
            *map(str, self.files),
        ]


def run(config: TransferRequest, *, progress: bool = True) -> TransferMatrix:
    """Run every trial that is not there yet, then write the tables.

    Args:
        config: the request.
        progress: whether to tell how far the run is.

    Raises:
        CropglobeError: see :mod:`toolkit.errors`; trials that are finished stay.
    """
    tell = Progress(quiet=not progress)
    compared = configurations(config)  # names are checked before anything is made
    prepare(config.out)
    regions = read_regions(config, tell)
    season, hashes = regions.season, content_hashes(regions.samples)
    folder = prepare(config.out / "trials")
    trials = plan_trials(config, regions.sources)
    tell.stage(
        f"{len(trials)} trials: {len(compared)} configurations, "
        f"{len(regions.sources)} sources, {config.seeds} seeds"
    )
    start, n_trained = time.perf_counter(), 0
    results: list[TrialResult] = []
    for trial in trials:
        training = train_config(config, trial)
        key = trial_key(trial, training, season, hashes, regions.targets)
        result = read_trial(folder, key)
        if result is None:
            report = _reporter(tell, trial)
            result = run_trial(
                trial, regions.samples, season, training, targets=regions.targets, progress=report
            )
            keep_trial(folder, key, result)
            n_trained += 1
        results.append(result)
        tell.count("trials", len(results), len(trials), since=start, note=_named(trial))
    legend = regions.legend
    summaries = [one for protocol in PROTOCOLS for one in summarise(results, protocol, legend)]
    tables = Tables(
        results=results,
        summaries=summaries,
        comparisons=_comparisons(config, summaries),
        rankings=[one for each in compared for one in rank_sources(results, each, legend)],
        legend=legend,
        protocol=config.protocol,
        simulated=regions.simulated,
    )
    files, notes = write_tables(tables, config.out)
    config.write(config.out / "run.yaml")
    return TransferMatrix(tables=tables, files=files, n_trained=n_trained, notes=notes)


def _comparisons(config: TransferRequest, summaries: Sequence[Summary]) -> list[Comparison]:
    """Compare each two configurations, the one named first with those after it."""
    cells = [one for one in summaries if one.protocol == config.protocol]
    listed = configurations(config)
    pairs = [(first, second) for k, first in enumerate(listed) for second in listed[k + 1 :]]
    compared = (compare_configurations(cells, first, second) for first, second in pairs)
    return [one for one in compared if one is not None]


def _reporter(tell: Progress, trial: Trial) -> Callable[[Epoch], None]:
    start = time.perf_counter()

    def report(epoch: Epoch) -> None:
        note = f"{_named(trial)}, validation macro F1 {epoch.macro_f1:.3f}"
        tell.count("epochs", epoch.number, epoch.of, since=start, note=note)

    return report


def _named(trial: Trial) -> str:
    return f"{trial.configuration}, {trial.source}, seed {trial.seed}"
