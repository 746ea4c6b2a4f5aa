"""What a feature cube on disk holds: its arrays, coordinates and attributes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import dask.array as da
import numpy as np
import pyproj
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from toolkit.area.season import Season
from toolkit.cubes.features import build_features
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.scenes.sensors import SENSORS

FORMAT = 1
"""Layout of the store; raised when older readers would misread it."""
KIND_ATTRIBUTE = "cropglobe_cube"
"""Attribute of the group that holds :data:`FORMAT`; by it a folder is known as a cube."""
NODATA = 0
"""Count of a median that was not observed. Observed ones are 1 (scenes are clipped to 1) to 65535 (the last
digital number), so 0 is the one value that is free; 65535 would lose the brightest reflectance, 6.5535."""

CHUNK_EDGES = range(256, 127, -1)
"""Edges in pixels that chunks should have: 256 x 256 pixels of one band in 43 steps of uint16 are 5.6 MB
before compression. All ten bands together (56 MB) would make whoever wants two read ten."""

COMPANIONS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "step_observations": {"units": "1", "long_name": "clear observations of each step"},
        "solved": {
            "long_name": "how the curve was fitted",
            "flag_values": [0, 1, 2],
            "flag_meanings": "too_few_observations solved singular_solved_with_ridge",
        },
    }
)
"""Layers of bytes that features have beside them as coordinates, and their attributes; 0 = nothing seen."""

CONVENTIONS = (
    # GeoZarr's conventions for the grid, on the group; readers know them by their uuid.
    # https://github.com/zarr-conventions/proj (WKT always, a code where there is one)
    {
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "name": "proj",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/proj/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/proj/blob/v1/README.md",
        "description": "Coordinate reference system information for geospatial data",
    },
    # https://github.com/zarr-conventions/spatial (transform in the order of affine and rasterio)
    {
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "name": "spatial",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
        "description": "Spatial coordinate information",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayLayout:
    """One array of the store."""

    name: str
    """Name of the variable."""
    dims: tuple[str, ...]
    """Names of the dimensions; ``y`` and ``x`` come last."""
    shape: tuple[int, ...]
    """Size of each."""
    chunks: tuple[int, ...]
    """Size of a chunk along each: one band, all steps, a part of one tile."""
    dtype: str
    """Type as stored."""
    fill: float
    """Value of what is not written."""
    attributes: dict[str, Any]
    """CF attributes."""


def variable_name(recipe: FeatureRecipe) -> str:
    """Return the name of the features in a store: ``coefficients`` of harmonics, else ``reflectance``."""
    return "coefficients" if recipe.kind == "harmonic" else "reflectance"


def chunk_edge(tile_size: int) -> int:
    """Return the edge of chunks, in pixels: it divides the tile's, so that no two tiles share a chunk."""
    if tile_size <= CHUNK_EDGES[0]:
        return tile_size
    return next((edge for edge in CHUNK_EDGES if tile_size % edge == 0), tile_size)


def companions(features: xr.DataArray) -> tuple[str, ...]:
    """Return the names of the layers ``(..., y, x)`` that features have beside them as coordinates."""
    return tuple(name for name in COMPANIONS if name in features.coords)


