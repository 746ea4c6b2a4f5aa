"""Prediction: each pixel from its own features, to the byte; gaps stay gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from toolkit.errors import EngineError, InputError, RecipeMismatchError
from toolkit.learn.checkpoint import Checkpoint, normalise
from toolkit.learn.engines.setting import EngineSetting
from toolkit.learn.engines.torch_engine import fold_batch_norm, torch_classifier
from toolkit.learn.predict import (
    Predictor,
    class_probabilities,
    distinct_rows,
    label,
    make_predictor,
    predict,
)
from toolkit.legend import Status

MakeFeatures = Callable[..., xr.DataArray]
SMALL = {"device": "cpu", "batch_size": 32}


@pytest.fixture
def truth() -> np.ndarray:
    """Class indices of 6 x 9 pixels."""
    return np.random.default_rng(3).integers(0, 3, (6, 9))


@pytest.fixture
def features(truth: np.ndarray, checkpoint: Checkpoint, make_features: MakeFeatures) -> xr.DataArray:
    return make_features(truth, checkpoint.recipe)


def plain_softmax(features: xr.DataArray, checkpoint: Checkpoint) -> np.ndarray:
    """The network as trained, one batch, no folding: (crop_class, y, x)."""
    rows = features.to_numpy().reshape(4, 8, -1).transpose(2, 0, 1)
    x = torch.from_numpy(normalise(rows, checkpoint.mean, checkpoint.std))
    with torch.no_grad():
        scores = torch.softmax(checkpoint.build()(x), dim=1).numpy()
    return scores.T.reshape(-1, *features.shape[2:])


def test_the_map_is_that_of_the_network_as_trained(
    features: xr.DataArray, checkpoint: Checkpoint, truth: np.ndarray
) -> None:
    layers = predict(features, checkpoint, **SMALL)
    scores = plain_softmax(features, checkpoint)
    np.testing.assert_array_equal(layers["crop"], scores.argmax(0) + 1)
    np.testing.assert_array_equal(layers["crop"], truth + 1)
    assert np.abs(layers["probability"] - 100 * scores).max() <= 0.51
    np.testing.assert_array_equal(layers["confidence"], layers["probability"].max("crop_class"))
    assert (layers["status"] == Status.MAPPED).all()


def test_layers_keep_their_contract(features: xr.DataArray, checkpoint: Checkpoint, geobox: GeoBox) -> None:
    layers = predict(features.assign_coords(year=2024), checkpoint, **SMALL)
    assert {name: layer.dims for name, layer in layers.items()} == {
        "crop": ("y", "x"),
        "confidence": ("y", "x"),
        "probability": ("crop_class", "y", "x"),
        "status": ("y", "x"),
    }
    assert {layer.dtype for layer in layers.values()} == {np.dtype(np.uint8)}
    assert list(layers["crop_class"].values) == list(checkpoint.legend.names)
    assert set(layers.coords) == {"y", "x", "spatial_ref", "crop_class", "year"}
    assert layers["crop"].odc.geobox == geobox[:6, :9]
    assert layers["probability"].odc.geobox == geobox[:6, :9]


def test_pixels_with_a_gap_are_not_observed_and_change_no_other(
    features: xr.DataArray, checkpoint: Checkpoint
) -> None:
    whole = predict(features, checkpoint, **SMALL)
    gap = np.zeros((6, 9), bool)
    for k, value in enumerate((np.nan, np.inf, -np.inf)):
        features[k, 2 * k, k, 4] = value
        gap[k, 4] = True
    features[:, :, 5, 0] = np.nan
    gap[5, 0] = True
    layers = predict(features, checkpoint, **SMALL)
    np.testing.assert_array_equal(layers["status"] == Status.NOT_OBSERVED, gap)
    assert (layers["crop"].to_numpy()[gap] == 0).all()
    assert (layers["confidence"].to_numpy()[gap] == 255).all()
    assert (layers["probability"].to_numpy()[:, gap] == 255).all()
    for name in ("crop", "confidence", "probability", "status"):
        np.testing.assert_array_equal(layers[name].to_numpy()[..., ~gap], whole[name].to_numpy()[..., ~gap])


def test_nothing_observed_gives_an_empty_map(features: xr.DataArray, checkpoint: Checkpoint) -> None:
    layers = predict(features * np.nan, checkpoint, **SMALL)
    assert not layers["crop"].any()
    assert (layers["status"] == Status.NOT_OBSERVED).all()


def test_a_pixel_does_not_depend_on_its_place_or_neighbours(
    features: xr.DataArray, checkpoint: Checkpoint
) -> None:
    logits = torch_classifier(checkpoint, EngineSetting())
    rows = features.to_numpy().reshape(4, 8, -1).transpose(2, 0, 1).astype(np.float32)
    rows = np.ascontiguousarray(rows[:32])
    expected = logits(rows)
    order = np.random.default_rng(0).permutation(32)
    assert logits(rows[order]).tobytes() == expected[order].tobytes()
    alone = np.zeros_like(rows)
    alone[7] = rows[20]
    assert logits(alone)[7].tobytes() == expected[20].tobytes()
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert logits(rows).tobytes() == expected.tobytes()
    finally:
        torch.set_num_threads(n_threads)


def test_every_batch_has_the_same_shape(features: xr.DataArray, checkpoint: Checkpoint) -> None:
    shapes = []
    predictor = make_predictor(checkpoint, EngineSetting(batch_size=32))

    def remember(series: np.ndarray) -> np.ndarray:
        shapes.append(series.shape)
        return predictor.logits_of(series)

    layers = label(class_probabilities(features, replace(predictor, logits_of=remember)))
    assert shapes == [(32, 4, 8)] * 2  # 54 pixels
    assert layers.identical(predict(features, checkpoint, **SMALL))


def test_a_tile_and_its_parts_give_the_same_bytes(features: xr.DataArray, checkpoint: Checkpoint) -> None:
    whole = predict(features, checkpoint, **SMALL)
    again = predict(features, checkpoint, **SMALL)
    assert again.identical(whole)
    parts = [predict(features.isel(x=part), checkpoint, **SMALL) for part in (slice(4), slice(4, 9))]
    joined = xr.concat(parts, dim="x")
    for name in whole:
        np.testing.assert_array_equal(joined[name], whole[name])


def test_equal_scores_give_the_first_class(features: xr.DataArray, checkpoint: Checkpoint) -> None:
    state = {**checkpoint.state}
    for name in ("classifier.weight", "classifier.bias"):
        state[name] = torch.zeros_like(state[name])
    layers = predict(features, replace(checkpoint, state=state), **SMALL)
    assert (layers["crop"] == 1).all()
    assert (layers["confidence"] == 14).all()  # 100 / 7
    assert (layers["probability"] == 14).all()


def test_a_model_without_an_answer_says_failed(features: xr.DataArray, checkpoint: Checkpoint) -> None:
    features[:, :, 2, 3] = 3e38  # finite, but overflows in the network
    layers = predict(features, checkpoint, **SMALL)
    assert layers["status"].to_numpy()[2, 3] == Status.FAILED
    assert layers["crop"].to_numpy()[2, 3] == 0
    assert layers["confidence"].to_numpy()[2, 3] == 255
    assert int((layers["status"] == Status.MAPPED).sum()) == 6 * 9 - 1


def test_features_are_not_changed(features: xr.DataArray, checkpoint: Checkpoint) -> None:
    before = features.copy(deep=True)
    predict(features, checkpoint, **SMALL)
    assert features.identical(before)


def test_the_order_of_dimensions_does_not_matter(features: xr.DataArray, checkpoint: Checkpoint) -> None:
    turned = predict(features.transpose("y", "x", "band", "step"), checkpoint, **SMALL)
    assert turned.identical(predict(features, checkpoint, **SMALL))


def test_features_of_another_recipe_are_refused(features: xr.DataArray, checkpoint: Checkpoint) -> None:
    with pytest.raises(RecipeMismatchError, match=r"\['B04', 'B02', 'B08', 'B11'\], the recipe has"):
        predict(features[[1, 0, 2, 3]], checkpoint, **SMALL)
    with pytest.raises(RecipeMismatchError, match="have 5 steps, the recipe has 8"):
        predict(features[:, :5], checkpoint, **SMALL)


def test_unknown_engines_and_batches_are_refused(features: xr.DataArray, checkpoint: Checkpoint) -> None:
    with pytest.raises(EngineError, match="Engine 'tensorrt' is unknown"):
        predict(features, checkpoint, engine="tensorrt")
    with pytest.raises(InputError, match="batch_size is 0"):
        predict(features, checkpoint, batch_size=0)


@pytest.mark.parametrize("convolution", [torch.nn.Conv1d, torch.nn.Conv2d])
def test_folding_leaves_the_output_and_no_batch_normalisation(convolution: type) -> None:
    norm = {torch.nn.Conv1d: torch.nn.BatchNorm1d, torch.nn.Conv2d: torch.nn.BatchNorm2d}
    layers = [convolution(2, 5, 3, bias=False), norm[convolution](5), torch.nn.ReLU()]
    network = torch.nn.Sequential(torch.nn.Sequential(*layers), convolution(5, 3, 1))
    layers[1].running_mean.uniform_(-1, 1)
    layers[1].running_var.uniform_(0.5, 2)
    network.eval()
    x = torch.randn(3, 2, *(9,) * (2 if convolution is torch.nn.Conv2d else 1))
    with torch.no_grad():
        expected = network(x)
        torch.testing.assert_close(fold_batch_norm(network)(x), expected, atol=1e-5, rtol=1e-5)
    assert not any("BatchNorm" in type(module).__name__ for module in network.modules())


@given(seed=st.integers(0, 1000), kinds=st.integers(1, 5))
def test_equal_series_are_found_once_and_given_back_to_every_pixel(seed, kinds):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, kinds, 30)
    rows = rng.random((kinds, 3, 4), np.float32)[pixels]
    rows[0, 0, 0] = -0.0  # equal means the same bytes
    distinct, places = distinct_rows(rows)
    np.testing.assert_array_equal(distinct[places], rows)
    assert len(distinct) == len({row.tobytes() for row in rows})


@pytest.mark.parametrize(
    ("wrong", "margin", "compared", "in_float32"),
    [
        (range(0), 0.05, [64], False),
        (range(1), 0.05, [64, 256], False),  # one of 64 is too many, one of 256 is not
        (range(10), 0.05, [64, 256, 600], True),  # ten of all 600 are, too
        (range(1), 0.5, [64], True),  # float32 is sure of it: no more need be compared
    ],
)
def test_a_doubt_is_settled_by_more_pixels(
    wrong: range,
    margin: float,
    compared: list[int],
    *,
    in_float32: bool,
    checkpoint: Checkpoint,
    geobox: GeoBox,
) -> None:
    """An engine takes the second class for the first at some pixels; the first value is a pixel's number."""
    n_classes = len(checkpoint.legend.names)
    counting = replace(checkpoint, mean=(0.0,) * 4, std=(1.0,) * 4)
    asked: list[int] = []

    def classes(rows: np.ndarray, turned: np.ndarray) -> np.ndarray:
        logits = np.full((len(rows), n_classes), -50, np.float32)
        gap = np.float32(np.log((1 + margin) / (1 - margin)))
        logits[:, 0], logits[:, 1] = np.where(turned, 0, gap), np.where(turned, gap, 0)
        return logits

    def exact(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return classes(rows, np.zeros(len(rows), bool))

    numbers = np.zeros((4, 8, 20, 30), np.float32)
    numbers[0, 0] = np.arange(600).reshape(20, 30)
    features = xr.DataArray(
        numbers,
        dims=("band", "step", "y", "x"),
        coords={"band": list(counting.recipe.bands), **xr_coords(geobox, dims=("y", "x"))},
    )
    told = class_probabilities(
        features,
        Predictor(
            checkpoint=counting,
            setting=EngineSetting(engine="openvino", batch_size=1),
            logits_of=lambda rows: classes(rows, np.isin(rows[:, 0, 0], wrong)),
            exact=exact,
        ),
    )
    assert told.attrs["agreement"].pixels == compared[-1]
    assert told.attrs["agreement"].close != in_float32
    assert sum(asked) == sum(compared) + 600 * in_float32
    second = label(told)["crop"].to_numpy().ravel() == 2
    np.testing.assert_array_equal(np.flatnonzero(second), [] if in_float32 else list(wrong))
