"""Codes of labels and their classes: what wins, what is never guessed."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.errors import LabelError
from toolkit.learn.code_classes import CodeClasses, Translation, translate
from toolkit.legend import CROPGLOBE, CropClass, Legend


def given(counts: dict[str, int], *, numbers: bool = False, **rules: Any) -> Translation:
    return translate(counts, CodeClasses(**rules), CROPGLOBE, source="Labels", numbers=numbers)


def test_what_the_user_says_wins_over_the_scheme() -> None:
    counts = {"1": 1, "5": 1, "22": 1, "61": 1, "176": 1}
    rules = {"scheme": "usda-cdl", "classes": {5: "other", "*": "rice"}, "other_codes": ("22", "61", "*")}
    assert given(counts, **rules).values == {"1": 1, "5": 7, "22": 7, "61": 7, "176": 3}


def test_two_crops_in_a_year_and_mixtures_never_become_other() -> None:
    found = given({"26": 3, "5": 2, "999": 1}, scheme="usda-cdl", other_codes=("*",))
    assert found.values == {"26": 0, "5": 2, "999": 7}
    assert found.dropped == {"26": 3}
    found = given({"006;103": 4, "6": 2}, scheme="eurocrops-pt-2021", other_codes=("*",))
    assert found.values == {"006;103": 0, "6": 1}
    assert given({"26": 3}, scheme="usda-cdl", classes={26: "wheat"}).values == {"26": 4}


def test_an_empty_cell_is_no_other_crop() -> None:
    with pytest.raises(LabelError, match=r"without a class: \(empty\) \(2\)"):
        given({"": 2, "corn": 1}, other_codes=("*",))
    found = given({"": 2, "corn": 1}, unknown_codes="drop")
    assert found.values == {"": 0, "corn": 1}
    assert found.dropped == {"(empty)": 2}


def test_class_names_are_codes_only_where_no_scheme_is_given() -> None:
    assert given({"Soybeans": 1}).values == {"Soybeans": 2}
    with pytest.raises(LabelError, match=r"Soybeans \(1\)"):
        given({"Soybeans": 1}, scheme="uk-rpa-crome")


@pytest.mark.parametrize(
    ("counts", "rules", "match"),
    [
        (
            {"7": 2, "9": 30, "5": 1},
            {"scheme": "usda-cdl"},
            r"class: 9 \(30\), 7 \(2\)\. Known are the 2\d of",
        ),
        ({"5": 1}, {"scheme": "eurocrops-si-2021"}, "'5' differs from '005' only by zeros in front"),
        ({"9120": 1}, {"scheme": "eurocrops-be-vlg-2021"}, "No code is known: check that scheme"),
        ({"5": 1}, {"scheme": "nl"}, "'nl' cannot be read"),
        ({str(k): 1 for k in range(300, 330)}, {"scheme": "usda-cdl"}, "and 10 more"),
        ({"5": 1}, {"classes": {"5": "barley"}}, "'barley' is not in the legend"),
        (
            {"9120": 4, "1110": 2},
            {"scheme": "usda-cdl", "other_codes": ("*",)},
            r"None of the codes \(1110, 9120\) is of the scheme usda-cdl",
        ),
    ],
)
def test_codes_without_a_class_are_named(counts: dict[str, int], rules: dict[str, Any], match: str) -> None:
    with pytest.raises(LabelError, match=match):
        given(counts, **rules)


def test_a_legend_without_other_crops_says_so() -> None:
    legend = Legend((CropClass("corn", (1, 2, 3)),))
    with pytest.raises(LabelError, match="'other' is not in the legend"):
        translate({"5": 1}, CodeClasses(other_codes=("5",)), legend, source="Labels", numbers=True)
