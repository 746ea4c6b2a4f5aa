"""The benchmark of training runs, and what it times does the same."""

import numpy as np
import torch

from tests.benchmarks.timing import Settings
from tests.benchmarks.training import BANDS, SEASON, YEAR, one_by_one, sections
from toolkit.learn.augment import augment
from toolkit.learn.augmentations import Augmentation


def test_one_at_a_time_varies_series_as_much_as_ours():
    """Both move a wave by the same amounts: the spread of each step over many series is the same."""
    wave = 0.3 + 0.1 * np.sin(2 * np.pi * np.arange(YEAR) / YEAR)
    year = np.broadcast_to(wave, (600, BANDS, YEAR)).astype(np.float32)
    theirs = one_by_one(year, np.random.default_rng(0))
    ours = augment(
        torch.from_numpy(year.copy()), SEASON, Augmentation(), torch.Generator().manual_seed(0)
    ).numpy()
    np.testing.assert_allclose(theirs.mean(axis=0), ours.mean(axis=0), atol=0.012)
    np.testing.assert_allclose(theirs.std(axis=0), ours.std(axis=0), atol=0.012)


def test_both_parts_give_their_targets():
    first, second = sections(Settings(rounds=1, shrink=12))
    assert [outcome.limit for outcome in first.outcomes] == [100]
    assert {outcome.limit for outcome in second.outcomes} <= {1.1, 3}
    assert len(second.rows) in (3, 5)
