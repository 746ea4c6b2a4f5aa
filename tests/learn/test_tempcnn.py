"""TempCNN against a plain re-statement of the published layers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from toolkit.learn.networks.tempcnn import TempCNN


def published_logits(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The layers as the paper lists them; the convolution as sums over shifted steps."""

    def norm(values: torch.Tensor, at: str) -> torch.Tensor:
        weights = {name: state[f"{at}.{name}"] for name in ("weight", "bias")}
        mean, var = (state[f"{at}.running_{name}"] for name in ("mean", "var"))
        return functional.relu(functional.batch_norm(values, mean, var, **weights))

    for k in (0, 4, 8):
        weight, padded = state[f"convolutions.{k}.weight"], functional.pad(x, (2, 2))
        shifts = [weight[:, :, j] @ padded[:, :, j : j + x.shape[2]] for j in range(5)]
        x = norm(torch.stack(shifts).sum(0), f"convolutions.{k + 1}")
    x = norm(x.reshape(len(x), -1) @ state["dense.0.weight"].T, "dense.1")
    return x @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize("shape", [(10, 43), (6, 23), (4, 1)])
def test_logits_are_those_of_the_published_layers(shape: tuple[int, int]) -> None:
    network = TempCNN(*shape, 9)
    with torch.no_grad():
        for seed in range(3):  # batch normalisation shall have something to do
            network(1 + 2 * torch.randn(32, *shape, generator=torch.Generator().manual_seed(seed)))
        network.eval()
        x = torch.randn(5, *shape, generator=torch.Generator().manual_seed(9))
        torch.testing.assert_close(network(x), published_logits(network.state_dict(), x), atol=1e-5, rtol=0)


def test_the_number_of_parameters_is_that_of_the_published_layers_without_idle_biases() -> None:
    for n_bands, n_steps, n_classes in ((10, 43, 7), (6, 23, 9)):
        convolutions = 5 * 64 * (n_bands + 64 + 64) + 3 * 2 * 64
        dense = 64 * n_steps * 256 + 2 * 256
        n = sum(p.numel() for p in TempCNN(n_bands, n_steps, n_classes).parameters())
        assert n == convolutions + dense + 257 * n_classes
    assert sum(p.numel() for p in TempCNN(10, 43, 7).parameters()) == 751_367


def test_dropout_and_initial_weights_are_published() -> None:
    network = TempCNN(10, 43, 7)
    assert [m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)] == [0.5] * 4
    conv = network.get_parameter("convolutions.4.weight")
    assert conv.std().item() == pytest.approx((2 / (5 * 64)) ** 0.5, rel=0.05)  # fan in
    classifier = network.get_parameter("classifier.weight")
    assert classifier.abs().max().item() == pytest.approx((6 / (256 + 7)) ** 0.5, rel=0.02)  # Glorot
