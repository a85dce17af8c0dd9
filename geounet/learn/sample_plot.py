"""Sample predictions: image, label, map and error side by side, from the worst to the best chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from geounet.card import NODATA
from geounet.learn import metrics
from geounet.learn.plot_style import BLUE, DPI, FAINT, ORANGE, STYLE, as_png, on_white, shortened
from geounet.preview import stretched
from geounet.style import AnyClass, rgb

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLANK, _STRIPE, _RIGHT = "#ffffff", "#b9c0c8", "#dfe3e8"
_HEADINGS = ("Image", "Label", "Map", "Error")
Matrices = Int[np.ndarray, "sample truth predicted"]


@dataclass(frozen=True)
class Example:
    """One validation chip: what was seen, what it is, what the network made of it.

    ``image`` is in the card's unit, NaN without data; ``labels`` and ``predicted`` are class
    indices, 255 where there is none.
    """

    image: Float[np.ndarray, "row col band"]
    labels: UInt8[np.ndarray, "row col"]
    predicted: UInt8[np.ndarray, "row col"]
    name: str = ""


def pick_examples(confusions: Matrices, count: int = 6) -> tuple[int, ...]:
    """``count`` samples, spread evenly over the ranking by macro IoU, the worst first.

    Samples without any label are passed over; ties go to the earlier sample.
    """
    scores = [macro_iou(matrix) for matrix in confusions]
    ranking = sorted((s, i) for i, s in enumerate(scores) if np.isfinite(s))
    places = np.linspace(0, len(ranking) - 1, min(count, len(ranking))).round().astype(int)
    return tuple(ranking[place][1] for place in places)


def macro_iou(confusion: metrics.Confusion) -> float:
    """Mean IoU over the classes that occur; NaN when none does."""
    scores = metrics.iou(confusion)
    known = scores[np.isfinite(scores)]
    return float(known.mean()) if known.size else float("nan")


def draw_examples(
    examples: Sequence[Example], classes: Sequence[AnyClass], bands: Sequence[str]
) -> bytes:
    """A row per chip, with the legends of classes and errors below.

    With two classes the error tells the second class mapped by mistake from the one missed.
    """
    side, margin, head, gap = 2.3, 0.95, 0.42, 0.08
    width = margin + 4 * (side + gap) + 0.1
    legend = 0.24 * (_legend_rows(classes, width) + 1) + 0.35
    height = head + len(examples) * (side + gap) + legend
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=DPI)
        pictures = _pictures(examples, bands)
        for row, (example, picture) in enumerate(zip(examples, pictures, strict=True)):
            bottom = height - head - (row + 1) * (side + gap) + gap
            for column, pixels in enumerate(_panels(example, picture, classes)):
                left = margin + column * (side + gap)
                box = (left / width, bottom / height, side / width, side / height)
                _show(figure.add_axes(box), pixels, _HEADINGS[column] if row == 0 else "")
            figure.text(
                (margin - 0.12) / width, (bottom + side / 2) / height,
                _caption(example, classes), ha="right", va="center", color=FAINT, size=8.5,
            )  # fmt: skip
        columns = _legend_columns(classes, width)
        named = [(c.colour, shortened(c.name, 24)) for c in classes]
        _legend(figure, named, (margin / width, (legend - 0.12) / height), columns)
        _legend(figure, _error_names(classes), (margin / width, 0.38 / height), 4)
        return as_png(figure)


def seen(image: Float[np.ndarray, "row col band"], bands: Sequence[str]) -> np.ndarray[Any, Any]:
    """Red, green and blue where the bands have them; else the first three, or the first one."""
    if {"red", "green", "blue"} <= set(bands):
        return image[..., [bands.index(name) for name in ("red", "green", "blue")]]
    return image[..., :3] if image.shape[-1] >= 3 else image[..., :1]


def _pictures(examples: Sequence[Example], bands: Sequence[str]) -> list[np.ndarray]:
    """The images as colours, stretched together, so that a dull one stays dull beside the rest."""
    shown = [seen(example.image, bands) for example in examples]
    pixels = [image.reshape(-1, 1, image.shape[-1]) for image in shown]
    ends = np.cumsum([len(part) for part in pixels])[:-1]
    parts = np.split(stretched(np.concatenate(pixels)), ends)
    return [part.reshape(*image.shape[:2], 3) for part, image in zip(parts, shown, strict=True)]


def _panels(
    example: Example, picture: np.ndarray, classes: Sequence[AnyClass]
) -> tuple[np.ndarray, ...]:
    colours = [rgb(c.colour) for c in classes]
    return (
        _striped(picture, ~np.isfinite(example.image).all(axis=-1)),
        _painted(example.labels, colours),
        _painted(example.predicted, colours),
        _errors(example, len(classes)),
    )


def _painted(indices: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> np.ndarray:
    table = np.zeros((NODATA + 1, 3), np.uint8)
    table[: len(colours)] = colours
    return _striped(table[indices], indices == NODATA)


def _striped(pixels: np.ndarray, blank: np.ndarray) -> np.ndarray:
    """Stripes where there is nothing: no class looks like them, whatever its colour."""
    row, col = np.indices(blank.shape)
    stripe = (row + col) // max(1, max(blank.shape) // 48) % 2
    tones = np.array([rgb(_BLANK), rgb(_STRIPE)], np.uint8)
    return np.where(blank[..., None], tones[stripe], pixels)


def _errors(example: Example, classes: int) -> np.ndarray:
    """Codes 0 right, 1 wrong (of two classes: mapped by mistake), 2 missed."""
    code = (example.predicted != example.labels).astype(np.uint8)
    if classes == 2:
        code += code * (example.labels == 1)
    code[(example.labels == NODATA) | (example.predicted == NODATA)] = NODATA
    return _painted(code, [rgb(_RIGHT), rgb(ORANGE), rgb(BLUE)])


def _show(axes: Axes, pixels: np.ndarray, title: str) -> None:
    axes.imshow(pixels, interpolation="nearest", aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#9aa3ad")
    axes.set_title(title, pad=4)


def _caption(example: Example, classes: Sequence[AnyClass]) -> str:
    known = (example.labels != NODATA) & (example.predicted != NODATA)
    matrix = metrics.confusion_of(example.labels[known], example.predicted[known], len(classes))
    score = macro_iou(matrix)
    lines = ["IoU", f"{score:.2f}" if np.isfinite(score) else "–"]
    return "\n".join([*([shortened(example.name, 14)] if example.name else []), *lines])


def _error_names(classes: Sequence[AnyClass]) -> list[tuple[str, str]]:
    if len(classes) == 2:
        name = shortened(classes[1].name, 20)
        wrong = [(ORANGE, f"{name} by mistake"), (BLUE, f"{name} missed")]
    else:
        wrong = [(ORANGE, "wrong")]
    return [(_RIGHT, "right"), *wrong, (_BLANK, "no label or no data")]


def _legend(
    figure: Figure, named: Sequence[tuple[str, str]], corner: tuple[float, float], columns: int
) -> None:
    figure.legend(
        handles=[
            Patch(
                facecolor=colour, edgecolor=_STRIPE if colour == _BLANK else on_white(colour),
                hatch="/////" if text.startswith("no label") else None, label=text,
            )
            for colour, text in named
        ],
        loc="upper left", bbox_to_anchor=corner, ncols=columns, borderaxespad=0, borderpad=0,
        handlelength=1.4, handleheight=1.1, columnspacing=1.6,
    )  # fmt: skip


def _legend_columns(classes: Sequence[AnyClass], width: float) -> int:
    longest = max(min(len(c.name), 24) for c in classes)
    return max(1, int((width - 0.95) / (0.075 * longest + 0.55)))


def _legend_rows(classes: Sequence[AnyClass], width: float) -> int:
    return -(-len(classes) // _legend_columns(classes, width))
