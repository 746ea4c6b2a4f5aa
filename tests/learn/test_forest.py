"""The forest of tensors against scikit-learn's; damaged trees are refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import save
from sklearn.ensemble import RandomForestClassifier

from tests.learn.test_networks import check_map
from toolkit.cubes.recipe import FeatureRecipe
from toolkit.errors import CheckpointError, InputError, LabelError
from toolkit.learn.checkpoint import CARD, WEIGHTS, Checkpoint, read_checkpoint, write_checkpoint
from toolkit.learn.forest import fit_forest, round_down
from toolkit.learn.networks import forest as trees
from toolkit.learn.networks import network_like
from toolkit.learn.samples import Samples
from toolkit.legend import CROPGLOBE

State = dict[str, torch.Tensor]


def noisy(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Series (n, 3, 5) and classes 0, 1, 2 and 4 that are hard to tell apart, in unequal numbers."""
    rng = np.random.default_rng(seed)
    crop = rng.choice([0, 1, 2, 4], n, p=[0.5, 0.3, 0.15, 0.05]).astype(np.uint8)
    crop[:4] = 0, 1, 2, 4
    return (rng.normal(size=(n, 3, 5)) + 0.3 * crop[:, None, None]).astype(np.float32), crop


def probabilities(state: State, series: np.ndarray, n_classes: int) -> np.ndarray:
    network = network_like(state, "random_forest", series.shape[1:], n_classes)
    network.load_state_dict(state)
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(series)).double().softmax(1).numpy()


def of_sklearn(train: tuple[np.ndarray, np.ndarray], series: np.ndarray, n_classes: int) -> np.ndarray:
    """What scikit-learn says, with a column for each class."""
    reference = RandomForestClassifier(30, class_weight="balanced", random_state=7)
    reference.fit(train[0].reshape(len(train[0]), -1), train[1])
    shares = np.zeros((len(series), n_classes))
    shares[:, reference.classes_] = reference.predict_proba(series.reshape(len(series), -1))
    return shares


def on_thresholds(state: State, n_values: int) -> np.ndarray:
    """Values (n, value) that lie on a threshold, and just beside it."""
    n = len(state["feature"])
    rows = np.random.default_rng(1).normal(size=(n, n_values)).astype(np.float32)
    threshold = state["threshold"].numpy()
    beside = [threshold, np.nextafter(threshold, np.float32(9)), np.nextafter(threshold, np.float32(-9))]
    rows[np.arange(n), state["feature"].numpy()] = np.choose(np.arange(n) % 3, beside)
    return rows


def test_probabilities_are_those_of_sklearn_and_absent_classes_get_none() -> None:
    train, (series, _) = noisy(300), noisy(200, seed=1)
    state = fit_forest(*train, n_classes=7, n_trees=30, seed=7)
    got, expected = probabilities(state, series, 7), of_sklearn(train, series, 7)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_array_equal(got.argmax(1), expected.argmax(1))
    assert got[:, [3, 5, 6]].max() < 1e-8
    assert len(np.unique(got.round(6))) > 20  # shares of many kinds


def test_values_on_a_threshold_go_the_way_of_sklearn() -> None:
    train = noisy(300)
    state = fit_forest(*train, n_classes=5, n_trees=30, seed=7)
    series = on_thresholds(state, 15).reshape(-1, 3, 5)
    np.testing.assert_allclose(
        probabilities(state, series, 5), of_sklearn(train, series, 5), atol=1e-6, rtol=0
    )


def test_neighbouring_floats_whose_middle_is_no_float32_go_the_way_of_sklearn() -> None:
    rng = np.random.default_rng(2)
    steps = rng.integers(0, 6, (300, 3, 5)).astype(np.int32)
    series = (np.float32(100).view(np.int32) + steps).view(np.float32)
    crop = (steps[:, 0, 0] + rng.integers(0, 2, 300)).astype(np.uint8)
    state = fit_forest(series, crop, n_classes=7, n_trees=30, seed=7)
    got = probabilities(state, series, 7)
    np.testing.assert_allclose(got, of_sklearn((series, crop), series, 7), atol=1e-6)


def test_thresholds_are_rounded_down_to_float32() -> None:
    exact = np.array([0.5, 0.1, -0.1, 1 + 2**-24, -1 - 2**-25, 0.0])
    got = round_down(exact)
    assert got.dtype == np.float32
    assert (got <= exact).all()
    assert (np.nextafter(got, np.float32(np.inf)) > exact).all()
    np.testing.assert_array_equal(got[[0, 3, 5]], np.float32([0.5, 1, 0]))


def test_impure_leaves_of_equal_series_share_as_in_sklearn() -> None:
    series, crop = noisy(60)
    series, other = np.repeat(series, 3, axis=0), np.repeat(crop, 3)
    other[::3] = 2
    got = probabilities(fit_forest(series, other, n_classes=5, n_trees=30, seed=7), series, 5)
    np.testing.assert_allclose(got, of_sklearn((series, other), series, 5), atol=1e-6)


