"""One picture that shows what a job found: the image, the map, and the outlines on the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import shapely
from jaxtyping import Float, Int, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy import ndarray

from geounet.card import NODATA
from geounet.placing import folder_beside, named, place
from geounet.style import AnyClass, rgb

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_PX = 1600
_DPI = 100
_MOST_LEGEND_ROWS = 24
_INK, _FAINT, _EMPTY = "#22262b", "#6b727b", (0.93, 0.93, 0.93)
_PERCENTILES = (2.0, 98.0)
_GAMMA = 0.8


@dataclass(frozen=True)
class Preview:
    """What the picture shows, decimated by the caller to about a thousand pixels a side.

    Args:
        image: bands as red, green and blue, or one band; any numbers, NaN where there is none.
        labels: class values on the same pixels; nodata stays blank.
        classes: names and colours.
        outlines: polygons in the pixels of ``labels``: x is the column, y the row.
        title: in large type above.
        note: in small type below: where the picture comes from.
    """

    image: Float[ndarray, "row col band"]
    labels: Int[ndarray, "row col"]
    classes: tuple[AnyClass, ...]
    outlines: ndarray
    title: str
    note: str = ""


def write_preview(path: Path, preview: Preview) -> None:
    """Write the picture as a PNG, 1600 pixels wide; a file that is there is replaced.

    Raises:
        OutputError: if it cannot be written.
    """
    with folder_beside(path) as folder, named(path, OSError):
        with matplotlib.rc_context({"font.family": "DejaVu Sans", "text.color": _INK}):
            figure = _drawn(preview)
            FigureCanvasAgg(figure).print_png(folder / path.name, metadata={"Software": "geounet"})
        place(folder, path)


def stretched(image: Float[ndarray, "row col band"]) -> UInt8[ndarray, "row col 3"]:
    """The image as colours: each band from its 2nd to its 98th percentile, grey for one band.

    Pixels without a number become light grey.
    """
    shown = image if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, -1)
    colours = np.empty((*shown.shape[:2], 3))
    known = np.isfinite(shown[..., :3]).all(-1)
    for band in range(3):
        values = shown[..., band].astype(np.float64)
        low, high = np.percentile(values[known], _PERCENTILES) if known.any() else (0.0, 1.0)
        colours[..., band] = np.clip((values - low) / max(high - low, 1e-12), 0, 1) ** _GAMMA
    colours[~known] = _EMPTY
    return np.rint(colours * 255).astype(np.uint8)


def coloured(
    labels: Int[ndarray, "row col"], classes: Sequence[AnyClass]
) -> UInt8[ndarray, "row col 3"]:
    """The map in the colours of its classes, light grey where there is none."""
    colours = np.empty((*labels.shape, 3), np.uint8)
    colours[:] = np.rint(np.array(_EMPTY) * 255)
    for c in classes:
        colours[labels == c.value] = rgb(c.colour)
    return colours


def _drawn(preview: Preview) -> Figure:
    rows, cols = preview.labels.shape
    width = WIDTH_PX / _DPI
    # Three panels side by side, in the scene's own proportions, but never a ribbon or a tower.
    margin, gap, head, foot = 0.3, 0.18, 0.95, 0.42
    panel = (width - 2 * margin - 2 * gap) / 3
    tall = panel * min(max(rows / cols, 0.35), 1.6)
    present = [c for c in preview.classes if (preview.labels == c.value).any()]
    columns = _legend_columns(present, width - 2 * margin)
    legend = 0.30 * -(-min(len(present) + 1, _MOST_LEGEND_ROWS) // columns) + 0.15
    height = head + tall + legend + foot
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    names = ("Image", "Map", "Outlines")
    axes = [
        figure.add_axes(
            (
                (margin + k * (panel + gap)) / width,
                (foot + legend) / height,
                panel / width,
                tall / height,
            )
        )
        for k in range(3)
    ]
    picture = stretched(preview.image)
    for axis, name, pixels in zip(
        axes, names, (picture, coloured(preview.labels, preview.classes), picture), strict=True
    ):
        _panel(axis, name, pixels)
    _outline(axes[2], preview)
    left = margin / width
    figure.text(
        left, 1 - 0.24 / height, preview.title, size=17, weight="bold", va="top", parse_math=False
    )
    figure.text(
        left, 0.16 / height, preview.note, size=9.5, color=_FAINT, va="bottom", parse_math=False
    )
    place = (left, (foot + legend - 0.12) / height)
    _legend(figure, present, preview.labels, place, columns)
    return figure


def _panel(axis: Axes, name: str, pixels: ndarray) -> None:
    axis.imshow(pixels, interpolation="nearest", aspect="equal")
    axis.set_title(name, loc="left", size=11.5, color=_FAINT, pad=5)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_color("#c9ced4")


def _outline(axis: Axes, preview: Preview) -> None:
    """Borders over a darker line, so that they show on bright and on dark ground."""
    if not len(preview.outlines):
        return
    rings = shapely.get_rings(preview.outlines)
    points, index = shapely.get_coordinates(rings, return_index=True)
    # ^ imshow puts pixel centres at whole numbers.
    lines = np.split(points - 0.5, np.flatnonzero(np.diff(index)) + 1)
    axis.add_collection(LineCollection(lines, colors="#00000090", linewidths=2.0))
    axis.add_collection(LineCollection(lines, colors="#ffe24a", linewidths=0.9))


def _legend(
    figure: Figure,
    present: Sequence[AnyClass],
    labels: Int[ndarray, "row col"],
    corner: tuple[float, float],
    columns: int,
) -> None:
    valid = int(np.isin(labels, [c.value for c in present]).sum())
    shown = sorted(present, key=lambda c: -int((labels == c.value).sum()))[:_MOST_LEGEND_ROWS]
    handles = [
        Patch(
            facecolor=c.colour,
            edgecolor="#00000040",
            label=f"{_short(c.name)}  {(labels == c.value).sum() / valid:.1%}",
        )
        for c in shown
    ]
    if (labels == NODATA).any():
        handles.append(Patch(facecolor=_EMPTY, edgecolor="#00000040", label="no data"))
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=corner,
        ncols=columns,
        frameon=False,
        fontsize=11,
        borderaxespad=0,
        borderpad=0,
        handlelength=1.3,
        handleheight=1.1,
        columnspacing=1.8,
    )
    for text in legend.get_texts():
        # ^ What lies between two dollar signs would be taken as a formula.
        text.set_parse_math(False)


def _legend_columns(classes: Sequence[AnyClass], width: float) -> int:
    """As many columns as the longest name leaves room for, in inches."""
    longest = max((len(_short(c.name)) for c in classes), default=0)
    return max(1, min(6, int(width / (0.09 * longest + 1.1))))


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}…"
