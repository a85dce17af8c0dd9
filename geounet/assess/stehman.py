"""Accuracy and area where the strata differ from the map's classes.

Stehman 2014, Estimating area and map accuracy for stratified random sampling when the strata are
different from the map classes, International Journal of Remote Sensing 35, 4923–4939; the
equations named are his. Whatever is estimated is a ratio of two totals of indicators, 1 or 0 for
each point.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from geounet.assess.assessment import Assessment, Estimate, estimates, ratio
from geounet.assess.intervals import total, wilson
from geounet.assess.sample import Sample, indicators, means, variances

SOURCE = "Stehman 2014"
Columns = Float[np.ndarray, "point value"]


def assess(sample: Sample) -> Assessment:
    """Error matrix, accuracies and areas of a sample with strata of any kind."""
    number = len(sample.classes)
    mapped, truth = (indicators(i, number) for i in (sample.mapped, sample.truth))
    both = mapped * truth
    cells = (mapped[:, :, None] * truth[:, None, :]).reshape(sample.size, -1)
    return Assessment(
        classes=sample.classes,
        counts=sample.counts,
        matrix=(sample.weights @ means(sample, cells)).reshape(number, number),
        overall=_shares(sample, both.sum(1, keepdims=True))[0],  # eq. 12
        users=_ratios(sample, both, mapped),  # eq. 18, 19
        producers=_ratios(sample, both, truth),  # eq. 22, 23
        shares=_shares(sample, truth),  # eq. 14
        total=sum(s.area for s in sample.strata),
        source=SOURCE,
    )


def _shares(sample: Sample, y: Columns) -> tuple[Estimate, ...]:
    """The mean of each column, eq. 2, and its variance, eq. 25."""
    share, variance = means(sample, y), variances(sample, y)
    weight = sample.weights[:, None]
    limits = total(wilson(share, variance, sample.worth[:, None]) * weight)
    return estimates(limits, (weight**2 * variance).sum(0), [sample.size] * y.shape[1])


def _ratios(sample: Sample, y: Columns, x: Columns) -> tuple[Estimate, ...]:
    """``R = Y / X`` of each column, eq. 27, and its variance, eq. 28.

    The three terms of eq. 28, of y, of x and of both, are the variance of ``y − R x``.
    """
    weights = sample.weights
    below = weights @ means(sample, x)
    value = ratio(weights @ means(sample, y), below)
    residuals = y - np.nan_to_num(value) * x
    variance = ratio(weights**2 @ variances(sample, residuals), below**2)
    points = x.sum(0).astype(np.int64)
    whole = bool(np.isinf(sample.worth).all())
    worth = np.where(whole, np.inf, points)
    return estimates(wilson(value, variance, worth), variance, points)
