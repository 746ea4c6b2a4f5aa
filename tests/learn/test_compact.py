"""Compact networks against a plain re-statement of their layers, and their operations by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from toolkit.errors import ModelError
from toolkit.learn.networks import NETWORKS, build_network
from toolkit.learn.networks.compact import GROUPS, SHAPES, CompactNetwork, Shape
from toolkit.learn.operations import NO_PRODUCTS, operations, parameters

TIME = Shape(over="time", channels=(8, 8, 16), strides=(2, 1, 2), length=5)
PICTURE = Shape(over="band and time", channels=(4, 8), strides=(2, 1), length=3)


def restated(state: dict[str, torch.Tensor], x: torch.Tensor, shape: Shape) -> torch.Tensor:
    """The layers by torch's functions for vectors, where only time is convolved."""
    over_time = shape.over == "time"
    x = x if over_time else x[:, None]
    layer = 0
    for k, stride in enumerate(shape.strides):
        kind = shape.convolution if k else "plain"
        around = shape.length // 2
        groups = {"plain": 1, "grouped": GROUPS, "separable": x.shape[1]}[kind]
        weight = state[f"convolutions.{layer}.weight"]
        if over_time:
            x = functional.conv1d(x, weight.squeeze(2), stride=stride, padding=around, groups=groups)
        else:
            x = functional.conv2d(x, weight, stride=stride, padding=around, groups=groups)
        if kind == "separable":
            x = functional.relu(normed(state, x, layer + 1))
            x = torch.einsum("nc...,dc->nd...", x, state[f"convolutions.{layer + 3}.weight"].flatten(1))
            layer += 3
        x = functional.relu(normed(state, x, layer + 1))
        layer += 3
    return x.flatten(2).mean(dim=2) @ state["classifier.weight"].T + state["classifier.bias"]


def normed(state: dict[str, torch.Tensor], x: torch.Tensor, layer: int) -> torch.Tensor:
    at = f"convolutions.{layer}"
    weights = {name: state[f"{at}.{name}"] for name in ("weight", "bias")}
    return functional.batch_norm(x, state[f"{at}.running_mean"], state[f"{at}.running_var"], **weights)


@pytest.mark.parametrize("convolution", ["plain", "grouped", "separable"])
@pytest.mark.parametrize("over", ["time", "band and time"])
@pytest.mark.parametrize("size", [(10, 43), (6, 23)])
def test_logits_are_those_of_the_layers_one_by_one(
    convolution: str, over: str, size: tuple[int, int]
) -> None:
    shape = Shape(over=over, channels=(8, 8, 16), strides=(2, 1, 2), length=3, convolution=convolution)  # type: ignore[arg-type]  # literals, from parametrize
    network = CompactNetwork(*size, 9, shape=shape)
    with torch.no_grad():
        for seed in range(3):  # batch normalisation shall have something to do
            network(1 + 2 * torch.randn(32, *size, generator=torch.Generator().manual_seed(seed)))
        network.eval()
        x = torch.randn(5, *size, generator=torch.Generator().manual_seed(9))
        expected = restated(network.state_dict(), x, shape)
        torch.testing.assert_close(network(x), expected, atol=1e-5, rtol=1e-5)


def test_the_operations_of_cropnet_are_those_counted_by_hand() -> None:
    first, others = 9 * 128 * 110, 7 * 9 * 128 * 128 * 110  # 10 x 43 becomes 5 x 22
    assert operations("cropnet2d", (10, 43), 7) == 2 * (first + others + 128 * 7)
    assert operations("cropnet2d", (10, 43), 7) == pytest.approx(0.2273e9, rel=5e-4)
    assert parameters("cropnet2d", (10, 43), 7) == 1_036_295


def test_the_operations_of_compact_networks_are_those_counted_by_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over_time = 5 * (10 * 8 * 22 + 8 * 8 * 22 + 8 * 16 * 11) + 16 * 7
    over_both = 9 * (1 * 4 * 5 * 22 + 4 * 8 * 5 * 22) + 8 * 7
    for shape, products in ((TIME, over_time), (PICTURE, over_both)):
        monkeypatch.setattr(
            "toolkit.learn.operations.build_network",
            lambda _, size, n, shape=shape: CompactNetwork(*size, n, shape=shape),
        )
        assert operations("compact", (10, 43), 7) == 2 * products


def test_products_of_attention_are_counted_and_trees_have_none() -> None:
    steps, width, keys, heads = 43, 128, 8, 16
    linear = steps * (10 * width + width * heads * keys) + width * width + width * 7
    attended = heads * steps * (keys + width // heads)
    assert operations("attention", (10, 43), 7) == 2 * (linear + attended)
    for name in NO_PRODUCTS:
        with pytest.raises(ModelError, match="trees compare"):
            operations(name, (10, 43), 7)
    with pytest.raises(ModelError, match="unknown"):
        operations("thesis", (10, 43), 7)


@pytest.mark.parametrize("name", SHAPES)
def test_every_student_needs_a_tenth_of_cropnets_operations_or_less(name: str) -> None:
    assert 10 * operations(name, (10, 43), 7) <= operations("cropnet2d", (10, 43), 7)
    assert NETWORKS[name](10, 43, 7).classifier.out_features == 7  # type: ignore[union-attr]  # a linear layer
    assert len(SHAPES[name].channels) == len(SHAPES[name].strides)


def test_counting_computes_nothing_and_leaves_random_state_alone() -> None:
    before = torch.get_rng_state()
    operations("cropnet2d", (10, 43), 7)
    assert torch.equal(torch.get_rng_state(), before)
    assert build_network("compact2d", (10, 43), 7).training
