"""What a map is asked for, read and checked: a wrong file must not cost a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import geopandas as gpd
from odc.geo.geobox import GeoBox

from pipelines.config import MapRequest
from pipelines.map_cropland import cropland_file
from pipelines.map_inputs import read_models
from toolkit.area.aoi import AOI, read_polygons
from toolkit.area.grid import output_geobox
from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.fields import Fields, read_fields
from toolkit.learn.map_accuracy import check_fields
from toolkit.legend import Legend
from toolkit.scenes.cropland import Cropland


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSetup:
    """A request and the files it names."""

    config: MapRequest
    """The request."""
    aoi: AOI
    """Area of interest."""
    models: Mapping[str, Checkpoint]
    """Sensor -> model."""
    geobox: GeoBox
    """Grid of the map."""
    truth: Fields | None
    """True fields, if they are given."""
    cropland: Cropland | None
    """The user's own mask of cropland, if one is given."""
    zones: gpd.GeoDataFrame | None
    """Polygons to tell areas in, if they are given."""

    @property
    def legend(self) -> Legend:
        """Classes of the map."""
        return next(iter(self.models.values())).legend


def set_up(config: MapRequest, aoi: AOI) -> MapSetup:
    """Read and check what a request names.

    Args:
        config: the request.
        aoi: its area.

    Raises:
        CropglobeError: a file is missing or cannot serve; see :mod:`toolkit.errors`.
    """
    models = read_models(config)
    geobox = output_geobox(aoi, resolution=config.pixel_size_m, crs=config.crs)
    legend = next(iter(models.values())).legend
    truth = None
    if config.fields is not None:
        truth = read_fields(config.fields, geobox, legend=legend)
        check_fields(truth, geobox, aoi)
    return MapSetup(
        config=config,
        aoi=aoi,
        models=models,
        geobox=geobox,
        truth=truth,
        cropland=cropland_file(config, aoi),
        zones=None if config.zones is None else read_polygons(config.zones),
    )
