"""The outcome of an assessment, and its form in accuracy.json."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from geounet.assess.assessment import Assessment, Estimate

HECTARE = 10_000.0


@dataclass(frozen=True)
class Accuracy:
    """What an estimation gives back.

    ``mapped`` are the map's own square metres of each class, ``outside`` pixels and square metres
    without a class; ``chance`` is False where the sample is no probability sample, and
    ``reported`` True where the report of the map's job took the areas.
    """

    assessment: Assessment
    values: tuple[int, ...]
    mapped: tuple[float, ...]
    outside: tuple[int, float]
    hidden_ha: float | None
    missing: int
    chance: bool
    how: str
    notes: tuple[str, ...]
    out: Path | None = None
    reported: bool = False

    @property
    def points(self) -> int:
        """How many points were interpreted."""
        return int(self.assessment.counts.sum())


def content_of(found: Accuracy) -> dict[str, Any]:
    """All of it as JSON takes it; what is unknown is null."""
    judged = found.assessment
    return {
        "what": "geounet accuracy assessment",
        "version": 1,
        "sample": {
            "how": found.how,
            "probability_sample": found.chance,
            "interpreted": found.points,
            "missing": found.missing,
        },
        "estimators": judged.source,
        "population": {
            "area_ha": judged.total / HECTARE,
            "outside_pixels": found.outside[0],
            "outside_ha": found.outside[1] / HECTARE,
            "hidden_by_a_mask_ha": found.hidden_ha,
        },
        "overall_accuracy": _numbers(judged.overall),
        "classes": [
            {
                "name": name,
                "value": found.values[k],
                "mapped_ha": found.mapped[k] / HECTARE,
                "area_ha": _numbers(judged.shares[k], judged.total / HECTARE),
                "users_accuracy": _numbers(judged.users[k]),
                "producers_accuracy": _numbers(judged.producers[k]),
            }
            for k, name in enumerate(judged.classes)
        ],
        "error_matrix": {
            "rows": "map classes",
            "columns": "reference classes",
            "proportions_of_area": judged.matrix.tolist(),
            "points": judged.counts.tolist(),
        },
        "cautions": list(found.notes),
    }


def _numbers(estimate: Estimate, unit: float = 1.0) -> dict[str, float | int | None]:
    numbers = {
        "value": estimate.value,
        "standard_error": estimate.error,
        "margin": estimate.margin,
        "low": estimate.low,
        "high": estimate.high,
    }
    scaled = {name: n * unit if isfinite(n) else None for name, n in numbers.items()}
    return {**scaled, "points": estimate.points}
