"""Landscapes: fields with straight edges, one crop each, roads between."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import rasterio.features
from odc.geo.geobox import GeoBox
from rasterio import Affine
from shapely import Polygon, affinity, box

from toolkit.errors import InputError
from toolkit.legend import CROPGLOBE
from toolkit.simulate.phenology import CALENDARS, CROP_VALUE, kinds_of
from toolkit.simulate.regions import Region, resolve_region
from toolkit.simulate.streams import stream

RESOLUTION = 10.0
"""Pixel size in metres."""

PIXELS_PER_FIELD = 360
"""Usual area of a field (3.6 ha), which gives 180 fields on 256 x 256 pixels."""

REACH_M = 250_000.0
"""How far north of a region's corner landscapes lie, 2 degrees; farther ones start at the corner again."""

MIN_FIELD_PIXELS = 30
"""Pieces below this area are left to the margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """Fields and their crops: the known answer."""

    seed: int
    """Seed of every draw."""
    region: Region
    """Place, calendar and soils."""
    geobox: GeoBox
    """Grid at 10 m in UTM, origin on multiples of 20 m."""
    n_fields_asked: int
    """Number of fields asked for; a few are lost to the landscape's edge."""
    field: npt.NDArray[np.uint16]
    """Field number ``(y, x)``, 1 and up; 0 between fields."""
    crop: npt.NDArray[np.uint8]
    """Class of the legend ``(y, x)``, class index + 1; 0 between fields."""
    polygons: tuple[Polygon, ...]
    """Outline of field ``i + 1`` in the CRS of the grid."""
    kinds: tuple[int, ...]
    """Index in the table of calendars: first the land between fields, then field 1, 2, ..."""

    @property
    def n_fields(self) -> int:
        """Number of fields."""
        return len(self.polygons)

    def crop_of(self, field: int) -> str:
        """Return the class name of a field.

        Args:
            field: number of the field, 1 and up.
        """
        return CROPGLOBE.names[CROP_VALUE[self.kinds[field]] - 1]


def make_landscape(
    seed: int,
    *,
    region: str | Region = "reference",
    shape: tuple[int, int] = (256, 256),
    n_fields: int | None = None,
) -> Landscape:
    """Return a landscape of fields with known crops.

    Classes have equal numbers of fields, give or take one.

    Args:
        seed: seed of every draw, 0 or more; the same seed gives the same landscape.
        region: name in :data:`toolkit.simulate.regions.REGIONS` or a region.
        shape: rows and columns of 10 m pixels, even numbers.
        n_fields: number of fields; by default one for every 3.6 ha.

    Raises:
        InputError: shape, number of fields or region cannot be used.
    """
    place = resolve_region(region)
    asked = max(7, round(shape[0] * shape[1] / PIXELS_PER_FIELD)) if n_fields is None else n_fields
    _check_size(shape, asked)
    geobox = GeoBox(
        shape,
        Affine(RESOLUTION, 0, place.easting, 0, -RESOLUTION, _northing(place, seed, shape[0])),
        f"EPSG:{place.epsg}",
    )
    pieces = _split(geobox, asked, stream(seed, "tessellation"))
    polygons, field = _number(pieces, geobox)
    kinds = (kinds_of(None)[0], *_assign(len(polygons), stream(seed, "crops")))
    crop = np.asarray(CROP_VALUE, dtype=np.uint8)[np.asarray(kinds)][field]
    for array in (field, crop):
        array.setflags(write=False)
    return Landscape(
        seed=seed,
        region=place,
        geobox=geobox,
        n_fields_asked=asked,
        field=field,
        crop=crop,
        polygons=polygons,
        kinds=kinds,
    )


