"""Published crop codes and their classes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from toolkit.errors import LabelError
from toolkit.learn.crosswalk import TABLE, code_text, read_crosswalk, schemes
from toolkit.legend import CROPGLOBE


def test_every_scheme_gives_classes_of_the_legend_with_a_source() -> None:
    assert {"usda-cdl", "aafc-aci", "mapbiomas-br", "uk-rpa-crome", "hcat3"} < set(schemes())
    assert {"eurocrops-fr-2018", "eurocrops-be-vlg-2021", "eurocrops-de-bw-2022"} < set(schemes())
    for name in schemes():
        crosswalk = read_crosswalk(name)
        assert {crop for crop in crosswalk.codes.values() if crop} <= set(CROPGLOBE.names)
        assert all(crosswalk.details[code] for code, crop in crosswalk.codes.items() if crop is None)
        assert crosswalk.source


def test_codes_of_the_table_are_unique_text_without_blanks() -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = [(row["scheme"], row["code"]) for row in rows]
    assert len(keys) == len(set(keys))
    assert all(row["code"] == row["code"].strip() and row["source"] for row in rows)


@pytest.mark.parametrize(
    ("scheme", "code", "crop"),
    [
        ("usda-cdl", "1", "corn"),
        ("usda-cdl", "5", "soybeans"),
        ("USDA-CDL", "45", "sugarcane"),
        ("usda-cdl", "26", None),  # winter wheat, then soybeans
        ("usda-cdl", "81", None),  # clouds
        ("mapbiomas-br", "41", None),  # corn and wheat among others
        ("aafc-aci", "140", "wheat"),
        ("uk-rpa-crome", "LG08", "soybeans"),
        ("eurocrops-fr-2018", "MIE", "corn"),
        ("eurocrops-fr-other-years", "BDT", "wheat"),
        ("eurocrops-fr-other-years", "BTH", "wheat"),  # other years add codes to those of 2018
        ("eurocrops-es-2023", "220", "sugarcane"),  # HCAT3 says energy crops
        ("eurocrops-dk-2019", "5", "corn"),
        ("eurocrops-si-2021", "005", "corn"),
        ("eurocrops-at-2021", "140", None),  # wheat, then vegetables
        ("hcat3", "3301060300", "cotton"),
        ("hcat3", "3301010299", "wheat"),  # durum, season unspecified: not in HCAT2
    ],
)
def test_a_code_means_what_its_source_says(scheme: str, code: str, crop: str | None) -> None:
    assert read_crosswalk(scheme).codes[code] == crop


def test_hcat3_has_no_sugarcane() -> None:
    codes = read_crosswalk("hcat3").codes
    assert "3304010000" not in codes
    assert "sugarcane" not in codes.values()


@pytest.mark.parametrize(
    ("scheme", "match"),
    [
        ("au-alum-v8", "never checked against ABARES ALUM v8.*classes"),
        ("hcat2", "HCAT2 is an older list of other codes"),
        ("usda", r"'usda'.*none of that name.*Known: aafc-aci, eurocrops-at-2021.*usda-cdl"),
    ],
)
def test_schemes_that_cannot_be_used_are_refused(scheme: str, match: str) -> None:
    with pytest.raises(LabelError, match=match):
        read_crosswalk(scheme)
    assert scheme not in schemes()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (115, "115"),
        (np.int16(115), "115"),
        (115.0, "115"),
        (np.float64(115), "115"),
        (4.5, "4.5"),
        (" 006;103 ", "006;103"),
        ("001", "001"),
        ("115.0", "115.0"),
        (None, ""),
        (np.nan, ""),
        (pd.NA, ""),
        ("", ""),
    ],
)
def test_codes_are_compared_as_text(value: object, text: str) -> None:
    assert code_text(value) == text


def test_the_table_travels_with_the_package() -> None:
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    assert '"learn/*.csv"' in project.read_text(encoding="utf-8")
