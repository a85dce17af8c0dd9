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

STEP_ROW = np.array([-1, 0, 1, 0])
STEP_COL = np.array([0, 1, 0, -1])
LEFT_ROW = np.array([0, 0, 1, 1])
LEFT_COL = np.array([0, 1, 1, 0])
"""The pixel at the left hand of a walk that leaves vertex (i, j): framed[i + row, j + col]."""


@compiled
def cracks_at(framed, i, j, split):
    """Bits of the cracks that meet at a vertex, in this cell or beyond its edge.

    With ``split``, the edges of the cell are cracks too.
    """
    a, b = framed[i, j], framed[i, j + 1]
    c, d = framed[i + 1, j], framed[i + 1, j + 1]
    bits = 0
    if a != b:
        bits |= NORTH
    if b != d:
        bits |= EAST
    if c != d:
        bits |= SOUTH
    if a != c:
        bits |= WEST
    if split:
        if i == 0 or i == framed.shape[0] - 2:
            bits |= EAST | WEST
        if j == 0 or j == framed.shape[1] - 2:
            bits |= NORTH | SOUTH
    return bits


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
def is_node(bits, i, j, h, w):
    """True where arcs end: where three cracks or four meet, and where one leaves the cell's edge.

    Vertices on the edge at which a border comes in, goes out or turns are those of the fixed
    lattice of the scene: between them, borders on the edge are straight.
    """
    if degree(bits) >= 3:
        return True
    if (i == 0 or i == h) and bits & (NORTH | SOUTH):
        return True
    return (j == 0 or j == w) and bits & (EAST | WEST) != 0
