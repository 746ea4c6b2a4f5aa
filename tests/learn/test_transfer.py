"""Transfer: trials on shifted regions, both protocols, means, pairs and rankings by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import InputError, LabelError
from toolkit.learn.accuracy import compare
from toolkit.learn.checkpoint import Checkpoint
from toolkit.learn.distance import MEASURES
from toolkit.learn.networks import NETWORKS
from toolkit.learn.predict_samples import run_samples
from toolkit.learn.samples import Samples
from toolkit.learn.source_ranking import rank_sources
from toolkit.learn.splits import split_samples
from toolkit.learn.train import TrainConfig
from toolkit.learn.transfer import (
    MODEL_FEATURES,
    Configuration,
    TargetResult,
    Trial,
    TrialResult,
    feature_samples,
    run_trial,
)
from toolkit.learn.transfer_protocols import accuracy_of, fold_absent_classes
from toolkit.learn.transfer_summary import compare_configurations, summarise
from toolkit.legend import CROPGLOBE, CropClass, Legend

MakeSamples = Callable[..., Samples]

PLAIN, OTHER = Configuration(features="median2d", model="cropnet2d"), Configuration(features="x", model="y")


SHIFTS = {"near": 0, "later": 1, "far": 2, "swapped": 4}
"""Steps of a month by which each region is later; after four, each crop looks like the next one."""


@pytest.fixture(scope="module")
def regions(make_samples: MakeSamples) -> dict[str, Samples]:
    """Regions of three crops, with less rice than corn and soybeans, so that the mean curve has a season."""
    made = {}
    for name, shift in SHIFTS.items():
        samples = make_samples(60, seed=shift)
        samples = samples.select((samples.crop < 2) | (samples.field < 8))
        made[name] = replace(samples, series=np.roll(samples.series, shift, axis=2).copy())
    return made


@pytest.fixture(scope="module")
def result(regions: dict[str, Samples], recipe: FeatureRecipe) -> TrialResult:
    """CropNet trained on the first, tested on the others."""
    trial = Trial(configuration=PLAIN, source="near", seed=0)
    config = TrainConfig(augmentation=None, epochs=10, batch_size=8, learning_rate=1e-3, device="cpu")
    return run_trial(trial, regions, recipe, config, targets=tuple(regions))


def test_a_trial_learns_its_source_and_is_tested_on_all_others(result: TrialResult) -> None:
    assert list(result.tested) == ["later", "far", "swapped"]
    assert accuracy_of(result.held_out, "plain", CROPGLOBE).macro_f1 > 0.9
    found = {
        name: accuracy_of(tested.confusion, "plain", CROPGLOBE) for name, tested in result.tested.items()
    }
    assert {one.n for one in found.values()} == {48}
    assert found["later"].macro_f1 > 0.9
    assert found["far"].macro_f1 < 0.9
    assert found["swapped"].macro_f1 < 0.1


def test_later_regions_are_farther_away(result: TrialResult) -> None:
    later, far = result.tested["later"].closeness, result.tested["far"].closeness
    assert set(later) == set(MEASURES)
    for name in ("frechet", "frechet_relative", "mmd", "phenology_days"):
        assert later[name] < far[name], name
    for name in ("confidence", "thresholded_confidence"):
        assert later[name] > far[name], name
    assert (later["phenology_days"], far["phenology_days"]) == (30.0, 60.0)


def test_crops_that_have_swapped_calendars_look_close(result: TrialResult) -> None:
    """The limit of every measure without labels: the series are the same, only the names differ."""
    swapped, far = result.tested["swapped"].closeness, result.tested["far"].closeness
    assert swapped["frechet"] < far["frechet"]
    assert swapped["confidence"] > far["confidence"]
    assert swapped["phenology_days"] == 120.0  # but the calendar tells


def test_the_held_out_fields_are_found_again(checkpoint: Checkpoint, make_samples: MakeSamples) -> None:
    """Foretold accuracy takes its threshold from them: the split must be that of the training."""
    samples = make_samples()
    held_out = split_samples(samples, share=0.2, seed=0, by="auto").validation
    predicted = run_samples(samples.select(held_out), checkpoint).probability.argmax(axis=1)
    found = compare(samples.crop[held_out], predicted, 7).confusion
    np.testing.assert_array_equal(found, checkpoint.metrics["confusion"])


def test_results_survive_json(result: TrialResult) -> None:
    again = TrialResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again.trial == result.trial
    assert again.to_dict() == result.to_dict()
    with pytest.raises(InputError, match="cannot be read"):
        TrialResult.from_dict({"trial": {}})


def test_every_model_is_a_network_or_will_be_and_takes_known_features() -> None:
    assert set(NETWORKS) <= set(MODEL_FEATURES)
    assert {one for features in MODEL_FEATURES.values() for one in features} == {
        "median2d",
        "median1d",
        "harmonic",
    }


def test_harmonic_features_train_a_vector_network(regions: dict[str, Samples], recipe: FeatureRecipe) -> None:
    # A month's step: five coefficients from eight steps.
    trial = Trial(configuration=Configuration(features="harmonic", model="cropnet1d"), source="near", seed=0)
    config = TrainConfig(
        network="cropnet1d", augmentation=None, epochs=20, batch_size=8, learning_rate=1e-3, device="cpu"
    )
    result = run_trial(trial, regions, recipe, config, targets=("later",))
    assert accuracy_of(result.held_out, "plain", CROPGLOBE).macro_f1 > 0.9
    with pytest.raises(InputError, match="Features 'alphaearth' are unknown"):
        feature_samples(regions["near"], recipe, "alphaearth")


def test_a_target_of_one_class_is_fine_and_a_source_is_not(
    regions: dict[str, Samples], recipe: FeatureRecipe
) -> None:
    one_class = {**regions, "far": regions["far"].select(regions["far"].crop == 1)}
    config = TrainConfig(augmentation=None, epochs=1, batch_size=16, device="cpu")
    tested = run_trial(
        Trial(configuration=PLAIN, source="near", seed=0), one_class, recipe, config, targets=("far",)
    ).tested["far"]
    assert tested.confusion[1].sum() == 20 == tested.confusion.sum()
    with pytest.raises(LabelError, match="two classes or more"):
        run_trial(
            Trial(configuration=PLAIN, source="far", seed=0), one_class, recipe, config, targets=("near",)
        )


MATRIX = np.array(
    [  # corn, soybeans, rice, wheat, sugarcane, cotton, other
        [5, 1, 2, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 3, 4, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 6, 0, 2, 0, 0, 1],
    ]
)


def test_the_published_protocol_by_hand() -> None:
    folded = fold_absent_classes(MATRIX, CROPGLOBE)
    assert folded[0].tolist() == [5, 0, 2, 0, 0, 0, 2]
    assert folded[2].tolist() == [0, 0, 4, 0, 0, 0, 3]
    assert folded[6].tolist() == [0, 0, 0, 0, 0, 0, 9]
    assert folded.sum() == MATRIX.sum()
    assert accuracy_of(MATRIX, "plain", CROPGLOBE).overall == pytest.approx(10 / 25)
    published = accuracy_of(MATRIX, "published", CROPGLOBE)
    assert published.overall == pytest.approx(18 / 25)
    f1 = (2 * 5 / (9 + 5), 2 * 4 / (7 + 6), 2 * 9 / (9 + 14))
    assert published.macro_f1 == pytest.approx(np.mean(f1))


def test_it_is_the_same_as_remapping_each_prediction() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.choice([0, 3, 6], 200), rng.integers(0, 7, 200)
    remapped = np.where(np.isin(predicted, [0, 3]), predicted, 6)
    expected = compare(truth, remapped, 7).confusion
    np.testing.assert_array_equal(
        fold_absent_classes(compare(truth, predicted, 7).confusion, CROPGLOBE), expected
    )


def test_without_other_in_the_reference_folded_predictions_stay_errors() -> None:
    matrix = MATRIX.copy()
    matrix[6] = 0
    folded = fold_absent_classes(matrix, CROPGLOBE)
    assert folded[:, 6].tolist() == [2, 0, 3, 0, 0, 0, 0]
    legend = Legend(tuple(CropClass(name, (0, 0, 0)) for name in "abcdefg"))
    with pytest.raises(LabelError, match="needs 'other'"):
        fold_absent_classes(matrix, legend)


def made(
    configuration: Configuration,
    source: str,
    seed: int,
    right: dict[str, int],
    closeness: dict[str, dict[str, float | None]] | None = None,
) -> TrialResult:
    """A result with so many of ten right on each target: corn and other, half each."""

    def matrix(n: int) -> np.ndarray:
        counts = np.zeros((7, 7), np.int64)
        counts[0, 0], counts[0, 6] = n, 10 - n
        counts[6, 6] = 10
        return counts

    tested = {
        name: TargetResult(confusion=matrix(n), n_not_observed=0, closeness=(closeness or {}).get(name, {}))
        for name, n in right.items()
    }
    trial = Trial(configuration=configuration, source=source, seed=seed)
    return TrialResult(trial=trial, held_out=matrix(10), tested=tested, facts={})


def test_cells_are_means_and_deviations_over_seeds() -> None:
    results = [made(PLAIN, "a", seed, {"b": n}) for seed, n in enumerate((4, 6, 9))]
    own, cell = summarise(results, "plain", CROPGLOBE)
    assert (own.source, own.target, cell.source, cell.target) == ("a", "a", "a", "b")
    overall = [14 / 20, 16 / 20, 19 / 20]
    assert cell.n_seeds == 3
    assert cell.mean["overall"] == pytest.approx(np.mean(overall))
    assert cell.std["overall"] == pytest.approx(np.std(overall, ddof=1))
    assert cell.confusion[0].tolist() == [19, 0, 0, 0, 0, 0, 11]
    assert cell.class_f1[0] == pytest.approx(np.mean([2 * n / (10 + n) for n in (4, 6, 9)]))
    assert np.isnan(cell.class_f1[1])
    (_, alone) = summarise(results[:1], "plain", CROPGLOBE)
    assert np.isnan(alone.std["overall"])


def test_a_comparison_is_paired_over_cells() -> None:
    gains = {("a", "b"): 3, ("a", "c"): 1, ("b", "a"): 2, ("b", "c"): 0, ("c", "a"): 4, ("c", "b"): -1}
    results = []
    for (source, target), gain in gains.items():
        for seed in (0, 1):
            results.append(made(PLAIN, source, seed, {target: 5 + gain}))
            results.append(made(OTHER, source, seed, {target: 5}))
    summaries = summarise(results, "plain", CROPGLOBE)
    found = compare_configurations(summaries, PLAIN, OTHER, metric="overall")
    assert found is not None
    differences = np.array(list(gains.values())) / 20
    assert found.n_cells == 6
    assert found.difference == pytest.approx(differences.mean())
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))
    low, high = found.by_source  # means of the sources: 0.1, 0.05 and 0.075
    assert low == pytest.approx(0.05)
    assert high == pytest.approx(0.1)
    assert compare_configurations(summaries, PLAIN, replace(PLAIN, model="z")) is None


def test_one_cell_has_no_interval() -> None:
    results = [made(PLAIN, "a", 0, {"b": 7}), made(OTHER, "a", 0, {"b": 5})]
    found = compare_configurations(summarise(results, "plain", CROPGLOBE), PLAIN, OTHER, metric="overall")
    assert found is not None
    assert found.difference == pytest.approx(0.1)
    assert np.isnan([*found.interval, *found.by_source]).all()


def ranked() -> list[TrialResult]:
    """Four sources of the target t: the Frechet distance of the network ranks them all but rightly."""
    right = {"a": 9, "b": 7, "c": 5, "d": 2}
    distance = {"a": 2.0, "b": 1.0, "c": 3.0, "d": 8.0}
    results = []
    for source, n in right.items():
        close = {"t": {"frechet": distance[source], "confidence": n / 10, "phenology_days": 5.0}}
        results.append(made(PLAIN, source, 0, {"t": n}, close))
        results.append(made(OTHER, source, 0, {"t": 10 - n}, {"t": {"confidence": n / 10}}))
    return results


def test_rankings_are_the_rank_correlation_of_scipy() -> None:
    by_measure = {one.measure: one for one in rank_sources(ranked(), PLAIN, CROPGLOBE)}
    frechet = by_measure["frechet"]
    assert (frechet.target, frechet.n_sources, frechet.recommended, frechet.best) == ("t", 4, "b", "a")
    assert frechet.spearman == pytest.approx(stats.spearmanr([-2, -1, -3, -8], [9, 7, 5, 2]).statistic)
    assert frechet.spearman == pytest.approx(0.8)
    f1 = {n: np.mean([2 * n / (10 + n), 20 / (30 - n)]) for n in (9, 7)}
    assert frechet.regret == pytest.approx(f1[9] - f1[7])
    assert by_measure["confidence"].spearman == pytest.approx(1)
    assert by_measure["confidence"].regret == 0
    assert np.isnan(by_measure["phenology_days"].spearman)  # all sources alike: nothing is ranked
    assert by_measure["phenology_days"].recommended == "a, b, c, d"
    assert by_measure["phenology_days"].regret > frechet.regret
    assert "mmd" not in by_measure


def test_a_model_without_features_is_measured_with_the_first_network() -> None:
    by_measure = {one.measure: one for one in rank_sources(ranked(), OTHER, CROPGLOBE)}
    assert by_measure["frechet"].measured_with == PLAIN
    assert by_measure["frechet"].spearman == pytest.approx(-0.8)  # honest: it ranks this model the wrong way
    assert by_measure["confidence"].measured_with == OTHER
    assert by_measure["confidence"].spearman == pytest.approx(-1)


def test_cells_of_all_targets_are_pooled_and_a_single_source_is_no_ranking() -> None:
    results = []
    for source, close in (("a", (1.0, 4.0)), ("b", (2.0, 3.0))):
        right = {"t": round(9 - close[0]), "u": round(9 - close[1])}
        closeness = {"t": {"mmd": close[0]}, "u": {"mmd": close[1]}}
        results.append(made(PLAIN, source, 0, right, closeness))
    rankings = rank_sources(results, PLAIN, CROPGLOBE)
    assert [(one.target, one.n_sources) for one in rankings] == [("t", 2), ("u", 2), ("all", 4)]
    assert rankings[-1].spearman == pytest.approx(1)
    assert rankings[-1].regret == 0
    assert rank_sources([made(PLAIN, "a", 0, {"t": 5}, {"t": {"mmd": 1.0}})], PLAIN, CROPGLOBE) == []


def test_a_forest_has_confidence_but_no_features(regions: dict[str, Samples], recipe: FeatureRecipe) -> None:
    trial = Trial(
        configuration=Configuration(features="harmonic", model="random_forest"), source="near", seed=0
    )
    config = TrainConfig(network="random_forest", augmentation=None, device="cpu")
    tested = run_trial(trial, regions, recipe, config, targets=("later",)).tested["later"]
    assert set(tested.closeness) == {"phenology_days", "confidence", "thresholded_confidence"}
    assert 1 / 3 < tested.closeness["confidence"] <= 1
    assert tested.confusion.sum() == 48
