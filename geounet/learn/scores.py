"""From counts of pixels to every score of an evaluation, with its interval.

Counts are whole numbers by kind, for a tile, a scene, a group or all of them alike: those of a part
and of the rest add up to those of the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from geounet.card import LandClass
from geounet.learn.boundary import COUNTS, boundary_f1
from geounet.learn.calibration import BINS, TEMPERATURES, calibration_error
from geounet.learn.intervals import Scores, bootstrap
from geounet.learn.metrics import accuracy, f1, iou, macro, precision, recall

Counts = dict[str, Int[np.ndarray, "..."]]
PER_CLASS = ("iou", "f1", "precision", "recall", "boundary_f1")
OVERALL = (
    "accuracy",
    "macro_iou",
    "macro_f1",
    "macro_boundary_f1",
    "expected_calibration_error",
)


def no_counts(classes: int) -> Counts:
    """The counts of nothing; ``unseen`` are labelled pixels that the image has no data for."""
    shapes: dict[str, tuple[int, ...]] = {
        "confusion": (classes, classes),
        "boundary": (classes, COUNTS),
        "reliability": (BINS, 3),
        "likelihood": (len(TEMPERATURES), 2),
        "unseen": (),
    }
    return {name: np.zeros(shape, np.int64) for name, shape in shapes.items()}


def add_up(parts: Iterable[Counts], classes: int) -> Counts:
    """The counts of all parts together."""
    total = no_counts(classes)
    for part in parts:
        for name, counts in part.items():
            total[name] += counts
    return total


def scores_of(counts: Mapping[str, np.ndarray]) -> Scores:
    """Every score, of counts or of counts stacked along their first axes; NaN where undefined."""
    confusion = counts["confusion"]
    scores = {
        "iou": iou(confusion),
        "f1": f1(confusion),
        "precision": precision(confusion),
        "recall": recall(confusion),
        "boundary_f1": boundary_f1(counts["boundary"]),
        "accuracy": accuracy(confusion),
        "expected_calibration_error": calibration_error(counts["reliability"]),
    }
    return scores | {f"macro_{name}": macro(scores[name]) for name in ("iou", "f1", "boundary_f1")}


def with_intervals(
    groups: Sequence[Counts], classes: Sequence[LandClass], draws: int, seed: int
) -> dict[str, Any]:
    """Pooled scores of all groups, each as ``value``, ``low`` and ``high``: plain values for JSON.

    ``low`` and ``high`` are the 95 % interval of the bootstrap over the groups; None with fewer
    than two.
    """
    kinds = ("confusion", "boundary", "reliability")
    stacked = {kind: np.stack([group[kind] for group in groups]) for kind in kinds}
    total = add_up(groups, len(classes))
    scores, ends = scores_of(total), bootstrap(stacked, scores_of, draws, seed)

    def one(name: str, *place: int) -> dict[str, float | None]:
        low, high = ends[name]
        values = {"value": scores[name][place], "low": low[place], "high": high[place]}
        return {key: plain(value) for key, value in values.items()}

    pixels = total["confusion"].sum(axis=1)
    return {
        "overall": {name: one(name) for name in OVERALL},
        "classes": [
            {"value": c.value, "name": c.name, "pixels": int(pixels[k])}
            | {name: one(name, k) for name in PER_CLASS}
            for k, c in enumerate(classes)
        ],
    }


def row_of(counts: Counts, classes: Sequence[LandClass]) -> dict[str, float | int | None]:
    """One line of a table of scenes or groups: pixels, the overall scores, IoU by class."""
    scores = scores_of(counts)
    return (
        {"pixels": int(counts["confusion"].sum()), "unseen": int(counts["unseen"])}
        | {name: plain(scores[name]) for name in OVERALL}
        | {f"iou {c.name}": plain(scores["iou"][k]) for k, c in enumerate(classes)}
    )


def plain(value: Any) -> float | None:
    """A number to six digits, or None where there is none: JSON has no NaN."""
    return round(float(value), 6) if np.isfinite(value) else None
