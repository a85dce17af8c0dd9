"""Borders with fewer or smoother corners, which stay shared and never cross.

Arcs change between their nodes only, so both regions beside one see the same border. All of it is
one operation: take out a vertex v between a and c. In a plane of segments that meet at their ends
only, that moves nothing past anything else if no other vertex lies in the closed triangle a, v, c:
what came in through the chord a-c would have to end inside, or leave by way of a vertex inside.
Coordinates are whole numbers, so the test is exact.

- Simplifying ranks vertices by Douglas and Peucker (1973) or Visvalingam and Whyatt (1993), and
  takes those under the tolerance out, the least first.
- Smoothing by Chaikin (1974) puts vertices at a quarter and three quarters of each edge, which
  changes nothing, and takes the corners between them out.

A vertex that may not go stays; what was taken out beside it lies within twice the tolerance then.
The ends of a straight arc have no second straight arc between them,
nor do they both lie on one edge of the cell, where the next cell might have another: so no ring
loses its area.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy import ndarray

from geounet.polygons.arcs import Arcs, Nodes
from geounet.polygons.compiled import compiled
from geounet.polygons.rank import rank_vertices

_BUCKET = 8
"""Pixels along the side of a bucket of vertices."""


@dataclass(frozen=True)
class Thinning:
    """What is done to arcs.

    Args:
        tolerance: pixels that simplifying may move a border by; 0 for none. With ``visvalingam``,
            corners of triangles up to its square go.
        method: how vertices are ranked.
        smooth: times that corners are cut.
        outline: True if borders to no data and to the scene's outside are changed too.
        split: True if regions end at the edges of the lattice.
    """

    tolerance: float = 0.0
    method: Literal["douglas-peucker", "visvalingam"] = "douglas-peucker"
    smooth: int = 0
    outline: bool = False
    split: bool = False

    @property
    def scale(self) -> int:
        """Units of coordinates in a pixel: each smoothing needs quarters of the last."""
        return 4**self.smooth


def thin(arcs: Arcs, nodes: Nodes, shape: tuple[int, int], thinning: Thinning) -> tuple[Arcs, int]:
    """Simplify and smooth the arcs of a cell of ``shape``.

    Returns:
        The arcs, in units of a pixel / ``thinning.scale``, and how many could not be changed as
        far as was asked.
    """
    held = np.zeros(arcs.start.size, bool)
    fixed = np.zeros(arcs.start.size, bool) if thinning.outline else arcs.outline
    if thinning.tolerance > 0:
        rank = rank_vertices(
            arcs.at, arcs.row, arcs.col, arcs.start == arcs.end, thinning.method == "visvalingam"
        )
        power = 2 if thinning.method == "visvalingam" else 1
        rank[np.repeat(fixed, np.diff(arcs.at))] = np.inf
        chosen = np.flatnonzero(rank <= thinning.tolerance**power)
        arcs = _without(
            arcs, nodes, chosen[np.argsort(rank[chosen], kind="stable")], held, shape, 1
        )
    for done in range(thinning.smooth):
        at, row, col, corner = _with_quarters(arcs.at, arcs.row, arcs.col, fixed)
        arcs = arcs._replace(at=at, row=row, col=col)
        arcs = _without(arcs, nodes, np.flatnonzero(corner), held, shape, 4 ** (done + 1))
    return arcs, int(held.sum())


def _without(
    arcs: Arcs, nodes: Nodes, chosen: ndarray, held: ndarray, shape: tuple[int, int], scale: int
) -> Arcs:
    """The arcs without the vertices ``chosen``, in that order, but for those that may not go."""
    low, high = np.minimum(arcs.start, arcs.end), np.maximum(arcs.start, arcs.end)
    _, pair = np.unique(low.astype(np.int64) * nodes.row.size + high, return_inverse=True)
    sides = [(nodes.row, shape[0]), (nodes.col, shape[1])]
    on_edge = [
        (side[arcs.start] == side[arcs.end]) & np.isin(side[arcs.start], (0, length))
        for side, length in sides
    ]
    n = arcs.start.size
    ends = Ends(
        arcs.start == arcs.end, pair, on_edge[0] | on_edge[1], np.diff(arcs.at), np.zeros(n, int)
    )
    gone = np.zeros(arcs.row.size, bool)
    net = Net(
        arcs.row.astype(np.int64),
        arcs.col.astype(np.int64),
        gone,
        np.full((shape[0] // _BUCKET + 1, shape[1] // _BUCKET + 1), -1, np.int32),
        np.empty(arcs.row.size, np.int32),
        _BUCKET * scale,
    )
    take_out(arcs.at, net, ends, chosen)
    arc_of = np.repeat(np.arange(arcs.start.size), np.diff(arcs.at))
    held[arc_of[chosen[~gone[chosen]]]] = True
    kept = np.bincount(arc_of[~gone], minlength=arcs.start.size)
    at = np.concatenate([[0], np.cumsum(kept)])
    return arcs._replace(at=at, row=arcs.row[~gone], col=arcs.col[~gone])


class Net(NamedTuple):
    """The vertices of all arcs, and the buckets of ``side`` units by which neighbours are found."""

    row: ndarray
    col: ndarray
    gone: ndarray
    heads: ndarray
    links: ndarray
    side: int


class Ends(NamedTuple):
    """Of each arc: is it closed; its pair of nodes; must it not become straight; its vertices.

    ``straight`` counts the straight arcs between a pair of nodes.
    """

    closed: ndarray
    pair: ndarray
    bent: ndarray
    vertices: ndarray
    straight: ndarray


@compiled
def _cross(ax, ay, bx, by, cx, cy):
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


@compiled
def _in_triangle(row, col, corners, q):
    """True if vertex q lies in the closed triangle, away from its corners."""
    a, v, c = corners
    for p in corners:
        if row[p] == row[q] and col[p] == col[q]:
            return False
    one = _cross(col[a], row[a], col[v], row[v], col[q], row[q])
    two = _cross(col[v], row[v], col[c], row[c], col[q], row[q])
    three = _cross(col[c], row[c], col[a], row[a], col[q], row[q])
    return (one >= 0 and two >= 0 and three >= 0) or (one <= 0 and two <= 0 and three <= 0)


@compiled
def _is_free(net, corners):
    """True if no other vertex lies in the triangle of three vertices."""
    row, col, side = net.row, net.col, net.side
    a, v, c = corners
    if _cross(col[a], row[a], col[v], row[v], col[c], row[c]) == 0:
        return True
    top, bottom = min(row[a], row[v], row[c]) // side, max(row[a], row[v], row[c]) // side
    left, right = min(col[a], col[v], col[c]) // side, max(col[a], col[v], col[c]) // side
    for i in range(top, bottom + 1):
        for j in range(left, right + 1):
            q = net.heads[i, j]
            while q >= 0:
                if not net.gone[q] and _in_triangle(row, col, corners, q):
                    return False
                q = net.links[q]
    return True


@compiled
def _fill_buckets(net):
    for v in range(net.row.size):
        i, j = net.row[v] // net.side, net.col[v] // net.side
        net.links[v] = net.heads[i, j]
        net.heads[i, j] = v


@compiled
def _may_shorten(ends, k):
    """True if arc ``k`` can lose a vertex and its regions still hold an area."""
    if ends.closed[k]:
        return ends.vertices[k] > 4
    return ends.vertices[k] > 3 or not (ends.bent[k] or ends.straight[ends.pair[k]] > 0)


@compiled
def take_out(at, net, ends, chosen):
    """Take out those of the vertices ``chosen`` that may go, tried in that order.

    Args:
        at: offsets of the arcs' vertices.
        net: the vertices; ``gone`` is set.
        ends: of the arcs; counts are kept up.
        chosen: vertices between the ends of their arcs.
    """
    _fill_buckets(net)
    before, after = np.arange(net.row.size) - 1, np.arange(net.row.size) + 1
    arc_of = np.empty(net.row.size, np.int32)
    for k in range(at.size - 1):
        arc_of[at[k] : at[k + 1]] = k
        ends.straight[ends.pair[k]] += ends.vertices[k] == 2
    again = True
    while again:
        again = False
        for v in chosen:
            k = arc_of[v]
            if net.gone[v] or not _may_shorten(ends, k):
                continue
            if not _is_free(net, (before[v], v, after[v])):
                continue
            net.gone[v] = again = True
            after[before[v]], before[after[v]] = after[v], before[v]
            ends.vertices[k] -= 1
            ends.straight[ends.pair[k]] += ends.vertices[k] == 2


@compiled
def _with_quarters(at, row, col, fixed):
    """Arcs in quarters of the unit, with vertices at the quarters of edges beside corners.

    Returns:
        Offsets, rows, columns, and which vertices are corners to cut.
    """
    room = 3 * row.size
    new_at = np.zeros(at.size, np.int64)
    new_row, new_col = np.empty(room, np.int32), np.empty(room, np.int32)
    corner = np.zeros(room, np.bool_)
    n = 0
    for k in range(at.size - 1):
        first, last = at[k], at[k + 1] - 1
        for v in range(first, last + 1):
            inner = first < v < last and not fixed[k]
            for other in (v - 1, v, v + 1):
                if other == v or inner:
                    new_row[n], new_col[n] = 3 * row[v] + row[other], 3 * col[v] + col[other]
                    corner[n] = inner and other == v
                    n += 1
        new_at[k + 1] = n
    return new_at, new_row[:n], new_col[:n], corner[:n]
