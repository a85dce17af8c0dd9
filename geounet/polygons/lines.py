"""The rings of one cell, and the chains of its open regions: arcs in a row, region on the left.

A region's ring goes on at a node with the first crack on its left hand, so that regions that touch
at a corner stay apart. Where a region touches itself at a corner, it turns right instead: the ring
that would pass the corner twice is two rings, shell and hole or hole and hole.

Whether two open regions of a cell are one is not known in the cell. Chains end there, and at the
edge where their region goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy import ndarray

from geounet.polygons.arcs import Arcs, Ground, Nodes
from geounet.polygons.compiled import compiled
from geounet.polygons.cracks import LEFT_COL, LEFT_ROW, degree
from geounet.polygons.regions import Regions

_END, _NOT_OURS = -1, -2


class Lines(NamedTuple):
    """A row per line, a ring or a chain: the arcs ``arcs[at[k]:at[k + 1]]``, directed, in order.

    ``area`` is minus the pixels that a ring holds, and negative for a shell. ``joint`` tells
    that three cracks or more meet at the first vertex.
    """

    at: ndarray
    arcs: ndarray
    region: ndarray
    closed: ndarray
    area: ndarray
    joint: ndarray


@compiled
def _left_of(arcs, directed):
    return arcs.right[directed >> 1] if directed & 1 else arcs.left[directed >> 1]


@compiled
def _arrival(arcs, directed):
    """The node at the end of a directed arc, and the heading there."""
    k = directed >> 1
    if directed & 1:
        return arcs.start[k], (arcs.leaves[k] + 2) % 4
    return arcs.end[k], arcs.arrives[k]


@compiled
def _pixel_region(regions, i, j, heading):
    """Region of the pixel on the left of a crack that leaves vertex (i, j); -2 outside the cell."""
    row, col = i + LEFT_ROW[heading] - 1, j + LEFT_COL[heading] - 1
    if row < 0 or col < 0 or row >= regions.of.shape[0] or col >= regions.of.shape[1]:
        return -2
    return regions.of[row, col]


@compiled
def _next_heading(ground, regions, here, region):
    """Where a region's walk goes on; -1 if that is not known in this cell.

    ``here`` is (row, col, heading of arrival).
    """
    i, j, heading = here
    bits = ground.marks[i, j] & 15
    left, right = (heading + 3) % 4, (heading + 1) % 4
    if not bits >> left & 1:
        return heading if bits >> heading & 1 else right
    across = ground.framed[i + LEFT_ROW[right], j + LEFT_COL[right]]
    if bits != 15 or across != regions.label[region]:
        return left
    other = _pixel_region(regions, i, j, right)
    if other == region:
        return right
    undecided = regions.open[region] and (other == -2 or regions.open[other])
    return -1 if undecided else left


@compiled
def _successors(ground, regions, nodes, arcs):
    """The directed arc that follows each one on its region's border."""
    following = np.full(2 * arcs.start.size, _NOT_OURS, np.int32)
    for directed in range(following.size):
        region = _left_of(arcs, directed)
        if region < 0:
            continue
        node, heading = _arrival(arcs, directed)
        here = (nodes.row[node], nodes.col[node], heading)
        out = _next_heading(ground, regions, here, region)
        after = nodes.leaving[node, out] if out >= 0 else -1
        following[directed] = after if after >= 0 and _left_of(arcs, after) == region else _END
    return following


@compiled
def _begins(following):
    """The first arc of each line: those that none leads to, then one of each ring."""
    led_to = np.zeros(following.size, np.bool_)
    for after in following:
        if after >= 0:
            led_to[after] = True
    begins, n = np.empty(following.size, np.int32), 0
    for directed in range(following.size):
        if following[directed] != _NOT_OURS and not led_to[directed]:
            begins[n] = directed
            n += 1
    seen = np.zeros(following.size, np.bool_)
    for k in range(n):
        directed = begins[k]
        while directed >= 0:
            seen[directed] = True
            directed = following[directed]
    chains = n
    for directed in range(following.size):
        if seen[directed] or following[directed] == _NOT_OURS:
            continue
        begins[n] = directed
        n += 1
        while not seen[directed]:
            seen[directed] = True
            directed = following[directed]
    return begins[:n], chains


@compiled
def find_lines(ground: Ground, regions: Regions, nodes: Nodes, arcs: Arcs) -> Lines:
    """Rings and chains of a cell, each region on the left of its own."""
    following = _successors(ground, regions, nodes, arcs)
    begins, chains = _begins(following)
    n = begins.size
    lines = Lines(
        np.zeros(n + 1, np.int64),
        np.empty(following.size, np.int32),
        np.empty(n, np.int32),
        np.arange(n) >= chains,
        np.zeros(n, np.int64),
        np.zeros(n, np.bool_),
    )
    at = 0
    for k in range(n):
        directed = begins[k]
        node = _arrival(arcs, directed ^ 1)[0]
        lines.joint[k] = degree(ground.marks[nodes.row[node], nodes.col[node]] & 15) >= 3
        lines.region[k] = _left_of(arcs, directed)
        while True:
            lines.arcs[at] = directed
            at += 1
            area = arcs.area[directed >> 1]
            lines.area[k] += -area if directed & 1 else area
            directed = following[directed]
            if directed < 0 or directed == begins[k]:
                break
        lines.at[k + 1] = at
    return lines


