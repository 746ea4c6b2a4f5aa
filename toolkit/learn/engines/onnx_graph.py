"""A network as an ONNX graph, which other engines read."""

from __future__ import annotations

import io
import warnings
from functools import lru_cache
from importlib.util import find_spec

import torch

from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.engines.torch_engine import FOREST, fold_batch_norm

OPSET = 17
"""Version of the operators: LayerNormalization, which the attention model has, came with it."""
INPUT, OUTPUT = "series", "logits"


def graph_lacks(network: str, *packages: str) -> str:
    """Return why a network cannot be run as a graph, empty if it can.

    Args:
        network: its name.
        packages: what must be installed to run it.
    """
    if network == FOREST:
        return "a forest is no network"
    missing = [name for name in ("onnx", *packages) if find_spec(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def onnx_graph(checkpoint: Checkpoint, batch_size: int) -> bytes:
    """Return a network as an ONNX graph for one shape of batch, batch normalisation folded.

    Args:
        checkpoint: the model.
        batch_size: pixels of a batch.
    """
    return _exported(_Held(checkpoint), batch_size)


class _Held:
    """A checkpoint as a key: the same content is exported once."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint, self.content_hash = checkpoint, checkpoint.content_hash

    def __hash__(self) -> int:
        return hash(self.content_hash)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self.content_hash == other.content_hash


@lru_cache(maxsize=2)
def _exported(held: _Held, batch_size: int) -> bytes:
    network = fold_batch_norm(held.checkpoint.build())
    series = torch.zeros(batch_size, *held.checkpoint.recipe.shape)
    content = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter by tracing is called old; the new one needs onnxscript, 20 packages more.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (series,),
            content,  # type: ignore[arg-type]  # a file object is taken, though not in the stubs
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
        )
    return content.getvalue()
