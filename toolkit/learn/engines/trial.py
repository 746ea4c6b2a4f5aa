"""A short trial on this machine: which engine is fast, and exact enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from toolkit.errors import ModelError
from toolkit.learn.checkpoint import Checkpoint, normalise
from toolkit.learn.device import resolve_device
from toolkit.learn.engines.agreement import Agreement, compare
from toolkit.learn.engines.batch import fitting_batch
from toolkit.learn.engines.openvino_engine import calibrated
from toolkit.learn.engines.race import SLOW, TooSlowError, logits_unless_slow, speeds
from toolkit.learn.engines.setting import Classifier, EngineSetting, Series
from toolkit.learn.engines.table import (
    able_candidates,
    engine_packages,
    name_of,
    prepare,
)
from toolkit.learn.kept_memory import memory_kept
from toolkit.packages import installed_versions

CLEARLY_FASTER = 1.1
"""A candidate must be that many times as fast as a simpler one, so that noise does not decide."""
LEAST_SERIES = 128
"""With fewer series nothing is tried: half of them would judge, and they are computed faster than tried."""


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
    threads: int
    """Threads it was made with: with more of them another engine may win."""
    packages: dict[str, str]
    """PyTorch and the packages of the engines tried -> version."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        told = {
            "setting": self.setting.to_dict(),
            "pixels_per_second": {name: round(speed) for name, speed in self.pixels_per_second.items()},
            "agreement": self.agreement.to_dict(),
        }
        return {**told, "left_out": self.left_out, "threads": self.threads, "packages": self.packages}


def choose_engine(
    checkpoint: Checkpoint,
    series: Series,
    *,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "auto",
) -> Choice:
    """Return the fastest engine on this machine whose classes are those of float32.

    Each candidate is compared with PyTorch in float32 on the second half of the series, and timed against
    the others in turn. The first half calibrates int8: it is not judged on what it was made from. Halves,
    not every second one, as neighbours in a field are nearly the same. See
    :class:`toolkit.learn.engines.agreement.Agreement` for what is exact enough.

    Args:
        checkpoint: the model.
        series: float32 ``(n, band, step)``, reflectance of pixels of the area, all observed, in the order of
            their places. Of 400 one may get another class, of 1,024 two.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        engine: ``auto`` or a name in the table.
        precision: ``auto``, ``fp32``, ``bf16`` or ``int8``.

    Raises:
        EngineError: a name is unknown, or what is asked for cannot serve here.
        ModelError: it is not exact enough, or too few series are given for int8.
    """
    place = resolve_device(device)
    candidates, left_out = able_candidates(checkpoint.network, str(place), engine=engine, precision=precision)
    plain = EngineSetting(device=str(place), batch_size=fitting_batch(checkpoint, place))
    able = [
        replace(plain, engine=name, precision=kind, packages=engine_packages(name))
        for name, kind in candidates
    ]
    if len(able) + len(left_out) == 1 and able[0].precision != "int8":
        return _choice(able[0], {})
    if len(series) >= LEAST_SERIES:
        with memory_kept():  # as tiles are predicted
            return _tried(checkpoint, series, able, left_out, plain)
    if able[0].precision == "int8":
        msg = (
            f"int8 is calibrated and judged on series of the area: {len(series)} were found, "
            f"{LEAST_SERIES} are needed. Choose --precision auto."
        )
        raise ModelError(msg)
    return _choice(able[0], left_out)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One that is exact enough, made ready."""

    setting: EngineSetting
    classifier: Classifier
    agreement: Agreement
    seconds: float
    """Of its fastest batch."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """What all candidates are tried on, and compared with."""

    checkpoint: Checkpoint
    calibration: Series
    """Normalised, whole batches."""
    judged: Series
    """Normalised, whole batches, of which the first series count."""
    exact: Series
    """Logits in float32 of these first series."""
    reference: _Candidate
    """PyTorch in float32."""


def _tried(
    checkpoint: Checkpoint,
    series: Series,
    able: list[EngineSetting],
    left_out: dict[str, str],
    plain: EngineSetting,
) -> Choice:
    """Compare and time candidates, and choose."""
    half, size = len(series) // 2, plain.batch_size
    calibration, judged = (_filled(part, size, checkpoint) for part in (series[:half], series[half:]))
    classifier = prepare(checkpoint, plain)
    exact, seconds = logits_unless_slow(classifier, judged, size)
    reference = _Candidate(plain, classifier, Agreement(pixels=len(series) - half), seconds)
    trial = _Trial(checkpoint, calibration, judged, exact[: len(series) - half], reference)
    found = {name_of(one): _judge(one, trial) for one in able}
    ready = {name: one for name, one in found.items() if isinstance(one, _Candidate)}
    left_out = left_out | {name: one for name, one in found.items() if isinstance(one, str)}
    if not ready:
        msg = f"What is asked for is not good enough here ({left_out}). Choose --precision auto."
        raise ModelError(msg)
    seen = speeds(
        {name: one.classifier for name, one in ready.items()},
        judged[:size],
        seen={name: one.seconds for name, one in ready.items()},
    )
    best = next(iter(seen))
    for name, speed in seen.items():
        if speed >= CLEARLY_FASTER * seen[best]:
            best = name
    packages = dict(pair for one in able for pair in one.packages)
    return _choice(ready[best].setting, left_out, seen, ready[best].agreement, packages)


def _judge(one: EngineSetting, trial: _Trial) -> _Candidate | str:
    """Return a candidate made ready, or why it is left out."""
    if one == trial.reference.setting:
        return trial.reference
    try:
        return _compared(one, trial)
    except TooSlowError as error:
        times = error.seconds / trial.reference.seconds
        return f"a batch takes {times:.1f} times as long as with PyTorch in fp32"
    except Exception as error:  # engines raise what they like where the processor has less than it says
        return f"it fails here: {type(error).__name__}"


def _compared(one: EngineSetting, trial: _Trial) -> _Candidate | str:
    """As :func:`_judge`, of one that may be slow or fail."""
    setting = one
    if one.precision == "int8":
        setting = calibrated(trial.checkpoint, trial.calibration, one)
    classifier = prepare(trial.checkpoint, setting)
    slow = SLOW * trial.reference.seconds
    logits, seconds = logits_unless_slow(classifier, trial.judged, one.batch_size, slow=slow)
    agreement = compare(logits[: len(trial.exact)], trial.exact)
    if agreement.close:
        return _Candidate(setting, classifier, agreement, seconds)
    return (
        f"{agreement.different} of {agreement.pixels} pixels get another class than in fp32, "
        f"with a margin of up to {agreement.widest_margin:.2f}"
    )


def _choice(
    setting: EngineSetting,
    left_out: dict[str, str],
    seen: dict[str, float] | None = None,
    agreement: Agreement | None = None,
    packages: dict[str, str] | None = None,
) -> Choice:
    return Choice(
        setting=setting,
        pixels_per_second=seen or {},
        agreement=agreement or Agreement(),
        left_out=left_out,
        threads=torch.get_num_threads(),
        packages={**dict(installed_versions("torch")), **dict(setting.packages), **(packages or {})},
    )


def _filled(series: Series, batch_size: int, checkpoint: Checkpoint) -> Series:
    """Return normalised series, repeated up to whole batches."""
    n = -(-len(series) // batch_size) * batch_size
    whole = np.resize(series, (n, *series.shape[1:])).astype(np.float32)
    return normalise(whole, checkpoint.mean, checkpoint.std)
