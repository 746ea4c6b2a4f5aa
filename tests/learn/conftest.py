"""Small analytic samples: classes are sinusoids of different phase, so that the answer is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from odc.geo.xr import xr_coords

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.samples import Samples
from toolkit.learn.train import TrainConfig, train_classifier


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Several threads only wait for each other on networks this small, long on a busy machine.

    For each module anew: files of tests run in any order, and others leave other numbers.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def geobox() -> GeoBox:
    """20 rows, 30 columns of 10 m in UTM zone 15 north."""
    box = BoundingBox(600000, 4600000, 600300, 4600200, crs="EPSG:32615")
    return GeoBox.from_bbox(box, resolution=10)


@pytest.fixture(scope="session")
def recipe() -> FeatureRecipe:
    """Four bands, eight of the twelve steps of a year."""
    bands = ("B02", "B04", "B08", "B11")
    return FeatureRecipe(bands=bands, first_step=2, n_steps=8, step_days=30)


def sinusoids(crop: np.ndarray, n_bands: int, n_steps: int, seed: int) -> np.ndarray:
    """Reflectance (n, band, step): phase by class, amplitude by band, a little noise."""
    step = 2 * np.pi * np.arange(n_steps) / n_steps
    wave = np.sin(step + 2.1 * np.asarray(crop)[:, None])[:, None, :]
    level = 0.05 + 0.04 * np.arange(1, n_bands + 1)[None, :, None]
    noise = np.random.default_rng(seed).normal(0, 0.005, (len(crop), n_bands, n_steps))
    return (0.2 + level * wave + noise).astype(np.float32)


@pytest.fixture(scope="session")
def make_samples(recipe: FeatureRecipe) -> Callable[..., Samples]:
    """Return samples of three classes (corn, soybeans, rice) over the full year."""

    def make(n: int = 60, *, per_field: int = 4, seed: int = 0, simulated: bool = True) -> Samples:
        year = recipe.full_year()
        field = (np.arange(n) // per_field + 1).astype(np.int32)
        crop = (field % 3).astype(np.uint8)
        return Samples(
            series=sinusoids(crop, *year.shape, seed),
            crop=crop,
            field=field,
            lon=np.linspace(-92, -91, n),
            lat=np.linspace(41, 42, n),
            recipe=year,
            simulated=simulated,
            provenance={"made_by": "test", "n": n},
        )

    return make


@pytest.fixture(scope="session")
def checkpoint(make_samples: Callable[..., Samples], recipe: FeatureRecipe) -> Checkpoint:
    """A network that knows the three classes."""
    config = TrainConfig(epochs=8, batch_size=8, learning_rate=1e-3, augmentation=None, device="cpu")
    return train_classifier(make_samples(), recipe, config)


@pytest.fixture(scope="session")
def make_features(geobox: GeoBox) -> Callable[..., xr.DataArray]:
    """Return features of a recipe on the grid, for a map of class indices."""

    def make(crop: np.ndarray, recipe: FeatureRecipe, *, seed: int = 5) -> xr.DataArray:
        year = sinusoids(crop.ravel(), *recipe.full_year().shape, seed)
        series = year[:, :, recipe.first_step : recipe.first_step + recipe.n_steps]
        cube = series.reshape(*crop.shape, *recipe.shape).transpose(2, 3, 0, 1)
        height, width = crop.shape
        coords = xr_coords(geobox[:height, :width], dims=("y", "x"))
        dims = ("band", "step", "y", "x")
        return xr.DataArray(cube, dims=dims, coords={"band": list(recipe.bands), **coords})

    return make
