"""The perceptron against a plain re-statement of its layers."""

from __future__ import annotations

import torch
from torch.nn import functional

from toolkit.learn.networks.mlp import MLP


def stated_logits(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Eight layers of 128, with plain functions; values band after band."""
    x = x.reshape(len(x), -1)
    for k in range(8):
        norm = {name: state[f"hidden.{4 * k + 1}.{name}"] for name in ("weight", "bias")}
        mean, var = (state[f"hidden.{4 * k + 1}.running_{name}"] for name in ("mean", "var"))
        x = functional.gelu(functional.batch_norm(x @ state[f"hidden.{4 * k}.weight"].T, mean, var, **norm))
    return x @ state["classifier.weight"].T + state["classifier.bias"]


def test_the_number_of_parameters_is_that_of_eight_layers_of_128() -> None:
    for n_bands, n_steps, n_classes in ((10, 43, 7), (6, 23, 9), (244, 1, 3)):
        hidden = n_bands * n_steps * 128 + 7 * 128 * 128 + 8 * 2 * 128
        n = sum(p.numel() for p in MLP(n_bands, n_steps, n_classes).parameters())
        assert n == hidden + 129 * n_classes
    assert sum(p.numel() for p in MLP(10, 43, 7).parameters()) == 172_679


def test_logits_are_those_of_the_stated_layers() -> None:
    network = MLP(6, 23, 9)
    with torch.no_grad():
        for seed in range(3):  # batch normalisation shall have something to do
            network(1 + 2 * torch.randn(32, 6, 23, generator=torch.Generator().manual_seed(seed)))
        network.eval()
        x = torch.randn(5, 6, 23, generator=torch.Generator().manual_seed(9))
        torch.testing.assert_close(network(x), stated_logits(network.state_dict(), x), atol=1e-5, rtol=0)


def test_three_of_ten_neurons_are_dropped() -> None:
    assert [m.p for m in MLP(6, 23, 9).modules() if isinstance(m, torch.nn.Dropout)] == [0.3] * 8
