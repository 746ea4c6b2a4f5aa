"""ONNX Runtime: the network's graph in float32, on any CPU."""

from __future__ import annotations

import numpy as np
import torch

from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.engines.onnx_graph import INPUT, graph_lacks, onnx_graph
from toolkit.learn.engines.setting import Classifier, EngineSetting, Series


def onnx_classifier(checkpoint: Checkpoint, setting: EngineSetting) -> Classifier:
    """Return ONNX Runtime, with as many threads as torch has in this process.

    Args:
        checkpoint: the model.
        setting: shape of a batch.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    graph = onnx_graph(checkpoint, setting.batch_size)
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def logits_of(series: Series) -> Series:
        (logits,) = session.run(None, {INPUT: series})
        return np.asarray(logits, np.float32)

    return logits_of


def onnx_lacks(network: str, setting: EngineSetting) -> str:
    """Return why ONNX Runtime cannot serve, empty if it can."""
    if not setting.device.startswith("cpu"):
        return "it is used on CPUs only"
    return graph_lacks(network, "onnxruntime")
