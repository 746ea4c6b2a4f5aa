"""Models and series that engines are compared on: simulated, and real ones of two places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines import simulate
from pipelines.config import MapRequest, SimulateRequest
from pipelines.map_inputs import collect
from pipelines.map_setup import set_up
from pipelines.progress import Progress
from pipelines.tile_features import features_of_tile, freeze
from pipelines.train import map_recipe
from tests.benchmarks import flanders, mato_grosso
from toolkit.area.aoi import read_aoi
from toolkit.area.grid import Tile
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.learn.checkpoint import write_checkpoint
from toolkit.learn.pixels import check_features, observed, take_pixels
from toolkit.learn.samples import Samples
from toolkit.learn.seasons import cut_season
from toolkit.learn.train import train_classifier

SAMPLE = Path(__file__).resolve().parents[2] / "sample_aoi"
EDGE, MOST = 46, 2048
"""Pixels of the middle of the sample area along an edge; most series of a place."""
EPOCHS = 15
Series = npt.NDArray[np.float32]


def simulated_series(folder: Path) -> Series:
    """Series from the middle of the sample area, float32 ``(n, band, step)``, reflectance."""
    wanted = SimulateRequest.read(SAMPLE / "scenes.yaml", {"out": folder / "scenes"})
    scenes = simulate.run(wanted).folder
    request = MapRequest.make(
        {
            "aoi": str(scenes / "aoi.geojson"),
            "catalog": str(scenes / "catalog.json"),
            "model": str(SAMPLE / "model"),
            "year": wanted.year,
            "radiometry": "trust",
            "out": folder,
        }
    )
    setup = set_up(request, read_aoi(request.aoi), elsewhere=False)
    tell = Progress(quiet=True)
    (found,) = collect(request, setup.models, setup.geobox, setup.aoi, folder=folder, tell=tell)
    recipe = found.checkpoint.recipe
    items = freeze(found.found.path, found.found.items, request, grid=setup.geobox, kept=folder)
    middle = [size // 2 for size in setup.geobox.shape.yx]
    rows, columns = (slice(at - EDGE // 2, at + EDGE // 2) for at in middle)
    tile = Tile(0, 0, rows, columns, setup.geobox[rows, columns])
    wanted_pixels = np.ones(tile.geobox.shape.yx, bool)
    made = features_of_tile(tile, items, recipe, found.season, wanted=wanted_pixels)
    values = np.asarray(check_features(made.features, recipe).data)
    return spread(take_pixels(values, np.flatnonzero(observed(values))))


def trained_on_half(samples: Samples, recipe: FeatureRecipe, folder: Path) -> tuple[Path, Series]:
    """Return CropNet 2D, trained on half of the fields (or places), and the series of the others."""
    training, test = flanders.halves(samples, 0, by="field")
    config = replace(flanders.CONFIG, epochs=EPOCHS, augmentation=None)
    trained = train_classifier(flanders.capped(samples.select(training), 0), recipe, config)
    others = samples.select(test)
    return write_checkpoint(trained, folder), spread(cut_season(others.series, others.recipe, recipe))


def spread(series: Series) -> Series:
    """Return at most so many series, in order, spread over all."""
    chosen = np.linspace(0, len(series) - 1, min(len(series), MOST)).astype(np.intp)
    return np.ascontiguousarray(series[chosen], np.float32)


def real_places(folder: Path) -> dict[str, tuple[Path, Series]]:
    """Return name -> model and series of fields it was not trained on."""
    of_flanders = flanders.read_flanders(folder / "flanders")
    of_mato_grosso = mato_grosso.read_mato_grosso()
    return {
        "Flanders": trained_on_half(of_flanders, map_recipe(of_flanders.recipe), folder / "of_flanders"),
        "Mato Grosso": trained_on_half(of_mato_grosso, of_mato_grosso.recipe, folder / "of_mato_grosso"),
    }
