"""The map of a report: pictures of the dates, classes over them, outlines, and what moves them.

One date lies over the other, and a swipe uncovers it; each class is a layer of its own that the
legend shows and hides. Controls are the browser's own, so keys and screen readers reach them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import shapely
from jaxtyping import Int, UInt8
from numpy import ndarray
from PIL import Image

from geounet import page
from geounet.page import Markup, escaped
from geounet.style import AnyClass, rgb

_QUALITY = 85
_DIGITS = 1
_NARROWEST = 720

SCRIPT = """
for (const control of document.querySelectorAll(".viewer input")) {
  const stage = control.closest(".viewer").querySelector(".stage");
  const shows = stage.querySelectorAll(`[data-layer="${control.dataset.shows}"]`);
  const act = () => {
    if (control.type === "range") stage.style.setProperty(control.name, control.value / 100);
    else for (const layer of shows) layer.style.display = control.checked ? "" : "none";
  };
  control.addEventListener("input", act);
  act();
}
"""


@dataclass(frozen=True)
class View:
    """What the map shows, decimated to about a thousand pixels a side.

    Attributes:
        images: one per date, the oldest first: red, green and blue.
        names: of the dates.
        labels: class values on the same pixels; what is no class is not drawn.
        classes: names and colours.
        outlines: of classes, in the pixels of ``labels``: x is the column, y the row.
        outlined: the class value of each outline.
        note: what the reader should know of the picture.
    """

    images: tuple[UInt8[ndarray, "row col 3"], ...]
    names: tuple[str, ...]
    labels: Int[ndarray, "row col"]
    classes: tuple[AnyClass, ...]
    outlines: ndarray
    outlined: Int[ndarray, " outline"]
    note: str = ""


def viewer(view: View, alt: str) -> Markup:
    """The map and its controls; ``alt`` says in words what it shows."""
    rows, cols = view.labels.shape
    first, last = view.images[0], view.images[-1]
    layers = [_picture(_jpeg(first), "base"), *_later(view, last), *_classes(view), _svg(view)]
    stage = (
        f'<div class="stage" role="img" aria-label="{escaped(alt)}" '
        f'style="aspect-ratio:{cols}/{rows}; max-width:{max(cols * 2, _NARROWEST)}px">\n'
        + "\n".join(layers)
        + "\n</div>"
    )
    controls = "\n".join((*_ranges(view), _legend(view)))
    note = page.paragraph(view.note, hint=True).html if view.note else ""
    return Markup(
        f'<div class="viewer">\n{stage}\n<div class="controls">\n{controls}\n</div>\n{note}</div>'
    )


def _later(view: View, image: UInt8[ndarray, "row col 3"]) -> list[str]:
    if len(view.images) == 1:
        return []
    return [_picture(_jpeg(image), "after"), '<div class="edge"></div>']


def _classes(view: View) -> Iterator[str]:
    for number, land_class in _present(view):
        there = Image.fromarray((view.labels == land_class.value).astype(np.uint8), mode="P")
        there.putpalette([0, 0, 0, *rgb(land_class.colour)])
        stream = io.BytesIO()
        there.save(stream, "PNG", transparency=0, bits=1, optimize=True)
        yield _picture(_address("png", stream), "class", f"class-{number}")


def _svg(view: View) -> str:
    """Outlines as lines two pixels wide on the screen, whatever the size of the map."""
    rows, cols = view.labels.shape
    lines = []
    for number, land_class in _present(view):
        path = "".join(map(_path, view.outlines[view.outlined == land_class.value]))
        if path:
            lines.append(
                f'<path data-layer="class-{number}" stroke="{escaped(land_class.colour)}" '
                f'd="{path}"/>'
            )
    return (
        f'<svg data-layer="outlines" viewBox="0 0 {cols} {rows}" preserveAspectRatio="none" '
        'aria-hidden="true">\n' + "\n".join(lines) + "\n</svg>"
    )


def _path(shape: shapely.Geometry) -> str:
    rings = shapely.get_rings(shapely.get_parts(shape))
    return "".join(
        "M" + "L".join(f"{x:.{_DIGITS}f} {y:.{_DIGITS}f}" for x, y in ring.coords[:-1]) + "Z"
        for ring in rings
    )


def _ranges(view: View) -> Iterator[str]:
    if len(view.images) > 1:
        before, after = view.names[0], view.names[-1]
        yield _range("--swipe", 50, f"{before} (left) | {after} (right)")
    yield _range("--opacity", 60, "Opacity of the classes")


def _range(name: str, value: int, label: str) -> str:
    return (
        f"<label>{escaped(label)}"
        f'<input type="range" name="{name}" min="0" max="100" value="{value}"></label>'
    )


def _legend(view: View) -> str:
    boxes = [
        _box(f"class-{number}", page.class_label(c.name, c.colour).html)
        for number, c in _present(view)
    ]
    if len(view.outlines):
        boxes.append(_box("outlines", "Polygons"))
    return "<fieldset>\n<legend>Shown</legend>\n" + "\n".join(boxes) + "\n</fieldset>"


def _box(layer: str, label: str) -> str:
    return (
        f'<label class="box"><input type="checkbox" data-shows="{layer}" checked>'
        f"<span>{label}</span></label>"
    )


def _present(view: View) -> Sequence[tuple[int, AnyClass]]:
    values = set(np.unique(view.labels).tolist())
    return [(k, c) for k, c in zip(count(), view.classes, strict=False) if c.value in values]


def _picture(address: str, kind: str, layer: str = "") -> str:
    data = f' data-layer="{layer}"' if layer else ""
    return f'<img class="{kind}"{data} alt="" src="{address}">'


def _jpeg(image: UInt8[ndarray, "row col 3"]) -> str:
    stream = io.BytesIO()
    Image.fromarray(image, mode="RGB").save(stream, "JPEG", quality=_QUALITY)
    return _address("jpeg", stream)


def _address(kind: str, stream: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
