"""How a map looks in QGIS and GDAL: documents made from the classes, as text.

QML is what QGIS loads by itself when it lies beside a layer; category names travel in GDAL's own
side-car, ``.aux.xml`` (PAM), since a GeoTIFF has no place for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from geounet.card import NODATA, LandClass

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class MapClass:
    """A class of a raster made elsewhere: unlike `LandClass`, its value may be any integer."""

    value: int
    name: str
    colour: str


AnyClass = LandClass | MapClass

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
# ^ XML 1.0 forbids most control characters, escaped or not.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PALETTE = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb",
    "#332288", "#44aa99", "#117733", "#999933", "#882255",
)  # fmt: skip


def rgb(colour: str) -> Rgb:
    """``#1f77b4`` as red, green and blue of 0 to 255.

    Raises:
        ValueError: if it is not a number sign and six hexadecimal digits.
    """
    if not _HEX.fullmatch(colour):
        raise ValueError(f"{colour!r} is not a colour: write it as in '#1f77b4'")
    return (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16))


def default_colour(index: int) -> str:
    """A colour for a class that has none: Paul Tol's bright and muted schemes, then again."""
    return _PALETTE[index % len(_PALETTE)]


def colour_table(classes: Sequence[AnyClass]) -> dict[int, tuple[int, int, int, int]]:
    """Red, green, blue and opacity of every value of a mask; nodata is transparent."""
    table = dict.fromkeys(range(256), (0, 0, 0, 255))
    table[NODATA] = (0, 0, 0, 0)
    return table | {c.value: (*rgb(c.colour), 255) for c in classes}


def raster_qml(classes: Sequence[AnyClass]) -> str:
    """A QGIS style for a mask: one palette entry per class, nothing drawn for nodata."""
    entries = "\n".join(
        f'        <paletteEntry value="{c.value}" color="{c.colour.lower()}" alpha="255"'
        f" label={_quoted(c.name)}/>"
        for c in classes
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.28" styleCategories="Symbology">
  <pipe>
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
      <colorPalette>
{entries}
      </colorPalette>
    </rasterrenderer>
  </pipe>
</qgis>
"""


def vector_qml(classes: Sequence[AnyClass]) -> str:
    """A QGIS style for features: filled by ``class_id`` in the colours of the mask."""
    categories = "\n".join(
        f'      <category value="{c.value}" symbol="{i}" label={_quoted(c.name)}'
        ' render="true" type="long"/>'
        for i, c in enumerate(classes)
    )
    symbols = "\n".join(_symbol(i, rgb(c.colour)) for i, c in enumerate(classes))
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.28" styleCategories="Symbology">
  <renderer-v2 type="categorizedSymbol" attr="class_id" symbollevels="0" enableorderby="0"
      forceraster="0">
    <categories>
{categories}
    </categories>
    <symbols>
{symbols}
    </symbols>
  </renderer-v2>
</qgis>
"""


def pam_xml(classes: Sequence[AnyClass]) -> str:
    """GDAL's side-car with the name of every class value; values without a class are empty."""
    names = {c.value: c.name for c in classes}
    categories = "\n".join(
        f"      <Category>{_escaped(names.get(value, ''))}</Category>"
        for value in range(max(names, default=-1) + 1)
    )
    return f"""<PAMDataset>
  <PAMRasterBand band="1">
    <CategoryNames>
{categories}
    </CategoryNames>
  </PAMRasterBand>
</PAMDataset>
"""


def _symbol(index: int, colour: Rgb) -> str:
    fill = ",".join(str(c) for c in (*colour, 178))
    line = ",".join(str(round(c * 0.6)) for c in colour) + ",255"
    options = {
        "color": fill,
        "outline_color": line,
        "outline_style": "solid",
        "outline_width": "0.26",
        "outline_width_unit": "MM",
        "style": "solid",
    }
    rows = "\n".join(
        f'            <Option type="QString" name="{name}" value="{value}"/>'
        for name, value in options.items()
    )
    return f"""      <symbol type="fill" name="{index}" alpha="1" clip_to_extent="1" force_rhr="0">
        <layer class="SimpleFill" enabled="1" pass="0" locked="0">
          <Option type="Map">
{rows}
          </Option>
        </layer>
      </symbol>"""


def printable(text: str) -> str:
    """``text`` without what XML 1.0 forbids, such as NUL, at which C's texts would end."""
    return _FORBIDDEN.sub("\ufffd", text)


def _quoted(text: str) -> str:
    return quoteattr(printable(text))


def _escaped(text: str) -> str:
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
