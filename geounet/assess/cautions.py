"""What an interval cannot know: errors that the sample was too small to meet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from geounet.assess.assessment import Assessment
from geounet.assess.sample import Sample, indicators, variances

FEW = 10
"""Points of a cell of the error matrix below which intervals were measured to cover too little."""
_HECTARE = 10_000.0


def cautions(sample: Sample, found: Assessment) -> list[str]:
    """One line for each class whose area the sample knows less of than its interval says."""
    return [*_never_found(sample, found), *_empty_cells(sample, found), *_few_points(sample, found)]


def _never_found(sample: Sample, found: Assessment) -> Iterator[str]:
    seen = np.bincount(sample.truth, minlength=len(sample.classes))
    for name, points, row in zip(sample.classes, seen, found.counts, strict=True):
        if not points:
            where = "" if row.sum() else ", and none lies where the map has it"
            yield (
                f"{name}: no point was found to be it{where}, so its area is estimated as 0 ± 0; "
                "the interval's upper end says what there may be"
            )


def _empty_cells(sample: Sample, found: Assessment) -> Iterator[str]:
    """Strata so large that what they may hide of a class is more than its area's margin.

    With no hit among n points, up to ``1 − 0.05^(1/n)`` of a stratum, about 3/n, may still be hits
    (95 %, one-sided; Clopper and Pearson 1934).
    """
    cells = _cells(sample)
    hidden = 1 - 0.05 ** (1 / np.maximum(sample.worth, 1))
    for k, (name, share) in enumerate(zip(sample.classes, found.shares, strict=True)):
        if not cells[:, k].sum():
            continue
        for i, stratum in enumerate(sample.strata):
            missed = hidden[i] * stratum.area
            if not cells[i, k] and sample.points[i] and missed > share.margin * found.total:
                yield (
                    f"{name}: none of the {sample.points[i]} points of stratum {stratum.name} "
                    f"({100 * sample.weights[i]:.0f} % of the area) is {name}, but up to "
                    f"{missed / _HECTARE:,.0f} ha there could be (95 %), more than the ± of its "
                    "area"
                )


def _few_points(sample: Sample, found: Assessment) -> Iterator[str]:
    cells = _cells(sample)
    truth = indicators(sample.truth, len(sample.classes))
    spread = sample.weights[:, None] ** 2 * variances(sample, truth)
    for k, name in enumerate(sample.classes):
        i = int(spread[:, k].argmax())
        if 0 < cells[i, k] < FEW and spread[i, k] > spread[:, k].sum() / 2:
            yield (
                f"{name}: how sure its area is hangs on {_points(cells[i, k])} of it in stratum "
                f"{sample.strata[i].name}; with fewer than {FEW} its interval covers less than 95 %"
            )


def _cells(sample: Sample) -> np.ndarray:
    """(stratum, class) points."""
    cells = np.zeros((len(sample.strata), len(sample.classes)), np.int64)
    np.add.at(cells, (sample.stratum, sample.truth), 1)
    return cells


def _points(number: int) -> str:
    return f"{number} point" + ("" if number == 1 else "s")