def _northing(region: Region, seed: int, rows: int) -> float:
    """Return the north edge of a landscape, metres: each seed's lies north of the one before.

    Fields of two landscapes on one spot would be taken for the same field in two years, and all of them for
    one.
    """
    height = rows * RESOLUTION
    return region.northing + (seed - 1) % int(REACH_M // height) * height


def _check_size(shape: tuple[int, int], n_fields: int) -> None:
    """Refuse grids whose 20 m pixels do not nest, and fields too small to be seen."""
    height, width = shape
    if height < 32 or width < 32 or height % 2 or width % 2:
        msg = f"Landscape shape is {shape!r}; allowed: even numbers, 32 or more. Try (256, 256)."
        raise InputError(msg)
    most = height * width // (2 * MIN_FIELD_PIXELS)
    if not 1 <= n_fields <= min(most, 65_000):
        msg = f"Landscape: n_fields is {n_fields}; allowed: 1 to {min(most, 65_000)} for {shape}."
        raise InputError(msg)


def _split(geobox: GeoBox, n_fields: int, rng: np.random.Generator) -> list[Polygon]:
    """Split the landscape into convex pieces, always the largest, along two slanted directions."""
    bounds = geobox.boundingbox
    outline = box(bounds.left, bounds.bottom, bounds.right, bounds.top)
    angle = rng.uniform(5, 25)
    queue: list[tuple[float, int, Polygon]] = [(-outline.area, 0, outline)]
    order = 0
    while len(queue) < n_fields:
        _, _, piece = heapq.heappop(queue)
        for part in _halves(piece, angle, rng):
            order += 1
            # Now and then a large piece is spared, so that field sizes differ.
            heapq.heappush(queue, (-part.area * rng.uniform(0.4, 1.6), order, part))
    pieces = [piece for _, _, piece in sorted(queue, key=lambda entry: entry[1])]
    # Half of a road or ditch on each side: 10 to 20 m between fields.
    return [piece.buffer(-rng.uniform(5, 10), join_style="mitre") for piece in pieces]


def _halves(piece: Polygon, angle: float, rng: np.random.Generator) -> Sequence[Polygon]:
    """Cut a convex polygon across its longer side, slightly off the common direction."""
    upright = affinity.rotate(piece, -angle, origin=(0, 0))
    left, bottom, right, top = upright.bounds
    x, y = (left + (right - left) * rng.uniform(0.35, 0.65), (bottom + top) / 2)
    reach = 2 * max(right - left, top - bottom)
    tall = top - bottom > right - left
    if tall:
        x, y = (left + right) / 2, bottom + (top - bottom) * rng.uniform(0.35, 0.65)
    turn = rng.normal(0, 3.0) + (90 if tall else 0)
    side = affinity.rotate(box(x - reach, y - reach, x, y + reach), turn, origin=(x, y))
    parts = (upright.intersection(side), upright.difference(side))
    # Halves of a convex polygon are polygons; shapely only promises geometries.
    return [cast("Polygon", affinity.rotate(part, angle, origin=(0, 0))) for part in parts]


def _number(pieces: Sequence[Polygon], geobox: GeoBox) -> tuple[tuple[Polygon, ...], npt.NDArray[np.uint16]]:
    """Keep pieces that are fields, number them and burn the numbers (pixel centres)."""
    smallest = MIN_FIELD_PIXELS * RESOLUTION**2
    polygons = tuple(piece for piece in pieces if isinstance(piece, Polygon) and piece.area >= smallest)
    field = rasterio.features.rasterize(
        ((polygon, number) for number, polygon in enumerate(polygons, start=1)),
        out_shape=geobox.shape.yx,
        transform=geobox.affine,
        dtype="uint16",
    )
    return polygons, np.asarray(field, dtype=np.uint16)


def _assign(n_fields: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Draw the kind of land of each field: classes in equal numbers, kinds by their shares."""
    classes = rng.permutation(np.arange(n_fields) % len(CROPGLOBE.names))
    drawn = []
    for name in (CROPGLOBE.names[k] for k in classes):
        kinds = kinds_of(name)
        shares = np.array([CALENDARS[k].share for k in kinds])
        drawn.append(int(rng.choice(kinds, p=shares / shares.sum())))
    return tuple(drawn)
