"""Two sensors as one: means where both see, either's own where one does, and the source told."""

import numpy as np
import pytest
import xarray as xr

from toolkit.errors import ModelError
from toolkit.learn.combine import combine_sensors
from toolkit.learn.predict import label
from toolkit.legend import Source, Status

NAMES = ["corn", "wheat", "other"]


def told(rows, status=None, names=NAMES):
    """Probabilities of four pixels side by side, NaN where not mapped."""
    values = np.array(rows, float).T.reshape(len(names), 1, -1)
    mapped = np.isfinite(values[0])
    states = np.where(mapped, Status.MAPPED, Status.NOT_OBSERVED).astype(np.uint8)
    if status is not None:
        states[0] = status
    return xr.Dataset(
        {"probability": (("crop_class", "y", "x"), values), "status": (("y", "x"), states)},
        coords={"crop_class": names, "x": np.arange(values.shape[2]) * 10.0, "y": [5.0]},
    )


NONE = [np.nan] * 3


def test_both_are_the_mean_and_one_alone_is_itself():
    optical = told([[0.8, 0.1, 0.1], [0.2, 0.3, 0.5], NONE, NONE])
    spectral = told([[0.1, 0.7, 0.2], NONE, [0.0, 0.9, 0.1], NONE])
    joined = combine_sensors({"sentinel-2": optical, "emit": spectral})
    wanted = np.array([[0.45, 0.4, 0.15], [0.2, 0.3, 0.5], [0.0, 0.9, 0.1], NONE]).T.reshape(3, 1, 4)
    np.testing.assert_allclose(joined.probability, wanted)
    assert joined.sensor.values.tolist() == [[Source.BOTH, Source.SENTINEL_2, Source.EMIT, 0]]
    assert joined.status.values.tolist() == [[Status.MAPPED] * 3 + [Status.NOT_OBSERVED]]
    layers = label(joined)
    assert layers.crop.values.tolist() == [[1, 3, 2, 0]]
    assert layers.confidence.values.tolist() == [[45, 50, 90, 255]]


def test_the_order_of_the_sensors_does_not_matter():
    rng = np.random.default_rng(0)
    parts = {name: told(rng.dirichlet(np.ones(3), 4)) for name in ("sentinel-2", "emit")}
    turned = dict(reversed(parts.items()))
    xr.testing.assert_equal(combine_sensors(parts), combine_sensors(turned))


def test_one_sensor_alone_gives_what_it_says():
    part = told([[0.8, 0.1, 0.1], NONE])
    joined = combine_sensors({"emit": part})
    xr.testing.assert_equal(joined[["probability", "status"]], part)
    assert joined.sensor.values.tolist() == [[Source.EMIT, 0]]


def test_what_failed_in_one_and_is_unseen_in_the_other_has_failed():
    optical, spectral = told([NONE, NONE], [Status.FAILED, Status.NOT_OBSERVED]), told([NONE, NONE])
    joined = combine_sensors({"sentinel-2": optical, "emit": spectral})
    assert joined.status.values.tolist() == [[Status.FAILED, Status.NOT_OBSERVED]]


def test_models_with_other_classes_are_refused():
    other = told([[0.5, 0.5]], names=["corn", "rice"])
    with pytest.raises(ModelError, match="different classes: emit has corn, rice, the first corn, wheat"):
        combine_sensors({"sentinel-2": told([[0.5, 0.4, 0.1]]), "emit": other})
    with pytest.raises(ModelError, match=r"\['landsat'\] cannot be combined; known: sentinel-2, emit"):
        combine_sensors({"landsat": other})
