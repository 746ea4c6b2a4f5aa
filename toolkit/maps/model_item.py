"""The STAC item of a trained model: what goes in, what comes out, which files.

Source of the fields: Machine Learning Model extension 1.4.0, github.com/stac-extensions/mlm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pystac
import shapely
from shapely.geometry.base import BaseGeometry

from toolkit.catalog.items import SIMULATED
from toolkit.learn.checkpoint import CARD, WEIGHTS, Checkpoint, read_checkpoint
from toolkit.learn.networks.compact import COMPACT
from toolkit.maps.stac import SCHEMAS, bounds_on_globe, class_entry, file_asset, write_item

MODEL_ITEM = "model.stac.json"
"""Name of the item in a model's folder."""
TASKS = ("semantic-segmentation",)
"""The extension's own word for a class at every pixel; it keeps ``classification`` for whole pictures."""
ARCHITECTURES: Mapping[str, str] = {
    "cropnet2d": "CropNet 2D",
    "cropnet1d": "CropNet 1D",
    "mlp": "MLP",
    "tempcnn": "TempCNN",
    "attention": "L-TAE",
    "random_forest": "Random Forest",
    **dict.fromkeys(COMPACT, "CNN"),
}
"""Network -> its name in the literature."""
VERSION = re.compile(r"\d+\.\d+\.\d+(\+[0-9A-Za-z.-]+)?")
"""Versions of a framework that the extension takes; not those of builds from source, such as 2.11.0a0."""
BYTES = "application/octet-stream"
"""Media type of the weights: safetensors has none of its own."""
PRE_PROCESSING = "toolkit.cubes.features:build_features"
"""What makes the input out of scenes."""
ANY_DAY = date(1900, 1, 1), date(9999, 12, 31)
"""Days of a model whose training seasons are not known, as in the extension's examples: STAC wants some."""


def write_model_item(folder: str | Path) -> Path:
    """Describe the model of a folder by a STAC item in it; the same model gives the same bytes.

    Args:
        folder: folder that :func:`toolkit.learn.checkpoint.write_checkpoint` wrote.

    Raises:
        CheckpointError: there is no model, or it is damaged.
        StorageError: the file cannot be written.
    """
    folder = Path(folder)
    return write_item(_item(read_checkpoint(folder), folder), folder / MODEL_ITEM)


def model_name(checkpoint: Checkpoint) -> str:
    """Return a name of a model that no other has: network, and first digits of its hash."""
    return f"cropglobe-{checkpoint.network}-{checkpoint.content_hash[:12]}"


def _item(checkpoint: Checkpoint, folder: Path) -> pystac.Item:
    """The item; its addresses are relative, so that the folder can be moved."""
    made = checkpoint.provenance
    learnt = [part for one in (made.get("samples"), *made.get("unlabelled", ())) for part in _parts(one)]
    (first, last), place = _days(learnt), _place(learnt)
    item = pystac.Item(
        id=model_name(checkpoint),
        geometry=None if place is None else json.loads(shapely.to_geojson(place)),
        bbox=None if place is None else bounds_on_globe(place),
        datetime=None,
        start_datetime=datetime.combine(first, time(0, 0, 0), UTC),
        end_datetime=datetime.combine(last, time(23, 59, 59), UTC),
        properties=_properties(checkpoint),
        stac_extensions=[SCHEMAS[name] for name in ("classification", "file", "mlm", "processing")],
    )
    # STAC 1.1 allows bands of an item only if an asset has them, too; the extension wants them of the item.
    kind = {"mlm:artifact_type": "safetensors.torch.save", "bands": item.properties["bands"]}
    roles, told = ["mlm:model", "mlm:weights", "data"], "Weights and batch statistics"
    item.add_asset("model", file_asset(folder / WEIGHTS, BYTES, roles, title=told, fields=kind))
    told = "Recipe of the features, classes, normalisation, accuracy and origin"
    item.add_asset("card", file_asset(folder / CARD, pystac.MediaType.JSON, ["metadata"], title=told))
    return item


def _properties(checkpoint: Checkpoint) -> dict[str, Any]:
    network, recipe = checkpoint.network, checkpoint.recipe
    return {
        "title": f"{ARCHITECTURES[network]} of crop types from {recipe.sensor}",
        "description": f"Tells the crop of a pixel from its {recipe.kind} features of a season.",
        "bands": [{"name": name} for name in recipe.bands],
        "processing:lineage": _lineage(checkpoint),
        "mlm:name": model_name(checkpoint),
        "mlm:architecture": ARCHITECTURES[network],
        "mlm:tasks": list(TASKS),
        **_framework(checkpoint),
        **_training(checkpoint.provenance),
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:input": [_input(checkpoint)],
        "mlm:output": [_output(checkpoint)],
        "cropglobe:sha256": checkpoint.content_hash,
        "cropglobe:recipe": recipe.to_dict(),
        **({SIMULATED: True} if checkpoint.simulated else {}),
    }


