"""Fields of several sample sets that are one field on the ground."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ids = npt.NDArray[np.int32]
Degrees = npt.NDArray[np.float64]

UNKNOWN = -1
"""Position of samples of no known field."""


def fields_on_the_ground(parts: Sequence[tuple[Ids, Degrees, Degrees]]) -> list[Ids]:
    """Number fields anew, so that fields of two parts that overlap on the ground become one.

    Two years of the same fields must not stand on both sides of a split. Parts draw different pixels of
    a field, so the boxes around them are compared: a box that meets one of another part is the same
    field. Neighbours of irregular shape may be joined too, which only makes the split stricter. A field
    without a place is never joined to another.

    Args:
        parts: field of each sample (0: unknown), longitude and latitude in degrees (NaN: unknown place),
            each ``(sample,)``, by part.

    Returns:
        int32 ``(sample,)`` for each part, fields counted from 1; 0 stays 0.
    """
    boxes: list[shapely.Polygon] = []
    owner: list[int] = []
    positions = []
    for number, (field, lon, lat) in enumerate(parts):
        of_field = field != 0
        known, position = np.unique(field[of_field], return_inverse=True)
        numbers = np.full(len(field), UNKNOWN)
        numbers[of_field] = position + len(boxes)
        positions.append(numbers)
        places = lon[of_field], lat[of_field]
        for k in range(len(known)):
            boxes.append(_box_around(*(degrees[position == k] for degrees in places)))
            owner.append(number)
    if not boxes:
        return [np.zeros(len(field), np.int32) for field, _, _ in parts]
    first, second = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    owners = np.array(owner)
    apart = owners[first] != owners[second]
    first, second = first[apart], second[apart]
    links = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(len(boxes), len(boxes)))
    _, group = connected_components(links, directed=False)
    return [np.where(at == UNKNOWN, 0, group[at] + 1).astype(np.int32) for at in positions]


def _box_around(lon: Degrees, lat: Degrees) -> shapely.Polygon:
    """Return the box around the known places; an empty one, which meets none, if there is none."""
    known = np.isfinite(lon) & np.isfinite(lat)
    if not known.any():
        return shapely.Polygon()
    lon, lat = lon[known], lat[known]
    box: shapely.Polygon = shapely.box(lon.min(), lat.min(), lon.max(), lat.max())
    return box