def test_one_class_alone_gives_trees_of_one_leaf() -> None:
    series, _ = noisy(20)
    state = fit_forest(series, np.full(20, 2, np.uint8), n_classes=4, n_trees=3)
    assert {name: tuple(t.shape) for name, t in state.items()} == {
        "feature": (0,),
        "threshold": (0,),
        "child": (0, 2),
        "root": (3,),
        "share": (1, 4),
    }
    np.testing.assert_allclose(probabilities(state, series, 4), [[0, 0, 1, 0]] * 20, atol=1e-8)


def test_the_same_seed_gives_the_same_trees_with_any_number_of_jobs() -> None:
    train = noisy(100)
    one, two = (fit_forest(*train, n_classes=5, n_trees=8, seed=2**32 + 5, n_jobs=n) for n in (None, 2))
    assert save(one) == save(two)
    other = fit_forest(*train, n_classes=5, n_trees=8, seed=6)
    assert save(one) != save(other)


def test_trees_in_small_groups_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    train, (series, _) = noisy(100), noisy(40, seed=1)
    state = fit_forest(*train, n_classes=5, n_trees=30)
    whole = probabilities(state, series, 5)
    monkeypatch.setattr(trees, "PATHS", 7 * len(series))  # 7 trees at once, 2 in the last group
    np.testing.assert_allclose(probabilities(state, series, 5), whole, atol=1e-12)
    monkeypatch.setattr(trees, "PATHS", 1)
    np.testing.assert_allclose(probabilities(state, series, 5), whole, atol=1e-12)


def test_a_series_with_nan_or_infinity_gets_no_number_and_changes_no_other() -> None:
    train, (series, _) = noisy(100), noisy(10, seed=1)
    state = fit_forest(*train, n_classes=5, n_trees=5)
    damaged = series.copy()
    damaged[2, 1, 1], damaged[5, 0, 0], damaged[6, 2, 4] = np.nan, np.inf, -np.inf
    got, whole = probabilities(state, damaged, 5), probabilities(state, series, 5)
    bad = np.isin(np.arange(10), [2, 5, 6])
    assert np.isnan(got[bad]).all()
    np.testing.assert_array_equal(got[~bad], whole[~bad])


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"n_trees": 0}, InputError, "n_trees is 0"),
        ({"n_classes": 4}, LabelError, "are 0 to 4; allowed: 0 to 3"),
        ({"series": np.full((20, 3, 5), np.nan, np.float32)}, LabelError, "20 of 20 series hold NaN"),
        ({"series": np.zeros((20, 15), np.float32)}, LabelError, r"needed: float32 \(sample, band, step\)"),
        ({"series": np.zeros((20, 3, 5))}, LabelError, "float64"),
        ({"series": np.zeros((19, 3, 5), np.float32)}, LabelError, r"classes \(20,\)"),
        (
            {"series": np.zeros((0, 3, 5), np.float32), "crop": np.zeros(0, np.uint8)},
            LabelError,
            "one sample",
        ),
    ],
)
def test_unusable_samples_are_refused(change: dict[str, object], error: type, match: str) -> None:
    series, crop = noisy(20)
    with pytest.raises(error, match=match):
        fit_forest(**{"series": series, "crop": crop, "n_classes": 5, **change})


@pytest.fixture(scope="module")
def forest(make_samples: Callable[..., Samples], recipe: FeatureRecipe) -> Checkpoint:
    """A forest that knows the three classes of the small samples."""
    samples = make_samples()
    season = samples.series[:, :, recipe.first_step : recipe.first_step + recipe.n_steps]
    return Checkpoint(
        network="random_forest",
        state=fit_forest(season, samples.crop, n_classes=7, n_trees=40),
        recipe=recipe,
        legend=CROPGLOBE,
        mean=(0.0,) * 4,
        std=(1.0,) * 4,
        provenance={"simulated": True},
    )


def test_a_forest_comes_back_from_disk_as_it_was(forest: Checkpoint, tmp_path: Path) -> None:
    folder = write_checkpoint(forest, tmp_path / "one")
    back = read_checkpoint(folder)
    assert back.content_hash == forest.content_hash
    again = write_checkpoint(back, tmp_path / "two")
    for name in (WEIGHTS, CARD):
        assert (folder / name).read_bytes() == (again / name).read_bytes()
    built = back.build().state_dict()
    assert all(torch.equal(built[name], tensor) for name, tensor in forest.state.items())


def test_a_forest_maps_as_sklearn_says(
    forest: Checkpoint, make_features: Callable[..., xr.DataArray], recipe: FeatureRecipe
) -> None:
    truth = np.random.default_rng(3).integers(0, 3, (6, 9))
    layers = check_map(make_features(truth, recipe), forest)
    assert (layers["crop"].to_numpy() == truth + 1).mean() > 0.95


SMALL: State = {
    "feature": torch.tensor([0, 31, 5], dtype=torch.int32),
    "threshold": torch.tensor([0.1, 0.2, 0.3]),
    "child": torch.tensor([[1, -1], [-2, 2], [-1, -2]], dtype=torch.int32),
    "root": torch.tensor([0, -2], dtype=torch.int32),
    "share": torch.tensor([[1.0, 0, 0, 0, 0, 0, 0], [0, 0.5, 0.5, 0, 0, 0, 0]], dtype=torch.float64),
}
"""Two trees by hand over 4 bands and 8 steps: one of three inner nodes, one of a leaf."""


