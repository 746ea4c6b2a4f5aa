"""True fields: read and checked once, burnt into a whole grid or window by window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.geobox import GeoBox

from toolkit.area.aoi import read_shapes
from toolkit.errors import LabelError
from toolkit.learn.code_classes import CodeClasses, translate
from toolkit.learn.crosswalk import code_text
from toolkit.learn.field_shapes import burn_polygons, kind_of, meets_grid, put_points, shapes_on_grid
from toolkit.legend import CROPGLOBE, Legend

Bytes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]
Shapes = npt.NDArray[np.object_]
Classes = Mapping[int | str, str] | CodeClasses
"""Code -> class name, or all rules by which codes become classes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fields:
    """Fields, or points, that meet a grid, with their classes."""

    shapes: Shapes
    """In the grid's CRS, polygons shrunk, ``(field,)``."""
    values: Bytes
    """Class index + 1 of each, 0 without a class, ``(field,)``."""
    numbers: Ids
    """Position in the table + 1 of each, ``(field,)``."""
    tree: shapely.STRtree
    """Index of the shapes."""
    points: bool
    """Whether they are points."""
    dropped: Mapping[str, int]
    """Code -> fields left unlabelled for it."""
    inner_buffer_m: float
    """Metres by which polygons were shrunk."""

    def on(self, geobox: GeoBox) -> tuple[Bytes, Ids]:
        """Return the labels of a grid, or of a window of it, where they are the same.

        Args:
            geobox: the grid, or a window of it.

        Returns:
            Class index + 1, uint8 ``(y, x)``, 0 unlabelled; position in the table + 1, int32 ``(y, x)``,
            0 none.
        """
        near = self.near(geobox)
        ids = np.arange(1, len(near) + 1, dtype=np.int32)
        if self.points:
            place = put_points(self.shapes[near], ids, self.values[near], geobox)
        else:
            place = burn_polygons(self.shapes[near], ids, geobox)
        crop = np.concatenate([np.zeros(1, np.uint8), self.values[near]])[place]
        field = np.concatenate([np.zeros(1, np.int32), self.numbers[near]])[place]
        return crop, field

    def near(self, geobox: GeoBox) -> npt.NDArray[np.int64]:
        """Return which shapes meet a window, ascending, ``(field,)``."""
        return np.sort(self.tree.query(geobox.extent.geom, predicate="intersects")).astype(np.int64)

    def nothing_labelled(self) -> str:
        """Return the message for a grid on which no pixel is labelled."""
        what = "holds points of one crop" if self.points else "centre lies in exactly one field"
        return (
            f"No pixel {what}: of {len(self.shapes)} shapes here {int((self.values > 0).sum())} have a "
            f"class, and they were shrunk by {self.inner_buffer_m:g} m. Use a smaller inner_buffer_m or a "
            "finer grid, "
            f"and check codes ({dict(self.dropped)} dropped) and that none is drawn twice."
        )


def read_fields(
    fields: gpd.GeoDataFrame | str | Path,
    geobox: GeoBox,
    *,
    legend: Legend = CROPGLOBE,
    inner_buffer_m: float = 10.0,
    property: str = "crop",  # noqa: A002  # the word of GeoJSON for it
    classes: Classes | None = None,
) -> Fields:
    """Read the fields that meet a grid and translate their crops; nothing is rasterised.

    Args:
        fields: polygons or points in any CRS, or the path of a vector file.
        geobox: grid.
        legend: classes.
        inner_buffer_m: metres by which polygons are shrunk, so that mixed pixels stay out.
        property: column with the crop: the name of its class, or a code.
        classes: how codes become classes; None for class names.

    Raises:
        LabelError: no such property, crops without a class, no CRS, polygons and points mixed or neither,
            or buffer negative.
        AreaError: the file is missing, unreadable or holds no polygon or point.
    """
    frame = read_shapes(fields) if isinstance(fields, str | Path) else fields
    if not (np.isfinite(inner_buffer_m) and inner_buffer_m >= 0):
        msg = f"inner_buffer_m is {inner_buffer_m!r}; allowed: 0 metres or more. Use 10 or 0."
        raise LabelError(msg)
    points = kind_of(frame) == "points"
    if points:
        frame, inner_buffer_m = frame.explode(ignore_index=True), 0.0
    texts = _codes_of(frame, property)
    shapes = shapes_on_grid(frame, geobox, inner_buffer_m=inner_buffer_m)
    near = np.flatnonzero(meets_grid(shapes, geobox))
    source = repr(str(fields)) if isinstance(fields, str | Path) else "The table of labels"
    found = translate(Counter(texts[near].tolist()), rules_of(classes), legend, source=source, numbers=False)
    return Fields(
        shapes=shapes[near],
        values=np.array([found.values[text] for text in texts[near].tolist()], dtype=np.uint8),
        numbers=(near + 1).astype(np.int32),
        tree=shapely.STRtree(shapes[near]),
        points=points,
        dropped=found.dropped,
        inner_buffer_m=inner_buffer_m,
    )


def _codes_of(frame: gpd.GeoDataFrame, column: str) -> npt.NDArray[np.object_]:
    """Return the code of each shape as text, empty where the table has none."""
    if column not in frame.columns or column == frame.geometry.name:
        known = [str(name) for name in frame.columns if name != frame.geometry.name]
        msg = (
            f"Fields have no property {column!r}. Properties: {', '.join(known) or 'none'}. "
            "Name the one that holds the crop."
        )
        raise LabelError(msg)
    return np.array([code_text(value) for value in frame[column]], dtype=object)


def rules_of(classes: Classes | None) -> CodeClasses:
    """Return the rules by which codes become classes; without any, codes are names of classes."""
    return classes if isinstance(classes, CodeClasses) else CodeClasses(classes=classes or {})
