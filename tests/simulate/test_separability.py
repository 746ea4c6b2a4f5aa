"""What the scenes can teach: one date is not enough, the season is."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from toolkit.simulate.landscape import make_landscape
from toolkit.simulate.sentinel2 import overpass_dates, sample_series

DAYS = overpass_dates(date(2023, 5, 1), date(2023, 12, 1))


def samples(seed, per_field):
    """Series, classes and fields of some pixels of every field."""
    landscape = make_landscape(seed)
    rng = np.random.default_rng(seed)
    fields = landscape.field.ravel()
    chosen = [
        rng.choice(np.flatnonzero(fields == n), per_field, replace=False)
        for n in range(1, landscape.n_fields + 1)
    ]
    pixels = np.concatenate(chosen)
    series = sample_series(landscape, year=2023, dates=DAYS, pixels=pixels)
    return series, landscape.crop.ravel()[pixels], fields[pixels]


def forest(n_trees):
    return RandomForestClassifier(n_trees, min_samples_leaf=2, random_state=0)


@pytest.fixture(scope="module")
def reference():
    return samples(0, 10)


@pytest.fixture(scope="module")
def best_single_date(reference):
    """Best overall accuracy of any one date, without noise: mean of two splits by field."""
    series, crops, fields = reference
    rng = np.random.default_rng(0)
    training = [np.isin(fields, rng.permutation(fields.max())[: fields.max() // 2] + 1) for _ in range(2)]

    def accuracy(k):
        return np.mean(
            [forest(30).fit(series[t, :, k], crops[t]).score(series[~t, :, k], crops[~t]) for t in training]
        )

    with ThreadPoolExecutor(2) as pool:
        return max(pool.map(accuracy, range(len(DAYS))))


def test_no_single_date_tells_the_crops_apart(best_single_date):
    assert 0.35 < best_single_date < 0.6


def test_the_season_tells_them_apart_also_on_a_landscape_never_seen(reference, best_single_date):
    parts = [samples(seed, 3) for seed in range(1, 9)]
    series = np.concatenate([part[0] for part in parts])
    crops = np.concatenate([part[1] for part in parts])
    model = forest(60).fit(series.reshape(len(series), -1), crops)
    seen = model.score(reference[0].reshape(len(reference[0]), -1), reference[1])
    assert seen > 0.78
    assert seen > best_single_date + 0.2
