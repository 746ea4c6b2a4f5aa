"""Layers of a map: what stands where a pixel has no class."""

import numpy as np
import xarray as xr

from toolkit.legend import CROPGLOBE, Status
from toolkit.maps.layers import LAYERS, assemble, categories, outside, without_cropland


def square(**values):
    return xr.Dataset({k: (("y", "x"), np.asarray(v, np.uint8)) for k, v in values.items()})


def test_outside_the_area_every_layer_holds_its_fill():
    labels = square(crop=[[3, 4]], confidence=[[80, 90]], status=[[1, 1]])
    seen = square(observations=[[9, 9]], longest_gap=[[2, 2]])
    whole = assemble(labels, seen, np.array([[True, False]]))
    assert {name: whole[name].values.tolist() for name in whole} == {
        "crop": [[3, 0]],
        "confidence": [[80, 255]],
        "status": [[Status.MAPPED, Status.OUTSIDE_AREA]],
        "observations": [[9, 255]],
        "longest_gap": [[2, 255]],
    }
    assert all(whole[name].dtype == np.uint8 for name in whole)


def test_what_is_counted_so_often_that_it_would_be_no_data_is_told_as_one_less():
    labels = square(crop=[[3, 4]], confidence=[[80, 90]], status=[[1, 1]])
    whole = assemble(
        labels, square(observations=[[255, 254]], longest_gap=[[253, 255]]), np.ones((1, 2), bool)
    )
    assert whole.observations.values.tolist() == [[254, 254]]
    assert whole.longest_gap.values.tolist() == [[253, 254]]


def test_where_there_is_no_cropland_the_status_says_so_unless_it_is_outside_the_area():
    within = np.array([[True, True, False, False]])
    cropland = np.array([[True, False, True, False]])
    labels = square(crop=[[3, 4, 5, 6]], confidence=[[80] * 4], status=[[1, Status.NOT_OBSERVED, 1, 1]])
    seen = square(observations=[[9] * 4], longest_gap=[[2] * 4])
    whole = assemble(labels, seen, within, cropland=cropland)
    no, out = Status.NOT_CROPLAND, Status.OUTSIDE_AREA
    assert {name: whole[name].values.tolist() for name in whole} == {
        "crop": [[3, 0, 0, 0]],
        "confidence": [[80, 255, 255, 255]],
        "status": [[Status.MAPPED, no, out, out]],
        "observations": [[9, 255, 255, 255]],
        "longest_gap": [[2, 255, 255, 255]],
    }
    empty = without_cropland(within)
    assert empty.status.values.tolist() == [[no, no, out, out]]
    assert empty.crop.values.tolist() == [[0, 0, 0, 0]]
    assert all(one.dtype == np.uint8 for one in (*whole.values(), *empty.values()))


def test_empty_tiles_have_all_layers():
    empty = outside((2, 3))
    assert set(empty) == {layer.name for layer in LAYERS}
    assert (empty.status == Status.OUTSIDE_AREA).all()


def test_names_and_files_of_layers_are_unique():
    assert len({layer.name for layer in LAYERS}) == len({layer.file for layer in LAYERS}) == len(LAYERS)


def test_classes_have_names_and_quantities_have_none():
    named = {layer.name: categories(layer, CROPGLOBE) for layer in LAYERS}
    assert [name for name, _ in named["crop"].values()] == list(CROPGLOBE.names)
    assert set(named["status"]) == {int(status) for status in Status}
    assert named["confidence"] == {}
