"""Engines beside plain PyTorch in float32, in one process: ``python -m tests.benchmarks.prediction``.

Writes ``PREDICTION.md``; ``--rounds 1 --out FILE`` tries it in a few minutes. Processors without matrix units
are stood in for by holding oneDNN to older instructions, PyTorch's too, in a process of its own; ONNX Runtime
has kernels of its own and does not heed that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from tests.benchmarks.machine import surroundings, watch_the_processor
from tests.benchmarks.prediction_series import SAMPLE, Series, real_places, simulated_series
from tests.benchmarks.results import table
from tests.benchmarks.timing import time_in_turns
from toolkit.learn.checkpoint import Checkpoint, normalise, read_checkpoint
from toolkit.learn.engines.agreement import compare
from toolkit.learn.engines.batch import fitting_batch
from toolkit.learn.engines.openvino_engine import calibrated
from toolkit.learn.engines.race import SLOW, TooSlowError, logits_unless_slow
from toolkit.learn.engines.setting import Classifier, EngineSetting
from toolkit.learn.engines.table import CANDIDATES, ENGINES, engine_packages, name_of, prepare
from toolkit.learn.engines.trial import choose_engine
from toolkit.storage import write_text

ROOT = Path(__file__).resolve().parents[2]
REPORT = Path(__file__).with_name("PREDICTION.md")
PLAIN, PLAIN_BATCH = "plain PyTorch", 256
TURNS = (256, 1024)
"""Series that slow and fast ones compute in a turn: one of 50 ms says little of a whole tile."""
FAST = 4
"""Times plain PyTorch, from where one is fast."""
ROUNDS = 15
JUDGED = 2048
"""Most series for agreement, half of them to calibrate; a quarter with caps and with two threads."""
CAPS: Mapping[str, Mapping[str, str]] = {
    "as it is": {},
    "AVX-512 without VNNI": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "ATEN_CPU_CAPABILITY": "avx512"},
    "AVX2 with VNNI": {"ONEDNN_MAX_CPU_ISA": "AVX2_VNNI", "ATEN_CPU_CAPABILITY": "avx2"},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}
"""Newest instructions of PyTorch and OpenVINO -> environment that holds them to these."""
Told = dict[str, Any]


def plain_eager(checkpoint: Checkpoint) -> Classifier:
    """The network as trained: nothing folded, channels first, float32."""
    network = checkpoint.build()

    def logits_of(series: Series) -> Series:
        with torch.inference_mode():
            return network(torch.from_numpy(series)).numpy()

    return logits_of


@dataclass(frozen=True)
class Call:
    """One that is timed."""

    classifier: Classifier
    size: int
    """Series of a batch."""
    n: int
    """Series of a turn."""

    def __call__(self, series: Series) -> Series:
        starts = range(0, self.n, self.size)
        return np.concatenate([self.classifier(series[k : k + self.size]) for k in starts])


def measure(model: Path, series_file: Path, threads: int, rounds: int) -> Told:
    """Agreement with float32 on the second half of the series, then speed in turns, if there are rounds."""
    torch.set_num_threads(threads)
    checkpoint, raw = read_checkpoint(model), np.load(series_file)
    if threads > 1 or "ONEDNN_MAX_CPU_ISA" in os.environ:
        raw = raw[:: -(-4 * len(raw) // JUDGED)]
    series = normalise(raw, checkpoint.mean, checkpoint.std)
    plain, size = plain_eager(checkpoint), fitting_batch(checkpoint, torch.device("cpu"))
    calibration, judged = (whole(half, PLAIN_BATCH) for half in np.array_split(series, 2))
    n = len(series) - len(series) // 2
    exact, seconds = logits_unless_slow(plain, judged, PLAIN_BATCH)
    slow = SLOW * seconds * size / PLAIN_BATCH
    calls = {PLAIN: Call(plain, PLAIN_BATCH, TURNS[0])}
    told: Told = {"agreements": {}, "slow": {}, "failed": {}, "ratios": {}, "best": {}, "pixels": n}
    for name, precision in CANDIDATES:
        setting = EngineSetting(engine=name, precision=precision, batch_size=size)
        if ENGINES[name].lacks(checkpoint.network, setting):
            continue
        try:
            if precision == "int8":
                setting = calibrated(checkpoint, calibration, setting)  # as the trial does
            classifier = prepare(checkpoint, setting)
            logits, spent = logits_unless_slow(classifier, judged, size, slow=slow)
        except TooSlowError as error:
            told["slow"][name_of(setting)] = seconds / PLAIN_BATCH / (error.seconds / size)
        except RuntimeError as error:  # bfloat16, where oneDNN may not use the units for it
            told["failed"][name_of(setting)] = type(error).__name__
        else:
            told["agreements"][name_of(setting)] = compare(logits[:n], exact[:n]).to_dict()
            fast = spent / size * FAST < seconds / PLAIN_BATCH
            calls[name_of(setting)] = Call(classifier, size, TURNS[fast])
    if rounds:
        told |= race(calls, np.resize(judged, (max(TURNS), *judged.shape[1:])), rounds)
        started = time.perf_counter()
        chosen = choose_engine(checkpoint, raw[:1024], device="cpu").setting
        told["trial"] = f"{name_of(chosen)}, {time.perf_counter() - started:.0f} s"
    return told


def race(calls: Mapping[str, Call], series: Series, rounds: int) -> Told:
    """Times plain PyTorch, round by round, and its own pixels a second."""
    turns = time_in_turns({name: lambda c=call: c(series) for name, call in calls.items()}, rounds)
    times = {name: np.array(one) / calls[name].n for name, one in turns.items()}
    plain = times[PLAIN]
    quarters = {name: np.quantile(plain / one, [0.25, 0.5, 0.75]) for name, one in times.items()}
    return {
        "ratios": {name: list(three) for name, three in quarters.items() if name != PLAIN},
        "best": {name: float(plain.min() / one.min()) for name, one in times.items()},
        "plain": 1 / float(plain.min()),
    }


def whole(series: Series, size: int) -> Series:
    """Series repeated up to whole batches."""
    return np.resize(series, (-(-len(series) // size) * size, *series.shape[1:]))


def in_a_process(model: Path, series: Path, threads: int, rounds: int, cap: Mapping[str, str]) -> Told:
    """Measure in a process of its own, whose instructions may be capped.

    Dask, which made the series, leaves word in the environment that memory is to be given back at once; with
    it plain PyTorch is 1.15 times slower, and torch in bf16 1.5 times.
    """
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.prediction", "--one"]
    command += [str(model), str(series), str(threads), "--rounds", str(rounds)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment = {**plain, "OMP_NUM_THREADS": str(threads), **cap}
    done = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    click.echo(f"measured: {series.stem}, {threads} threads, {dict(cap)}", err=True)
    return json.loads(done.stdout.splitlines()[-1])


def speed_table(found: Mapping[str, Told]) -> str:
    """Times plain PyTorch, one row for each candidate."""
    names = [f"{name} {kind}" for name, kind in CANDIDATES if name != "compiled"]
    rows = [[name, *(speed_of(name, one) for one in found.values())] for name in names]
    rows.append([f"{PLAIN}, pixels a second at best", *(f"{one['plain']:.0f}" for one in found.values())])
    rows.append(["chosen by the trial, and its time", *(one["trial"] for one in found.values())])
    return table(["", *found], rows)


def speed_of(name: str, told: Told) -> str:
    """Median of the ratios with its middle half, or what else was seen."""
    if name in told["ratios"]:
        low, middle, high = told["ratios"][name]
        return f"**{middle:.2f}** ({low:.2f} to {high:.2f}), best {told['best'][name]:.2f}"
    if name in told["slow"]:
        return f"{told['slow'][name]:.2f}, too slow to go on"
    return "fails" if name in told["failed"] else ""


def agreement_table(found: Mapping[str, Told]) -> str:
    """Pixels of another class than in float32, and the widest margin among them."""
    names = list(dict.fromkeys(name for one in found.values() for name in one["agreements"]))
    rows = []
    for name in names:
        told = [one["agreements"].get(name) for one in found.values()]
        rows.append(
            [name] + ["" if a is None else f"{a['different']}, margin {a['widest_margin']:.3f}" for a in told]
        )
    return table(["", *(f"{name}, {one['pixels']:,} series" for name, one in found.items())], rows)


def report(speeds: Mapping[str, Told], agreements: Mapping[str, Told], rounds: int, idle: str) -> str:
    """Put all into words and tables."""
    facts = [f"- {name}: {value}" for name, value in surroundings().items()]
    packages = {name: version for engine in ENGINES for name, version in engine_packages(engine)}
    facts.append(f"- engines: torch {torch.__version__}" + "".join(f", {k} {v}" for k, v in packages.items()))
    return "\n".join(
        [
            "# Engines beside plain PyTorch",
            "",
            "Written by `python -m tests.benchmarks.prediction`: CropNet 2D of the sample area on simulated",
            "series, 10 bands x 43 steps, 0.2273 GFLOP a pixel. Times plain PyTorch (float32, nothing",
            f"folded, channels first, batches of {PLAIN_BATCH}) in the same process under the same cap:",
            f"median of the ratios of {rounds} rounds in turn, and their middle half; a turn has {TURNS[0]}",
            f"series, of engines more than {FAST} times as fast {TURNS[1]:,}. Best: the fastest of both,",
            "which was disturbed least.",
            idle,
            "",
            *facts,
            "",
            "## Speed, times plain PyTorch",
            "",
            speed_table(speeds),
            "",
            "Caps hold PyTorch and OpenVINO to instructions of older processors; ONNX Runtime has kernels of",
            "its own and does not heed them, so its figures under a cap are those of this processor.",
            "",
            "## Classes other than in float32",
            "",
            "Series with another class, and the widest margin (difference of the two best probabilities in",
            "float32) among them; allowed are 0.5 % and 0.1. int8 is calibrated on as many other series.",
            "Models of Flanders and Mato Grosso were trained on other fields of the same place.",
            "",
            agreement_table(agreements),
            "",
        ]
    )


@click.command()
@click.option("--one", nargs=3, type=str, default=None, help="Model, series, threads: measure here.")
@click.option("--rounds", type=int, default=ROUNDS, show_default=True, help="Rounds; few are for trials.")
@click.option("--out", type=click.Path(path_type=Path), default=REPORT, help="File of the report.")
def main(one: tuple[str, str, str] | None, rounds: int, out: Path) -> None:
    """Measure all, and write the report."""
    if one is not None:
        click.echo(json.dumps(measure(Path(one[0]), Path(one[1]), int(one[2]), rounds)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        series = folder / "simulated.npy"
        np.save(series, simulated_series(folder))
        places = real_places(folder)
        idle = watch_the_processor()
        speeds = {
            f"{label}, {threads} thread{'s' * (threads > 1)}": in_a_process(
                SAMPLE / "model", series, threads, rounds, cap
            )
            for label, cap in CAPS.items()
            for threads in ((1, 2) if label != "AVX2 with VNNI" else (1,))
        }
        agreements = {f"simulated, {label}": speeds[f"{label}, 1 thread"] for label in CAPS}
        for name, (model, values) in places.items():
            np.save(folder / f"{name}.npy", values)
            agreements[name] = in_a_process(model, folder / f"{name}.npy", 1, 0, {})
    write_text(report(speeds, agreements, rounds, idle()), out)


if __name__ == "__main__":
    main()
