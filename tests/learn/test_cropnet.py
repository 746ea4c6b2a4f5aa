"""CropNet against a plain re-statement of the published layers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from toolkit.errors import ModelError
from toolkit.learn.networks import NETWORKS, build_network
from toolkit.learn.networks.cropnet import CropNet, cropnet1d, cropnet2d


def published_logits(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The layers as the paper lists them, with plain functions; 1D or 2D by the weights."""
    one = state["layer1.block.0.weight"].ndim == 3
    conv = functional.conv1d if one else functional.conv2d
    for layer in range(1, 5):
        for k, stride in ((0, 2 if layer == 1 else 1), (3, 1)):
            at = f"layer{layer}.block"
            x = conv(x, state[f"{at}.{k}.weight"], stride=stride, padding=1)
            norm = {name: state[f"{at}.{k + 1}.{name}"] for name in ("weight", "bias")}
            mean, var = (state[f"{at}.{k + 1}.running_{name}"] for name in ("mean", "var"))
            x = torch.relu(functional.batch_norm(x, mean, var, **norm))
    pooled = x.flatten(2).mean(2)
    return pooled @ state["classifier.weight"].T + state["classifier.bias"]


def with_random_statistics(network: CropNet) -> CropNet:
    """Give batch normalisation something to do."""
    generator = torch.Generator().manual_seed(1)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.2, generator=generator)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def test_cropnet_has_the_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in cropnet2d(10, 43, 7).parameters()) == 1_036_295


def test_cropnet_has_the_published_names_of_weights() -> None:
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {"classifier.weight", "classifier.bias"}
    for layer in range(1, 5):
        names |= {f"layer{layer}.block.{k}.weight" for k in (0, 3)}
        names |= {f"layer{layer}.block.{k}.{name}" for k in (1, 4) for name in norm}
    assert set(cropnet2d(10, 43, 7).state_dict()) == names
    assert set(cropnet1d(10, 43, 7).state_dict()) == names


def test_2d_logits_are_those_of_the_published_layers() -> None:
    network = with_random_statistics(cropnet2d(10, 43, 7))
    x = torch.randn(3, 10, 43, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = published_logits(network.state_dict(), x[:, None])
        torch.testing.assert_close(network(x), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(network(x[:, None]), network(x), atol=0, rtol=0)


def test_1d_logits_are_those_of_the_same_blocks_over_one_vector() -> None:
    network = with_random_statistics(cropnet1d(4, 8, 3))
    x = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = published_logits(network.state_dict(), x.reshape(3, 1, 32))
        torch.testing.assert_close(network(x), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(network(x.reshape(3, 32)), network(x), atol=0, rtol=0)


def test_dropout_is_published_and_of_whole_channels() -> None:
    drops = [m for m in cropnet2d(10, 43, 7).modules() if isinstance(m, torch.nn.Dropout2d)]
    assert [drop.p for drop in drops] == [0.2, 0.3, 0.3, 0.4]


def test_initial_weights_follow_kaiming() -> None:
    network = cropnet2d(10, 43, 7)
    conv = network.get_parameter("layer2.block.0.weight")
    assert conv.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)  # fan out
    linear = network.get_parameter("classifier.weight")
    assert linear.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.1)  # fan in
    assert not network.get_parameter("classifier.bias").any()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("shape", "n_classes"), [((1, 1), 2), ((4, 8), 3), ((10, 43), 7)])
def test_every_network_takes_any_bands_steps_and_classes(
    name: str, shape: tuple[int, int], n_classes: int
) -> None:
    network = build_network(name, shape, n_classes).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, *shape)).shape == (2, n_classes)


def test_an_unknown_network_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"'resnet' is unknown.*cropnet2d, cropnet1d"):
        build_network("resnet", (4, 8), 3)


@pytest.mark.parametrize("shape", [(2, 8), (2, 3, 4, 8), (1, 1, 1, 4, 8)])
def test_an_input_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"allowed: \(n, band, step\)"):
        cropnet2d(4, 8, 3)(torch.zeros(shape))