def cube_layout(
    recipe: FeatureRecipe, season: Season, geobox: GeoBox, *, tile_size: int, simulated: bool
) -> tuple[tuple[ArrayLayout, ...], xr.Dataset]:
    """Return the arrays and coordinates of a cube.

    A chunk holds one band with all its steps. Chunks are not joined to shards: a file per band and chunk is
    few enough, and readers other than zarr-python lag behind.

    Args:
        recipe: how the features are made.
        season: the recipe's season in one year.
        geobox: grid of the cube.
        tile_size: edge of the tiles that will be written, pixels; each will be whole chunks.
        simulated: whether any scene is simulated.

    Returns:
        Layout of the features and of the layers beside them, and a dataset with the coordinates alone.
    """
    template = _one_pixel(recipe, season, simulated=simulated)
    coordinates = _coordinates(template, recipe, season, geobox)
    harmonic = recipe.kind == "harmonic"
    scale = {} if harmonic else {"scale_factor": SENSORS[recipe.sensor].scale, "_FillValue": NODATA}
    grid = tuple(geobox.shape.yx)
    edges = tuple(min(chunk_edge(tile_size), size) for size in grid)
    per_band = (1, *template.shape[1:-2]) if template.ndim == 4 else (template.shape[0] // len(recipe.bands),)
    features = ArrayLayout(
        name=variable_name(recipe),
        dims=tuple(map(str, template.dims)),
        shape=template.shape[:-2] + grid,
        chunks=per_band + edges,
        dtype="float32" if harmonic else "uint16",
        fill=np.nan if harmonic else NODATA,
        attributes={**template.attrs, **scale, **_links(template, coordinates)},
    )
    beside = []
    for name in companions(template):
        layer = template.coords[name]
        lead, links = layer.shape[:-2], _links(layer, coordinates)
        beside.append(
            ArrayLayout(
                name=name,
                dims=tuple(map(str, layer.dims)),
                shape=lead + grid,
                chunks=lead + edges,
                dtype="uint8",
                fill=0,
                attributes={**COMPANIONS[name], **links},
            )
        )
    return (features, *beside), coordinates


def cube_attributes(
    recipe: FeatureRecipe, season: Season, geobox: GeoBox, *, simulated: bool
) -> dict[str, Any]:
    """Return the attributes of the group: what the cube means, and where it lies."""
    crs = pyproj.CRS.from_user_input(str(geobox.crs))
    authority = crs.to_authority()
    days = {"first_day": str(season.start), "last_day": str(season.end)}
    return {
        KIND_ATTRIBUTE: FORMAT,
        "Conventions": "CF-1.11",
        "recipe": json.dumps(recipe.to_dict(), sort_keys=True),
        "season": json.dumps({**asdict(season), **days}, sort_keys=True),
        "simulated": int(simulated),
        "zarr_conventions": list(CONVENTIONS),
        **({"proj:code": ":".join(authority)} if authority else {}),
        "proj:wkt2": crs.to_wkt(),
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": list(geobox.shape.yx),
        "spatial:transform": list(geobox.affine)[:6],
        "spatial:bbox": list(geobox.boundingbox.bbox),
        "spatial:registration": "pixel",
    }


def coordinate_encoding(name: str) -> dict[str, Any]:
    """Return how a coordinate is stored: no fill value (CF allows none), days as whole numbers."""
    days = {"units": "days since 1970-01-01", "dtype": "int32"} if name in {"step_start", "step_end"} else {}
    return {"_FillValue": None, **days}


def _one_pixel(recipe: FeatureRecipe, season: Season, *, simulated: bool) -> xr.DataArray:
    """Features of one unseen pixel, lazy: names, dimensions and attributes as every tile has them."""
    numbers = xr.DataArray(
        da.zeros((1, 1, 1), dtype=np.uint16),
        dims=("time", "y", "x"),
        coords={"time": np.array([season.start], dtype="datetime64[ns]")},
    )
    about = {"sensor": recipe.sensor, "simulated": int(simulated)}
    scenes = xr.Dataset(dict.fromkeys(recipe.bands, numbers), attrs=about)
    return build_features(scenes.assign(clear=numbers > 0), recipe, season)


def _coordinates(template: xr.DataArray, recipe: FeatureRecipe, season: Season, geobox: GeoBox) -> xr.Dataset:
    """Pixel centres, names, and the days of each step."""
    grid = xr.Dataset(coords=xr_coords(geobox))
    for axis in ("x", "y"):
        grid[axis].attrs |= {
            "axis": axis.upper(),
            "standard_name": f"projection_{axis}_coordinate",
            "long_name": f"{axis} of the pixel's centre",
        }
    bands = np.array(recipe.bands, dtype=object)  # object: zarr has no stable type for fixed-length text
    steps = np.arange(recipe.n_steps)
    days = np.array(season.windows, dtype="datetime64[ns]")
    if "feature" not in template.dims:
        named: dict[str, Any] = {"band": ("band", bands)}
    else:
        repeats = template.sizes["feature"] // len(bands)
        named = {
            "feature": ("feature", template.feature.to_numpy().astype(object)),
            "band": ("feature", np.repeat(bands, repeats)),
        }
        steps, days = np.tile(steps, len(bands)), np.tile(days, (len(bands), 1))
    if recipe.kind != "harmonic":
        along = "step" if "step" in template.dims else "feature"
        named |= {
            "step": (along, steps, {"long_name": "step, counted from the start of the season"}),
            "step_start": (along, days[:, 0], {"long_name": "first day of the step"}),
            "step_end": (along, days[:, 1], {"long_name": "last day of the step"}),
        }
    return grid.assign_coords(named)


def _links(layer: xr.DataArray, coordinates: xr.Dataset) -> dict[str, str]:
    """CF attributes that tie an array to its grid and to the coordinates that are no dimensions."""
    further = [
        str(name)
        for name, value in coordinates.coords.items()
        if name not in value.dims and set(value.dims) <= set(layer.dims)
    ]
    return {"grid_mapping": "spatial_ref", "coordinates": " ".join(further)}
