"""Samples: series of labelled pixels, cut out of features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from toolkit.cubes.recipe import FeatureRecipe, check_same_recipe
from toolkit.errors import LabelError
from toolkit.learn.places import fields_on_the_ground
from toolkit.legend import CROPGLOBE, Legend
from toolkit.storage import whole_folder

Series = npt.NDArray[np.float32]

FORMAT = 1
"""Layout of the store; raised when older readers would misread it."""

ARRAYS: dict[str, type[np.generic]] = {
    "series": np.float32,
    "crop": np.uint8,
    "field": np.int32,
    "lon": np.float64,
    "lat": np.float64,
}
"""Arrays of samples and their types."""

BLOCK_DEGREES = 0.5
"""Edge of the cells by which samples are split where neighbouring fields are too alike: 55 km of latitude."""

CHUNK = 4096
"""Samples in a chunk of the store: 12 MB of ten bands and a year of five-day steps."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Samples:
    """Labelled pixels with their series."""

    series: Series
    """float32 ``(sample, band, step)``, reflectance (unit 1); NaN in gaps if the recipe fills none."""
    crop: npt.NDArray[np.uint8]
    """uint8 ``(sample,)``, class index in the legend."""
    field: npt.NDArray[np.int32]
    """int32 ``(sample,)``, field the pixel lies in; 0 unknown."""
    lon: npt.NDArray[np.float64]
    """float64 ``(sample,)``, degrees east, centre of the pixel; NaN unknown."""
    lat: npt.NDArray[np.float64]
    """float64 ``(sample,)``, degrees north, centre of the pixel; NaN unknown."""
    recipe: FeatureRecipe
    """What the series mean; usually the full year, so that any season can be cut from it."""
    legend: Legend = CROPGLOBE
    """Classes of ``crop``."""
    simulated: bool
    """Whether any series comes from simulated scenes."""
    provenance: dict[str, Any] = dataclass_field(default_factory=dict)
    """Where the samples come from; plain values."""

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        n = len(self.series)
        for name, dtype in ARRAYS.items():
            array = getattr(self, name)
            shape = (n, *self.recipe.shape) if name == "series" else (n,)
            if array.dtype != dtype or array.shape != shape:
                msg = (
                    f"Samples: {name} is {array.dtype} {array.shape}; needed: {np.dtype(dtype)} "
                    f"{shape}, as the recipe and the number of series say. Convert it."
                )
                raise LabelError(msg)
        if n and self.crop.max() >= len(self.legend.names):
            msg = (
                f"Samples: crop goes up to {self.crop.max()}, the legend has "
                f"{len(self.legend.names)} classes ({', '.join(self.legend.names)}). "
                "Give the legend of these labels."
            )
            raise LabelError(msg)
        try:
            _json(self.provenance)
        except (TypeError, ValueError) as error:  # now, not after hours of training
            msg = (
                f"Samples: provenance cannot be kept as JSON ({error}); allowed: text, numbers, "
                "lists and mappings. Convert it."
            )
            raise LabelError(msg) from error

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.series)

    def select(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.integer]) -> Samples:
        """Return some of the samples.

        Args:
            index: bool ``(sample,)``, or positions.
        """
        return replace(self, **{name: getattr(self, name)[index] for name in ARRAYS})

    @property
    def block(self) -> npt.NDArray[np.int64]:
        """Cell of :data:`BLOCK_DEGREES` a sample lies in, int64 ``(sample,)``, worldwide; -1 unknown."""
        column = np.floor((self.lon + 180) / BLOCK_DEGREES)
        row = np.floor((self.lat + 90) / BLOCK_DEGREES)
        cell = row * round(360 / BLOCK_DEGREES) + column
        return np.where(np.isfinite(cell), cell, -1).astype(np.int64)

    @property
    def content_hash(self) -> str:
        """sha256 of the arrays and what they mean, as hexadecimal digits."""
        digest = hashlib.sha256(_json(_meaning(self)).encode())
        for name in ARRAYS:
            digest.update(np.ascontiguousarray(getattr(self, name)).data)
        return digest.hexdigest()


