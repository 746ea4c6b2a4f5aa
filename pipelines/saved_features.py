"""What a features run gives back: the cube, what it was made from, timings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from odc.geo.geobox import GeoBox

from pipelines.folder import versions
from pipelines.radiometry import OffsetRecord, as_record
from pipelines.search import FoundScenes, left_out
from toolkit.catalog.items import is_simulated
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.scenes.counts import ReadCounts
from toolkit.scenes.failures import FailedItem, failed_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenTile:
    """What a worker tells of a tile."""

    seconds: dict[str, float]
    """Wall seconds of each stage."""
    values: int
    """Values written; 0 for a tile outside the area."""
    observed: int
    """Of these, values that are not NaN."""
    reads: ReadCounts = field(default_factory=ReadCounts)
    """What was read."""
    failed: tuple[FailedItem, ...] = ()
    """Scenes that could not be read and were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFeatures:
    """Result of the workflow."""

    path: Path
    """Zarr store, or folder of GeoTIFFs."""
    recipe: FeatureRecipe
    """How the features were made."""
    geobox: GeoBox
    """Grid of the cube."""
    found: FoundScenes
    """Scenes they were made from, and their season."""
    tiles: tuple[WrittenTile, ...]
    """What was written, in no order."""
    offsets: OffsetRecord
    """What became of the reflectance offsets."""
    seconds: dict[str, float]
    """Wall seconds of each stage."""
    attribution: str
    """Notice that users of the cube must keep."""

    @property
    def complete(self) -> bool:
        """Whether every scene of the season could be used."""
        return self.found.complete and not self.failed

    @property
    def failed(self) -> tuple[FailedItem, ...]:
        """Scenes that could not be read in some tile."""
        return tuple({one.item: one for tile in self.tiles for one in tile.failed}.values())

    @property
    def observed(self) -> float:
        """Share of the values in the tiles of the area that are not NaN."""
        values = sum(tile.values for tile in self.tiles)
        return sum(tile.observed for tile in self.tiles) / max(1, values)

    @property
    def n_outside(self) -> int:
        """Tiles outside the area, which were not read."""
        return sum(not tile.values for tile in self.tiles)

    @property
    def worker_seconds(self) -> dict[str, float]:
        """Seconds of each stage inside the tiles, added over workers."""
        stages = {stage: 0.0 for tile in self.tiles for stage in tile.seconds}
        return {stage: sum(tile.seconds.get(stage, 0.0) for tile in self.tiles) for stage in stages}

    @property
    def reads(self) -> ReadCounts:
        """What was read for all tiles."""
        return sum((tile.reads for tile in self.tiles), ReadCounts())

    @property
    def n_bytes(self) -> int:
        """Size on disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def lines(self) -> list[str]:
        """A few lines for a terminal."""
        height, width = self.geobox.shape.yx
        season = f"{self.found.season.start} to {self.found.season.end}"
        made = f"{self.recipe.kind} of {len(self.recipe.bands)} bands, {season}"
        seen = f"values of the others: {self.observed:.1%} observed"
        return [
            f"{made}, {height} x {width} pixels in {self.geobox.crs}, {self.n_bytes / 1e6:.1f} MB",
            f"{len(self.tiles)} tiles, {self.n_outside} outside the area; {seen}",
            f"{len(self.found.items)} scenes used, left out: {left_out(self.found.items)}",
            *failed_lines(self.failed),
            *self.offsets.lines(),
            f"read: {self.reads.line()}",
            f"seconds: {_seconds(self.seconds)}",
            f"inside the tiles, all workers added: {_seconds(self.worker_seconds)}",
            f"saved in {self.path}",
            self.attribution,
        ]

    def record(self) -> dict[str, Any]:
        """What the cube was made from, as plain values."""
        items, season = self.found.items, self.found.season
        return {
            "attribution": self.attribution,
            "simulated_scenes": all(is_simulated(item) for item in items),
            "features": self.path.name,
            "recipe": self.recipe.to_dict(),
            "season": {"first_day": str(season.start), "last_day": str(season.end)},
            "grid": {
                "crs": str(self.geobox.crs),
                "shape": list(self.geobox.shape.yx),
                "transform": list(self.geobox.affine)[:6],
            },
            "catalog": items.extra_fields.get("catalog"),
            "items": [{"id": item.id, "datetime": str(item.datetime)} for item in items],
            "items_found": items.extra_fields.get("found"),
            "items_left_out": items.extra_fields.get("skipped", {}),
            "offsets": as_record(self.offsets),
            "items_failed": [asdict(one) for one in self.failed],
            "tiles": {"all": len(self.tiles), "outside_the_area": self.n_outside},
            "observed": round(self.observed, 4),
            "bytes": self.n_bytes,
            "reads": asdict(self.reads),
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
            "worker_seconds": {name: round(value, 2) for name, value in self.worker_seconds.items()},
            "versions": versions(),
        }


def _seconds(stages: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in stages.items())
