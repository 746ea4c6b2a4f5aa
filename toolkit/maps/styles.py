"""QGIS styles of the layers: classes by name and colour, quantities by a ramp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from toolkit.legend import Legend
from toolkit.maps.layers import Layer, categories
from toolkit.storage import write_text

Color = tuple[int, int, int]
DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
"""First line of QGIS's layer files."""
RAMPS: Mapping[str, tuple[tuple[int, Color], ...]] = {
    "confidence": (
        # viridis at its quarters (matplotlib, CC0): readable without colour vision, too.
        (0, (68, 1, 84)),
        (25, (59, 82, 139)),
        (50, (33, 145, 140)),
        (75, (94, 201, 98)),
        (100, (253, 231, 37)),
    )
}
"""Layer of a quantity -> value and colour of the stops of its ramp."""


def style_file(layer: Layer) -> str:
    """Return the name of the style that QGIS loads with a layer: the raster's, ending in ``.qml``."""
    return Path(layer.file).with_suffix(".qml").name


def has_style(layer: Layer) -> bool:
    """Whether a layer has classes or a ramp."""
    return layer.name in RAMPS or layer.overviews == "mode"


def write_style(layer: Layer, legend: Legend, folder: Path) -> Path:
    """Write the style of a layer beside it.

    Pixels without data stay transparent: QGIS never draws the nodata value of the raster.

    Args:
        layer: layer with classes or a ramp (:func:`has_style`).
        legend: names and colours of the crops.
        folder: existing folder.

    Returns:
        The file, named as the raster.

    Raises:
        StorageError: the file cannot be written.
    """
    classes = categories(layer, legend)
    renderer = _palette(classes) if classes else _ramp(RAMPS[layer.name])
    root = ET.Element("qgis", version="3.22.0", styleCategories="Symbology")
    ET.SubElement(root, "pipe").append(renderer)
    ET.SubElement(root, "blendMode").text = "0"
    ET.indent(root)
    return write_text(f"{DOCTYPE}{ET.tostring(root, encoding='unicode')}\n", folder / style_file(layer))


def _renderer(kind: str, **more: str) -> ET.Element:
    attributes = {"type": kind, "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": "", **more}
    renderer = ET.Element("rasterrenderer", attributes)
    ET.SubElement(renderer, "rasterTransparency")
    return renderer


def _entry(parent: ET.Element, tag: str, value: int, label: str, color: Color) -> None:
    text = "#{:02x}{:02x}{:02x}".format(*color)
    ET.SubElement(parent, tag, value=str(value), label=label, color=text, alpha="255")


def _palette(classes: Mapping[int, tuple[str, Color]]) -> ET.Element:
    renderer = _renderer("paletted")
    palette = ET.SubElement(renderer, "colorPalette")
    for value, (name, color) in sorted(classes.items()):
        _entry(palette, "paletteEntry", value, name, color)
    return renderer


def _ramp(stops: Sequence[tuple[int, Color]]) -> ET.Element:
    first, last = str(stops[0][0]), str(stops[-1][0])
    renderer = _renderer("singlebandpseudocolor", classificationMin=first, classificationMax=last)
    shader = ET.SubElement(
        ET.SubElement(renderer, "rastershader"),
        "colorrampshader",
        {"colorRampType": "INTERPOLATED", "minimumValue": first, "maximumValue": last, "clip": "0"},
    )
    for value, color in stops:
        _entry(shader, "item", value, str(value), color)
    return renderer
