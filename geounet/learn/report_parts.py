"""Parts that the pages of a training and of an evaluation share, and how they write numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from geounet import page
from geounet.card import LandClass, ModelCard
from geounet.learn.metrics import Confusion
from geounet.learn.plots import draw_confusion, draw_reliability
from geounet.versions import versions

FOOT = (
    "Scores are pixel counts on labelled ground that the training did not see. "
    "They are no accuracy assessment of a map: that needs a designed sample of its area."
)


def confusion_part(
    confusion: Confusion, classes: Sequence[LandClass], png: bytes | None = None
) -> page.Markup:
    """The section of a confusion matrix: the picture, and its counts as a table."""
    hits, total = int(np.diag(confusion).sum()), int(confusion.sum())
    share = 100 * hits / max(total, 1)
    alt = (
        f"Confusion matrix of {len(classes)} classes: {share:.1f} % of {total:,} pixels were "
        "mapped as labelled. The table below has the counts."
    )
    rows: list[list[page.Content]] = [
        [page.class_label(c.name, c.colour), *(f"{int(count):,}" for count in counts)]
        for c, counts in zip(classes, confusion, strict=True)
    ]
    headings = ["labelled as", *(f"mapped as {c.name}" for c in classes)]
    counts = page.table("Pixels by label (row) and by map (column)", headings, rows)
    caption = "Rows are labels, columns the map; each row adds up to its class."
    return page.section(
        "Confusion",
        page.figure(png or draw_confusion(confusion, classes), alt, caption),
        page.details("Counts of pixels", counts),
    )


def reliability_part(
    bins: Sequence[Mapping[str, float]], error: float | None, png: bytes | None = None
) -> page.Markup:
    """The section of a reliability diagram; ``error`` is the expected calibration error."""
    known = f"Expected calibration error {score(error)}. " if error is not None else ""
    rows: list[list[page.Content]] = [
        [
            f"{row['above']:.2f}–{row['up_to']:.2f}",
            score(row["confidence"]),
            score(row["accuracy"]),
            f"{int(row['pixels']):,}",
        ]
        for row in bins
    ]
    headings = ["confidence", "mean confidence", "share that was right", "pixels"]
    return page.section(
        "Confidence",
        page.figure(
            png or draw_reliability(bins),
            f"Reliability diagram. {known}The table below has its numbers.",
            f"{known}On the dashed line, confidence means what it says: of the pixels mapped with "
            "a confidence of 0.8, 80 % are right. Below it, the model is too sure.",
        ),
        page.details("Numbers", page.table("Reliability by confidence", headings, rows)),
    )


def model_part(card: ModelCard, extra: Mapping[str, str]) -> page.Markup:
    """The section of the network: what it is, how far it sees, what it takes."""
    architecture = card.architecture.model_dump(mode="json")
    kind = architecture.pop("kind", "unet")
    shown = {
        "kind": str(kind),
        **dict(extra),
        "reach": f"{card.reach} pixels: how far outside a tile's core a pixel can matter",
        "bands": ", ".join(card.bands),
        "pixel size": " to ".join(f"{size:g}" for size in card.pixel_size) + " m",
        "level and unit": f"{card.level}, {card.unit}",
        "options": in_line(architecture),
    }
    return page.section("Network", page.fields("The network and what it takes", shown))


def provenance_part(settings: str) -> page.Markup:
    """The section of versions and of the settings, as YAML."""
    return page.section(
        "Provenance",
        page.fields("Versions that the result depends on", dict(versions())),
        page.details("Settings", page.verbatim(settings)),
    )


def in_line(value: Any) -> str:
    """A setting on one line: text as it is, lists and mappings as in YAML without brackets."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    text = yaml.safe_dump(
        value, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**6
    )
    text = text.removesuffix("...\n").strip()
    return text[1:-1] if isinstance(value, list | dict) else text


def score(value: float | None) -> str:
    """A score with three decimals; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"
