"""CropNet on a GPU through our engine, beside the card's own limit: ``python -m ... SERIES.npy OUT``.

Needs PyTorch with CUDA, numpy, safetensors and lazy_loader only, so that it runs on a bare machine.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from toolkit.learn.checkpoint import normalise, read_checkpoint
from toolkit.learn.engines.agreement import compare
from toolkit.learn.engines.setting import EngineSetting
from toolkit.learn.engines.table import prepare
from toolkit.learn.engines.torch_engine import torch_classifier
from toolkit.learn.engines.trial import choose_engine

GFLOP_PER_PIXEL = 0.2273
"""CropNet 2D on 10 x 43 values, two operations per multiply-add."""
MODEL = Path(__file__).resolve().parents[2] / "sample_aoi" / "model"


def best_seconds(work, rounds=7):
    """Fastest of some rounds, on a GPU that is done with all before."""
    work()
    seconds = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def matmul_tflops(kind, size=8192):
    """Speed of a large matrix product: what the card can do at most."""
    a, b = (torch.randn(size, size, device="cuda", dtype=kind) for _ in range(2))
    return 2 * size**3 / best_seconds(lambda: a @ b) / 1e12


def measure(series_file, out):
    checkpoint = read_checkpoint(MODEL)
    series = normalise(np.load(series_file), checkpoint.mean, checkpoint.std)
    peak = matmul_tflops(torch.bfloat16)
    told = {"card": torch.cuda.get_device_name(), "torch": torch.__version__, "peak_bf16_tflops": peak}
    exact = torch_classifier(checkpoint, EngineSetting())(series)
    for name, precision in (("torch", "fp32"), ("torch", "bf16"), ("compiled", "bf16")):
        for batch_size in (4096, 16384):
            batch = np.resize(series, (batch_size, *series.shape[1:]))
            setting = EngineSetting(engine=name, device="cuda", precision=precision, batch_size=batch_size)
            classifier = prepare(checkpoint, setting)
            seconds = best_seconds(lambda c=classifier, b=batch: c(b))
            speed = batch_size / seconds
            agreement = compare(classifier(batch)[: len(exact)], exact[:batch_size])
            told[f"{name} {precision} {batch_size}"] = {
                "pixels_per_second": speed,
                "tflops": speed * GFLOP_PER_PIXEL / 1000,
                "share_of_peak": speed * GFLOP_PER_PIXEL / 1000 / peak,
                **agreement.to_dict(),
            }
    told["trial"] = choose_engine(checkpoint, np.load(series_file)[:512]).to_dict()
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu_prediction.json").write_text(json.dumps(told, indent=1))
    sys.stdout.write(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    measure(Path(sys.argv[1]), Path(sys.argv[2]))
