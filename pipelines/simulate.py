"""Simulate workflow: a landscape with known crops, written as scenes behind a catalog."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.config import SimulateRequest
from pipelines.folder import prepare
from toolkit.area.season import Season
from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.scenes import simulate_scenes
from toolkit.simulate.sentinel2 import overpass_dates


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
    landscape = make_landscape(config.seed, region=config.region, shape=(config.size, config.size))
    hemisphere = landscape.region.hemisphere
    year = Season(year=config.year, hemisphere=hemisphere, first_step=0, n_steps=73)
    catalog = simulate_scenes(
        config.out,
        landscape=landscape,
        year=config.year,
        dates=overpass_dates(year.start, year.end) if config.full_year else None,
        aoi_share=config.area_share,
    )
    return SimulatedScenes(catalog=catalog)
