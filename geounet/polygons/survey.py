"""What cleaning must know of a cell: its regions, and how long their borders with others are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from geounet.polygons.cell import Edges
from geounet.polygons.compiled import compiled
from geounet.polygons.cracks import OUTSIDE, VOID
from geounet.polygons.regions import Pixels, find_regions


class Survey(NamedTuple):
    """The regions of a cell and their borders.

    Attributes:
        label, first, n_px, area: of each region, as in `Sums`.
        void: True for a region that touches no data or the scene's outside.
        one, other, length: pairs of regions that touch in the cell, and pixel edges between them.
        edges: the region of each pixel along the cell's edges, or -1.
    """

    label: ndarray
    first: ndarray
    n_px: ndarray
    area: ndarray
    void: ndarray
    one: ndarray
    other: ndarray
    length: ndarray
    edges: Edges


def survey_cell(pixels: Pixels, corner: tuple[int, int], scene_cols: int) -> Survey:
    """Survey a cell whose first pixel is ``corner``, (row, col) of the scene."""
    regions = find_regions(pixels)
    of, cols = regions.of, regions.of.shape[1]
    one, other = _touching(of)
    n = regions.label.size
    pairs, length = np.unique(one.astype(np.int64) * n + other, return_counts=True)
    first = (corner[0] + regions.first // cols) * scene_cols + corner[1] + regions.first % cols
    return Survey(
        regions.label,
        first,
        regions.n_px,
        regions.area,
        _beside_void(pixels.framed, of, n),
        pairs // max(n, 1),
        pairs % max(n, 1),
        length,
        Edges(of[0].copy(), of[:, -1].copy(), of[-1].copy(), of[:, 0].copy()),
    )


def relabelled(pixels: Pixels, labels: ndarray) -> ndarray:
    """The pixels of a cell with other labels for its regions; VOID stays."""
    return np.append(labels, np.int32(VOID))[find_regions(pixels).of]


@compiled
def _touching(of):
    """The regions on the two sides of each crack within the cell, the lower number first."""
    h, w = of.shape
    n = 0
    for i in range(h):
        for j in range(w):
            n += j + 1 < w and of[i, j] != of[i, j + 1]
            n += i + 1 < h and of[i, j] != of[i + 1, j]
    one, other = np.empty(n, np.int32), np.empty(n, np.int32)
    n = 0
    for i in range(h):
        for j in range(w):
            for di, dj in ((0, 1), (1, 0)):
                if i + di == h or j + dj == w:
                    continue
                a, b = of[i, j], of[i + di, j + dj]
                if a != b and a >= 0 and b >= 0:
                    one[n], other[n] = min(a, b), max(a, b)
                    n += 1
    return one[:n], other[:n]


@compiled
def _beside_void(framed, of, n):
    beside = np.zeros(n, np.bool_)
    for i in range(of.shape[0]):
        for j in range(of.shape[1]):
            if of[i, j] < 0:
                continue
            for di, dj in ((0, 1), (1, 0), (1, 2), (2, 1)):
                if framed[i + di, j + dj] in (VOID, OUTSIDE):
                    beside[of[i, j]] = True
    return beside
