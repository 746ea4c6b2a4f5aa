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
from toolkit.errors import AreaError
from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.device import check_device, resolve_device
from toolkit.learn.engines.table import able_candidates, check_names
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


def set_up(config: MapRequest, aoi: AOI, *, elsewhere: bool) -> MapSetup:
    """Read and check what a request names.

    Args:
        config: the request.
        aoi: its area.
        elsewhere: whether a cluster works, whose processors and packages are not this machine's.

    Raises:
        CropglobeError: a file is missing or cannot serve; see :mod:`toolkit.errors`.
    """
    models = read_models(config)
    _check_engine(config, models, elsewhere=elsewhere)
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
        zones=read_zones(config, aoi),
    )


def read_zones(config: MapRequest, aoi: AOI) -> gpd.GeoDataFrame | None:
    """Read the polygons to tell areas in, if some are given.

    Args:
        config: the request.
        aoi: its area.

    Raises:
        AreaError: the file cannot be read, or none of its polygons meets the area.
    """
    if config.zones is None:
        return None
    polygons = read_polygons(config.zones)
    if not polygons.intersects(aoi.geometry).any():
        msg = f"No polygon of {str(config.zones)!r} lies in the area. Give polygons of this area, or none."
        raise AreaError(msg)
    return polygons


def _check_engine(config: MapRequest, models: Mapping[str, Checkpoint], *, elsewhere: bool) -> None:
    """Raise unless the engine asked for can serve, as far as this machine can tell."""
    check_device(config.device)
    check_names(config.engine, config.precision)
    if elsewhere:
        return
    device = str(resolve_device(config.device))
    for model in models.values():
        able_candidates(model.network, device, engine=config.engine, precision=config.precision)
