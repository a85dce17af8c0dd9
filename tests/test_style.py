"""Styles are well-formed documents that say what the classes say."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given
from hypothesis import strategies as st

from geounet.card import LandClass
from geounet.style import (
    MapClass,
    colour_table,
    default_colour,
    pam_xml,
    raster_qml,
    rgb,
    vector_qml,
)

CLASSES = (
    LandClass(value=0, name="water <&> \"deep\" 'still'", colour="#1F77b4"),
    LandClass(value=7, name="wäter 水", colour="#ff7f0e"),
)
class_lists = st.lists(
    st.builds(
        MapClass,  # of rasters made elsewhere, whose names nobody has checked
        value=st.integers(0, 254),
        name=st.text(min_size=1, max_size=80),
        colour=st.from_regex(r"#[0-9a-fA-F]{6}", fullmatch=True),
    ),
    max_size=6,
    unique_by=lambda c: c.value,
)


@given(class_lists)
def test_every_document_is_well_formed_whatever_the_names(classes):
    palette = ElementTree.fromstring(raster_qml(classes)).iter("paletteEntry")
    assert [int(entry.attrib["value"]) for entry in palette] == [c.value for c in classes]
    style = ElementTree.fromstring(vector_qml(classes))
    assert [int(c.attrib["value"]) for c in style.iter("category")] == [c.value for c in classes]
    names = [c.text for c in ElementTree.fromstring(pam_xml(classes)).iter("Category")]
    assert len(names) == max((c.value for c in classes), default=-1) + 1


def test_names_and_colours_come_back():
    entries = list(ElementTree.fromstring(raster_qml(CLASSES)).iter("paletteEntry"))
    assert [(e.attrib["label"], e.attrib["color"]) for e in entries] == [
        (c.name, c.colour.lower()) for c in CLASSES
    ]
    categories = [c.text for c in ElementTree.fromstring(pam_xml(CLASSES)).iter("Category")]
    assert categories == [CLASSES[0].name, *[None] * 6, CLASSES[1].name]


def test_every_category_has_its_symbol_in_the_colour_of_its_class():
    style = ElementTree.fromstring(vector_qml(CLASSES))
    renderer = style.find("renderer-v2")
    assert renderer is not None
    assert renderer.attrib["attr"] == "class_id"
    symbols = {s.attrib["name"]: s for s in style.iter("symbol")}
    for category, c in zip(style.iter("category"), CLASSES, strict=True):
        fill = symbols[category.attrib["symbol"]].find(".//Option[@name='color']")
        assert fill is not None
        assert fill.attrib["value"].split(",")[:3] == [str(v) for v in rgb(c.colour)]


def test_the_colour_table_has_every_value_and_nodata_is_transparent():
    table = colour_table(CLASSES)
    assert sorted(table) == list(range(256))
    assert table[0] == (0x1F, 0x77, 0xB4, 255)
    assert table[255] == (0, 0, 0, 0)


def test_gdal_reads_the_category_names(tmp_path):
    path = tmp_path / "mask.tif"
    with rasterio.open(
        path, "w", "GTiff", 3, 2, 1, crs="EPSG:32633", transform=rasterio.Affine(1, 0, 5, 0, -1, 9),
        dtype="uint8",
    ) as data:  # fmt: skip
        data.write(np.zeros((1, 2, 3), np.uint8))
    (tmp_path / "mask.tif.aux.xml").write_text(pam_xml(CLASSES), encoding="utf-8")
    copy = tmp_path / "copy.vrt"
    rasterio.shutil.copy(path, copy, driver="VRT")
    names = [c.text for c in ElementTree.parse(copy).iter("Category")]
    assert names == [CLASSES[0].name, *[None] * 6, CLASSES[1].name]


@pytest.mark.parametrize("text", ["1f77b4", "#1f77b", "#1f77b4 ", "blue", "#gggggg"])
def test_what_is_no_colour_is_refused(text):
    with pytest.raises(ValueError, match="is not a colour: write it as in '#1f77b4'"):
        rgb(text)


def test_default_colours_are_colours_and_differ():
    first = [default_colour(i) for i in range(12)]
    assert len({rgb(c) for c in first}) == 12
    assert default_colour(12) == first[0]


def test_a_map_class_may_have_any_value():
    assert 'value="523"' in vector_qml([MapClass(523, "sea", "#0000ff")])
