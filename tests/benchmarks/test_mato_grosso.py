"""The comparison on Mato Grosso: folds by block, figures as scikit-learn has them, intervals that hold."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from tests.benchmarks.mato_grosso import (
    DATA,
    FOREST,
    confusions,
    folds,
    interval_over_blocks,
    interval_over_repeats,
    macro_f1,
    overall,
    read_mato_grosso,
    repeated_classes,
    report,
)


@pytest.fixture(scope="module")
def samples():
    if not DATA.is_file():
        pytest.skip(f"the real series are not here: no file {DATA}")
    return read_mato_grosso()


def test_the_series_are_those_of_the_source(samples):
    assert samples.series.shape == (2115, 6, 23)
    assert len(np.unique(samples.field)) == 1592
    assert len(np.unique(samples.block)) == 98
    names = [samples.legend.names[k] for k in repeated_classes(samples)]
    assert len(names) == 7
    assert not {"forest", "soy_fallow"} & set(names)


def test_no_block_is_on_both_sides_and_each_sample_is_tested_once(samples):
    parts = folds(samples, 0)
    tested = np.sort(np.concatenate([test for _, test in parts]))
    np.testing.assert_array_equal(tested, np.arange(len(samples)))
    for training, test in parts:
        assert not set(samples.block[training]) & set(samples.block[test])
    others = [test for _, test in folds(samples, 1)]
    shared = [
        len(np.intersect1d(test, other)) / len(test) for (_, test), other in zip(parts, others, strict=True)
    ]
    assert max(shared) < 0.6  # repeats are draws of their own


def test_figures_are_those_of_scikit_learn(samples):
    rng = np.random.default_rng(0)
    classes = np.where(rng.random(len(samples)) < 0.7, samples.crop, rng.integers(0, 9, len(samples)))
    chosen = repeated_classes(samples)
    whole = confusions(samples, classes).sum(axis=0)
    judged = np.isin(samples.crop, chosen)
    truth, said = samples.crop[judged], classes[judged]
    assert macro_f1(whole, chosen) == pytest.approx(
        f1_score(truth, said, labels=list(chosen), average="macro")
    )
    assert overall(whole, chosen) == pytest.approx(accuracy_score(truth, said))


def test_intervals_hold_the_difference_and_are_nothing_for_the_same_model(samples):
    rng = np.random.default_rng(0)
    chosen = repeated_classes(samples)

    def model(right):
        drawn = [
            np.where(rng.random(len(samples)) < right, samples.crop, rng.integers(0, 9, len(samples)))
            for _ in range(3)
        ]
        return np.stack([confusions(samples, classes) for classes in drawn])

    good, poor = model(0.9), model(0.7)
    gain = macro_f1(good.sum(axis=1), chosen) - macro_f1(poor.sum(axis=1), chosen)
    for low, high in (interval_over_repeats(gain), interval_over_blocks(good, poor, chosen)):
        assert 0 < low < gain.mean() < high
    assert interval_over_blocks(good, good, chosen) == (0, 0)
    text = report(samples, {FOREST: poor, "better": good})
    assert f"| better | {overall(good.sum(axis=1), chosen).mean():.3f}" in text
