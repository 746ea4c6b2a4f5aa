"""Convolution and ReLU in one step: the same numbers as PyTorch's own modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from toolkit.learn.engines.fused import FusedConvolution, can_fuse, fuse_relu

pytestmark = pytest.mark.skipif(not can_fuse(), reason="this PyTorch has no oneDNN with these operators")


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": (1, 5), "padding": (0, 2), "groups": 4, "bias": False},
        {"kernel_size": 3, "dilation": 2},
    ],
)
@pytest.mark.parametrize("with_relu", [True, False])
def test_a_fused_convolution_computes_the_same(options: dict[str, object], *, with_relu: bool) -> None:
    torch.manual_seed(1)
    convolution = nn.Conv2d(8, 16, **options)
    values = torch.randn(3, 8, 9, 11)
    with torch.inference_mode():
        expected = convolution(values)
        expected = expected.relu() if with_relu else expected
        made = FusedConvolution(convolution, with_relu=with_relu)(values)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)


def test_only_convolutions_padded_with_zeros_are_fused_and_a_relu_is_not_done_twice() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.Identity(),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        nn.ReLU(),
        nn.Conv2d(8, 8, 1),
    ).eval()
    values = torch.randn(2, 1, 6, 7)
    with torch.inference_mode():
        expected = network(values)
        made = fuse_relu(network)(values)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)
    kinds = [type(layer) for layer in network]
    assert kinds == [FusedConvolution, nn.Identity, nn.Identity, nn.Conv2d, nn.ReLU, FusedConvolution]
