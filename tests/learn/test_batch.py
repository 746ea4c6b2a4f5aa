"""Batches: sized by what the values between layers need."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.engines.batch import CPU_BYTES, MOST, fitting_batch, pixel_bytes
from toolkit.learn.networks import NETWORKS, build_network


def with_network(checkpoint: Checkpoint, network: str, recipe: FeatureRecipe) -> Checkpoint:
    state = build_network(network, recipe.shape, len(checkpoint.legend.names)).state_dict()
    n_bands = len(recipe.bands)
    return replace(
        checkpoint, network=network, state=state, recipe=recipe, mean=(0.0,) * n_bands, std=(1.0,) * n_bands
    )


def test_cropnet_needs_two_times_its_widest_layer(checkpoint: Checkpoint, recipe: FeatureRecipe) -> None:
    """128 channels of 2 x 4 values, after a step of 2 over 4 bands and 8 steps, going in and coming out."""
    assert pixel_bytes(with_network(checkpoint, "cropnet2d", recipe)) == 4 * 2 * 128 * 2 * 4


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_a_batch_fits_and_one_twice_as_large_does_not(
    network: str, checkpoint: Checkpoint, recipe: FeatureRecipe
) -> None:
    made = with_network(checkpoint, network, recipe)
    size = fitting_batch(made, torch.device("cpu"))
    assert size & (size - 1) == 0
    assert size == MOST["cpu"] or size * pixel_bytes(made) <= CPU_BYTES < 2 * size * pixel_bytes(made)


def test_large_input_is_computed_a_few_pixels_at_once(checkpoint: Checkpoint, recipe: FeatureRecipe) -> None:
    daily = replace(recipe, first_step=0, n_steps=365, step_days=1)
    made = with_network(checkpoint, "cropnet1d", daily)
    assert pixel_bytes(made) == 4 * 2 * 128 * (4 * 365 // 2)
    assert fitting_batch(made, torch.device("cpu")) == 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_a_batch_takes_a_share_of_the_free_memory_of_a_gpu(
    checkpoint: Checkpoint, recipe: FeatureRecipe
) -> None:
    made = with_network(checkpoint, "cropnet2d", recipe)
    size = fitting_batch(made, torch.device("cuda"))
    assert 1 <= size <= MOST["cuda"]
    assert size * pixel_bytes(made) <= torch.cuda.mem_get_info()[1] / 4
