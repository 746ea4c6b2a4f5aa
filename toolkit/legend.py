"""The crop classes, in the order of the models, with their colours.

Class index ``k`` of a model is value ``k + 1`` in every raster; 0 is no data.
Order of the classes: CropGlobe (Tong & Wang 2025, arXiv 2509.03497).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from toolkit.errors import LabelError

NODATA = 0
"""Value of a pixel without a class in ``crop_map.tif``."""


class Status(IntEnum):
    """Why a pixel has a class or none: the values of the layer ``status``."""

    MAPPED = 1
    """The pixel has a class."""
    OUTSIDE_AREA = 2
    """The pixel's centre lies outside the area of interest."""
    NOT_CROPLAND = 3
    """The cropland mask says that nothing is grown here."""
    NOT_OBSERVED = 4
    """At least one feature is missing: no clear observation to build it from."""
    OUT_OF_DISTRIBUTION = 5
    """The features are unlike anything the model was trained on."""
    FAILED = 6
    """The model or the reading failed here."""


class Source(IntEnum):
    """Which sensors a pixel's class comes from: the values of the layer ``sensor``; 0 is none."""

    SENTINEL_2 = 1
    """Sentinel-2 alone."""
    EMIT = 2
    """EMIT alone."""
    BOTH = 3
    """The mean of what both models say."""


@dataclass(frozen=True, slots=True)
class CropClass:
    """One class of a legend."""

    name: str
    """Name in the field's words, lower case; the property ``crop`` of field files holds it."""
    color: tuple[int, int, int]
    """Red, green, blue, each 0 to 255."""


@dataclass(frozen=True, slots=True)
class Legend:
    """Ordered crop classes of a model or map."""

    classes: tuple[CropClass, ...]
    """Position ``k`` is class index ``k`` of a model and raster value ``k + 1``."""

    def __post_init__(self) -> None:
        """Check that names are unique and that the values fit a byte."""
        names = self.names
        if not names or len(set(names)) != len(names) or len(names) > 254:
            msg = f"A legend needs 1 to 254 classes with different names, got: {list(names)}."
            raise LabelError(msg)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in model order."""
        return tuple(entry.name for entry in self.classes)

    def index(self, name: str) -> int:
        """Return the class index of a name.

        Args:
            name: class name; case and surrounding blanks do not matter.

        Raises:
            LabelError: the name is not in the legend.
        """
        wanted = str(name).strip().lower()
        if wanted not in self.names:
            msg = (
                f"Crop {name!r} is not in the legend. Known classes: {', '.join(self.names)}. "
                "Rename it, or give it the class 'other'."
            )
            raise LabelError(msg)
        return self.names.index(wanted)

    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """Raster value -> red, green, blue, alpha (0 to 255); 0 is transparent."""
        table = {k + 1: (*entry.color, 255) for k, entry in enumerate(self.classes)}
        return {NODATA: (0, 0, 0, 0), **table}

    def to_list(self) -> list[dict[str, object]]:
        """Plain values for JSON."""
        return [{"name": entry.name, "color": list(entry.color)} for entry in self.classes]

    @classmethod
    def from_list(cls, entries: list[dict[str, object]]) -> Legend:
        """Rebuild a legend from :meth:`to_list`.

        Raises:
            LabelError: an entry lacks a name or a colour of three bytes.
        """
        try:
            classes = []
            for entry in entries:
                red, green, blue = (int(v) for v in entry["color"])  # type: ignore[attr-defined]  # JSON value, checked by failing
                classes.append(CropClass(str(entry["name"]), (red, green, blue)))
        except (KeyError, TypeError, ValueError) as error:
            msg = f"A legend is a list of {{name, color: [r, g, b]}}, got: {entries!r}."
            raise LabelError(msg) from error
        return cls(tuple(classes))


CROPGLOBE = Legend(
    (
        # Hues follow what readers of crop maps know: corn yellow, soybeans green, cotton red.
        CropClass("corn", (255, 211, 0)),
        CropClass("soybeans", (38, 112, 0)),
        CropClass("rice", (0, 168, 228)),
        CropClass("wheat", (165, 112, 0)),
        CropClass("sugarcane", (175, 75, 175)),
        CropClass("cotton", (255, 38, 38)),
        CropClass("other", (190, 190, 175)),
    )
)
"""The seven classes of the CropGlobe data set."""
