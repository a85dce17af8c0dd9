"""How well a map agrees with its labels, from one confusion matrix that grows by addition.

``confusion[truth, predicted]`` counts pixels, so that matrices of batches, chips or places add up:
``confusion_of(a ++ b) == confusion_of(a) + confusion_of(b)``. Each score also takes a stack of
matrices, ``(..., truth, predicted)``, and scores each: the bootstrap (intervals.py) needs that.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Integer

from geounet.card import NODATA

Confusion = Int[np.ndarray, "*stack truth predicted"]
Score = Float[np.ndarray, "*stack klass"]
Overall = Float[np.ndarray, "*stack"]
Indices = Integer[np.ndarray, "..."]


def confusion_of(
    truth: Indices, predicted: Indices, classes: int
) -> Int[np.ndarray, "truth predicted"]:
    """Pixels by true and predicted class index; a truth of ``NODATA`` (255) is not counted."""
    counted = truth != NODATA
    pairs = truth[counted].astype(np.int64) * classes + predicted[counted].astype(np.int64)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def iou(confusion: Confusion) -> Score:
    """Intersection over union per class; NaN for a class that neither side has."""
    hits, truth, predicted = _parts(confusion)
    return ratio(hits, truth + predicted - hits)


def f1(confusion: Confusion) -> Score:
    """Harmonic mean of precision and recall (the Dice score) per class."""
    hits, truth, predicted = _parts(confusion)
    return ratio(2 * hits, truth + predicted)


def precision(confusion: Confusion) -> Score:
    """Share of the pixels mapped as a class that are of it (user's accuracy)."""
    hits, _, predicted = _parts(confusion)
    return ratio(hits, predicted)


def recall(confusion: Confusion) -> Score:
    """Share of the pixels of a class that are mapped as it (producer's accuracy)."""
    hits, truth, _ = _parts(confusion)
    return ratio(hits, truth)


def accuracy(confusion: Confusion) -> Overall:
    """Share of all pixels that are mapped as what they are; NaN where none is counted."""
    hits, truth, _ = _parts(confusion)
    return ratio(hits.sum(axis=-1), truth.sum(axis=-1))


def macro(scores: Score) -> Overall:
    """Mean over the classes that have a score (are not NaN); NaN where none has."""
    there = np.isfinite(scores)
    return ratio(np.where(there, scores, 0.0).sum(axis=-1), there.sum(axis=-1).astype(np.float64))


def ratio(part: Float[np.ndarray, "..."], whole: Float[np.ndarray, "..."]) -> np.ndarray:
    """``part / whole``, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def _parts(confusion: Confusion) -> tuple[Score, Score, Score]:
    counts = confusion.astype(np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return hits, counts.sum(axis=-1), counts.sum(axis=-2)
