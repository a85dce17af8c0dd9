"""What an evaluation leaves: evaluation.json, scenes.csv, pictures, and a calibrated model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from geounet.atomic import write_bytes
from geounet.errors import OutputError
from geounet.learn.calibration import NATS, TEMPERATURES, reliability_rows
from geounet.learn.evaluate_settings import EvaluateSettings
from geounet.learn.evaluation_page import evaluation_page
from geounet.learn.plots import draw_confusion, draw_reliability
from geounet.learn.scores import Counts, add_up, row_of, with_intervals
from geounet.model_file import Model, save_with_card
from geounet.versions import versions

REPORT, SCENES, CONFUSION, RELIABILITY, PAGE = RESULTS = (
    "evaluation.json",
    "scenes.csv",
    "confusion.png",
    "reliability.png",
    "report.html",
)


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found: counts by scene, and which group each is in.

    ``report`` holds what evaluation.json does, ``files`` what was written. ``temperature`` is the
    one that was fitted, or None, also where the labels do not tell.
    """

    model: Model
    part: str
    scenes: Mapping[str, Counts]
    group_of: Mapping[str, str]
    notes: tuple[str, ...] = ()
    temperature: float | None = None
    report: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    @cached_property
    def total(self) -> Counts:
        """The counts of all scenes."""
        return add_up(self.scenes.values(), len(self.model.card.classes))

    @cached_property
    def groups(self) -> dict[str, Counts]:
        """The counts of each group that has any, by name."""
        names = sorted({self.group_of[scene] for scene in self.scenes})
        members = {
            name: [counts for scene, counts in self.scenes.items() if self.group_of[scene] == name]
            for name in names
        }
        return {name: add_up(m, len(self.model.card.classes)) for name, m in members.items()}


def refuse_results(out: Path, options: EvaluateSettings) -> None:
    """Nothing is written over unless that is asked for.

    Raises:
        OutputError: naming what is there.
    """
    files = [out / name for name in RESULTS]
    files += [options.fit_temperature] if options.fit_temperature else []
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; name a folder for the results")
    for path in files:
        if path.exists() and not options.overwrite:
            raise OutputError(f"{path}: exists; name another, or add --overwrite")


def write_results(evaluation: Evaluation, out: Path, options: EvaluateSettings) -> Evaluation:
    """Write all results, the report last; returns the evaluation with them."""
    classes, model = evaluation.model.card.classes, evaluation.model
    report = _report(evaluation, options)
    contents = {
        SCENES: _table(evaluation),
        CONFUSION: draw_confusion(evaluation.total["confusion"], classes),
        RELIABILITY: draw_reliability(report["reliability"]),
        PAGE: evaluation_page(report, model.card),
        REPORT: (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode(),
    }
    files = [out / name for name in contents]
    if options.fit_temperature:
        temperature = evaluation.temperature or model.card.temperature
        card = model.card.model_copy(update={"temperature": temperature})
        save_with_card(model.path, options.fit_temperature, card)
        files.append(options.fit_temperature)
    for name, data in contents.items():
        write_bytes(out / name, data)
    return replace(evaluation, report=report, files=tuple(files))


def _report(evaluation: Evaluation, options: EvaluateSettings) -> dict[str, Any]:
    card, classes = evaluation.model.card, evaluation.model.card.classes
    total, groups = evaluation.total, evaluation.groups
    scores = with_intervals(list(groups.values()), classes, options.draws, options.seed)
    return {
        "model": {"name": card.name, "sha256": card.sha256, "temperature": card.temperature},
        "split": evaluation.part,
        "pixels": int(total["confusion"].sum()),
        "labelled_without_data": int(total["unseen"]),
        **scores,
        "intervals": {
            "level": 0.95,
            "over": options.group or "scene",
            "groups": len(groups),
            "draws": options.draws,
            "seed": options.seed,
        },
        "boundary_tolerance_px": options.tolerance,
        "tta": options.tta,
        "precision": options.precision,
        "window": options.window,
        "confusion": {"rows": "truth", "counts": total["confusion"].tolist()},
        "reliability": reliability_rows(total["reliability"]),
        "fitted_temperature": _fitted(evaluation),
        "groups": {name: row_of(counts, classes) for name, counts in groups.items()},
        "notes": list(evaluation.notes),
        "versions": versions(),
    }


def _fitted(evaluation: Evaluation) -> dict[str, float] | None:
    """The temperature with the mean negative log-likelihood that it gives, and that of 1."""
    if evaluation.temperature is None:
        return None
    total = evaluation.total
    losses = total["likelihood"][:, 0] / NATS / max(1, int(total["confusion"].sum()))
    before = float(losses[len(TEMPERATURES) // 2])
    nearest = int(abs(TEMPERATURES - evaluation.temperature).argmin())
    return {
        "temperature": evaluation.temperature,
        "nats_per_pixel_at_1": round(before, 6),
        "nats_per_pixel_about": round(float(losses[nearest]), 6),
    }


def _table(evaluation: Evaluation) -> bytes:
    rows = [
        {"scene": name, "group": evaluation.group_of[name]}
        | row_of(counts, evaluation.model.card.classes)
        for name, counts in evaluation.scenes.items()
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
