"""Simulate workflow: a landscape with known crops, written as scenes behind a catalog."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.config import SimulateRequest
from pipelines.folder import prepare
from toolkit.simulate.scene_files import simulate_scenes


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedScenes:
    """Result of the workflow."""

    catalog: Path
    """``catalog.json`` of the scenes."""

    def lines(self) -> list[str]:
        """A few lines for a terminal."""
        folder = self.catalog.parent
        return [
            f"simulated scenes in {self.catalog}",
            f"true fields in {folder / 'fields.geojson'}, area in {folder / 'aoi.geojson'}",
        ]


def run(config: SimulateRequest) -> SimulatedScenes:
    """Write simulated scenes, unless the same ones are there already."""
    prepare(config.out.parent)
    catalog = simulate_scenes(
        config.out,
        seed=config.seed,
        year=config.year,
        region=config.region,
        shape=(config.size, config.size),
        full_year=config.full_year,
        area_share=config.area_share,
    )
    return SimulatedScenes(catalog=catalog)
