"""What a training and an evaluation look like: curves, confusion, reliability, as PNGs.

Colours are those of the classes, darkened where they would not show on white, and no meaning hangs
on colour alone: lines carry their names at their ends, cells their numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from geounet.learn.plot_style import (
    BLUE,
    DPI,
    FAINT,
    INK,
    ORANGE,
    STYLE,
    apart,
    as_png,
    compact,
    loose,
    number_or_nan,
    on_white,
    percent,
    shortened,
)
from geounet.style import AnyClass

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from geounet.learn.metrics import Confusion

_DASHES = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_MOST_NAMED, _MOST_COUNTED = 20, 8
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One curve: its name, a value per epoch (NaN where there is none), and how it is drawn."""

    name: str
    values: np.ndarray[Any, Any]
    colour: str = BLUE
    dash: Any = "-"
    width: float = 1.6


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes; ``low`` and ``high`` bound the axis where they are given."""

    title: str
    lines: tuple[Line, ...]
    form: str
    low: float | None = None
    high: float | None = None


def draw_curves(records: Sequence[Record], classes: Sequence[AnyClass]) -> bytes:
    """Loss, IoU by class, learning rate and speed over the epochs; what no record has is left out.

    Args:
        records: one per epoch; any value may be missing, None or not finite.
        classes: names and colours, as in the records' ``iou``.
    """
    epochs = np.array([r.get("epoch", i + 1) for i, r in enumerate(records)], float)
    panels = [panel for panel in _panels(records, classes) if panel.lines]
    rows = max(1, math.ceil(len(panels) / 2))
    crowd = max((len(panel.lines) for panel in panels), default=0)
    heights = [max(2.9, 0.17 * crowd + 0.8), 2.5][:rows]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, sum(heights)), dpi=DPI, layout=loose())
        grid = figure.add_gridspec(rows, 2, height_ratios=heights)
        for k, panel in enumerate(panels):
            room = heights[k // 2] - 0.8
            _curves(figure.add_subplot(grid[k // 2, k % 2]), panel, epochs, room)
        if not panels:
            figure.text(0.5, 0.5, "no epoch was finished", ha="center", color=FAINT)
        return as_png(figure)


def draw_confusion(confusion: Confusion, classes: Sequence[AnyClass]) -> bytes:
    """Of the pixels of each true class (row), the share that was mapped as each class (column)."""
    counts = confusion.astype(np.float64)
    truth = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, truth, out=np.full(counts.shape, np.nan), where=truth > 0)
    names = [shortened(c.name, 24) for c in classes]
    side = max(0.45, min(1.1, 8.0 / len(names)))
    longest = 0.08 * max(map(len, names))
    slanted = longest > side
    below = 0.75 * longest if slanted else 0.0
    size = (len(names) * side + max(longest, 0.7) + 0.8, len(names) * side + below + 1.1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, dpi=DPI, layout=loose())
        axes = figure.add_subplot(title="% of each labelled class")
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        _write_shares(axes, shares, counts)
        axes.set_xticks(range(len(names)), names)
        if slanted:
            for label in axes.get_xticklabels():
                label.set(rotation=50, ha="right", rotation_mode="anchor")
        rows = zip(names, truth[:, 0], strict=True)
        axes.set_yticks(
            range(len(names)), [f"{name}\n{compact(int(pixels))} px" for name, pixels in rows]
        )
        axes.tick_params(length=0, labelcolor=INK, labelsize=9 if side > 0.5 else 8)
        axes.spines[:].set_visible(False)
        _cell_borders(axes, len(names))
        axes.set(xlabel="mapped as", ylabel="labelled as")
        return as_png(figure)


def draw_reliability(bins: Sequence[Mapping[str, float]]) -> bytes:
    """How often the map was right at each confidence, beside how many pixels had it.

    Args:
        bins: of those with pixels, ``above`` and ``up_to`` (the range of confidence), ``pixels``,
            and their mean ``confidence`` and ``accuracy``.
    """
    low = np.array([row["above"] for row in bins])
    widths = np.array([row["up_to"] for row in bins]) - low
    pixels = np.array([row["pixels"] for row in bins], float)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 6.4), dpi=DPI, layout=loose())
        grid = figure.add_gridspec(2, 1, height_ratios=(4, 1.2))
        top, below = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
        top.plot([0, 1], [0, 1], color="#9aa3ad", linestyle=(0, (4, 3)), label="as it should be")
        points = [(row["confidence"], row["accuracy"]) for row in bins]
        top.plot(*np.array(points).reshape(-1, 2).T, color=BLUE, marker="o", label="this model")
        top.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that was right")
        top.set_title("Reliability")
        top.legend(loc="upper left")
        top.grid(True)
        below.bar(low, pixels / max(pixels.sum(), 1), widths, align="edge", color=BLUE, ec="white")
        below.set(xlim=(0, 1), xlabel="confidence", ylabel="share of pixels")
        below.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))
        return as_png(figure)


def _panels(records: Sequence[Record], classes: Sequence[AnyClass]) -> list[Panel]:
    losses = (
        Line("training", _series(records, "loss")),
        Line("validation", _series(records, "validation_loss"), ORANGE, _DASHES[1]),
    )
    rate = (Line("", _series(records, "learning_rate")),)
    speed = (Line("", _series(records, "samples_per_second")),)
    scores = _known(_iou_lines(records, classes))
    worst = min((float(np.nanmin(line.values)) for line in scores), default=0.0)
    floor = max(0.0, math.floor(10 * worst - 0.5) / 10) if len(records) > 1 else 0.0
    return [
        Panel("Loss", _known(losses), ".3f"),
        Panel("IoU on validation", scores, ".3f", floor, 1.0),
        Panel("Learning rate", _known(rate), ".2g", 0.0),
        Panel("Samples per second", _known(speed), ".3g", 0.0),
    ]


def _iou_lines(records: Sequence[Record], classes: Sequence[AnyClass]) -> tuple[Line, ...]:
    lines = [
        Line(
            shortened(c.name, 20),
            number_or_nan([(r.get("iou") or {}).get(c.name) for r in records]),
            on_white(c.colour),
            _DASHES[k % len(_DASHES)],
        )
        for k, c in enumerate(classes)
    ]
    # With more classes than there is room to name, those that end lowest are of most interest.
    lines.sort(key=lambda line: float(np.nan_to_num(line.values[-1:]).sum()))
    return (*lines[:_MOST_NAMED], Line("macro", _series(records, "macro_iou"), INK, "-", 2.4))


def _known(lines: Sequence[Line]) -> tuple[Line, ...]:
    return tuple(line for line in lines if np.isfinite(line.values).any())


def _series(records: Sequence[Record], key: str) -> np.ndarray[Any, Any]:
    return number_or_nan([record.get(key) for record in records])


def _curves(axes: Axes, panel: Panel, epochs: np.ndarray, room: float) -> None:
    """The lines, each named at its last value, with a dot where one epoch stands alone.

    ``room`` is the height of the axes in inches, about.
    """
    few = len(epochs) < 3
    for line in panel.lines:
        axes.plot(
            epochs, line.values, color=line.colour, linestyle=line.dash, linewidth=line.width,
            marker="o" if few else None, markersize=4, clip_on=False,
        )  # fmt: skip
    axes.set(title=panel.title, xlabel="epoch")
    axes.grid(True, axis="y")
    axes.set_ylim(panel.low, panel.high)
    axes.set_xlim(epochs[0] - (len(epochs) == 1), epochs[-1])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    last = [float(line.values[np.isfinite(line.values)][-1]) for line in panel.lines]
    low, high = axes.get_ylim()
    heights = apart(last, 0.165 / room * (high - low), low, high)
    for line, value, height in zip(panel.lines, last, heights, strict=True):
        axes.annotate(
            f"{line.name} {value:{panel.form}}".strip(), (float(epochs[-1]), height),
            xytext=(7, 0), textcoords="offset points", va="center", annotation_clip=False,
            color=line.colour, size=8.5, weight="bold" if line.width > 2 else "normal",
        )  # fmt: skip


def _write_shares(axes: Axes, shares: np.ndarray, counts: np.ndarray) -> None:
    roomy = len(shares) <= _MOST_COUNTED
    for (row, col), share in np.ndenumerate(shares):
        known = math.isfinite(share)
        text = percent(share, 1 if roomy else 0) if known else "–"
        if known and roomy:
            text += f"\n{compact(int(counts[row, col]))}"
        dark = known and share > 0.55
        faint = not known or (share < 0.005 and not roomy)
        axes.text(
            col, row, text, ha="center", va="center", size=9.0 if roomy else 7.5,
            color="white" if dark else FAINT if faint else INK,
        )  # fmt: skip


def _cell_borders(axes: Axes, n: int) -> None:
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(True, which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
