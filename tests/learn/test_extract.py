"""Samples out of features and labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Transformer

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import GridError, LabelError, RecipeMismatchError
from toolkit.learn.extract import extract_samples
from toolkit.legend import CROPGLOBE, Legend

EXTRACT = {"simulated": True}


@pytest.fixture
def features(geobox: GeoBox, recipe: FeatureRecipe) -> xr.DataArray:
    """Every value says where it comes from: band, step, row and column."""
    band, step, row, column = np.ix_(range(4), range(8), range(20), range(30))
    values = (band * 1e6 + step * 1e4 + row * 100 + column).astype(np.float32)
    coords = {"band": list(recipe.bands), **xr_coords(geobox, dims=("y", "x"))}
    return xr.DataArray(values, dims=("band", "step", "y", "x"), coords=coords)


@pytest.fixture
def labels(geobox: GeoBox) -> xr.Dataset:
    """Two fields: corn of 4 x 5 pixels, rice of 3 x 3."""
    crop, field = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.int32)
    crop[2:6, 3:8], field[2:6, 3:8] = 1, 1
    crop[10:13, 10:13], field[10:13, 10:13] = 3, 7
    grid = ("y", "x")
    coords = xr_coords(geobox, dims=grid)
    return xr.Dataset({"crop": (grid, crop), "field": (grid, field)}, coords=coords)


def test_each_sample_is_the_series_of_its_pixel(
    features: xr.DataArray, labels: xr.Dataset, recipe: FeatureRecipe
) -> None:
    samples = extract_samples(features, labels, recipe, **EXTRACT, provenance={"scenes": 3})
    assert len(samples) == 29
    row, column = np.nonzero(labels["crop"].to_numpy())
    np.testing.assert_array_equal(samples.series[:, 3, 6], 3_060_000 + row * 100 + column)
    np.testing.assert_array_equal(samples.crop, labels["crop"].to_numpy()[row, column] - 1)
    np.testing.assert_array_equal(samples.field, labels["field"].to_numpy()[row, column])
    to_degrees = Transformer.from_crs(32615, 4326, always_xy=True)
    lon, lat = to_degrees.transform(600005 + 10 * column, 4600195 - 10 * row)
    np.testing.assert_allclose(samples.lon, lon, atol=1e-9)
    np.testing.assert_allclose(samples.lat, lat, atol=1e-9)
    assert samples.recipe == recipe
    assert samples.simulated
    assert samples.provenance == {
        "scenes": 3,
        "n_not_observed": 0,
        "cap_per_field": None,
        "seed": 0,
    }


def test_the_order_of_dimensions_does_not_matter(
    features: xr.DataArray, labels: xr.Dataset, recipe: FeatureRecipe
) -> None:
    expected = extract_samples(features, labels, recipe, **EXTRACT)
    turned = extract_samples(features.transpose("y", "x", "step", "band"), labels, recipe, **EXTRACT)
    assert turned.content_hash == expected.content_hash


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_pixels_not_observed_are_left_out_and_counted(
    features: xr.DataArray, labels: xr.Dataset, recipe: FeatureRecipe, missing: float
) -> None:
    features[0, 5, 3, 4] = missing
    features[:, :, 0, 0] = missing  # not labelled
    samples = extract_samples(features, labels, recipe, **EXTRACT)
    assert len(samples) == 28
    assert np.isfinite(samples.series).all()
    assert samples.provenance["n_not_observed"] == 1
    nothing = extract_samples(features * np.nan, labels, recipe, **EXTRACT, cap_per_field=2)
    assert len(nothing) == 0
    assert nothing.provenance["n_not_observed"] == 29


def test_the_cap_draws_from_each_field_by_seed(
    features: xr.DataArray, labels: xr.Dataset, recipe: FeatureRecipe
) -> None:
    def draw(seed: int, cap: int = 4) -> np.ndarray:
        samples = extract_samples(features, labels, recipe, **EXTRACT, cap_per_field=cap, seed=seed)
        assert np.unique(samples.field, return_counts=True)[1].tolist() == [cap, min(cap, 9)]
        return samples.series[:, 0, 0]

    assert draw(1).tolist() == draw(1).tolist() != draw(2).tolist()
    assert len(draw(1, cap=15)) == 15 + 9
    with pytest.raises(LabelError, match="allowed: 1 or more"):
        draw(1, cap=0)


def test_every_pixel_of_a_field_is_drawn_about_equally_often(
    features: xr.DataArray, labels: xr.Dataset, recipe: FeatureRecipe
) -> None:
    drawn = [
        extract_samples(features, labels, recipe, **EXTRACT, cap_per_field=3, seed=seed) for seed in range(60)
    ]
    pixels = np.concatenate([samples.series[samples.field == 7, 0, 0] for samples in drawn])
    counts = np.unique(pixels, return_counts=True)[1]
    assert len(counts) == 9
    assert counts.min() >= 8  # 20 expected, standard deviation 3.7


def test_features_of_another_recipe_are_refused(
    features: xr.DataArray, labels: xr.Dataset, recipe: FeatureRecipe
) -> None:
    bad = {
        r"have 7 steps, the recipe has 8": features[:, 1:],
        r"have the bands \['B04', 'B02'": features[[1, 0, 2, 3]],
        r"carry no band names": features.drop_vars("band"),
        r"have the dimensions \('step', 'y', 'x'\)": features[0],
    }
    for match, given in bad.items():
        with pytest.raises(RecipeMismatchError, match=match):
            extract_samples(given, labels, recipe, **EXTRACT)


def test_labels_on_another_grid_are_refused(
    features: xr.DataArray, labels: xr.Dataset, recipe: FeatureRecipe
) -> None:
    moved = labels.assign_coords(x=labels["x"] + 10)
    for given in (moved, labels.isel(y=slice(1, None))):
        with pytest.raises(GridError, match="do not share one grid"):
            extract_samples(features, given, recipe, **EXTRACT)
    nowhere = [data.drop_vars("spatial_ref") for data in (features, labels)]
    for data in nowhere:
        for name in ("x", "y"):
            data[name].attrs.clear()
    with pytest.raises(GridError, match="have no CRS"):
        extract_samples(*nowhere, recipe, **EXTRACT)


def test_labels_of_another_legend_are_refused(
    features: xr.DataArray, labels: xr.Dataset, recipe: FeatureRecipe
) -> None:
    two = Legend(CROPGLOBE.classes[:2])
    with pytest.raises(LabelError, match="values up to 3"):
        extract_samples(features, labels, recipe, **EXTRACT, legend=two)
    with pytest.raises(LabelError, match=r"classes \['rice', 'corn'\]"):
        extract_samples(features, labels.assign_attrs(crops=["rice", "corn"]), recipe, **EXTRACT)
    with pytest.raises(LabelError, match="no labelled pixel"):
        extract_samples(features, labels * 0, recipe, **EXTRACT)
    with pytest.raises(LabelError, match="29 labelled pixels belong to no field"):
        extract_samples(features, labels.assign(field=labels["field"] * 0), recipe, **EXTRACT)


def test_a_year_of_features_gives_a_year_of_samples(
    make_features: Callable[..., xr.DataArray], labels: xr.Dataset, recipe: FeatureRecipe
) -> None:
    year = replace(recipe, first_step=0, n_steps=12)
    features = make_features(np.zeros((20, 30), int), year)
    samples = extract_samples(features, labels, year, **EXTRACT)
    assert samples.series.shape == (29, 4, 12)
