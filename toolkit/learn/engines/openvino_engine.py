"""OpenVINO: the network's graph in float32, bfloat16 or eight-bit integers, on a CPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from toolkit.errors import ModelError
from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.device import has_bf16_units
from toolkit.learn.engines.onnx_graph import graph_lacks, onnx_graph
from toolkit.learn.engines.setting import Classifier, EngineSetting, Precision, Series

CONVOLUTION = "Convolution"
ACTIVATION_LEVELS, WEIGHT_LEVELS = 256, 255
"""Steps of eight-bit numbers; weights are symmetric, so that zero is one of them."""
KEPT = 1
"""First convolutions that int8 leaves out.

The first has 0.1 % of CropNet's products, and what is rounded off the reflectances passes through all
others. Of 7,200 simulated series of a season 0.50 % got another class with all eight in int8, with margins of
up to 0.17, and 0.10 % (0.02) without the first, as fast; of 826 of Flanders 4 and 2, of 532 of Mato Grosso 1
and none. Without the first two it was 0.12 % of the simulated ones, at 0.88 of the speed.
"""


def openvino_classifier(checkpoint: Checkpoint, setting: EngineSetting) -> Classifier:
    """Return OpenVINO, with as many threads as torch has in this process.

    Args:
        checkpoint: the model.
        setting: precision and shape of a batch; with int8 also the ranges of :func:`calibrate`.

    Raises:
        ModelError: int8 without ranges, or those of another network.
    """
    core = _core()
    model = core.read_model(onnx_graph(checkpoint, setting.batch_size))
    numbers = setting.precision
    if numbers == "int8":
        numbers = setting.others
        _quantise(model, setting.ranges)
    compiled = core.compile_model(model, "CPU", _options(numbers))
    request = compiled.create_infer_request()

    def logits_of(series: Series) -> Series:
        request.infer({0: np.ascontiguousarray(series)})
        return np.array(request.get_output_tensor(0).data, np.float32)

    return logits_of


def openvino_lacks(network: str, setting: EngineSetting) -> str:
    """Return why OpenVINO cannot serve, empty if it can."""
    if not setting.device.startswith("cpu"):
        return "it is used on CPUs only"
    if setting.precision == "bf16" and not has_bf16_units(torch.device("cpu")):
        return "the processor has no units for bfloat16"
    if setting.precision == "int8" and not network.startswith(("cropnet", "compact")):
        return "only convolutions are computed in eight-bit integers"
    return graph_lacks(network, "openvino")


def calibrated(checkpoint: Checkpoint, series: Series, setting: EngineSetting) -> EngineSetting:
    """Return a setting in int8 with what the network and the processor need for it.

    Args:
        checkpoint: the model.
        series: as for :func:`calibrate`.
        setting: engine and shape of a batch.
    """
    others: Precision = "bf16" if _computes_bf16(checkpoint, setting.batch_size) else "fp32"
    return replace(setting, ranges=calibrate(checkpoint, series, setting.batch_size), others=others)


def _computes_bf16(checkpoint: Checkpoint, batch_size: int) -> bool:
    """Whether layers can be computed in bfloat16 here; oneDNN may be held to less than the processor has."""
    if not has_bf16_units(torch.device("cpu")):
        return False
    core = _core()
    try:
        core.compile_model(core.read_model(onnx_graph(checkpoint, batch_size)), "CPU", _options("bf16"))
    except RuntimeError:
        return False
    return True


def calibrate(checkpoint: Checkpoint, series: Series, batch_size: int) -> tuple[tuple[float, float], ...]:
    """Return the least and greatest input of each convolution, for int8.

    The greatest, not a percentile: with inputs clipped at the 99.99th the probabilities of simulated series
    were off by 2.5 times as much, those of Mato Grosso by 1.4 times, of Flanders by 0.9 times,
    in a reckoning of the same steps in PyTorch.

    Post-training quantisation as in Jacob et al. 2018 (doi:10.1109/CVPR.2018.00286): activations per layer,
    weights per output channel.

    Args:
        checkpoint: the model.
        series: normalised float32 ``(n, band, step)``, of the area to be mapped; whole batches are used.
        batch_size: pixels of a batch.
    """
    core = _core()
    model = core.read_model(onnx_graph(checkpoint, batch_size))
    inputs = [node.input_value(0) for node in _convolutions(model)]
    model.add_outputs(inputs)
    compiled = core.compile_model(model, "CPU", _options("fp32"))
    seen: list[list[tuple[float, float]]] = [[] for _ in inputs]
    for first in range(0, len(series) - batch_size + 1, batch_size):
        told = compiled([series[first : first + batch_size]])
        for k, ranges in enumerate(seen):
            values: npt.NDArray[np.float32] = told[k + 1]
            ranges.append((float(values.min()), float(values.max())))
    return tuple((min(low for low, _ in one), max(high for _, high in one)) for one in seen)


def _options(numbers: Precision) -> dict[str, Any]:
    """OpenVINO's options: numbers of the layers that are not quantised, one worker's share of the machine."""
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if numbers == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),  # else a worker takes the whole machine
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # several workers share a machine
    }


def _core() -> Any:
    """Return OpenVINO's core, loaded without its telemetry.

    Merely importing OpenVINO sends an event to Google Analytics and leaves a client number in the user's
    home; where the package for that is missing it takes a stand-in of its own that does nothing.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: an import fails
    import openvino

    return openvino.Core()


def _convolutions(model: Any) -> list[Any]:
    return [node for node in model.get_ordered_ops() if node.get_type_name() == CONVOLUTION]


def _quantise(model: Any, ranges: Sequence[tuple[float, float]]) -> None:
    """Put steps of eight bits before convolutions but the first ones; OpenVINO computes them in integers."""
    from openvino import opset13 as operators

    convolutions = _convolutions(model)
    if len(ranges) != len(convolutions):
        msg = (
            f"Ranges of {len(ranges)} convolutions are given, the network has {len(convolutions)}. "
            "Choose the engine anew."
        )
        raise ModelError(msg)
    for node, (least, greatest) in list(zip(convolutions, ranges, strict=True))[KEPT:]:
        low, high = np.float32(0), np.float32(max(greatest, 1e-6))
        if least < 0:
            high = np.float32(max(-least, greatest))
            low, high = -high, high * np.float32(127 / 128)
        edges = [operators.constant(value.reshape(1)) for value in (np.asarray(low), np.asarray(high))]
        steps = operators.fake_quantize(node.input_value(0), *edges, *edges, ACTIVATION_LEVELS)
        node.input(0).replace_source_output(steps.output(0))
        weights = node.input_value(1).get_node().get_data()
        size = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True)
        size = np.maximum(size, 1e-12).astype(np.float32)
        sides = [operators.constant(side) for side in (-size, size)]
        coarse = operators.fake_quantize(node.input_value(1), *sides, *sides, WEIGHT_LEVELS)
        node.input(1).replace_source_output(coarse.output(0))
    model.validate_nodes_and_infer_types()
