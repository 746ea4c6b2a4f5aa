"""Labels of the samples workflow: from a file, or from a layer that a catalog offers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import xarray as xr
from odc.geo.geobox import GeoBox

from pipelines.samples_config import SamplesRequest
from toolkit.area.aoi import AOI, VECTOR_SUFFIXES
from toolkit.catalog.layer_search import search_layer
from toolkit.catalog.layers import LABEL_LAYERS, LabelLayer
from toolkit.errors import InputError
from toolkit.learn.crop_codes import read_layer_codes
from toolkit.learn.labels import label_codes, rasterize_fields, read_label_raster, thin_labels

RASTER_SUFFIXES = (".tif", ".tiff")
POLYGON_EDGE_M = 10.0
"""Edge of polygons left out where the user says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLabels:
    """Labels, thinned, and what to keep of where they come from."""

    labels: xr.Dataset
    """``crop`` and ``field`` ``(y, x)``."""
    made_from: dict[str, Any]
    """Plain values for the provenance of the samples."""

    def lines(self) -> list[str]:
        """Say which codes were left unlabelled."""
        dropped = self.made_from["dropped_codes"]
        most = sorted(dropped.items(), key=lambda entry: -entry[1])[:10]
        listed = ", ".join(f"{code} ({n})" for code, n in most)
        more = f" and {len(dropped) - len(most)} more" if len(dropped) > len(most) else ""
        return [f"codes left unlabelled: {listed}{more}"] if dropped else []


def read_labels(config: SamplesRequest, aoi: AOI, geobox: GeoBox) -> ReadLabels:
    """Read the labels of a request onto a grid.

    Args:
        config: the request.
        aoi: area, to search layers over.
        geobox: grid.

    Raises:
        InputError: the labels are of a kind that is not read.
        LabelError: they cannot be used, see :mod:`toolkit.learn.labels`.
        RemoteError: a catalog or a file of it cannot be read.
    """
    layer = None if config.labels.exists() else LABEL_LAYERS.get(str(config.labels))
    items: dict[str, Any] = {}
    if layer is not None:
        labels, items["labels_items"] = _of_layer(layer, config, aoi, geobox)
    else:
        labels = _of_file(config, geobox)
    thin = thin_labels(labels, cap_per_field=config.cap_per_field, balance=config.balance, seed=config.seed)
    made_from = {
        "labels": config.labels.name,
        **items,
        "labels_scheme": config.labels_scheme or (layer.scheme if layer else None),
        "dropped_codes": labels.attrs["dropped_codes"],
        "inner_buffer_m": labels.attrs["inner_buffer_m"],
        "cap_per_field": config.cap_per_field,
        "balance": config.balance,
        "seed": config.seed,
    }
    return ReadLabels(labels=thin, made_from=made_from)


def _of_layer(
    layer: LabelLayer, config: SamplesRequest, aoi: AOI, geobox: GeoBox
) -> tuple[xr.Dataset, list[str]]:
    """Return labels of a layer and the ids of its items; its mixed pixels at the edges stay out."""
    found = search_layer(
        layer, aoi, config.year, catalog=config.labels_catalog, allow_hosts=config.allow_hosts
    )
    buffer = layer.pixel_m if config.inner_buffer is None else config.inner_buffer
    labels = label_codes(
        read_layer_codes(found, geobox),
        geobox,
        classes=config.code_classes(scheme=layer.scheme),
        erode_px=_pixels(buffer, config),
        source=layer.name,
    )
    return labels, list(found.files)


def _of_file(config: SamplesRequest, geobox: GeoBox) -> xr.Dataset:
    path, suffix = config.labels, config.labels.suffix.lower()
    if suffix in RASTER_SUFFIXES:
        edge = _pixels(config.inner_buffer or 0.0, config)
        return read_label_raster(path, geobox, classes=config.code_classes(), erode_px=edge)
    if suffix not in VECTOR_SUFFIXES:
        msg = (
            f"Labels {str(path)!r} are of a kind that is not read. Give polygons or points "
            f"({', '.join(VECTOR_SUFFIXES)}), a raster of codes ({', '.join(RASTER_SUFFIXES)}), or the name "
            f"of a layer ({', '.join(LABEL_LAYERS)})."
        )
        raise InputError(msg)
    buffer = POLYGON_EDGE_M if config.inner_buffer is None else config.inner_buffer
    return rasterize_fields(
        path,
        geobox,
        inner_buffer_m=buffer,
        property=config.labels_property,
        classes=config.code_classes(),
    )


def _pixels(edge_m: float, config: SamplesRequest) -> int:
    """Return an edge in whole pixels, no less than asked for."""
    return math.ceil(edge_m / config.pixel_size_m - 1e-9)
