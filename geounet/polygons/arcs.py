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
    NODE,
    OUTSIDE,
    SOUTH,
    STEP_COL,
    STEP_ROW,
    VOID,
    degree,
    inside_cell,
)
from geounet.polygons.regions import NO_REGION

SIDE = 64
"""Pixels along which the length of a pixel's edge is taken as constant."""


class Ground(NamedTuple):
    """What arcs are traced on: of one cell.

    Attributes:
        framed: labels with a frame of one pixel.
        regions_of: the region of each pixel.
        lengths: of a crack along a row and along a column, for blocks of SIDE pixels; -1 unknown.
        phase: the cell's first (row, col) in its block.
        marks: the cracks at each vertex, from `find_cracks`.
        node_at: of each vertex: its node, -1 before a walk has turned there, -2 after.
    """

    framed: ndarray
    regions_of: ndarray
    lengths: ndarray
    phase: tuple[int, int]
    marks: ndarray
    node_at: ndarray


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
def _count(marks):
    """Nodes, corners where a closed border could start, ends of arcs, and cracks."""
    h, w = marks.shape[0] - 1, marks.shape[1] - 1
    nodes = loops = ends = cracks = 0
    for i in range(h + 1):
        for j in range(w + 1):
            bits = marks[i, j]
            if bits == 0:
                continue
            here = inside_cell(bits & 15, i, j, h, w)
            cracks += degree(here & (EAST | SOUTH))
            if bits & NODE:
                nodes += 1
                ends += degree(here)
            elif bits == EAST | SOUTH:
                loops += 1
    return nodes, loops, ends, cracks


@compiled
def _number_nodes(ground, nodes):
    n = 0
    for i in range(ground.marks.shape[0]):
        for j in range(ground.marks.shape[1]):
            if ground.marks[i, j] & NODE:
                ground.node_at[i, j] = n
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
def _side(ground, i, j):
    """The region of framed pixel (i, j), and whether it is one without a polygon."""
    label, (h, w) = ground.framed[i, j], ground.regions_of.shape
    void = label in (VOID, OUTSIDE)
    if void or i < 1 or j < 1 or i > h or j > w:
        return NO_REGION, void
    return ground.regions_of[i - 1, j - 1], void


@compiled
def _begin(ground, arcs, k, start, heading):
    """Write what the first crack of arc ``k`` tells: the regions on its sides."""
    i, j = start
    back = (heading + 1) % 4
    # ^ The pixel on the right of a crack is on the left of one that turns right from its start.
    left, no_left = _side(ground, i + LEFT_ROW[heading], j + LEFT_COL[heading])
    right, no_right = _side(ground, i + LEFT_ROW[back], j + LEFT_COL[back])
    arcs.leaves[k], arcs.left[k], arcs.right[k] = heading, left, right
    arcs.outline[k] = no_left or no_right


@compiled
def _crack_length(ground, i, j, heading):
    row, col = i + ground.phase[0], j + ground.phase[1]
    if STEP_ROW[heading]:
        return ground.lengths[1, (row - (heading == 0)) // SIDE, col // SIDE]
    return ground.lengths[0, row // SIDE, (col - (heading == 3)) // SIDE]


@compiled
def _walk(ground, arcs, k, start):
    """Follow arc ``k`` from ``start``, (row, col), to the next node, or around to ``start``."""
    i, j = start
    at, heading = arcs.at[k], arcs.leaves[k]
    arcs.row[at], arcs.col[at] = i, j
    at += 1
    area = length = 0
    while True:
        edge = _crack_length(ground, i, j, heading)
        length = -1 if edge < 0 or length < 0 else length + edge
        area += STEP_ROW[heading] * j
        i, j = i + STEP_ROW[heading], j + STEP_COL[heading]
        if ground.node_at[i, j] >= 0:
            break
        bits = ground.marks[i, j]
        if not bits >> heading & 1:
            ground.node_at[i, j] = -2
            arcs.row[at], arcs.col[at] = i, j
            at += 1
            heading = (heading + 1) % 4 if bits >> ((heading + 1) % 4) & 1 else (heading + 3) % 4
    arcs.row[at], arcs.col[at] = i, j
    arcs.at[k + 1] = at + 1
    arcs.end[k], arcs.arrives[k] = ground.node_at[i, j], heading
    arcs.area[k], arcs.length[k] = area, length


@compiled
def _trace_from(ground, nodes, arcs, k, node, heading):
    start = (nodes.row[node], nodes.col[node])
    arcs.start[k] = node
    _begin(ground, arcs, k, start, heading)
    _walk(ground, arcs, k, start)
    nodes.leaving[node, heading] = 2 * k
    nodes.leaving[arcs.end[k], (arcs.arrives[k] + 2) % 4] = 2 * k + 1


@compiled
def _trace_between(ground, nodes, arcs, n_nodes):
    """Trace the arcs between nodes; returns how many there are."""
    h, w = ground.regions_of.shape
    k = 0
    for node in range(n_nodes):
        i, j = nodes.row[node], nodes.col[node]
        here = inside_cell(ground.marks[i, j] & 15, i, j, h, w)
        for heading in range(4):
            if here >> heading & 1 and nodes.leaving[node, heading] < 0:
                _trace_from(ground, nodes, arcs, k, node, heading)
                k += 1
    return k


@compiled
def trace_arcs(ground: Ground) -> tuple[Nodes, Arcs]:
    """The nodes of a cell, and the arcs between them and around islands."""
    h, w = ground.regions_of.shape
    n_nodes, n_loops, ends, cracks = _count(ground.marks)
    n_arcs = (ends + 1) // 2 + n_loops
    nodes, arcs = _room(n_nodes + n_loops, n_arcs, cracks + n_arcs)
    n_nodes = _number_nodes(ground, nodes)
    k = _trace_between(ground, nodes, arcs, n_nodes)
    for i in range(h):
        for j in range(w):
            if ground.marks[i, j] == EAST | SOUTH and ground.node_at[i, j] == -1:
                ground.node_at[i, j] = n_nodes
                nodes.row[n_nodes], nodes.col[n_nodes] = i, j
                _trace_from(ground, nodes, arcs, k, n_nodes, 1)
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
