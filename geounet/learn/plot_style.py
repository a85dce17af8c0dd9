"""The common look of training's pictures: type, colours, short numbers, room for labels."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from geounet.style import rgb

INK, FAINT, RULE = "#22262b", "#59616b", "#d5dae0"
BLUE, ORANGE = "#0072b2", "#d55e00"
# ^ Okabe and Ito's, told apart with any colour vision.
DPI = 150
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": "#9aa3ad",
    "axes.linewidth": 0.8,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "white",
    "figure.facecolor": "white",
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "legend.frameon": False,
}


def loose() -> ConstrainedLayoutEngine:
    """A layout that leaves a margin around the figure."""
    return ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.12, wspace=0.04, hspace=0.04)


def as_png(figure: Figure) -> bytes:
    """The figure as bytes that depend on what it shows alone."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": "geounet"})
    return stream.getvalue()


def compact(count: int) -> str:
    """A count in three or four characters: 950, 12 k, 3.4 M, 1.2 G."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= 0.9995 * size:
            value = count / size
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return str(count)


def percent(share: float, digits: int = 0) -> str:
    """A share in few characters that never shows a small one as none: 0, <1, 7, 93, >99, 100."""
    least = 10.0 ** -(digits + 2)
    if 0 < share < least:
        return f"<{100 * least:.{digits}f}"
    if 1 - least < share < 1:
        return f">{100 * (1 - least):.{digits}f}"
    return f"{100 * share:.{digits}f}"


def shortened(name: str, most: int) -> str:
    """The name, cut with an ellipsis where it is longer than ``most`` characters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def number_or_nan(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """The values as floats; NaN for None, infinity and what is not a number."""
    found = np.array([v if isinstance(v, int | float) else math.nan for v in values], float)
    return np.where(np.isfinite(found), found, math.nan)


def on_white(colour: str) -> str:
    """The colour, darkened until text in it reads well on white: 4.5:1 (WCAG 2.2, 1.4.3)."""
    shade = np.array(rgb(colour)) / 255
    while 1.05 / (_luminance(shade) + 0.05) < 4.5:
        shade = shade * 0.92
    return "#" + "".join(f"{round(255 * part):02x}" for part in shade)


def apart(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The heights moved so that neighbours keep ``gap``, in their order, within low…high.

    With no room for all, the gap shrinks to what there is.
    """
    if not heights:
        return []
    gap = min(gap, (high - low) / max(len(heights) - 1, 1))
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(order))
    # Less its steps, the sequence must not fall; clipping then keeps both ends in.
    level = np.maximum.accumulate(np.asarray(heights, float)[order] - steps)
    placed = np.clip(level, low, high - steps[-1]) + steps
    moved = np.empty(len(order))
    moved[order] = placed
    return moved.tolist()


def _luminance(shade: np.ndarray) -> float:
    linear = np.where(shade <= 0.04045, shade / 12.92, ((shade + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))
