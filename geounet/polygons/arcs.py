"""The arcs of one cell: borders between two regions, from node to node, each traced once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from geounet.polygons.compiled import compiled
from geounet.polygons.cracks import (
    EAST,
    LEFT_COL,
    LEFT_ROW,
    OUTSIDE,
    SOUTH,
    STEP_COL,
    STEP_ROW,
    VOID,
    cracks_at,
    degree,
    inside_cell,
    is_node,
)
from geounet.polygons.regions import NO_REGION

SIDE = 64
"""Pixels along which the length of a pixel's edge is taken as constant."""


class Nodes(NamedTuple):
    """Where arcs end: (row, col) of each node, and the directed arc that leaves it by heading.

    A directed arc is ``2 * arc`` from its first vertex, ``2 * arc + 1`` from its last; -1 is none.
    """

    row: ndarray
    col: ndarray
    leaving: ndarray


class Arcs(NamedTuple):
    """A row per arc; its vertices are ``row[at[k]:at[k + 1]]`` and ``col`` likewise.

    A closed border without a node is an arc from its first vertex in raster order to itself.

    Attributes:
        at: offsets of the vertices.
        row, col: of the vertices: both ends, and where the border turns.
        start, end: nodes.
        leaves, arrives: headings at the ends.
        left, right: regions on its sides as walked from the start, or NO_REGION.
        outline: True where one side has no data or is outside the scene.
        area: sum of column times row step: of a ring, minus the pixels that it holds.
        length: sum of the lengths of its cracks; -1 where one is unknown.
    """

    at: ndarray
    row: ndarray
    col: ndarray
    start: ndarray
    end: ndarray
    leaves: ndarray
    arrives: ndarray
    left: ndarray
    right: ndarray
    outline: ndarray
    area: ndarray
    length: ndarray


@compiled
def _count(framed, split):
    """Nodes, corners where a closed border could start, ends of arcs, and cracks."""
    h, w = framed.shape[0] - 2, framed.shape[1] - 2
    nodes = loops = ends = cracks = 0
    for i in range(h + 1):
        for j in range(w + 1):
            bits = cracks_at(framed, i, j, split)
            if bits == 0:
                continue
            here = inside_cell(bits, i, j, h, w)
            cracks += degree(here & (EAST | SOUTH))
            if is_node(bits, i, j, h, w):
                nodes += 1
                ends += degree(here)
            elif bits == EAST | SOUTH:
                loops += 1
    return nodes, loops, ends, cracks


@compiled
def _number_nodes(framed, split, index, nodes):
    h, w = index.shape[0] - 1, index.shape[1] - 1
    n = 0
    for i in range(h + 1):
        for j in range(w + 1):
            bits = cracks_at(framed, i, j, split)
            if bits and is_node(bits, i, j, h, w):
                index[i, j] = n
                nodes.row[n], nodes.col[n] = i, j
                n += 1
    return n


@compiled
def _room(n_nodes, n_arcs, n_vertices):
    i32, i64 = np.int32, np.int64
    nodes = Nodes(
        np.empty(n_nodes, i32), np.empty(n_nodes, i32), np.full((n_nodes, 4), -1, np.int32)
    )
    arcs = Arcs(
        np.zeros(n_arcs + 1, i64),
        np.empty(n_vertices, i32),
        np.empty(n_vertices, i32),
        np.empty(n_arcs, i32),
        np.empty(n_arcs, i32),
        np.empty(n_arcs, np.int8),
        np.empty(n_arcs, np.int8),
        np.empty(n_arcs, i32),
        np.empty(n_arcs, i32),
        np.empty(n_arcs, np.bool_),
        np.zeros(n_arcs, i64),
        np.zeros(n_arcs, i64),
    )
    return nodes, arcs


@compiled
def _side(framed, regions_of, i, j):
    """The region of framed pixel (i, j), and whether it is one without a polygon."""
    label = framed[i, j]
    void = label == VOID or label == OUTSIDE
    if void or i < 1 or j < 1 or i > regions_of.shape[0] or j > regions_of.shape[1]:
        return NO_REGION, void
    return regions_of[i - 1, j - 1], void


@compiled
def _begin(framed, regions_of, arcs, k, i, j, heading):
    """Write what the first crack of arc ``k`` tells: the regions on its sides."""
    arcs.leaves[k] = heading
    back = (heading + 1) % 4
    # ^ The pixel on the right of a crack is on the left of one that turns right from its start.
    left, no_left = _side(framed, regions_of, i + LEFT_ROW[heading], j + LEFT_COL[heading])
    right, no_right = _side(framed, regions_of, i + LEFT_ROW[back], j + LEFT_COL[back])
    arcs.left[k], arcs.right[k] = left, right
    arcs.outline[k] = no_left or no_right


