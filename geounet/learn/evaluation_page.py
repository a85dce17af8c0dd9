"""report.html of an evaluation: scores with their intervals, by class and by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from geounet import page
from geounet.card import ModelCard
from geounet.learn.report_parts import (
    FOOT,
    confusion_part,
    in_line,
    model_part,
    provenance_part,
    reliability_part,
    score,
)

Report = Mapping[str, Any]
MOST_GROUPS = 200
"""Lines of the table of groups; evaluation.json has all."""
_MEASURES = {
    "iou": "IoU",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "boundary_f1": "boundary F1",
}


def evaluation_page(report: Report, card: ModelCard) -> bytes:
    """The page of ``report``, which is what evaluation.json holds; its pictures are embedded."""
    confusion = np.array(report["confusion"]["counts"], np.int64)
    error = report["overall"].get("expected_calibration_error", {}).get("value")
    options = ("tta", "precision", "window", "boundary_tolerance_px", "intervals")
    settings = "".join(f"{name}: {in_line(report.get(name))}\n" for name in options)
    sections = [
        page.section("In short", page.facts(_short_answers(report)), *_how(report)),
        page.section("Classes", _class_table(report, card)),
        confusion_part(confusion, card.classes),
        reliability_part(report["reliability"], error),
        page.section("Groups", _group_table(report)),
        model_part(card, {"SHA-256": card.sha256, "temperature": f"{card.temperature:g}"}),
        page.section("Notes", page.bullets(report.get("notes") or ["None."])),
        provenance_part(settings),
    ]
    lead = card.summary or "A model compared with labels."
    return page.page(f"Evaluation of {card.name}", lead, sections, FOOT)


def with_interval(measure: Mapping[str, float | None] | None) -> page.Content:
    """A score and, where there is one, its 95 % interval below it."""
    value, low, high = ((measure or {}).get(key) for key in ("value", "low", "high"))
    if low is None or high is None:
        return score(value)
    return page.with_range(score(value), f"{score(low)} to {score(high)}")


def _short_answers(report: Report) -> dict[str, page.Content]:
    names = {
        "macro_iou": "Macro IoU",
        "macro_f1": "Macro F1",
        "macro_boundary_f1": "Macro boundary F1",
        "accuracy": "Pixels right",
        "expected_calibration_error": "Calibration error",
    }
    found: dict[str, page.Content]
    found = {text: with_interval(report["overall"].get(name)) for name, text in names.items()}
    return {**found, "Labelled pixels": f"{report['pixels']:,}"}


def _how(report: Report) -> Sequence[page.Markup]:
    over, count = report["intervals"]["over"], report["intervals"]["groups"]
    ground = {"validation": "the validation part of the data", "all": "all of the data"}
    text = (
        f"On {ground.get(report['split'], report['split'])}. In small type is the 95 % interval of "
        f"the bootstrap over {count} groups (by {over}): how far the score might lie from that of "
        "other groups like these."
        if count > 1
        else "There are no intervals: the labels form one group only."
    )
    return (page.paragraph(text, hint=True),)


def _class_table(report: Report, card: ModelCard) -> page.Markup:
    colours = {c.value: c.colour for c in card.classes}
    rows: list[list[page.Content]] = [
        [
            page.class_label(found["name"], colours[found["value"]]),
            *(with_interval(found.get(name)) for name in _MEASURES),
            f"{found['pixels']:,}",
        ]
        for found in report["classes"]
    ]
    headings = ["class", *_MEASURES.values(), "pixels"]
    tolerance = report.get("boundary_tolerance_px")
    caption = f"Scores by class; boundaries match within {tolerance} pixels."
    return page.table(caption, headings, rows)


def _group_table(report: Report) -> page.Markup:
    groups = report["groups"]
    worst_first = sorted(groups, key=lambda name: (_known(groups[name].get("macro_iou")), name))
    rows: list[list[page.Content]] = [
        [
            name,
            *(score(groups[name].get(key)) for key in ("macro_iou", "macro_f1", "accuracy")),
            f"{groups[name]['pixels']:,}",
        ]
        for name in worst_first[:MOST_GROUPS]
    ]
    over = report["intervals"]["over"]
    shown = f", the worst {MOST_GROUPS} of {len(groups)}" if len(groups) > MOST_GROUPS else ""
    headings = [over, "macro IoU", "macro F1", "pixels right", "pixels"]
    return page.table(f"Scores by {over}, the worst first{shown}.", headings, rows)


def _known(value: float | None) -> float:
    return 2.0 if value is None else value
