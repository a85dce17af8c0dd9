"""Borders between pixels: cracks, the headings along them, and where a walk turns.

A vertex ``(i, j)`` is the top-left corner of pixel ``(i, j)`` of a cell of ``h`` by ``w`` pixels. A
crack joins two neighbouring vertices and has pixels of different labels on its sides. Labels come
framed: one row or column more on each side, so pixel ``(i, j)`` is ``framed[i + 1, j + 1]``.

Headings go clockwise: 0 north, 1 east, 2 south, 3 west. Walks keep their region on the left hand.
"""

from __future__ import annotations

import numpy as np

from geounet.polygons.compiled import compiled

OUTSIDE = -(2**31)
"""The label of what lies outside the scene."""
VOID = OUTSIDE + 1
"""The label of pixels without data; neither gives a polygon."""

NORTH, EAST, SOUTH, WEST = 1, 2, 4, 8
"""The bit of the crack that leaves a vertex with heading k is ``1 << k``."""
NODE = 16
"""The bit of a vertex where arcs end."""

STEP_ROW = np.array([-1, 0, 1, 0])
STEP_COL = np.array([0, 1, 0, -1])
LEFT_ROW = np.array([0, 0, 1, 1])
LEFT_COL = np.array([0, 1, 1, 0])
"""The pixel at the left hand of a walk that leaves vertex (i, j): framed[i + row, j + col]."""


@compiled
def inside_cell(bits, i, j, h, w):
    """Those of the cracks at a vertex that lie in the closed cell."""
    if i == 0:
        bits &= ~NORTH
    if i == h:
        bits &= ~SOUTH
    if j == 0:
        bits &= ~WEST
    if j == w:
        bits &= ~EAST
    return bits


@compiled
def degree(bits):
    """How many cracks the bits stand for."""
    return (bits & 1) + (bits >> 1 & 1) + (bits >> 2 & 1) + (bits >> 3 & 1)


@compiled
def _is_node(bits, i, j, h, w):
    """True where arcs end: where three cracks or four meet, and where one leaves the cell's edge.

    Vertices on the edge at which a border comes in, goes out or turns are those of the fixed
    lattice of the scene: between them, borders on the edge are straight.
    """
    if degree(bits) >= 3:
        return True
    if (i == 0 or i == h) and bits & (NORTH | SOUTH):
        return True
    return (j == 0 or j == w) and bits & (EAST | WEST) != 0


@compiled
def find_cracks(framed, split):
    """Bits of the cracks that meet at each vertex, in this cell or beyond its edge; and NODE.

    With ``split``, the edges of the cell are cracks too.
    """
    h, w = framed.shape[0] - 2, framed.shape[1] - 2
    marks = np.zeros((h + 1, w + 1), np.uint8)
    for i in range(h + 1):
        above, below = framed[i], framed[i + 1]
        along = EAST | WEST if split and i in (0, h) else 0
        for j in range(w + 1):
            a, b, c, d = above[j], above[j + 1], below[j], below[j + 1]
            bits = (a != b) * NORTH | (b != d) * EAST | (c != d) * SOUTH | (a != c) * WEST | along
            if split and j in (0, w):
                bits |= NORTH | SOUTH
            marks[i, j] = bits
    for i in range(h + 1):
        for j in range(w + 1):
            if marks[i, j] and _is_node(marks[i, j], i, j, h, w):
                marks[i, j] |= NODE
    return marks
