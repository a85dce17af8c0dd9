"""Accuracy and area where the strata are the map's classes.

Olofsson, Foody, Herold, Stehman, Woodcock and Wulder 2014, Good practices for estimating area and
assessing accuracy of land change, Remote Sensing of Environment 148, 42–57; the equations named
are theirs. A simple random sample takes the same ones, with the map's classes as post-strata.
"""

from __future__ import annotations

import numpy as np

from geounet.assess.assessment import Assessment, estimates, ratio
from geounet.assess.intervals import Limits, fraction, total, wilson
from geounet.assess.sample import Sample, indicators, means, variances

SOURCE = "Olofsson et al. 2014"


def assess(sample: Sample) -> Assessment:
    """Error matrix, accuracies and areas of a sample whose stratum ``i`` is map class ``i``."""
    number = len(sample.classes)
    truth = indicators(sample.truth, number)
    share, variance = means(sample, truth), variances(sample, truth)
    weight = sample.weights[:, None]
    spread = weight**2 * variance
    each = wilson(share, variance, sample.worth[:, None])
    cells = each * weight  # eq. 4
    columns = total(cells)  # eq. 9
    correct = Limits(*(np.diag(a)[:, None] for a in (cells.value, cells.low, cells.high)))
    return Assessment(
        classes=sample.classes,
        counts=sample.counts,
        matrix=cells.value,
        overall=estimates(total(correct), np.diag(spread).sum(keepdims=True), [sample.size])[0],
        # ^ eq. 1, 5
        users=_users(sample, each, variance),
        producers=_producers(sample, cells, spread),
        shares=estimates(columns, spread.sum(0), [sample.size] * number),  # eq. 10
        total=sum(s.area for s in sample.strata),
        source=SOURCE,
    )


def _users(sample: Sample, each: Limits, variance: np.ndarray) -> tuple:
    """Eq. 2 and 6; nothing for a class that no point was drawn in."""
    seen = sample.points > 0
    diagonals = (np.diag(a) for a in (each.value, each.low, each.high, variance))
    value, low, high, spread = (np.where(seen, d, np.nan) for d in diagonals)
    return estimates(Limits(value, low, high), spread, sample.points)


def _producers(sample: Sample, cells: Limits, spread: np.ndarray) -> tuple:
    """Eq. 3 and 7, with areas as shares: ``spread`` is ``W_i² · variance`` of stratum and class."""
    number = len(sample.classes)
    columns, own = cells.value.sum(0), np.diag(spread)
    value = ratio(np.diag(cells.value), columns)
    variance = ratio(
        (1 - value) ** 2 * own + value**2 * (spread.sum(0) - own),
        columns**2,
    )
    part = Limits(*(np.diag(a) for a in (cells.value, cells.low, cells.high)))
    omitted = 1 - np.eye(number)
    limits = fraction(part, total(cells * omitted))
    return estimates(limits, variance, np.bincount(sample.truth, minlength=number))
