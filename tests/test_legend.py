"""The legend: order of the paper, names, colours."""

import json

import pytest

from toolkit.errors import LabelError
from toolkit.legend import CROPGLOBE, CropClass, Legend


def test_order_is_that_of_cropglobe():
    assert CROPGLOBE.names == ("corn", "soybeans", "rice", "wheat", "sugarcane", "cotton", "other")


def test_colours_differ_and_no_data_is_transparent():
    table = CROPGLOBE.colormap()
    assert table[0][3] == 0
    assert len(set(table.values())) == 8


def test_legend_survives_json():
    assert Legend.from_list(json.loads(json.dumps(CROPGLOBE.to_list()))) == CROPGLOBE


@pytest.mark.parametrize(("name", "index"), [("corn", 0), (" Wheat ", 3), ("OTHER", 6)])
def test_names_are_found_whatever_case_and_blanks(name, index):
    assert CROPGLOBE.index(name) == index


def test_unknown_names_list_the_known():
    with pytest.raises(LabelError, match="Known classes: corn, soybeans"):
        CROPGLOBE.index("maize")


@pytest.mark.parametrize("classes", [(), (CropClass("a", (0, 0, 0)), CropClass("a", (1, 1, 1)))])
def test_empty_legends_and_repeated_names_are_refused(classes):
    with pytest.raises(LabelError, match="1 to 254 classes"):
        Legend(classes)


@pytest.mark.parametrize("entries", [[{"name": "a"}], [{"name": "a", "color": [1, 2]}], [3]])
def test_what_is_no_legend_is_refused(entries):
    with pytest.raises(LabelError, match="A legend is a list"):
        Legend.from_list(entries)
