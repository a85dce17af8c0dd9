"""How well a map draws the outlines of its classes: the boundary F1 of Csurka et al. (BMVC 2013).

For a class, precision is the share of the map's boundary pixels that lie within a tolerance of the
labels' boundary, recall the reverse. Counts, not scores, are kept, so that tiles and scenes add up.
"""

from __future__ import annotations

from math import floor

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.ndimage import binary_dilation, binary_erosion

from geounet.card import NODATA
from geounet.grid import Window
from geounet.learn.metrics import ratio

COUNTS = 4
"""Per class: boundary pixels of the map, those near the labels'; of the labels, near the map's."""

Labels = UInt8[np.ndarray, "row col"]
Mask = Bool[np.ndarray, "row col"]
BoundaryCounts = Int[np.ndarray, "*stack klass 4"]


def margin(tolerance: float) -> int:
    """Pixels around a core that ``boundary_counts`` must see to count it as in the whole scene.

    A match may lie ``tolerance`` away, and whether that is a boundary hangs on its neighbours.
    """
    return floor(tolerance) + 1


def boundary_counts(
    truth: Labels, predicted: Labels, classes: int, tolerance: float, core: Window
) -> Int[np.ndarray, "klass 4"]:
    """What the boundary pixels of ``core`` add to the counts of each class.

    Pixels that are ``NODATA`` (255) in ``truth`` are in no class on either side, and make no
    boundary: the edge of what was labelled, or of the image, is not an outline.

    Args:
        truth, predicted: class indices of the core and of ``margin(tolerance)`` pixels around it,
            where the scene has them.
        classes: how many there are.
        tolerance: Euclidean distance between pixel centres, in pixels, up to which two match.
        core: the window of these arrays that is counted; cores that partition a scene give
            together the counts of the whole.
    """
    known = truth != NODATA
    disk = _disk(tolerance)
    counts = np.zeros((classes, COUNTS), np.int64)
    for index in range(classes):
        true, mapped = (_boundary(side == index, known) for side in (truth, predicted))
        for column, (edge, other) in ((0, (mapped, true)), (2, (true, mapped))):
            near = edge & binary_dilation(other, disk) if other.any() else np.zeros_like(edge)
            counts[index, column : column + 2] = edge[core].sum(), near[core].sum()
    return counts


def boundary_f1(counts: BoundaryCounts) -> Float[np.ndarray, "*stack klass"]:
    """F1 of precision and recall per class; NaN where neither side has a boundary of it.

    Counts are pooled before they are divided; those of one image give the paper's score of it.
    """
    mapped, mapped_near, true, true_near = np.moveaxis(counts.astype(np.float64), -1, 0)
    precision, recall = ratio(mapped_near, mapped), ratio(true_near, true)
    # A boundary on one side only is a score of 0, not a class that is not there.
    precision, recall = (np.where(np.isnan(x), 0.0, x) for x in (precision, recall))
    total = precision + recall
    score = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return np.where(mapped + true > 0, score, np.nan)


def _boundary(region: Mask, known: Mask) -> Mask:
    """Pixels of a region that touch, by a side, a known pixel outside it."""
    region = region & known
    return region & ~binary_erosion(region | ~known, border_value=1)


def _disk(tolerance: float) -> Mask:
    reach = floor(tolerance)
    rows, cols = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    return rows**2 + cols**2 <= tolerance**2
