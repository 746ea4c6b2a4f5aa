"""Temporal attention against a plain re-statement, head by head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from toolkit.learn.networks.attention import TemporalAttention, positions


def sinusoids_of_positions(n_steps: int) -> torch.Tensor:
    """Position table of one head of 8 channels, term by term."""
    table = np.zeros((n_steps, 8), np.float32)
    for step in range(n_steps):
        for channel in range(8):
            angle = step / 1000 ** (2 * (channel // 2) / 8)
            table[step, channel] = np.cos(angle) if channel % 2 else np.sin(angle)
    return torch.from_numpy(table)


def stated_logits(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """One head after the other, with plain functions."""
    steps = functional.linear(x.mT, state["embedding.weight"], state["embedding.bias"])
    affine = state["norm_in.weight"], state["norm_in.bias"]
    steps = functional.group_norm(steps.mT, 16, *affine).mT
    heads = []
    for head in range(16):
        own = slice(8 * head, 8 * head + 8)
        steps[:, :, own] += sinusoids_of_positions(x.shape[2])
    for head in range(16):
        own = slice(8 * head, 8 * head + 8)
        keys = steps @ state["key.weight"][own].T
        query = state["query"][head].expand(len(x), 1, 8)
        values = steps[:, :, own]
        heads.append(functional.scaled_dot_product_attention(query, keys, values)[:, 0])
    hidden = torch.cat(heads, dim=1) @ state["hidden.0.weight"].T
    norm = {name: state[f"hidden.1.{name}"] for name in ("weight", "bias")}
    mean, var = (state[f"hidden.1.running_{name}"] for name in ("mean", "var"))
    hidden = torch.relu(functional.batch_norm(hidden, mean, var, **norm))
    features = functional.group_norm(hidden, 16, state["norm_out.weight"], state["norm_out.bias"])
    return features @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize("shape", [(10, 43), (6, 23), (4, 1)])
def test_logits_are_those_of_the_stated_heads(shape: tuple[int, int]) -> None:
    network = TemporalAttention(*shape, 9)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name in ("norm_in", "norm_out"):
            network.get_parameter(f"{name}.weight").uniform_(0.5, 1.5, generator=generator)
            network.get_parameter(f"{name}.bias").normal_(generator=generator)
        for _ in range(3):  # batch normalisation shall have something to do
            network(1 + 2 * torch.randn(32, *shape, generator=generator))
        network.eval()
        x = torch.randn(5, *shape, generator=generator)
        torch.testing.assert_close(network(x), stated_logits(network.state_dict(), x), atol=1e-5, rtol=0)


def test_the_number_of_parameters_is_that_of_the_stated_layers() -> None:
    for n_bands, n_steps, n_classes in ((10, 43, 7), (6, 23, 9)):
        attention = 128 * (n_bands + 1) + 2 * 128 + 16 * 8 + 128 * 128
        head = 128 * 128 + 2 * 128 + 2 * 128 + 129 * n_classes
        n = sum(p.numel() for p in TemporalAttention(n_bands, n_steps, n_classes).parameters())
        assert n == attention + head
    assert sum(p.numel() for p in TemporalAttention(10, 43, 7).parameters()) == 35_975


def test_positions_are_sinusoids_of_the_step() -> None:
    torch.testing.assert_close(positions(73, torch.device("cpu")), sinusoids_of_positions(73))


def test_the_order_of_steps_matters_by_positions_alone() -> None:
    network = TemporalAttention(4, 8, 3).eval()
    x = torch.randn(5, 4, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert (network(x) - network(x.flip(2))).abs().max() > 0.01
        same = x[:, :, :1].expand(-1, -1, 8)
        torch.testing.assert_close(network(same), network(same.flip(2)))


def test_queries_and_keys_start_as_published() -> None:
    network = TemporalAttention(10, 43, 7)
    assert network.key.weight.std().item() == pytest.approx(0.5, rel=0.05)  # sqrt(2 / 8)
    assert network.query.std().item() == pytest.approx(0.5, rel=0.3)
