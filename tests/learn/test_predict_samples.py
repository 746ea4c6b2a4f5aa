"""Samples through a model: the same probabilities as a map, and the features before the classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import LabelError, RecipeMismatchError
from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.predict import class_probabilities, make_predictor
from toolkit.learn.predict_samples import run_samples, sample_features, sample_probabilities
from toolkit.learn.samples import Samples
from toolkit.legend import CropClass, Legend

MakeSamples = Callable[..., Samples]


def test_the_probabilities_are_those_of_a_map(
    checkpoint: Checkpoint, make_features: Callable[..., xr.DataArray], recipe: FeatureRecipe
) -> None:
    features = make_features(np.arange(12).reshape(3, 4) % 3, recipe)
    mapped = (
        class_probabilities(features, make_predictor(checkpoint))["probability"].to_numpy().reshape(7, 12).T
    )
    series = features.to_numpy().reshape(*recipe.shape, 12).transpose(2, 0, 1)
    np.testing.assert_allclose(sample_probabilities(series, checkpoint, batch_size=5), mapped, atol=1e-5)


def test_the_features_are_what_the_classifier_sees(checkpoint: Checkpoint, make_samples: MakeSamples) -> None:
    outputs = run_samples(make_samples(), checkpoint, batch_size=7)
    assert outputs.features is not None
    assert outputs.features.shape == (60, 128)
    weight, bias = (checkpoint.state[f"classifier.{name}"].numpy() for name in ("weight", "bias"))
    logits = torch.from_numpy(outputs.features @ weight.T + bias).double()
    np.testing.assert_allclose(outputs.probability, torch.softmax(logits, dim=1).numpy(), atol=1e-5)
    np.testing.assert_array_equal(sample_features(make_samples(), checkpoint, batch_size=7), outputs.features)


def test_pixels_without_observation_are_left_out_and_counted(
    checkpoint: Checkpoint, make_samples: MakeSamples
) -> None:
    samples = make_samples(12)
    year = replace(samples, recipe=replace(samples.recipe, fill="none"))
    year.series[3, :, 2:10] = np.nan  # nothing in the season
    year.series[5, 1, 4] = np.nan  # a gap that is filled
    year.series[7, :, 11] = np.nan  # outside the season
    outputs = run_samples(year, checkpoint)
    assert outputs.n_not_observed == 1
    assert np.flatnonzero(~outputs.seen).tolist() == [3]
    assert outputs.probability.shape == (11, 7)
    np.testing.assert_allclose(outputs.probability.sum(axis=1), 1)


def test_nothing_observed_gives_no_rows(checkpoint: Checkpoint, make_samples: MakeSamples) -> None:
    samples = make_samples(6)
    samples.series[:] = np.nan
    outputs = run_samples(samples, checkpoint)
    assert outputs.probability.shape == (0, 7)
    assert outputs.features is None


def test_other_features_and_classes_are_refused(checkpoint: Checkpoint, make_samples: MakeSamples) -> None:
    samples = make_samples(6)
    with pytest.raises(RecipeMismatchError, match=r"takes \(sample, 4 bands, 8 steps\)"):
        run_samples(samples.series, checkpoint)
    legend = Legend((CropClass("a", (0, 0, 0)), CropClass("b", (1, 1, 1)), CropClass("c", (2, 2, 2))))
    with pytest.raises(LabelError, match="the model knows corn"):
        run_samples(replace(samples, legend=legend), checkpoint)