def _input(checkpoint: Checkpoint) -> dict[str, Any]:
    recipe = checkpoint.recipe
    pairs = list(zip(checkpoint.mean, checkpoint.std, strict=True))
    scaled = any(pair != (0, 1) for pair in pairs)  # forests, and weights that were trained without, are not
    scaling = [{"type": "z-score", "mean": mean, "stddev": std} for mean, std in pairs]
    return {
        "name": f"{recipe.kind} features of {recipe.sensor}",
        "description": "Reflectance (unit 1) under clear sky; no gaps. cropglobe:recipe says how it is made.",
        "bands": list(recipe.bands),
        "input": _array({"batch": -1, "bands": recipe.shape[0], "time": recipe.shape[1]}),
        "value_scaling": scaling if scaled else None,
        "resize_type": None,
        "pre_processing_function": {"format": "python", "expression": PRE_PROCESSING},
    }


def _array(sizes: Mapping[str, int]) -> dict[str, Any]:
    return {"shape": list(sizes.values()), "dim_order": list(sizes), "data_type": "float32"}


def _output(checkpoint: Checkpoint) -> dict[str, Any]:
    classes = [  # no titles: PyPI's stac-model 0.7 refuses them
        {**class_entry(k, crop.name, crop.color), "description": f"{crop.name}; {k + 1} in maps"}
        for k, crop in enumerate(checkpoint.legend.classes)
    ]
    return {
        "name": "crop",
        "description": "Logits; softmax makes them probabilities. Values in maps are one more: 0 is no data.",
        "tasks": list(TASKS),
        "result": _array({"batch": -1, "class": len(classes)}),
        "classification:classes": classes,
    }


def _framework(checkpoint: Checkpoint) -> dict[str, Any]:
    """What it was trained with, and its size; a forest is grown by scikit-learn and has no parameters."""
    if checkpoint.network == "random_forest":
        return {"mlm:framework": "scikit-learn"}
    version = str(checkpoint.provenance.get("torch"))
    known = {"mlm:framework_version": version} if VERSION.fullmatch(version) else {}
    n_parameters = sum(weights.numel() for weights in checkpoint.build().parameters())
    return {"mlm:framework": "PyTorch", **known, "mlm:total_parameters": n_parameters}


def _training(made: Mapping[str, Any]) -> dict[str, Any]:
    """How it was trained, where we did it: always from scratch."""
    settings = {**made.get("config", {}), **made.get("distillation", {})}
    told = {"mlm:pretrained": False, "mlm:pretrained_source": None, "mlm:hyperparameters": settings}
    return told if settings else {}


def _lineage(checkpoint: Checkpoint) -> str:
    made, f1 = checkpoint.provenance, checkpoint.metrics.get("macro_f1")
    data = "simulated data" if checkpoint.simulated else "labelled fields"
    told = f"Trained on {data}."
    if "imported" in made:
        told = f"Published weights, sha256 of their file {made['imported']['sha256']}."
    elif "teacher" in made:
        told = f"Taught by {made['teacher']['network']}, sha256 {made['teacher']['sha256']}, on {data}."
    return told if f1 is None else f"{told} Macro F1 {f1:.3f} on samples held out."


def _parts(samples: Any) -> list[Any]:
    """Provenance of the samples of each area and year, however often they were joined."""
    joined = isinstance(samples, dict) and isinstance(samples.get("joined"), list)
    return [part for one in samples["joined"] for part in _parts(one)] if joined else [samples]


def _days(learnt: Sequence[Any]) -> tuple[date, date]:
    """First and last day of the training scenes, or any, unless all samples tell them."""
    try:
        days = [date.fromisoformat(part[key]) for part in learnt for key in ("start", "end")]
        return min(days), max(days)
    except (KeyError, TypeError, ValueError):  # no samples, or some whose origin others wrote down
        return ANY_DAY


def _place(learnt: Sequence[Any]) -> BaseGeometry | None:
    """Boxes around the training areas, or None, unless all samples tell theirs."""
    boxes = []
    try:
        for west, south, east, north in (part["bbox"] for part in learnt):
            halves = [(west, east)] if west <= east else [(west, 180), (-180, east)]
            boxes += [shapely.box(left, south, right, north) for left, right in halves]
    except (KeyError, TypeError, ValueError):
        return None
    return shapely.orient_polygons(shapely.union_all(boxes)) if boxes else None
