"""A short trial on this machine: which engine is fast, and exact enough."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from toolkit.errors import ModelError
from toolkit.learn.checkpoint import Checkpoint, normalise
from toolkit.learn.device import resolve_device
from toolkit.learn.engines.agreement import Agreement, compare
from toolkit.learn.engines.openvino_engine import calibrate
from toolkit.learn.engines.setting import Classifier, EngineSetting, Precision, Series
from toolkit.learn.engines.table import CANDIDATES, ENGINES, check_names, prepare

BATCH = {"cpu": 256, "cuda": 16384}
"""Pixels of a batch: on CPUs 64 to 512 are equally fast and 1024 slower (BENCH.md); a GPU wants more."""
CLEARLY_FASTER = 1.15
"""A candidate must be that many times as fast as a simpler one: trials vary by some percent."""
ROUNDS = 3
"""Times each candidate computes a batch, in turn; the fastest counts."""
LEAST_SERIES = 64
"""With fewer series nothing is tried: they are computed faster than tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a trial chose, and what it saw."""

    setting: EngineSetting
    """How the model is computed."""
    pixels_per_second: dict[str, float]
    """Candidate -> speed in this process."""
    agreement: Agreement
    """Of the chosen one with float32."""
    left_out: dict[str, str]
    """Candidate -> why it was not tried or not taken."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "setting": self.setting.to_dict(),
            "pixels_per_second": {name: round(speed) for name, speed in self.pixels_per_second.items()},
            "agreement": self.agreement.to_dict(),
            "left_out": self.left_out,
        }


def choose_engine(
    checkpoint: Checkpoint,
    series: Series,
    *,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "auto",
) -> Choice:
    """Return the fastest engine on this machine whose classes are those of float32.

    Each candidate is compared with PyTorch in float32 on the series given, and timed against the others in
    turn. See :class:`toolkit.learn.engines.agreement.Agreement` for what is exact enough.

    Args:
        checkpoint: the model.
        series: float32 ``(n, band, step)``, reflectance of pixels of the area, all observed.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        engine: ``auto`` or a name in the table.
        precision: ``auto``, ``fp32``, ``bf16`` or ``int8``.

    Raises:
        ModelError: a name is unknown, or what is asked for cannot serve here.
    """
    check_names(engine, precision)
    place = resolve_device(device)
    plain = EngineSetting(device=str(place), batch_size=BATCH[place.type])
    asked = [
        replace(plain, engine=name, precision=kind)
        for name, kind in CANDIDATES
        if engine in ("auto", name) and precision in ("auto", kind)
    ]
    if len(asked) == 1 and asked[0].precision != "int8":
        prepare(checkpoint, asked[0])  # raises with the reason if it cannot serve
        return Choice(setting=asked[0], pixels_per_second={}, agreement=Agreement(), left_out={})
    able, left_out = _able(checkpoint, asked)
    if not able:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        msg = f"No engine asked for can serve here ({reasons}). Choose --engine auto --precision auto."
        raise ModelError(msg)
    if len(series) < LEAST_SERIES:
        return Choice(setting=able[0], pixels_per_second={}, agreement=Agreement(), left_out=left_out)
    return _tried(checkpoint, series, able, left_out, plain)


def _able(checkpoint: Checkpoint, asked: list[EngineSetting]) -> tuple[list[EngineSetting], dict[str, str]]:
    """Return the candidates that can serve here, and why others cannot."""
    reasons = {name_of(one): ENGINES[one.engine].lacks(checkpoint, one) for one in asked}
    able = [one for one in asked if not reasons[name_of(one)]]
    return able, {name: reason for name, reason in reasons.items() if reason}


def _tried(
    checkpoint: Checkpoint,
    series: Series,
    able: list[EngineSetting],
    left_out: dict[str, str],
    plain: EngineSetting,
) -> Choice:
    """Compare and time candidates, and choose."""
    n, series = len(series), _filled(series, plain.batch_size, checkpoint)
    exact = _all_logits(prepare(checkpoint, plain), series, plain.batch_size)[:n]
    ready: dict[str, tuple[EngineSetting, Classifier, Agreement]] = {}
    for one in able:
        setting = one
        try:
            if one.precision == "int8":
                setting = replace(one, ranges=calibrate(checkpoint, series, one.batch_size))
            classifier = prepare(checkpoint, setting)
            agreement = compare(_all_logits(classifier, series, one.batch_size)[:n], exact)
        except Exception as error:  # engines raise what they like where the processor has less than it says
            left_out[name_of(one)] = f"it fails here: {type(error).__name__}"
            continue
        if agreement.close or one.precision == "fp32":
            ready[name_of(one)] = setting, classifier, agreement
        else:
            left_out[name_of(one)] = (
                f"{agreement.different} of {agreement.pixels} pixels get another class than in fp32, "
                f"with a margin of up to {agreement.widest_margin:.2f}"
            )
    if not ready:
        msg = f"What is asked for is not exact enough here ({left_out}). Choose --precision auto."
        raise ModelError(msg)
    speeds = _speeds({name: classifier for name, (_, classifier, _) in ready.items()}, series, plain)
    best = next(iter(speeds))
    for name, speed in speeds.items():
        if speed >= CLEARLY_FASTER * speeds[best]:
            best = name
    setting, _, agreement = ready[best]
    return Choice(setting=setting, pixels_per_second=speeds, agreement=agreement, left_out=left_out)


def _speeds(ready: dict[str, Classifier], series: Series, plain: EngineSetting) -> dict[str, float]:
    """Return pixels per second of each, the fastest of some rounds in turn."""
    batch = series[: plain.batch_size]
    seconds = dict.fromkeys(ready, float("inf"))
    for _ in range(ROUNDS):
        for name, classifier in ready.items():
            start = time.perf_counter()
            classifier(batch)
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return {name: len(batch) / one for name, one in seconds.items()}


def name_of(setting: EngineSetting) -> str:
    """Return a candidate's name, such as ``openvino bf16``."""
    precision: Precision = setting.precision
    return f"{setting.engine} {precision}"


def _filled(series: Series, batch_size: int, checkpoint: Checkpoint) -> Series:
    """Return normalised series, repeated up to whole batches."""
    n = -(-len(series) // batch_size) * batch_size
    whole = np.resize(series, (n, *series.shape[1:])).astype(np.float32)
    return normalise(whole, checkpoint.mean, checkpoint.std)


def _all_logits(classifier: Classifier, series: Series, batch_size: int) -> Series:
    parts = [classifier(series[first : first + batch_size]) for first in range(0, len(series), batch_size)]
    return np.concatenate(parts)
