"""Engines beside plain PyTorch in float32, in one process: ``python -m tests.benchmarks.prediction``.

Writes ``PREDICTION.md``; needs the scenes of the sample area (``make demo`` makes them). Processors
without matrix units are stood in for by holding oneDNN to older instructions, in a process of its own;
ONNX Runtime has kernels of its own and does not heed that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import torch

from pipelines.config import MapRequest
from pipelines.map_inputs import collect
from pipelines.map_setup import set_up
from pipelines.progress import Progress
from pipelines.tile_features import features_of_tile, freeze
from tests.benchmarks.machine import surroundings, watch_the_processor
from tests.benchmarks.mato_grosso import DATA, read_mato_grosso
from tests.benchmarks.results import table
from tests.benchmarks.timing import time_in_turns
from toolkit.area.aoi import read_aoi
from toolkit.area.grid import Tile
from toolkit.learn.checkpoint import Checkpoint, normalise, read_checkpoint, write_checkpoint
from toolkit.learn.engines.agreement import compare
from toolkit.learn.engines.openvino_engine import calibrate
from toolkit.learn.engines.setting import EngineSetting
from toolkit.learn.engines.table import CANDIDATES, ENGINES, prepare
from toolkit.learn.engines.trial import choose_engine, name_of
from toolkit.learn.pixels import check_features, observed, take_pixels
from toolkit.learn.train import TrainConfig, train_classifier
from toolkit.storage import write_text

ROOT = Path(__file__).resolve().parents[2]
REPORT = Path(__file__).with_name("PREDICTION.md")
BATCH = 256
ROUNDS = 5
CAPPED = 256
"""Series compared where the processor is held to older instructions."""
CAPS = {
    "as it is": {},
    "held to AVX-512 VNNI": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    "held to AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}


def simulated_series(folder: Path) -> np.ndarray:
    """1,024 series from the middle of the sample area, float32 ``(n, band, step)``, reflectance."""
    sample = ROOT / "sample_aoi"
    asked = {"aoi": "scenes/aoi.geojson", "catalog": "scenes/catalog.json", "model": "model"}
    paths = {key: str(sample / name) for key, name in asked.items()}
    request = MapRequest.make({**paths, "year": 2023, "radiometry": "trust", "out": folder})
    setup = set_up(request, read_aoi(request.aoi))
    (found,) = collect(
        request, setup.models, setup.geobox, setup.aoi, folder=folder, tell=Progress(quiet=True)
    )
    recipe = found.checkpoint.recipe
    items = freeze(found.found.path, found.found.items, request)
    rows, columns = (slice(size // 2 - 20, size // 2 + 20) for size in setup.geobox.shape.yx)
    tile = Tile(0, 0, rows, columns, setup.geobox[rows, columns])
    wanted = np.ones(tile.geobox.shape.yx, bool)
    made = features_of_tile(tile, items, recipe, found.season, wanted=wanted)
    values = np.asarray(check_features(made.features, recipe).data)
    return take_pixels(values, np.flatnonzero(observed(values)))[:1024]


def plain_eager(checkpoint: Checkpoint):
    """The network as trained: nothing folded, channels first, float32."""
    network = checkpoint.build()

    def logits_of(series):
        with torch.inference_mode():
            return network(torch.from_numpy(series)).numpy()

    return logits_of


def measure(model: Path, series_file: Path, threads: int) -> dict:
    """Speed of all candidates in turns, and their agreement with float32 on all series."""
    torch.set_num_threads(threads)
    checkpoint = read_checkpoint(model)
    raw = np.load(series_file)
    most = CAPPED if "ONEDNN_MAX_CPU_ISA" in os.environ else len(raw)  # bfloat16 by software: 20 a second
    n = min(len(raw), most) // BATCH * BATCH
    series = normalise(raw[:n], checkpoint.mean, checkpoint.std)
    calls, agreements = {"plain PyTorch": plain_eager(checkpoint)}, {}
    exact = _whole(calls["plain PyTorch"], series)
    for name, precision in CANDIDATES:
        setting = EngineSetting(engine=name, precision=precision, batch_size=BATCH)
        if ENGINES[name].lacks(checkpoint, setting):
            continue
        if precision == "int8":
            ranges = calibrate(checkpoint, series[: 2 * BATCH], BATCH)
            setting = EngineSetting(engine=name, precision=precision, batch_size=BATCH, ranges=ranges)
        try:
            calls[name_of(setting)] = prepare(checkpoint, setting)
        except RuntimeError:  # OpenVINO in bfloat16, where oneDNN may not use the units for it
            continue
        agreements[name_of(setting)] = compare(_whole(calls[name_of(setting)], series), exact).to_dict()
    batch = series[:BATCH]
    times = time_in_turns({name: lambda c=call: c(batch) for name, call in calls.items()}, ROUNDS)
    seconds = {name: float(np.median(one)) for name, one in times.items()}
    ratios = {
        name: float(np.median(np.array(times["plain PyTorch"]) / np.array(one)))
        for name, one in times.items()
    }
    chosen = choose_engine(checkpoint, raw[:BATCH], device="cpu").to_dict()
    return {
        "pixels_per_second": {name: BATCH / one for name, one in seconds.items()},
        "ratios": ratios,
        "agreements": agreements,
        "chosen": "{engine} {precision}".format(**chosen["setting"]),
    }


def _whole(call, series):
    return np.concatenate([call(series[k : k + BATCH]) for k in range(0, len(series), BATCH)])


def in_a_process(model: Path, series: Path, threads: int, cap: dict[str, str]) -> dict:
    """Measure in a process of its own, whose instructions may be capped."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.prediction", "--one"]
    command += [str(model), str(series), str(threads)]
    told = subprocess.run(
        command, env={**os.environ, **cap}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(told.stdout.splitlines()[-1])


def speed_table(found: dict[str, dict]) -> str:
    """Times plain PyTorch, one row for each candidate."""
    names = list(dict.fromkeys(name for one in found.values() for name in one["ratios"]))
    rows = [
        [name, *(f"{one['ratios'][name]:.2f}" if name in one["ratios"] else "" for one in found.values())]
        for name in names
    ]
    rows.append(
        ["pixels a second of plain PyTorch"]
        + [f"{one['pixels_per_second']['plain PyTorch']:.0f}" for one in found.values()]
    )
    rows.append(["chosen by the trial", *(one["chosen"] for one in found.values())])
    return table(["", *found], rows)


def agreement_table(found: dict[str, dict]) -> str:
    """Pixels of another class than in float32, and the widest margin among them."""
    names = list(dict.fromkeys(name for one in found.values() for name in one["agreements"]))
    rows = []
    for name in names:
        cells = []
        for one in found.values():
            told = one["agreements"][name]
            share = told["different"] / told["pixels"]
            cells.append(f"{share:.2%} of {told['pixels']}, margin {told['widest_margin']:.3f}")
        rows.append([name, *cells])
    return table(["", *found], rows)


@click.command()
@click.option("--one", nargs=3, type=str, default=None, help="Model, series, threads: measure here.")
def main(one: tuple[str, str, str] | None) -> None:
    """Measure all, and write the report."""
    if one is not None:
        click.echo(json.dumps(measure(Path(one[0]), Path(one[1]), int(one[2]))))
        return
    idle = watch_the_processor()
    with tempfile.TemporaryDirectory() as folder:
        simulated, real = Path(folder) / "simulated.npy", Path(folder) / "real.npy"
        np.save(simulated, simulated_series(Path(folder)))
        samples = read_mato_grosso(DATA)
        np.save(real, samples.series)
        trained = train_classifier(
            samples, samples.recipe, TrainConfig(epochs=15, augmentation=None, device="cpu")
        )
        model = write_checkpoint(trained, Path(folder) / "model")
        sample = ROOT / "sample_aoi" / "model"
        speeds = {
            f"{label}, {threads} thread{'s' if threads > 1 else ''}": in_a_process(
                sample, simulated, threads, cap
            )
            for label, cap in CAPS.items()
            for threads in (1, 2)
        }
        agreements = {
            "simulated series": speeds["as it is, 1 thread"],
            "Mato Grosso, real series": in_a_process(model, real, 1, {}),
        }
    lines = [
        "# Engines beside plain PyTorch",
        "",
        "Written by `python -m tests.benchmarks.prediction`: CropNet 2D of the sample",
        "area on simulated series, 10 bands x 43 steps, 0.2273 GFLOP a pixel. Times plain PyTorch (float32,",
        "nothing folded, channels first, batches of 256) in the same process, medians of the ratios of",
        f"{ROUNDS} rounds in turn. {idle()}",
        "",
        *(f"- {name}: {value}" for name, value in surroundings().items()),
        f"- torch: {torch.__version__}",
        "",
        "## Speed, times plain PyTorch",
        "",
        speed_table(speeds),
        "",
        "## Classes other than in float32",
        "",
        "Share of the series with another class, and the widest margin (difference of the two best",
        "probabilities in float32) among these. The model for Mato Grosso was trained on the same series.",
        "",
        agreement_table(agreements),
    ]
    write_text("\n".join(lines) + "\n", REPORT)


if __name__ == "__main__":
    main()
