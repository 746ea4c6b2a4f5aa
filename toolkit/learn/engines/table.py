"""The engines by name: what prepares each, and why one cannot serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from toolkit.errors import EngineError, ModelError
from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.engines.onnx_engine import onnx_classifier, onnx_lacks
from toolkit.learn.engines.openvino_engine import openvino_classifier, openvino_lacks
from toolkit.learn.engines.setting import Classifier, EngineSetting, Precision
from toolkit.learn.engines.torch_engine import (
    compiled_classifier,
    compiled_lacks,
    torch_classifier,
    torch_lacks,
)
from toolkit.packages import installed_versions


@dataclass(frozen=True, slots=True)
class Engine:
    """What computes a network."""

    precisions: tuple[Precision, ...]
    """Numbers it can compute products with, the most exact first."""
    prepare: Callable[[Checkpoint, EngineSetting], Classifier]
    """Returns the function that gives logits."""
    lacks: Callable[[str, EngineSetting], str]
    """Says why it cannot serve a network of a name here; empty if it can."""
    packages: tuple[str, ...] = ()
    """Packages beside PyTorch that it needs."""


ENGINES: Mapping[str, Engine] = {
    "torch": Engine(("fp32", "bf16"), torch_classifier, torch_lacks),
    "compiled": Engine(("bf16",), compiled_classifier, compiled_lacks),
    "onnx": Engine(("fp32",), onnx_classifier, onnx_lacks, ("onnx", "onnxruntime")),
    "openvino": Engine(("fp32", "bf16", "int8"), openvino_classifier, openvino_lacks, ("onnx", "openvino")),
}
"""Name -> engine, the simplest first: a later one must be clearly faster to be chosen."""

CANDIDATES: tuple[tuple[str, Precision], ...] = tuple(
    (name, precision) for name, engine in ENGINES.items() for precision in engine.precisions
)
"""Every engine with every precision, in the order of preference."""


def prepare(checkpoint: Checkpoint, setting: EngineSetting) -> Classifier:
    """Return the function that gives the logits of a model.

    Args:
        checkpoint: the model.
        setting: engine, precision, device.

    Raises:
        EngineError: the engine is unknown, or cannot serve on this machine; says why.
        ModelError: other versions of its packages are here than were chosen.
    """
    check_names(setting.engine, setting.precision)
    if reason := ENGINES[setting.engine].lacks(checkpoint.network, setting):
        msg = (
            f"Engine {setting.engine} in {setting.precision} cannot serve here: {reason}. Install the extra "
            "'fast' (pip install 'cropglobe[fast]'), or choose --engine torch --precision fp32."
        )
        raise EngineError(msg)
    here = engine_packages(setting.engine)
    if setting.packages and setting.packages != here:
        chosen, found = (_listed(packages) for packages in (setting.packages, here))
        msg = (
            f"Engine {setting.engine} was chosen with {chosen}, here is {found}: results may differ. Install "
            "the same on all machines, or run again to choose anew."
        )
        raise ModelError(msg)
    return ENGINES[setting.engine].prepare(checkpoint, setting)


def engine_packages(engine: str) -> tuple[tuple[str, str], ...]:
    """Return name and version of each package beside PyTorch that computes an engine, of those installed."""
    return installed_versions(*ENGINES[engine].packages)


def lacking(network: str, device: str) -> dict[str, str]:
    """Return each candidate, such as ``openvino bf16``, with what it lacks here; empty if it can serve.

    Args:
        network: name of the network.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
    """
    settings = [EngineSetting(engine=name, precision=kind, device=device) for name, kind in CANDIDATES]
    return {name_of(one): ENGINES[one.engine].lacks(network, one) for one in settings}


def able_candidates(
    network: str, device: str, *, engine: str, precision: str
) -> tuple[list[tuple[str, Precision]], dict[str, str]]:
    """Return the candidates asked for that can serve here, and of the others what they lack, by name.

    Args:
        network: name of the network.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        engine: ``auto`` or a name in the table.
        precision: ``auto``, ``fp32``, ``bf16`` or ``int8``.

    Raises:
        EngineError: a name is unknown, or none of them can serve.
    """
    check_names(engine, precision)
    reasons = lacking(network, device)
    asked = [one for one in CANDIDATES if engine in ("auto", one[0]) and precision in ("auto", one[1])]
    left_out = {f"{name} {kind}": reasons[f"{name} {kind}"] for name, kind in asked}
    left_out = {name: reason for name, reason in left_out.items() if reason}
    if len(left_out) == len(asked):
        told = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        msg = (
            f"No engine asked for can serve here ({told}). Choose --engine auto --precision auto, or install "
            "what is missing: the extra 'fast' (pip install 'cropglobe[fast]')."
        )
        raise EngineError(msg)
    return [(name, kind) for name, kind in asked if f"{name} {kind}" not in left_out], left_out


def name_of(setting: EngineSetting) -> str:
    """Return a candidate's name, such as ``openvino bf16``."""
    return f"{setting.engine} {setting.precision}"


def _listed(packages: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name} {told}" for name, told in packages) or "none of them"


def check_names(engine: str, precision: str) -> None:
    """Raise unless an engine of a name computes in a precision; ``auto`` is any.

    Raises:
        EngineError: a name is unknown, or they do not go together.
    """
    if engine not in ("auto", *ENGINES):
        msg = f"Engine {engine!r} is unknown. Known: auto, {', '.join(ENGINES)}. Choose one of them."
        raise EngineError(msg)
    allowed = [kind for name, kind in CANDIDATES if engine in ("auto", name)]
    if precision not in ("auto", *allowed):
        known = ", ".join(dict.fromkeys(allowed))
        msg = f"Engine {engine!r} computes in {known}, not in {precision!r}. Choose one of them, or auto."
        raise EngineError(msg)