@compiled
def _walk(framed, split, lengths, index, arcs, k, start, phase):
    """Follow arc ``k`` from ``start``, (row, col), to the next node, or around to ``start``."""
    h, w = framed.shape[0] - 2, framed.shape[1] - 2
    i, j = start
    at, heading = arcs.at[k], arcs.leaves[k]
    arcs.row[at], arcs.col[at] = i, j
    at += 1
    area = length = 0
    while True:
        down = STEP_ROW[heading]
        if down:
            edge = lengths[1, (min(i, i + down) + phase[0]) // SIDE, (j + phase[1]) // SIDE]
        else:
            west = min(j, j + STEP_COL[heading])
            edge = lengths[0, (i + phase[0]) // SIDE, (west + phase[1]) // SIDE]
        length = -1 if edge < 0 or length < 0 else length + edge
        area += down * j
        i, j = i + down, j + STEP_COL[heading]
        if index[i, j] >= 0:
            break
        bits = cracks_at(framed, i, j, split)
        if not bits >> heading & 1:
            index[i, j] = -2
            arcs.row[at], arcs.col[at] = i, j
            at += 1
            heading = (heading + 1) % 4 if bits >> ((heading + 1) % 4) & 1 else (heading + 3) % 4
    arcs.row[at], arcs.col[at] = i, j
    arcs.at[k + 1] = at + 1
    arcs.end[k], arcs.arrives[k] = index[i, j], heading
    arcs.area[k], arcs.length[k] = area, length


@compiled
def _trace_from(framed, regions_of, split, measured, index, nodes, arcs, k, node, heading):
    i, j = nodes.row[node], nodes.col[node]
    arcs.start[k] = node
    _begin(framed, regions_of, arcs, k, i, j, heading)
    _walk(framed, split, measured[0], index, arcs, k, (i, j), measured[1])
    nodes.leaving[node, heading] = 2 * k
    nodes.leaving[arcs.end[k], (arcs.arrives[k] + 2) % 4] = 2 * k + 1


@compiled
def trace_arcs(framed, regions_of, measured, split):
    """The arcs of a cell and their nodes.

    Args:
        framed: labels with a frame of one pixel.
        regions_of: the region of each pixel.
        measured: lengths of a crack along a row and along a column, for blocks of SIDE pixels, -1
            unknown; and the cell's first (row, col) in its block.
        split: True if regions end at the edge of the cell.
    """
    h, w = regions_of.shape
    n_nodes, n_loops, ends, cracks = _count(framed, split)
    n_arcs = (ends + 1) // 2 + n_loops
    nodes, arcs = _room(n_nodes + n_loops, n_arcs, cracks + n_arcs)
    index = np.full((h + 1, w + 1), -1, np.int32)
    n_nodes = _number_nodes(framed, split, index, nodes)
    k = 0
    for node in range(n_nodes):
        i, j = nodes.row[node], nodes.col[node]
        here = inside_cell(cracks_at(framed, i, j, split), i, j, h, w)
        for heading in range(4):
            if here >> heading & 1 and nodes.leaving[node, heading] < 0:
                _trace_from(
                    framed, regions_of, split, measured, index, nodes, arcs, k, node, heading
                )
                k += 1
    for i in range(h):
        for j in range(w):
            if index[i, j] == -1 and cracks_at(framed, i, j, split) == EAST | SOUTH:
                index[i, j] = n_nodes
                nodes.row[n_nodes], nodes.col[n_nodes] = i, j
                _trace_from(
                    framed, regions_of, split, measured, index, nodes, arcs, k, n_nodes, 1
                )
                n_nodes += 1
                k += 1
    return _used(nodes, arcs, n_nodes, k)


@compiled
def _used(nodes, arcs, n_nodes, n_arcs):
    v = arcs.at[n_arcs]
    n = n_arcs
    return (
        Nodes(nodes.row[:n_nodes], nodes.col[:n_nodes], nodes.leaving[:n_nodes]),
        Arcs(
            arcs.at[: n + 1],
            arcs.row[:v],
            arcs.col[:v],
            arcs.start[:n],
            arcs.end[:n],
            arcs.leaves[:n],
            arcs.arrives[:n],
            arcs.left[:n],
            arcs.right[:n],
            arcs.outline[:n],
            arcs.area[:n],
            arcs.length[:n],
        ),
    )


@compiled
def lengths_of(arcs, n):
    """The length of each of ``n`` regions' borders; -1 where a part is unknown."""
    total = np.zeros(n, np.int64)
    for k in range(arcs.length.size):
        for region in (arcs.left[k], arcs.right[k]):
            if region >= 0:
                unknown = arcs.length[k] < 0 or total[region] < 0
                total[region] = -1 if unknown else total[region] + arcs.length[k]
    return total
