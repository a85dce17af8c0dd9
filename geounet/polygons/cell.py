"""One cell of the lattice, traced alone: its finished polygons, and the parts of its open ones.

The lattice is fixed to the scene, not to the tiles that it was mapped in, so that no polygon can
depend on them. A cell knows its pixels and a frame of one pixel around them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from geounet.polygons.arcs import SIDE, Arcs, Ground, lengths_of, trace_arcs
from geounet.polygons.cracks import find_cracks
from geounet.polygons.lines import Chains, Lines, Rings, draw_lines, find_lines
from geounet.polygons.regions import Pixels, Regions, find_regions, mark_open
from geounet.polygons.thin import Thinning, thin

Place = tuple[tuple[int, int], int]
"""A cell's first (row, col) in the scene, and the units in a pixel."""


class Sums(NamedTuple):
    """What is summed over regions, or parts of them: a row each.

    ``first`` and ``last`` are raster indices in the scene. ``area`` and ``length`` are whole
    numbers in the units of ``Measures``, -1 where a part is unknown.
    """

    label: ndarray
    first: ndarray
    last: ndarray
    n_px: ndarray
    area: ndarray
    length: ndarray
    scored: ndarray
    score: ndarray
    least: ndarray
    vertices: ndarray


class Finished(NamedTuple):
    """Whole regions of a cell, by last pixel."""

    sums: Sums
    rings: Rings


class Open(NamedTuple):
    """Parts of regions that go on in other cells."""

    sums: Sums
    chains: Chains


class Edges(NamedTuple):
    """The open region of each pixel along an edge where it goes on beyond; -1 elsewhere."""

    top: ndarray
    right: ndarray
    bottom: ndarray
    left: ndarray


class Cell(NamedTuple):
    """A traced cell.

    Attributes:
        finished: its whole regions.
        open: its parts of others.
        edges: where the open parts meet the neighbours.
        held: arcs that were left less simplified, so that no two borders cross.
    """

    finished: Finished
    open: Open
    edges: Edges
    held: int


def trace_cell(
    pixels: Pixels,
    lengths: ndarray,
    corner: tuple[int, int],
    scene_cols: int,
    thinning: Thinning,
) -> Cell:
    """Trace the regions of a cell whose first pixel is ``corner``, (row, col) of the scene."""
    regions = find_regions(pixels)
    if not thinning.split:
        mark_open(pixels.framed, regions)
    phase = (corner[0] % SIDE, corner[1] % SIDE)
    h, w = regions.of.shape
    unknown = np.full((h + 1, w + 1), -1, np.int32)
    marks = find_cracks(pixels.framed, thinning.split)
    ground = Ground(pixels.framed, regions.of, lengths, phase, marks, unknown)
    nodes, arcs = trace_arcs(ground)
    lines = find_lines(ground, regions, nodes, arcs)
    sums = _sums(regions, arcs, corner, scene_cols)
    arcs, held = thin(arcs, nodes, regions.of.shape, thinning)
    by_last = np.argsort(sums.last, kind="stable")
    whole, parts = by_last[~regions.open[by_last]], np.flatnonzero(regions.open)
    place = (corner, thinning.scale)
    return Cell(
        _finished(whole, sums, (lines, arcs), place),
        _open(parts, sums, (lines, arcs), place),
        _edges(pixels.framed, regions, parts),
        held,
    )


def _sums(regions: Regions, arcs: Arcs, corner: tuple[int, int], scene_cols: int) -> Sums:
    n, cols = regions.label.size, regions.of.shape[1]
    first, last = (
        (corner[0] + index // cols) * scene_cols + corner[1] + index % cols
        for index in (regions.first, regions.last)
    )
    return Sums(
        regions.label,
        first,
        last,
        regions.n_px,
        regions.area,
        lengths_of(arcs, n),
        regions.scored,
        regions.score,
        regions.least,
        np.zeros(n, np.int64),
    )


def _finished(which: ndarray, sums: Sums, drawing: tuple[Lines, Arcs], place: Place) -> Finished:
    order, of = _lines_of(which, sums.label.size, drawing[0])
    at, xy, _, _ = draw_lines(*drawing, order, *place, False)
    return Finished(_with_vertices(sums, which, at, of), Rings(of, at, xy))


def _open(which: ndarray, sums: Sums, drawing: tuple[Lines, Arcs], place: Place) -> Open:
    (lines, _), (corner, scale) = drawing, place
    order, of = _lines_of(which, sums.label.size, lines)
    at, xy, leaves, arrives = draw_lines(*drawing, order, *place, True)
    # A chain's columns count from the cell's edge: by its rows, the cell's own column is added.
    rows = (xy[at[1:] - 1, 1] - xy[at[:-1], 1]).astype(np.int64) // scale
    area = lines.area[order] + corner[1] * rows
    chains = Chains(of, at, xy, leaves, arrives, area, lines.joint[order])
    return Open(_with_vertices(sums, which, at, of), chains)


def _lines_of(which: ndarray, regions: int, lines: Lines) -> tuple[ndarray, ndarray]:
    """The lines of the regions ``which``, shells first, and the offsets of each one's."""
    rank = np.full(regions, -1, np.int64)
    rank[which] = np.arange(which.size)
    ours = np.flatnonzero(rank[lines.region] >= 0)
    order = ours[np.lexsort((lines.area[ours] >= 0, rank[lines.region[ours]]))]
    counts = np.bincount(rank[lines.region[order]], minlength=which.size)
    return order, np.concatenate([[0], np.cumsum(counts)])


def _with_vertices(sums: Sums, which: ndarray, at: ndarray, of: ndarray) -> Sums:
    chosen = Sums(*(column[which] for column in sums))
    return chosen._replace(vertices=at[of[1:]] - at[of[:-1]])


def _edges(framed: ndarray, regions: Regions, parts: ndarray) -> Edges:
    index = np.full(regions.label.size + 1, -1, np.int32)
    index[parts] = np.arange(parts.size)
    # ^ The last entry is that of pixels without a region, whose number is -1.
    of, inner = regions.of, framed[1:-1, 1:-1]
    sides = [
        (of[0], inner[0] == framed[0, 1:-1]),
        (of[:, -1], inner[:, -1] == framed[1:-1, -1]),
        (of[-1], inner[-1] == framed[-1, 1:-1]),
        (of[:, 0], inner[:, 0] == framed[1:-1, 0]),
    ]
    return Edges(*(np.where(goes_on, index[side], -1) for side, goes_on in sides))