class Rings(NamedTuple):
    """The rings of some regions, in vertices: those of region k are ``of[k]`` to ``of[k + 1]``.

    ``xy[at[n]:at[n + 1]]`` are the vertices of ring n, (col, row) of the scene in units of a pixel
    divided by the scale; the first is not repeated. Each region's shell comes before its holes.
    """

    of: ndarray
    at: ndarray
    xy: ndarray


class Chains(NamedTuple):
    """The lines of some open regions, as in `Rings`, but with both ends.

    ``leaves`` and ``arrives`` are the headings of the first and the last crack; ``area`` and
    ``joint`` are as in `Lines`, but columns count from the scene's edge. A ring has its first
    vertex again at its end.
    """

    of: ndarray
    at: ndarray
    xy: ndarray
    leaves: ndarray
    arrives: ndarray
    area: ndarray
    joint: ndarray


Table = TypeVar("Table", Rings, Chains)


def reordered(at: ndarray, rows: ndarray, order: ndarray) -> tuple[ndarray, ndarray]:
    """Parts of ``rows`` in another order: ``rows[at[order[k]]:at[order[k] + 1]]`` is the k-th.

    Returns:
        The new offsets, and the rows; no copy where nothing moves.
    """
    if order.size == at.size - 1 and (order == np.arange(order.size)).all():
        return at, rows
    new = np.concatenate([[0], np.cumsum(np.diff(at)[order])])
    return new, _gathered(at, rows, order, new)


@compiled
def _gathered(at, rows, order, new):
    # An index of every row would take more memory than the rows.
    gathered = np.empty((new[-1], rows.shape[1]), rows.dtype)
    for k in range(order.size):
        gathered[new[k] : new[k + 1]] = rows[at[order[k]] : at[order[k] + 1]]
    return gathered


def select(lines: Table, regions: ndarray) -> Table:
    """The lines of some regions, in the order given."""
    of, index = reordered(lines.of, np.arange(lines.of[-1])[:, None], regions)
    at, xy = reordered(lines.at, lines.xy, index[:, 0])
    return type(lines)(of, at, xy, *[lines[k][index[:, 0]] for k in range(3, len(lines))])


def together(tables: Sequence[Table]) -> Table:
    """The regions of several tables, one after another."""
    if len(tables) == 1:
        return tables[0]
    of, at = (
        np.concatenate([[0], np.cumsum(np.concatenate([np.diff(one[k]) for one in tables]))])
        for k in range(2)
    )
    rest = [np.concatenate([one[k] for one in tables]) for k in range(2, len(tables[0]))]
    return type(tables[0])(of, at, *rest)


@compiled
def draw_lines(lines, arcs, order, corner, scale, last):
    """Vertices of the lines in ``order``: (at, xy, leaves, arrives).

    ``arcs`` may have been thinned; ``corner`` is the cell's first (row, col) in the scene. With
    ``last``, the last vertex is written too: it is a chain's own, and a ring's first.
    """
    n, room = order.size, 0
    for k in order:
        for directed in lines.arcs[lines.at[k] : lines.at[k + 1]]:
            room += arcs.at[(directed >> 1) + 1] - arcs.at[directed >> 1] - 1
        room += 1 if last else 0
    at, xy = np.zeros(n + 1, np.int64), np.empty((room, 2), np.int32)
    leaves, arrives = np.empty(n, np.int8), np.empty(n, np.int8)
    top, left = corner[0] * scale, corner[1] * scale
    v = 0
    for m in range(n):
        k = order[m]
        begin, stop = lines.at[k], lines.at[k + 1]
        leaves[m] = (_arrival(arcs, lines.arcs[begin] ^ 1)[1] + 2) % 4
        arrives[m] = _arrival(arcs, lines.arcs[stop - 1])[1]
        for n_arc in range(begin, stop):
            directed = lines.arcs[n_arc]
            first, end = arcs.at[directed >> 1], arcs.at[(directed >> 1) + 1] - 1
            whole = 1 if last and n_arc == stop - 1 else 0
            for step in range(end - first + whole):
                a = end - step if directed & 1 else first + step
                xy[v, 0], xy[v, 1] = arcs.col[a] + left, arcs.row[a] + top
                v += 1
        at[m + 1] = v
    return at, xy, leaves, arrives
