"""What must hold of every network of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import ModelError
from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.engines.torch_engine import fold_batch_norm
from toolkit.learn.networks import NEEDS_STEPS, NETWORKS, build_network
from toolkit.learn.networks.compact import COMPACT
from toolkit.learn.predict import predict
from toolkit.learn.samples import Samples
from toolkit.learn.train import TrainConfig, train_classifier
from toolkit.legend import Status

BY_GRADIENT = [name for name in NETWORKS if name != "random_forest"]
NEW = ["mlp", "tempcnn", "attention", *COMPACT]
SHAPES = [(10, 43), (6, 23), (244, 1)]


def trained_a_little(name: str, shape: tuple[int, int], n_classes: int = 7) -> nn.Module:
    """A network with batch statistics of its own, the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = build_network(name, shape, n_classes)
        with torch.no_grad():
            network.train()
            for _ in range(3):
                network(0.5 + 2 * torch.randn(32, *shape))
    return network.eval()


def batch(n: int, shape: tuple[int, int], seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_the_last_layer_is_linear_and_named_classifier(name: str) -> None:
    network = trained_a_little(name, (4, 8))
    assert isinstance(network.get_submodule("classifier"), nn.Linear)
    features = []
    network.get_submodule("classifier").register_forward_pre_hook(lambda _, given: features.append(given[0]))
    with torch.no_grad():
        logits = network(batch(5, (4, 8)))
        torch.testing.assert_close(network.get_submodule("classifier")(features[0]), logits)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_sentinel_modis_and_spectra_give_finite_logits_the_same_each_time(
    name: str, shape: tuple[int, int]
) -> None:
    x = batch(6, shape)
    with torch.no_grad():
        logits = trained_a_little(name, shape)(x)
        again = trained_a_little(name, shape)(x)
    assert logits.shape == (6, 7)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert torch.equal(logits, again)


def test_networks_that_need_steps_are_in_the_table() -> None:
    assert set(NEEDS_STEPS) == {"cropnet2d", "tempcnn", "attention", *COMPACT}
    assert set(NEEDS_STEPS) < set(NETWORKS)


@pytest.mark.parametrize("name", BY_GRADIENT)
@pytest.mark.parametrize("shape", SHAPES[:2])
def test_every_parameter_learns(name: str, shape: tuple[int, int]) -> None:
    network = trained_a_little(name, shape).train()
    crop = torch.arange(64) % 7
    nn.functional.cross_entropy(network(batch(64, shape)), crop).backward()
    for label, parameter in network.named_parameters():
        assert parameter.grad is not None, label
        assert parameter.grad.abs().max() > 1e-6, label  # rounding alone gives about 1e-9


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_folding_keeps_the_logits_and_leaves_no_batch_normalisation(
    name: str, shape: tuple[int, int]
) -> None:
    network, x = trained_a_little(name, shape), batch(9, shape)
    with torch.no_grad():
        expected = network(x)
        folded = fold_batch_norm(network)
        torch.testing.assert_close(folded(x), expected, atol=2e-5, rtol=2e-5)
    assert not any("BatchNorm" in type(module).__name__ for module in folded.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_after_folding_is_near_float32(name: str) -> None:
    network, x = fold_batch_norm(trained_a_little(name, (6, 23))), batch(64, (6, 23))
    with torch.inference_mode():
        exact = network(x)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(x).float()
    assert (rough - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [32, 256])
def test_a_row_does_not_depend_on_its_place_in_the_batch(name: str, size: int) -> None:
    network, x = fold_batch_norm(trained_a_little(name, (6, 23))), batch(size, (6, 23))
    order = np.random.default_rng(0).permutation(size)
    alone = torch.zeros_like(x)
    alone[-1] = x[3]
    with torch.inference_mode():
        expected = network(x)
        assert torch.equal(network(x[order]), expected[order])
        assert torch.equal(network(alone)[-1], expected[3])


@pytest.mark.parametrize("name", NETWORKS)
def test_more_threads_change_no_more_than_rounding(name: str) -> None:
    """On a processor with AMX, TempCNN's last digits differ: so workers compute with one thread each."""
    network, x = fold_batch_norm(trained_a_little(name, (6, 23))), batch(32, (6, 23))
    n_threads = torch.get_num_threads()
    with torch.inference_mode():
        expected = network(x)
        torch.set_num_threads(2)
        try:
            torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)
        finally:
            torch.set_num_threads(n_threads)


@pytest.mark.parametrize("name", [*NEW, "random_forest"])
@pytest.mark.parametrize("shape", [(2, 8, 4), (2, 32), (2, 1, 4, 8), (2, 4, 9)])
def test_an_input_of_another_shape_is_refused_with_both(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"shape \(2, .*allowed: \(n, 4, 8\), that is \(n, band, step\)"):
        build_network(name, (4, 8), 3)(torch.zeros(shape))


@pytest.mark.parametrize("name", NEW)
def test_sinusoids_are_learnt_and_mapped(
    name: str,
    make_samples: Callable[..., Samples],
    make_features: Callable[..., xr.DataArray],
    recipe: FeatureRecipe,
) -> None:
    # Eight layers with dropout, and filters of single channels, learn slowly from 48 samples.
    epochs = 40 if name in ("mlp", "compact2d_separable") else 8
    config = TrainConfig(network=name, epochs=epochs, batch_size=16, learning_rate=1e-3, device="cpu")
    checkpoint = train_classifier(make_samples(), recipe, config)
    assert checkpoint.metrics["macro_f1"] > 0.95
    truth = np.random.default_rng(3).integers(0, 3, (6, 9))
    layers = check_map(make_features(truth, recipe), checkpoint)
    assert (layers["crop"].to_numpy() == truth + 1).mean() > 0.95


def check_map(features: xr.DataArray, checkpoint: Checkpoint) -> xr.Dataset:
    """Map in whole and in parts, with a gap and a value beyond float32; return the whole map."""
    options = {"device": "cpu", "batch_size": 16}
    whole = predict(features, checkpoint, **options)
    parts = [predict(features.isel(x=part), checkpoint, **options) for part in (slice(4), slice(4, 9))]
    joined = xr.concat(parts, dim="x")
    for layer in whole:
        np.testing.assert_array_equal(joined[layer], whole[layer])
    damaged = features.copy(deep=True)
    damaged[:, :, 0, 0] = np.nan
    damaged[:, :, 5, 8] = 3e38
    steep = replace(checkpoint, std=(0.01,) * len(checkpoint.std))  # normalised values are infinite
    status = predict(damaged, steep, **options)["status"].to_numpy()
    assert status[0, 0] == Status.NOT_OBSERVED
    assert status[5, 8] == Status.FAILED
    assert (status == Status.MAPPED).sum() == status.size - 2
    return whole
