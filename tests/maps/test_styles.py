"""QGIS styles: every class by name and colour, a ramp for confidence, nothing else."""

from xml.etree import ElementTree as ET

import pytest

from toolkit.errors import StorageError
from toolkit.legend import CROPGLOBE, CropClass, Legend, Status
from toolkit.maps.layers import LAYERS, SENSOR_LAYER
from toolkit.maps.styles import DOCTYPE, has_style, style_file, write_style

BY_NAME = {layer.name: layer for layer in (*LAYERS, SENSOR_LAYER)}


def renderer(layer, folder, legend=CROPGLOBE):
    text = write_style(BY_NAME[layer], legend, folder).read_text(encoding="utf-8")
    assert text.startswith(DOCTYPE)
    root = ET.fromstring(text.removeprefix(DOCTYPE))
    assert root.tag == "qgis"
    return root.find("pipe/rasterrenderer")


def test_classes_of_the_map_have_their_names_and_colours(tmp_path):
    found = renderer("crop", tmp_path)
    assert (found.get("type"), found.get("band"), found.get("alphaBand")) == ("paletted", "1", "-1")
    entries = [entry.attrib for entry in found.iter("paletteEntry")]
    assert [entry["label"] for entry in entries] == list(CROPGLOBE.names)
    assert [int(entry["value"]) for entry in entries] == list(range(1, 8))  # 0, no data, is never drawn
    assert entries[0]["color"] == "#ffd300"
    assert {entry["alpha"] for entry in entries} == {"255"}


def test_confidence_has_a_ramp_from_0_to_100_percent(tmp_path):
    found = renderer("confidence", tmp_path)
    assert found.get("type") == "singlebandpseudocolor"
    assert (found.get("classificationMin"), found.get("classificationMax")) == ("0", "100")
    assert found.find("rastershader/colorrampshader").get("colorRampType") == "INTERPOLATED"
    values = [int(item.get("value")) for item in found.iter("item")]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0, 100)


@pytest.mark.parametrize(("layer", "n"), [("status", len(Status)), ("sensor", 3)])
def test_other_layers_of_classes_have_a_palette(layer, n, tmp_path):
    assert len(list(renderer(layer, tmp_path).iter("paletteEntry"))) == n


def test_counts_have_no_style_of_their_own():
    assert {name for name, layer in BY_NAME.items() if not has_style(layer)} == {
        "observations",
        "longest_gap",
    }


def test_style_is_named_as_the_raster_so_that_qgis_finds_it():
    assert style_file(BY_NAME["crop"]) == "crop_map.qml"


def test_names_with_markup_and_accents_stay_themselves(tmp_path):
    legend = Legend((CropClass('fèves & "pois" <secs>', (1, 2, 3)),))
    entry = renderer("crop", tmp_path, legend).find("colorPalette/paletteEntry")
    assert (entry.get("label"), entry.get("color")) == ('fèves & "pois" <secs>', "#010203")


def test_same_legend_gives_the_same_bytes(tmp_path):
    first = write_style(BY_NAME["crop"], CROPGLOBE, tmp_path).read_bytes()
    assert write_style(BY_NAME["crop"], CROPGLOBE, tmp_path).read_bytes() == first


def test_folder_that_is_not_there_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        write_style(BY_NAME["crop"], CROPGLOBE, tmp_path / "none")
