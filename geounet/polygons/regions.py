"""The regions of one cell: 4-connected pixels of equal label, and what is summed over each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from geounet.polygons.compiled import compiled
from geounet.polygons.cracks import OUTSIDE, VOID

NO_REGION = -1


class Pixels(NamedTuple):
    """What is known of the pixels of a cell.

    Attributes:
        framed: labels, int32, of the cell and one row and column more on each side.
        area: whole numbers, int64, of ``Measures``; one column where rows are alike; -1 unknown.
        confidence: uint8, 0 to 100, 255 where there is none; empty where there is none at all.
    """

    framed: ndarray
    area: ndarray
    confidence: ndarray


class Regions(NamedTuple):
    """A row per region, in the order of first pixels; ``of`` holds each pixel's, or NO_REGION.

    ``first`` and ``last`` are raster indices in the cell. ``open`` regions go on in a neighbouring
    cell. ``area`` is -1 where one pixel's is unknown.
    """

    of: ndarray
    label: ndarray
    first: ndarray
    last: ndarray
    n_px: ndarray
    area: ndarray
    scored: ndarray
    score: ndarray
    least: ndarray
    open: ndarray


@compiled
def _find(parent, k):
    root = k
    while parent[root] != root:
        root = parent[root]
    while parent[k] != root:
        parent[k], k = root, parent[k]
    return root


@compiled
def _provisional(framed, of, parent):
    """Number runs of equal labels, and unite them with those above; returns how many there are."""
    h, w = of.shape
    n = 0
    for i in range(h):
        for j in range(w):
            label = framed[i + 1, j + 1]
            if label in (VOID, OUTSIDE):
                of[i, j] = NO_REGION
                continue
            left = j > 0 and framed[i + 1, j] == label
            up = i > 0 and framed[i, j + 1] == label
            if left:
                of[i, j] = of[i, j - 1]
                # Where the pixel above the left one is of the region too, they are united already.
                if up and framed[i, j] != label:
                    a, b = _find(parent, of[i, j]), _find(parent, of[i - 1, j])
                    parent[max(a, b)] = min(a, b)
            elif up:
                of[i, j] = of[i - 1, j]
            else:
                of[i, j] = n
                parent[n] = n
                n += 1
    return n


@compiled
def _compact(parent, n):
    """Each provisional number's region; returns how many regions there are."""
    count = 0
    for k in range(n):
        # A root is the smallest of its numbers, so it has its region already.
        if parent[k] == k:
            parent[k] = -1 - count
            count += 1
        else:
            parent[k] = parent[parent[k]]
    for k in range(n):
        parent[k] = -1 - parent[k]
    return count


@compiled
def find_regions(pixels: Pixels) -> Regions:
    """The regions of a cell and their sums."""
    framed = pixels.framed
    h, w = framed.shape[0] - 2, framed.shape[1] - 2
    of = np.empty((h, w), np.int32)
    parent = np.empty(h * w, np.int32)
    n = _compact(parent, _provisional(framed, of, parent))
    label, first = np.empty(n, np.int32), np.full(n, -1, np.int64)
    last, n_px, area = np.empty(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    scored, score = np.zeros(n, np.int64), np.zeros(n, np.int64)
    least, is_open = np.full(n, 255, np.uint8), np.zeros(n, np.bool_)
    regions = Regions(of, label, first, last, n_px, area, scored, score, least, is_open)
    column = pixels.area.shape[1] > 1
    for i in range(h):
        for j in range(w):
            if of[i, j] < 0:
                continue
            k = parent[of[i, j]]
            of[i, j] = k
            if first[k] < 0:
                first[k] = i * w + j
                label[k] = framed[i + 1, j + 1]
            last[k] = i * w + j
            n_px[k] += 1
            metres = pixels.area[i, j if column else 0]
            area[k] = -1 if metres < 0 or area[k] < 0 else area[k] + metres
    _score(regions, pixels.confidence)
    return regions


@compiled
def _score(regions, confidence):
    if confidence.shape != regions.of.shape:
        return
    for i in range(confidence.shape[0]):
        for j in range(confidence.shape[1]):
            k, score = regions.of[i, j], confidence[i, j]
            if k >= 0 and score <= 100:
                regions.scored[k] += 1
                regions.score[k] += score
                regions.least[k] = min(regions.least[k], score)


@compiled
def mark_open(framed: ndarray, regions: Regions) -> None:
    """Mark the regions that go on beyond an edge of the cell."""
    h, w = regions.of.shape
    for i in range(h):
        for j, beyond in ((0, 0), (w - 1, w + 1)):
            k = regions.of[i, j]
            if k >= 0 and framed[i + 1, beyond] == regions.label[k]:
                regions.open[k] = True
    for j in range(w):
        for i, beyond in ((0, 0), (h - 1, h + 1)):
            k = regions.of[i, j]
            if k >= 0 and framed[beyond, j + 1] == regions.label[k]:
                regions.open[k] = True
