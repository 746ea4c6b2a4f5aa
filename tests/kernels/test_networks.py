"""Networks: every input of zeros and ones is sorted, or has its middle ranks in place."""

from itertools import pairwise

import numpy as np
import pytest

from toolkit.kernels.networks import BOTH, LARGER, SMALLER, middle_networks, sorting_networks

LONGEST = 16


def network(table, n):
    steps, offsets = table
    return steps[offsets[n] : offsets[n + 1]]


def after(steps, n):
    """Rows of all 2^n inputs of zeros and ones behind a network, and of how many ones each has."""
    numbers = np.arange(2**n, dtype=np.uint32)
    rows = [((numbers >> bit) & 1).astype(np.uint8) for bit in range(n)]
    ones = np.sum(rows, axis=0, dtype=int)
    for a, b, keep in steps:
        smaller, larger = np.minimum(rows[a], rows[b]), np.maximum(rows[a], rows[b])
        if keep in (BOTH, SMALLER):
            rows[a] = smaller  # row b stays what it was
        if keep in (BOTH, LARGER):
            rows[b] = larger
    return rows, ones


@pytest.mark.parametrize("n", range(LONGEST + 1))
def test_sorting_networks_sort_every_input_of_zeros_and_ones(n):
    """The 0-1 principle: a network that sorts all of them sorts everything."""
    steps = network(sorting_networks(LONGEST), n)
    rows, _ = after(steps, n)
    assert all((low <= high).all() for low, high in pairwise(rows))
    assert set(steps[:, 2]) <= {BOTH}


@pytest.mark.parametrize("n", range(1, LONGEST + 1))
def test_middle_networks_bring_out_both_middle_ranks_of_every_input_of_zeros_and_ones(n):
    rows, ones = after(network(middle_networks(LONGEST), n), n)
    for rank in {max(n // 2 - 1, 0), n // 2}:
        np.testing.assert_array_equal(rows[rank], rank >= n - ones)


@pytest.mark.parametrize("n", [17, 31, 32, 73, 146])
def test_longer_networks_sort_and_bring_out_the_middle_of_thresholds_in_any_order(n):
    """All 2^n inputs are too many: random ones, and all with a single one or a single zero."""
    rng = np.random.default_rng(n)
    ranked = rng.permuted(np.tile(np.arange(n), (500, 1)), axis=1)
    inputs = np.concatenate([ranked, np.eye(n, dtype=int), 1 - np.eye(n, dtype=int)]).T
    expected = np.sort(inputs, axis=0)
    for table, ranks in ((sorting_networks(n), range(n)), (middle_networks(n), (n // 2 - 1, n // 2))):
        rows = inputs.copy()
        for a, b, keep in network(table, n):
            smaller, larger = np.minimum(rows[a], rows[b]), np.maximum(rows[a], rows[b])
            rows[a] = smaller if keep != LARGER else rows[a]
            rows[b] = larger if keep != SMALLER else rows[b]
        for rank in ranks:
            np.testing.assert_array_equal(rows[rank], expected[rank])


@pytest.mark.parametrize("n", [3, 5, 12, 73])
def test_middle_networks_take_fewer_comparisons_than_sorting_does(n):
    middle, whole = network(middle_networks(n), n), network(sorting_networks(n), n)
    exchanges = [(steps[:, 2] == BOTH).sum() for steps in (middle, whole)]
    assert len(middle) <= len(whole)
    assert exchanges[0] < exchanges[1]


@pytest.mark.parametrize("networks", [sorting_networks, middle_networks])
@pytest.mark.parametrize("longest", [0, 1, 2, 9])
def test_a_table_holds_the_network_of_every_length(networks, longest):
    steps, offsets = networks(longest)
    assert steps.dtype == offsets.dtype == np.int64
    assert steps.shape == (offsets[-1], 3)
    assert offsets.shape == (longest + 2,)
    for n in range(longest + 1):
        rows = network((steps, offsets), n)[:, :2]
        assert ((rows >= 0) & (rows < n)).all()
        assert (rows[:, 0] < rows[:, 1]).all()
