"""Simulate workflow: a landscape with known crops, as scenes behind a catalog or granules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.config import SimulateRequest
from pipelines.folder import prepare
from toolkit.area.season import Season
from toolkit.simulate.emit import granule_dates, simulate_granules
from toolkit.simulate.landscape import Landscape, make_landscape
from toolkit.simulate.scenes import simulate_scenes
from toolkit.simulate.sentinel2 import overpass_dates


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedScenes:
    """Result of the workflow."""

    folder: Path
    """Folder of the scenes or granules."""
    scenes: Path
    """What names them: ``catalog.json``, or the folder of EMIT granules."""

    def lines(self) -> list[str]:
        """A few lines for a terminal."""
        return [
            f"simulated scenes in {self.scenes}",
            f"true fields in {self.folder / 'fields.geojson'}, area in {self.folder / 'aoi.geojson'}",
        ]


def run(config: SimulateRequest) -> SimulatedScenes:
    """Write simulated scenes, unless the same ones are there already."""
    prepare(config.out.parent)
    landscape = make_landscape(config.seed, region=config.region, shape=(config.size, config.size))
    write = _write_granules if config.sensor == "emit" else _write_scenes
    return SimulatedScenes(folder=config.out, scenes=write(config, landscape))


def _write_scenes(config: SimulateRequest, landscape: Landscape) -> Path:
    """Write Sentinel-2 scenes; return their catalog."""
    hemisphere = landscape.region.hemisphere
    year = Season(year=config.year, hemisphere=hemisphere, first_step=0, n_steps=73)
    return simulate_scenes(
        config.out,
        landscape=landscape,
        year=config.year,
        dates=overpass_dates(year.start, year.end) if config.full_year else None,
        aoi_share=config.area_share,
    )


def _write_granules(config: SimulateRequest, landscape: Landscape) -> Path:
    """Write EMIT granules; return their folder."""
    dates = granule_dates(
        config.year,
        hemisphere=landscape.region.hemisphere,
        seed=landscape.seed,
        full_year=config.full_year,
    )
    return simulate_granules(
        config.out, landscape=landscape, year=config.year, dates=dates, aoi_share=config.area_share
    )
