"""How well a map agrees with its labels, from one confusion matrix that grows by addition.

``confusion[truth, predicted]`` counts pixels, so that matrices of batches, chips or places add up:
``confusion_of(a ++ b) == confusion_of(a) + confusion_of(b)``.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Integer

from geounet.card import NODATA

Confusion = Int[np.ndarray, "truth predicted"]
Score = Float[np.ndarray, " klass"]
Indices = Integer[np.ndarray, "..."]


def confusion_of(truth: Indices, predicted: Indices, classes: int) -> Confusion:
    """Pixels by true and predicted class index; a truth of ``NODATA`` (255) is not counted."""
    counted = truth != NODATA
    pairs = truth[counted].astype(np.int64) * classes + predicted[counted].astype(np.int64)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def iou(confusion: Confusion) -> Score:
    """Intersection over union per class; NaN for a class that neither side has."""
    hits, truth, predicted = _parts(confusion)
    return _ratio(hits, truth + predicted - hits)


def f1(confusion: Confusion) -> Score:
    """Harmonic mean of precision and recall (the Dice score) per class."""
    hits, truth, predicted = _parts(confusion)
    return _ratio(2 * hits, truth + predicted)


def precision(confusion: Confusion) -> Score:
    """Share of the pixels mapped as a class that are of it (user's accuracy)."""
    hits, _, predicted = _parts(confusion)
    return _ratio(hits, predicted)


def recall(confusion: Confusion) -> Score:
    """Share of the pixels of a class that are mapped as it (producer's accuracy)."""
    hits, truth, _ = _parts(confusion)
    return _ratio(hits, truth)


def _parts(confusion: Confusion) -> tuple[Score, Score, Score]:
    counts = confusion.astype(np.float64)
    return np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)


def _ratio(part: Score, whole: Score) -> Score:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
