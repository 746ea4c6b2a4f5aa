"""Accuracy against scikit-learn, and the division of fields."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from sklearn import metrics

from toolkit.errors import GridError, LabelError
from toolkit.learn.accuracy import assess, compare, confusion, split_fields
from toolkit.legend import CROPGLOBE

pairs = hnp.arrays(np.int64, st.tuples(st.just(2), st.integers(1, 40)), elements=st.integers(0, 4))


@given(pairs)
@settings(max_examples=50, deadline=None)
def test_scores_are_those_of_scikit_learn(pair: np.ndarray) -> None:
    truth, predicted = pair
    ours = compare(truth, predicted, 5)
    labels = np.arange(5)
    expected = metrics.confusion_matrix(truth, predicted, labels=labels)
    np.testing.assert_array_equal(ours.confusion, expected)
    np.testing.assert_array_equal(confusion(truth, predicted, 5), expected)
    present = np.unique(truth)
    f1 = metrics.f1_score(truth, predicted, labels=labels, average=None, zero_division=np.nan)
    np.testing.assert_allclose(ours.f1, f1)
    options = {"labels": labels, "average": None, "zero_division": np.nan}
    np.testing.assert_allclose(ours.recall, metrics.recall_score(truth, predicted, **options))
    np.testing.assert_allclose(ours.precision, metrics.precision_score(truth, predicted, **options))
    assert ours.overall == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert ours.macro_f1 == pytest.approx(
        metrics.f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    )
    assert ours.weighted_f1 == pytest.approx(
        metrics.f1_score(truth, predicted, labels=present, average="weighted", zero_division=0)
    )


def test_rows_are_the_reference() -> None:
    assert confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist() == [[1, 1], [0, 1]]


def test_pixels_without_prediction_count_as_errors() -> None:
    accuracy = compare(np.array([0, 0, 1, 1]), np.array([0, -1, 1, 1]), 2)
    assert accuracy.n == 4
    assert accuracy.n_unmapped == 1
    assert accuracy.overall == 0.75
    assert accuracy.recall.tolist() == [0.5, 1.0]
    assert accuracy.precision.tolist() == [1.0, 1.0]
    assert accuracy.f1.tolist() == pytest.approx([2 / 3, 1.0])


def test_scores_go_into_json_with_none_where_undefined() -> None:
    values = compare(np.array([0, 1]), np.array([0, 1]), 7).to_dict(CROPGLOBE)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["classes"]["rice"] == {"n": 0, "precision": None, "recall": None, "f1": None}
    assert values["macro_f1"] == 1.0


@pytest.mark.parametrize(
    ("truth", "predicted", "match"),
    [([0, 7], [0, 1], "go from 0 to 7; allowed: 0 to 6"), ([0], [0, 1], "one shape")],
)
def test_indices_outside_the_legend_are_refused(truth: list[int], predicted: list[int], match: str) -> None:
    with pytest.raises(LabelError, match=match):
        compare(np.array(truth), np.array(predicted), 7)


def test_a_map_is_assessed_where_there_are_labels(geobox: GeoBox) -> None:
    crop = np.zeros((20, 30), np.uint8)
    crop[:4, :5] = 3
    labels = xr.Dataset({"crop": wrap_xr(crop, geobox)})
    mapped = np.full_like(crop, 3)
    mapped[0, :5] = 0  # not mapped
    mapped[1, :5] = 1  # wrong
    mapped[10:] = 2  # no label there
    accuracy = assess(wrap_xr(mapped, geobox), labels)
    assert accuracy.n == 20
    assert accuracy.n_unmapped == 5
    assert accuracy.overall == 0.5
    assert accuracy.confusion[2].tolist() == [5, 0, 10, 0, 0, 0, 0]


def test_a_map_on_another_grid_or_without_labels_is_refused(geobox: GeoBox) -> None:
    crop = np.ones(geobox.shape.yx, np.uint8)
    labels = xr.Dataset({"crop": wrap_xr(crop, geobox)})
    for other in (geobox.pad(1)[:20, :30], geobox[:10, :]):
        with pytest.raises(GridError, match=r"20 x 30 pixels of 10 from"):
            assess(wrap_xr(crop[: other.shape.y], other), labels)
    elsewhere = GeoBox(geobox.shape, geobox.affine, "EPSG:32614")
    with pytest.raises(GridError, match="EPSG:32614"):
        assess(wrap_xr(crop, elsewhere), labels)
    with pytest.raises(LabelError, match="No pixel is labelled"):
        assess(wrap_xr(crop, geobox), labels * 0)


@given(st.integers(0, 10), st.floats(0.05, 0.95), st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_no_field_is_on_both_sides_and_each_class_is_on_both(seed: int, share: float, n_fields: int) -> None:
    rng = np.random.default_rng(seed)
    class_of = rng.integers(0, 4, n_fields)
    field = rng.integers(0, n_fields, 300)
    first, second = split_fields(field + 1, class_of[field], share=share, seed=seed)
    assert not set(first) & set(second)
    assert set(first) | set(second) == set(field + 1)
    for crop in range(4):
        of_class = {int(f) + 1 for f in np.unique(field) if class_of[f] == crop}
        if len(of_class) >= 2:
            assert of_class & set(first)
            assert of_class & set(second)
            assert abs(len(of_class & set(second)) - share * len(of_class)) <= 1
        else:
            assert not of_class & set(second)


def test_the_split_knows_fields_not_the_order_of_pixels() -> None:
    field = np.repeat(np.arange(1, 21), 5)
    crop = field % 2
    expected = split_fields(field, crop, seed=3)
    order = np.random.default_rng(0).permutation(100)
    again = split_fields(field[order], crop[order], seed=3)
    assert [part.tolist() for part in again] == [part.tolist() for part in expected]
    assert split_fields(field, crop, seed=4)[0].tolist() != expected[0].tolist()


def test_labels_are_split_and_pixels_without_field_left_out() -> None:
    field = np.array([[1, 1, 2], [0, 3, 4]], np.int32)
    crop = np.array([[1, 1, 1], [0, 2, 2]], np.uint8)
    labels = xr.Dataset({"crop": (("y", "x"), crop), "field": (("y", "x"), field)})
    first, second = split_fields(labels)
    assert len(first) == len(second) == 2
    assert sorted([*first, *second]) == [1, 2, 3, 4]


def test_a_field_of_several_classes_counts_for_its_most_frequent() -> None:
    field = np.array([1, 1, 1, 2, 2, 3])
    crop = np.array([0, 0, 5, 0, 0, 5])
    first, second = split_fields(field, crop)
    assert 3 in first  # the only field of class 5
    assert len(second) == 1


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_that_leaves_a_side_empty_is_refused(share: float) -> None:
    with pytest.raises(LabelError, match="more than 0, less than 1"):
        split_fields(np.array([1, 2]), np.array([0, 0]), share=share)


def test_fields_without_crops_are_refused() -> None:
    with pytest.raises(LabelError, match="one shape"):
        split_fields(np.array([1, 2]))


def test_labels_outside_the_area_asked_for_do_not_count(geobox: GeoBox) -> None:
    from odc.geo.xr import xr_coords

    grid, coords = ("y", "x"), xr_coords(geobox, dims=("y", "x"))
    crop = np.zeros(geobox.shape.yx, np.uint8)
    crop[0, :4] = [1, 1, 2, 2]
    labels = xr.Dataset({"crop": (grid, crop), "field": (grid, crop.astype(np.int32))}, coords=coords)
    mapped = crop.copy()
    mapped[0, 2:4] = 0  # beyond the area
    within = np.zeros(geobox.shape.yx, bool)
    within[0, :2] = True
    found = assess(xr.DataArray(mapped, dims=grid, coords=coords), labels, within=within)
    assert (found.n, found.n_unmapped, found.overall) == (2, 0, 1.0)
