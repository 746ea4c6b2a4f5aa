"""The engines by name: what prepares each, and why one cannot serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from toolkit.errors import ModelError
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


@dataclass(frozen=True, slots=True)
class Engine:
    """What computes a network."""

    precisions: tuple[Precision, ...]
    """Numbers it can compute products with, the most exact first."""
    prepare: Callable[[Checkpoint, EngineSetting], Classifier]
    """Returns the function that gives logits."""
    lacks: Callable[[Checkpoint, EngineSetting], str]
    """Says why it cannot serve here; empty if it can."""


ENGINES: Mapping[str, Engine] = {
    "torch": Engine(("fp32", "bf16"), torch_classifier, torch_lacks),
    "compiled": Engine(("bf16",), compiled_classifier, compiled_lacks),
    "onnx": Engine(("fp32",), onnx_classifier, onnx_lacks),
    "openvino": Engine(("fp32", "bf16", "int8"), openvino_classifier, openvino_lacks),
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
        ModelError: the engine is unknown, or cannot serve on this machine; says why.
    """
    check_names(setting.engine, setting.precision)
    if reason := ENGINES[setting.engine].lacks(checkpoint, setting):
        msg = (
            f"Engine {setting.engine} in {setting.precision} cannot serve here: {reason}. Install the extra "
            "'fast' (pip install 'cropglobe[fast]'), or choose --engine torch --precision fp32."
        )
        raise ModelError(msg)
    return ENGINES[setting.engine].prepare(checkpoint, setting)


def check_names(engine: str, precision: str) -> None:
    """Raise unless an engine of a name computes in a precision; ``auto`` is any.

    Raises:
        ModelError: a name is unknown, or they do not go together.
    """
    if engine not in ("auto", *ENGINES):
        msg = f"Engine {engine!r} is unknown. Known: auto, {', '.join(ENGINES)}. Choose one of them."
        raise ModelError(msg)
    allowed = [kind for name, kind in CANDIDATES if engine in ("auto", name)]
    if precision not in ("auto", *allowed):
        known = ", ".join(dict.fromkeys(allowed))
        msg = f"Engine {engine!r} computes in {known}, not in {precision!r}. Choose one of them, or auto."
        raise ModelError(msg)