def with_value(name: str, place: tuple[int, ...], value: float) -> State:
    tensor = SMALL[name].clone()
    tensor[place] = value
    return {**SMALL, name: tensor}


def chain(n: int) -> State:
    """One tree that is a line of nodes."""
    child = torch.full((n, 2), -1, dtype=torch.int32)
    child[:-1, 0] = torch.arange(1, n)
    zeros = torch.zeros(n)
    root = torch.zeros(1, dtype=torch.int32)
    return {**SMALL, "feature": zeros.int(), "threshold": zeros, "child": child, "root": root}


def test_trees_made_by_hand_are_followed(forest: Checkpoint) -> None:
    small = replace(forest, state=SMALL)
    x = torch.zeros(4, 4, 8)
    x[1:, 0, 0] = torch.tensor([0.2, 0.1, 0.1])  # 0.1 lies on the threshold
    x[2:, 3, 7] = torch.tensor([0.3, 0.3])
    x[3, 0, 5] = 0.4
    shares = small.build()(x).exp()[:, :3].tolist()
    pure, mixed = [0.5, 0.25, 0.25], [0, 0.5, 0.5]
    np.testing.assert_allclose(shares, [mixed, pure, pure, mixed], atol=1e-7)


@pytest.mark.parametrize(
    ("state", "match"),
    [
        (with_value("child", (1, 1), 1), "children do not follow their parent"),
        (with_value("child", (2, 0), 0), "children do not follow their parent"),
        (with_value("child", (1, 1), 3), "children or roots lie outside the nodes"),
        (with_value("child", (0, 0), 2**31 - 1), "children or roots lie outside the nodes"),
        (with_value("root", (1,), 3), "children or roots lie outside the nodes"),
        (with_value("child", (0, 1), -3), "leaves lie outside the class shares"),
        (with_value("child", (0, 1), -(2**31)), "leaves lie outside the class shares"),
        (with_value("root", (1,), -3), "leaves lie outside the class shares"),
        (with_value("child", (0, 1), 2), "nodes have not one parent each"),
        (with_value("child", (1, 1), -1), "nodes have not one parent each"),
        (with_value("root", (1,), 0), "nodes have not one parent each"),
        (with_value("feature", (0,), -1), "features lie outside 0 to 31"),
        (with_value("feature", (1,), 32), "features lie outside 0 to 31"),
        (with_value("share", (1, 1), 0.6), "do not sum to 1"),
        (with_value("threshold", (1,), torch.nan), "threshold holds NaN or infinity"),
        (with_value("threshold", (1,), -torch.inf), "threshold holds NaN or infinity"),
        (with_value("share", (1, 1), torch.nan), "share holds NaN or infinity"),
        ({**SMALL, "share": SMALL["share"] * 2 - 1 / 7}, "class shares are negative"),
        ({**SMALL, "share": SMALL["share"][:, :6]}, r"share is torch.float64 \(2, 6\), needed .* \(2, 7\)"),
        ({**SMALL, "share": SMALL["share"].float()}, "share is torch.float32"),
        ({**SMALL, "child": SMALL["child"][:2]}, r"child is torch.int32 \(2, 2\)"),
        ({**SMALL, "child": SMALL["child"].long()}, "child is torch.int64"),
        ({**SMALL, "feature": torch.tensor(1, dtype=torch.int32)}, "feature is torch.int32"),
        ({**SMALL, "root": torch.zeros(0, dtype=torch.int32)}, "a forest has no tree"),
        ({name: SMALL[name] for name in ("feature", "child")}, "missing or too many: root, share, threshold"),
        ({**SMALL, "extra": torch.zeros(1)}, "missing or too many: extra"),
        (chain(1001), "trees are deeper than 1000 nodes"),
    ],
)
def test_damaged_or_forged_trees_are_refused(
    state: State, match: str, forest: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=match):
        replace(forest, state=state)
    folder = write_checkpoint(forest, tmp_path / "model")
    weights = save({name: tensor.contiguous() for name, tensor in state.items()})
    (folder / WEIGHTS).write_bytes(weights)
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, "weights_sha256": hashlib.sha256(weights).hexdigest()}))
    with pytest.raises(CheckpointError, match=match):
        read_checkpoint(folder)


def test_trees_as_deep_as_allowed_are_followed_to_the_end(forest: Checkpoint) -> None:
    deep = replace(forest, state=chain(1000)).build()
    shares = deep(torch.zeros(2, 4, 8)).exp()
    np.testing.assert_allclose(shares[:, 0].tolist(), [1, 1])


def test_the_weights_of_another_network_are_no_forest(forest: Checkpoint, checkpoint: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match="not those of 'random_forest'"):
        replace(forest, state=checkpoint.state)
    with pytest.raises(CheckpointError, match="not those of 'mlp'"):
        replace(forest, network="mlp")
