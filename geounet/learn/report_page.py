"""What a training leaves to look at: three pictures and report.html, which opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geounet import page
from geounet.atomic import write_bytes
from geounet.card import LandClass, ModelCard
from geounet.learn import metrics
from geounet.learn.plot_style import number_or_nan
from geounet.learn.plots import draw_confusion, draw_curves
from geounet.learn.report_parts import (
    FOOT,
    confusion_part,
    in_line,
    model_part,
    provenance_part,
    score,
)
from geounet.learn.sample_plot import Example, draw_examples
from geounet.learn.train_settings import TrainSettings, to_yaml
from geounet.reporting import duration

Record = Mapping[str, Any]
PICTURES = ("learning.png", "predictions.png", "confusion.png")
REPORT_FILES = (*PICTURES, "report.html")
"""What `write_training_report` may leave in its folder."""


@dataclass(frozen=True)
class Training:
    """A finished training, as plain values.

    Attributes:
        records: the lines of metrics.jsonl, one per epoch; any value may be missing.
        confusion: of the validation with the weights that are kept, if there was any.
        examples: validation chips, the worst first (`sample_plot.pick_examples`).
        parts: how much there was of each part of the data, in words.
        parameters: how many numbers the network learnt.
        kept: the epoch whose weights are kept; the last one unless told otherwise.
    """

    settings: TrainSettings
    card: ModelCard
    records: Sequence[Record]
    confusion: metrics.Confusion | None = None
    examples: Sequence[Example] = ()
    notes: Sequence[str] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    parameters: int = 0
    kept: int | None = None


def write_training_report(out: Path, training: Training) -> tuple[Path, ...]:
    """Write learning.png, predictions.png, confusion.png and report.html into ``out``.

    A picture for which there is nothing to show is left out. The page comes last.

    Raises:
        OutputError: naming the file, if one cannot be written.
    """
    classes, bands = training.card.classes, training.card.bands
    pictures = {"learning.png": draw_curves(training.records, classes)}
    if training.examples:
        pictures["predictions.png"] = draw_examples(training.examples, classes, bands)
    if training.confusion is not None and training.confusion.any():
        pictures["confusion.png"] = draw_confusion(training.confusion, classes)
    for name, png in pictures.items():
        write_bytes(out / name, png)
    write_bytes(out / "report.html", training_page(training, pictures))
    return tuple(out / name for name in (*pictures, "report.html"))


def training_page(training: Training, pictures: Mapping[str, bytes]) -> bytes:
    """The page itself; ``pictures`` are embedded, by the names of their files."""
    card, confusion = training.card, training.confusion
    sections = [
        page.section("In short", page.facts(_short_answers(training))),
        page.section("Classes", _class_table(training)),
        page.section("Learning", _curves(training.records, pictures["learning.png"])),
    ]
    if "predictions.png" in pictures:
        sections.append(page.section("Samples", _samples(pictures["predictions.png"])))
    if confusion is not None and "confusion.png" in pictures:
        sections.append(confusion_part(confusion, card.classes, pictures["confusion.png"]))
    sections += [
        page.section("Data", _data(training)),
        model_part(card, {"parameters": f"{training.parameters:,}"}),
        page.section("Notes", page.bullets(training.notes or ["None."])),
        provenance_part(to_yaml(training.settings)),
    ]
    lead = card.summary or "A model trained with geounet."
    return page.page(f"Training of {card.name}", lead, sections, FOOT)


def best_epoch(records: Sequence[Record]) -> int | None:
    """Index of the record with the highest macro IoU, the first of equals; None without any."""
    scores = number_or_nan([macro(record) for record in records])
    return int(np.nanargmax(scores)) if np.isfinite(scores).any() else None


def kept_record(training: Training) -> Record:
    """The record of the epoch whose weights are kept; empty where there is none."""
    found = [r for r in training.records if r.get("epoch") == training.kept]
    return [{}, *training.records, *found][-1]


def macro(record: Record) -> float | None:
    """The record's macro IoU: as given, or the mean of its classes'; None without validation."""
    if record.get("macro_iou") is not None:
        return float(record["macro_iou"])
    known = [value for value in (record.get("iou") or {}).values() if value is not None]
    return sum(known) / len(known) if known else None


def _short_answers(training: Training) -> dict[str, page.Content]:
    records, best = training.records, best_epoch(training.records)
    kept = kept_record(training)
    speed = number_or_nan([record.get("samples_per_second") for record in records])
    waited = number_or_nan([record.get("waited") for record in records])
    facts: dict[str, page.Content] = {
        "Macro IoU": score(macro(kept)),
        "Weights of": f"epoch {kept.get('epoch', len(records))}" if records else "no epoch",
    }
    if best is not None:
        number = records[best].get("epoch", best + 1)
        facts["Best macro IoU"] = page.with_range(score(macro(records[best])), f"epoch {number}")
    facts["Epochs"] = f"{len(records)} of {training.settings.epochs}"
    facts["Time"] = duration(sum(number_or_zero(r.get("seconds")) for r in records))
    if np.isfinite(speed).any():
        facts["Samples per second"] = f"{float(np.nanmedian(speed)):.3g}"
    if np.isfinite(waited).any():
        facts["Device waited for data"] = f"{100 * float(np.nanmean(waited)):.1f} %"
    facts["Steps skipped"] = f"{sum(int(number_or_zero(r.get('skipped'))) for r in records):,}"
    facts["Parameters"] = f"{training.parameters:,}"
    return facts


def _class_table(training: Training) -> page.Markup:
    records, best = training.records, best_epoch(training.records)
    kept = kept_record(training).get("iou") or {}
    top = (records[best].get("iou") or {}) if best is not None else {}
    found = _class_scores(training.confusion, training.card.classes)
    rows: list[list[page.Content]] = [
        [
            page.class_label(c.name, c.colour),
            str(c.value),
            score(kept.get(c.name)),
            score(top.get(c.name)),
            *found[k],
        ]
        for k, c in enumerate(training.card.classes)
    ]
    headings = ["class", "value", "IoU", "IoU, best epoch", "precision", "recall", "F1", "pixels"]
    caption = "Scores on the validation part; pixels are those labelled as the class there."
    return page.table(caption, headings, rows)


def _class_scores(
    confusion: metrics.Confusion | None, classes: Sequence[LandClass]
) -> list[list[str]]:
    if confusion is None:
        return [["–"] * 4 for _ in classes]
    parts = zip(
        metrics.precision(confusion),
        metrics.recall(confusion),
        metrics.f1(confusion),
        confusion.sum(axis=1),
        strict=True,
    )
    return [[score(p), score(r), score(f), f"{int(pixels):,}"] for p, r, f, pixels in parts]


def _curves(records: Sequence[Record], png: bytes) -> page.Markup:
    last = records[-1] if records else {}
    loss = last.get("loss")
    said = f"after {len(records)} epochs the training loss is {score(loss)}" if records else "none"
    alt = f"Curves of loss, IoU per class, learning rate and speed by epoch: {said}."
    caption = (
        "Loss, IoU per class on the validation part, learning rate and speed, by epoch. "
        "metrics.jsonl has the numbers."
    )
    return page.figure(png, alt, caption)


def _samples(png: bytes) -> page.Markup:
    return page.figure(
        png,
        "Validation samples in rows: image, label, map and error side by side, with a legend.",
        "Samples of the validation part, spread over their ranking by IoU: the worst above, the "
        "best below. Images are stretched together, from their 2nd to their 98th percentile.",
    )


def _data(training: Training) -> page.Markup:
    settings = training.settings
    fields = settings.data.model_dump(mode="json", exclude_none=True)
    told = settings.data.model_dump(exclude_defaults=True, exclude_none=True)
    values: dict[str, page.Content] = dict(training.parts)
    values |= {f"data.{name}": in_line(fields[name]) for name in told}
    values["chip and batch"] = f"{settings.chip} pixels, {settings.batch} at a time"
    values["described as"] = training.card.training_data or "not said"
    values["licence of the data"] = training.card.training_licence or "not stated"
    return page.fields("What was learnt from", values)


def number_or_zero(value: Any) -> float:
    """The value where it is a finite number, else 0."""
    return float(np.nan_to_num(number_or_nan([value]))[0])
