"""The STAC item of a model: what goes in, what comes out, how it was taught."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pystac

from toolkit.learn.checkpoint import CARD, WEIGHTS, Checkpoint, checkpoint_files
from toolkit.legend import Legend

ITEM = "model.stac.json"
"""Name of the file in a model's folder."""
EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/v{version}/schema.json"
    for name, version in {"file": "2.1.0", "mlm": "1.4.0"}.items()
)
"""Schemas that the item follows, beside STAC 1.1."""
EVERYWHERE = (-180.0, -90.0, 180.0, 90.0)
ALWAYS = ("1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
"""Place and time of a model that names none: the widest, as in the examples of the extension."""
SHA256 = "1220"
"""Multihash prefix of a SHA-256 of 32 bytes (multiformats.io/multihash)."""
TASKS = ["classification"]
"""The network is given one pixel and says one class; a map is made of many."""
PREPROCESSING = {"format": "python", "expression": "toolkit.cubes.features:build_features"}


def described(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the item of a model as a file: name and content, for :func:`write_checkpoint`."""
    document = model_item(checkpoint).to_dict(include_self_link=False, transform_hrefs=False)
    text = json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True)
    return {ITEM: (text + "\n").encode()}


def model_item(checkpoint: Checkpoint) -> pystac.Item:
    """Return the STAC item of a model, by the Machine Learning Model extension.

    Source: https://github.com/stac-extensions/mlm, version 1.4. The same model gives the same item: it holds
    no time of making. Where its samples lay is not known to a model, so place and time are the widest.

    Args:
        checkpoint: the model.
    """
    recipe, digest = checkpoint.recipe, checkpoint.content_hash
    west, south, east, north = EVERYWHERE
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    item = pystac.Item(
        id=f"{checkpoint.network}-{digest[:12]}",
        geometry={"type": "Polygon", "coordinates": [ring]},
        bbox=list(EVERYWHERE),
        datetime=None,
        properties={
            "start_datetime": ALWAYS[0],
            "end_datetime": ALWAYS[1],
            "title": f"Crop types from {recipe.sensor}: {checkpoint.network}",
            "description": f"Says the crop of a pixel from its season. SHA-256 of the model: {digest}.",
            "cropglobe:simulated": checkpoint.simulated,
            "mlm:name": checkpoint.network,
            "mlm:architecture": checkpoint.network,
            "mlm:tasks": TASKS,
            "mlm:framework": "PyTorch",
            **_known(checkpoint),
            "bands": [{"name": band} for band in recipe.bands],  # what the input's bands refer to
            "mlm:input": [_input(checkpoint)],
            "mlm:output": [_output(checkpoint.legend)],
        },
        stac_extensions=list(EXTENSIONS),
    )
    files = checkpoint_files(checkpoint)
    weights = _file(WEIGHTS, files[WEIGHTS], "application/octet-stream", ["mlm:model", "mlm:weights"])
    weights.extra_fields["mlm:artifact_type"] = "safetensors"
    item.add_asset("weights", weights)
    item.add_asset("card", _file(CARD, files[CARD], pystac.MediaType.JSON, ["metadata"]))
    return item


def _known(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what only some models tell."""
    known: dict[str, Any] = {}
    if version := checkpoint.provenance.get("torch"):
        known["mlm:framework_version"] = str(version)
    if n_parameters := sum(one.numel() for one in checkpoint.build().parameters()):
        known["mlm:total_parameters"] = n_parameters
    return known


def _input(checkpoint: Checkpoint) -> dict[str, Any]:
    recipe = checkpoint.recipe
    told = json.dumps(recipe.to_dict(), sort_keys=True)
    return {
        "name": "series of a pixel",
        "description": f"Surface reflectance, 0 to 1, by this recipe: {told}",
        "bands": list(recipe.bands),
        "input": {
            "shape": [-1, *recipe.shape],
            "dim_order": ["batch", "channel", "time"],
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": std}
            for mean, std in zip(checkpoint.mean, checkpoint.std, strict=True)
        ],
        "pre_processing_function": PREPROCESSING,
    }


def _output(legend: Legend) -> dict[str, Any]:
    classes = [
        {
            "value": k,
            "name": re.sub(r"[^0-9A-Za-z_-]+", "_", entry.name).strip("_") or f"class_{k}",
            "description": entry.name,
            "color_hint": "{:02X}{:02X}{:02X}".format(*entry.color),
        }
        for k, entry in enumerate(legend.classes)
    ]
    return {
        "name": "logits of the classes",
        "description": "The largest is the class; softmax gives probabilities. Maps hold the value plus one.",
        "tasks": TASKS,
        "result": {"shape": [-1, len(classes)], "dim_order": ["batch", "class"], "data_type": "float32"},
        "classification:classes": classes,
    }


def _file(name: str, content: bytes, media_type: str, roles: list[str]) -> pystac.Asset:
    told = {"file:size": len(content), "file:checksum": SHA256 + hashlib.sha256(content).hexdigest()}
    return pystac.Asset(f"./{name}", media_type=media_type, roles=roles, extra_fields=told)