def join_samples(parts: Sequence[Samples], *, same_fields: bool = False) -> Samples:
    """Return all samples as one.

    Args:
        parts: samples of one recipe and legend.
        same_fields: the parts are tiles of one area, so that equal numbers are one field; the samples
            are then sorted by field and place, and the order of the parts does not matter. Otherwise
            fields get new numbers, so that none is shared by two parts; 0, an unknown field, stays 0.

    Raises:
        RecipeMismatchError: the recipes differ.
        LabelError: the legends differ, or there is no sample.
    """
    if not sum(map(len, parts)):
        msg = (
            f"There is no sample in the {len(parts)} parts to join: no labelled pixel has all its features. "
            "Use scenes with fewer clouds, fill gaps (recipe.fill='linear'), or label more fields."
        )
        raise LabelError(msg)
    head = parts[0]
    for part in parts:
        check_same_recipe(part.recipe, head.recipe)
        if part.legend != head.legend:
            msg = (
                f"Samples have different legends: {list(head.legend.names)} and "
                f"{list(part.legend.names)}. Join only samples of one legend."
            )
            raise LabelError(msg)
    joined = replace(
        head,
        series=np.concatenate([part.series for part in parts]),
        crop=np.concatenate([part.crop for part in parts]),
        field=np.concatenate(
            [part.field for part in parts]
            if same_fields
            else fields_on_the_ground([(part.field, part.lon, part.lat) for part in parts])
        ),
        lon=np.concatenate([part.lon for part in parts]),
        lat=np.concatenate([part.lat for part in parts]),
        simulated=any(part.simulated for part in parts),
        provenance=_joined_provenance(parts, same_fields=same_fields),
    )
    if same_fields:
        return joined.select(np.lexsort((joined.lon, -joined.lat, joined.field)))
    return joined


def _joined_provenance(parts: Sequence[Samples], *, same_fields: bool) -> dict[str, Any]:
    """List the parts; those of one area once, with their counts added up."""
    if not same_fields:
        return {"joined": [part.provenance for part in parts]}
    n_not_observed = sum(int(part.provenance.get("n_not_observed", 0)) for part in parts)
    return {**parts[0].provenance, "n_not_observed": n_not_observed}


def write_samples(samples: Samples, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write samples as one Zarr store, complete or not at all.

    Args:
        samples: what to write.
        path: folder of the store.
        overwrite: replace samples that are there.

    Returns:
        The path.

    Raises:
        StorageError: the name is taken, or the disk refuses.
    """
    path = Path(path)
    dims = ("sample", "band", "step")
    arrays = {name: getattr(samples, name) for name in ARRAYS}
    dataset = xr.Dataset(
        {name: (dims[: array.ndim], array) for name, array in arrays.items()},
        attrs={
            "cropglobe_samples": FORMAT,
            "sha256": samples.content_hash,
            **{key: _json(value) for key, value in _meaning(samples).items()},
            "provenance": _json(samples.provenance),
        },
    )
    chunk = max(1, min(CHUNK, len(samples)))
    encoding = {
        name: {"chunks": (chunk, *array.shape[1:]), "_FillValue": None} for name, array in arrays.items()
    }
    with whole_folder(path, mark="zarr.json", overwrite=overwrite) as part:
        dataset.to_zarr(part, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
    return path


def read_samples(path: str | Path) -> Samples:
    """Read samples, and check that they are complete and unchanged.

    Args:
        path: folder that :func:`write_samples` wrote.

    Raises:
        LabelError: there are no samples, or they are damaged or of an unknown layout.
    """
    path = Path(path)
    if not (path / "zarr.json").is_file():
        msg = (
            f"There are no samples in {str(path)!r} (no zarr.json). "
            "Make them with: cropglobe samples --out SAMPLES."
        )
        raise LabelError(msg)
    try:
        with xr.open_dataset(path, engine="zarr", chunks=None, consolidated=False) as dataset:
            attrs = dict(dataset.attrs)
            _check_format(attrs.get("cropglobe_samples"), path)
            samples = Samples(
                **{name: dataset[name].to_numpy() for name in ARRAYS},
                recipe=FeatureRecipe.from_dict(json.loads(attrs["recipe"])),
                legend=Legend.from_list(json.loads(attrs["legend"])),
                simulated=bool(json.loads(attrs["simulated"])),
                provenance=json.loads(attrs["provenance"]),
            )
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, LabelError):
            raise
        msg = f"Samples in {str(path)!r} cannot be read ({error!r}). Make or copy them again."
        raise LabelError(msg) from error
    if samples.content_hash != attrs.get("sha256"):
        msg = (
            f"Samples in {str(path)!r} are damaged: their sha256 is {samples.content_hash}, "
            f"written was {attrs.get('sha256')}. Make or copy them again."
        )
        raise LabelError(msg)
    return samples


def _check_format(found: object, path: Path) -> None:
    if found != FORMAT:
        msg = (
            f"{str(path)!r} is of layout {found!r}; readable: {FORMAT}. "
            "Make the samples with this version, or install the version that made them."
        )
        raise LabelError(msg)


def _meaning(samples: Samples) -> dict[str, Any]:
    """Return what the arrays mean, as plain values."""
    return {
        "recipe": samples.recipe.to_dict(),
        "legend": samples.legend.to_list(),
        "simulated": samples.simulated,
    }


def _json(value: Any) -> str:  # any plain value
    return json.dumps(value, sort_keys=True, allow_nan=False)
