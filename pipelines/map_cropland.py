"""Which mask of cropland a map uses: found or read once, frozen with the run, recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipelines.config import MapRequest
from pipelines.map_inputs import SensorInput
from toolkit.area.aoi import AOI
from toolkit.catalog.items import CATALOG
from toolkit.catalog.profiles import CUSTOM, PROFILES
from toolkit.catalog.worldcover import offering, search_worldcover
from toolkit.errors import InputError, NoItemsError
from toolkit.scenes.cropland import Cropland, CroplandCounts
from toolkit.scenes.cropland_sources import cropland_of_file, cropland_of_worldcover, write_cropland

CROPLAND_FILE = "cropland.json"
WORLDCOVER, NONE = "worldcover", "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCropland:
    """The mask of a map, or why there is none."""

    source: Cropland | None = None
    """The mask; None maps all of the area."""
    path: Path | None = None
    """Where its description is frozen."""
    why_none: str = ""
    """Why there is none, for people."""
    counts: CroplandCounts = field(default_factory=CroplandCounts)
    """Pixels of the map, when it is made."""

    @property
    def files(self) -> dict[str, Path]:
        """Files to be published with the map."""
        return {} if self.path is None else {"cropland": self.path}

    @property
    def notices(self) -> tuple[str, ...]:
        """What users of the map must keep."""
        return (self.source.notice,) if self.source and self.source.notice else ()

    def of_tiles(self, counts: Iterable[CroplandCounts]) -> MapCropland:
        """Return it with the pixels of all tiles."""
        return replace(self, counts=sum(counts, CroplandCounts()))

    @property
    def share(self) -> float:
        """Part of the area's pixels that is not cropland, 0 to 1."""
        return self.counts.not_cropland / self.counts.asked if self.counts.asked else 0.0

    def record(self) -> dict[str, Any]:
        """Plain values for ``run.json``."""
        if self.source is None:
            return {"source": None, "reason": self.why_none}
        return {
            "source": self.source.kind,
            "title": self.source.title,
            "files": [file.name for file in self.source.files],
            "values": list(self.source.values),
            "catalog": self.source.catalog or None,
            "sha256": self.source.content_hash,
            "pixels": self.counts.asked,
            "pixels_not_cropland": self.counts.not_cropland,
            "pixels_unknown": self.counts.unknown,
            "share_not_cropland": round(self.share, 6),
        }

    def lines(self) -> list[str]:
        """Lines for a terminal."""
        if self.source is None:
            return [f"cropland: all of the area ({self.why_none})"]
        unknown = self.counts.unknown
        more = f"; {unknown} pixels without data count as cropland" if unknown else ""
        return [f"cropland: {self.source.title}, {self.share:.1%} of the area is not cropland{more}"]


def cropland_file(config: MapRequest, aoi: AOI) -> Cropland | None:
    """Read what a map's own mask is, before any work; None if none is given as a file.

    Raises:
        InputError: the file cannot be used, or values are given that nothing could have.
    """
    name = _name(config)
    if name == NONE and config.cropland_values:
        msg = (
            f"Values {list(config.cropland_values)} of cropland are given, but no mask (--cropland none). "
            "Leave them out, or name the raster that they are of."
        )
        raise InputError(msg)
    if name is not None or config.cropland is None:
        return None
    return cropland_of_file(config.cropland, aoi, config.cropland_values)


def settle_cropland(
    config: MapRequest, inputs: tuple[SensorInput, ...], aoi: AOI, given: Cropland | None, *, folder: Path
) -> MapCropland:
    """Choose the mask of a map and freeze its description in a folder.

    Args:
        config: the request.
        inputs: what each sensor gives, with the catalogs of its scenes.
        aoi: area.
        given: result of :func:`cropland_file`.
        folder: where the description is saved.

    Raises:
        InputError: WorldCover is asked for and no catalog of the map offers it, or values are given and there
            is no mask.
        NoItemsError: WorldCover is asked for and has nothing over the area.
        RemoteError: a catalog cannot be read.
    """
    chosen = MapCropland(source=given)
    if given is None:
        chosen = MapCropland(why_none="asked for")
        if _name(config) != NONE:
            chosen = _worldcover(config, inputs, aoi)
    if chosen.source is None:
        return chosen
    return replace(chosen, path=write_cropland(chosen.source, folder / CROPLAND_FILE))


def _name(config: MapRequest) -> str | None:
    """Return the known name that is asked for, also as a run file spells it where a folder is called so."""
    if config.cropland is None:
        return None
    path = Path(config.cropland)
    return path.name if path.name in (WORLDCOVER, NONE) and not path.is_file() else None


def _worldcover(config: MapRequest, inputs: tuple[SensorInput, ...], aoi: AOI) -> MapCropland:
    """Search WorldCover in the catalogs of the scenes, one after the other."""
    explicit = config.cropland is not None
    catalogs = _catalogs(config, inputs, explicit=explicit)
    for catalog in catalogs:
        try:
            found = search_worldcover(catalog, aoi, config.year, allow_hosts=config.named_hosts)
        except NoItemsError as error:
            if explicit:
                raise
            return MapCropland(why_none=str(error))
        if found is not None:
            return MapCropland(source=cropland_of_worldcover(found, config.cropland_values))
    searched = ", ".join(map(repr, catalogs)) or "the scenes' catalog"
    where = f"offered by {', '.join(offering())}"
    if explicit or config.cropland_values:
        msg = (
            f"ESA WorldCover is asked for, but not to be had in {searched}; it is {where}. Use its scenes "
            f"(--catalog {offering()[0]}), give a file of it (--cropland FILE --cropland-values 40), or map "
            "all of the area (--cropland none)."
        )
        raise InputError(msg)
    return MapCropland(why_none=f"{searched} has no ESA WorldCover, which is {where}")


def _catalogs(config: MapRequest, inputs: tuple[SensorInput, ...], *, explicit: bool) -> list[str]:
    """Return the catalogs of the scenes.

    Of saved items that are those of the table, and one that the user names if WorldCover is asked for: saved
    items mean that nothing is searched, and an address in them is no word of the user.
    """
    catalogs: dict[str, None] = {}
    for one in inputs:
        own = config.of_sensor(one.sensor)
        names = {str(item.properties.get(CATALOG, CUSTOM)) for item in one.found.items}
        catalogs.update(dict.fromkeys(sorted(names & PROFILES.keys())))
        if own.items is not None:
            address = own.catalog if explicit else None
        else:
            address = None if names & PROFILES.keys() else one.found.items.extra_fields.get("catalog")
        if address:
            catalogs[str(address)] = None
    return list(catalogs)
