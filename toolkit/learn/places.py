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


def fields_on_the_ground(parts: Sequence[tuple[Ids, Degrees, Degrees]]) -> list[Ids]:
    """Number fields anew, so that fields of two parts that overlap on the ground become one.

    Two years of the same fields must not stand on both sides of a split. Parts draw different pixels of
    a field, so the boxes around them are compared: a box that meets one of another part is the same
    field. Neighbours of irregular shape may be joined too, which only makes the split stricter.

    Args:
        parts: field of each sample, longitude and latitude in degrees, each ``(sample,)``, by part.

    Returns:
        int32 ``(sample,)`` for each part, fields counted from 1.
    """
    boxes: list[shapely.Polygon] = []
    owner: list[int] = []
    positions = []
    for number, (field, lon, lat) in enumerate(parts):
        known, position = np.unique(field, return_inverse=True)
        positions.append(position + len(boxes))
        for k in range(len(known)):
            mine = position == k
            boxes.append(shapely.box(lon[mine].min(), lat[mine].min(), lon[mine].max(), lat[mine].max()))
            owner.append(number)
    if not boxes:
        return [np.empty(0, np.int32) for _ in parts]
    first, second = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    owners = np.array(owner)
    apart = owners[first] != owners[second]
    first, second = first[apart], second[apart]
    links = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(len(boxes), len(boxes)))
    _, group = connected_components(links, directed=False)
    return [(group[position] + 1).astype(np.int32) for position in positions]
