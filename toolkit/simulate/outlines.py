"""Outlines in longitude and latitude: footprints, areas of interest, fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import rasterio.features
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely import Polygon, affinity, box
from shapely.geometry import shape as to_shape

from toolkit.errors import InputError
from toolkit.simulate.landscape import Landscape
from toolkit.simulate.once import write_json
from toolkit.simulate.streams import stream

Rings = list[list[list[float]]]
"""Coordinates of a GeoJSON polygon."""

DECIMALS = 7
"""Digits of degrees: about 1 cm."""

AOI_MARGIN_M = 50.0
"""Distance of the area of interest from the landscape's edge."""


def to_degrees(points: Iterable[tuple[float, float]], geobox: GeoBox) -> list[tuple[float, float]]:
    """Return longitude and latitude of points in the CRS of a grid, rounded to 1 cm."""
    transformer = Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True)
    xs, ys = zip(*points, strict=True)
    lons, lats = transformer.transform(np.asarray(xs), np.asarray(ys))
    return [
        (round(float(lon), DECIMALS), round(float(lat), DECIMALS))
        for lon, lat in zip(lons, lats, strict=True)
    ]


def rings_of(polygon: Polygon, geobox: GeoBox) -> Rings:
    """Return the rings of a polygon in the CRS of a grid as GeoJSON coordinates in degrees."""
    return [
        [list(point) for point in to_degrees([(p[0], p[1]) for p in ring.coords], geobox)]
        for ring in (polygon.exterior, *polygon.interiors)
    ]


def valid_outline(valid: npt.NDArray[np.bool_], geobox: GeoBox) -> Polygon:
    """Return the outline of the valid pixels: their convex hull, as a swath has straight edges.

    Args:
        valid: bool ``(y, x)``, at least one pixel True.
        geobox: grid of the pixels.
    """
    shapes = rasterio.features.shapes(valid.astype("uint8"), mask=valid, transform=geobox.affine)
    hulls = [to_shape(geometry) for geometry, _ in shapes]
    hull = hulls[0]
    for other in hulls[1:]:
        hull = hull.union(other)
    hull = hull.convex_hull.normalize()
    return Polygon(cast("Polygon", hull).exterior.coords)


def area_of_interest(landscape: Landscape, *, share: float | None) -> Polygon:
    """Return the outline of the area to map, in the CRS of the landscape.

    Args:
        landscape: where.
        share: part of the landscape that an irregular outline covers, up to 0.7; None: the
            landscape itself, a little smaller.

    Raises:
        InputError: share out of range.
    """
    bounds = landscape.geobox.boundingbox
    whole = box(bounds.left, bounds.bottom, bounds.right, bounds.top)
    inner = Polygon(whole.buffer(-AOI_MARGIN_M, join_style="mitre").exterior.coords)
    if share is None:
        return inner
    if not 0.01 <= share <= 0.7:
        msg = f"Share of the area is {share!r}; allowed: 0.01 to 0.7, or None for all of it."
        raise InputError(msg)
    rng = stream(landscape.seed, "aoi")
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    radius = np.ones_like(angles)
    for waves in (2, 3, 5):
        radius += rng.uniform(0.05, 0.12) * np.cos(waves * angles + rng.uniform(0, 2 * np.pi))
    centre = whole.centroid
    width, height = bounds.right - bounds.left, bounds.top - bounds.bottom
    unit = Polygon(zip(radius * np.cos(angles), radius * np.sin(angles), strict=True))
    low, high = 0.0, 2.0
    for _ in range(40):
        middle = (low + high) / 2
        scaled = affinity.scale(unit, middle * width / 2, middle * height / 2, origin=(0, 0))
        blob = affinity.translate(scaled, centre.x, centre.y).intersection(inner)
        low, high = (middle, high) if blob.area < share * whole.area else (low, middle)
    return Polygon(cast("Polygon", blob).exterior.coords)


def feature_collection(features: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return GeoJSON features as a collection (EPSG:4326, RFC 7946)."""
    return {"type": "FeatureCollection", "features": list(features)}


def feature(polygon: Polygon, geobox: GeoBox, properties: dict[str, Any]) -> dict[str, Any]:
    """Return a polygon in the CRS of a grid as GeoJSON feature in degrees."""
    geometry = {"type": "Polygon", "coordinates": rings_of(polygon, geobox)}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def field_features(landscape: Landscape) -> dict[str, Any]:
    """Return the fields with their number and crop as GeoJSON."""
    return feature_collection(
        [
            feature(
                polygon,
                landscape.geobox,
                {"field": number, "crop": landscape.crop_of(number), "simulated": True},
            )
            for number, polygon in enumerate(landscape.polygons, start=1)
        ]
    )


def write_outlines(folder: Path, landscape: Landscape, *, aoi_share: float | None) -> None:
    """Write ``fields.geojson`` and ``aoi.geojson``.

    Args:
        folder: where.
        landscape: fields and their crops.
        aoi_share: part of the landscape that ``aoi.geojson`` covers; None: nearly all of it.

    Raises:
        InputError: share out of range.
    """
    write_json(folder / "fields.geojson", field_features(landscape))
    outline = area_of_interest(landscape, share=aoi_share)
    aoi = feature(outline, landscape.geobox, {"name": "simulated area", "simulated": True})
    write_json(folder / "aoi.geojson", feature_collection([aoi]))
