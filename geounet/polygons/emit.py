"""Rings in pixels become polygons on Earth."""

from __future__ import annotations

import numpy as np
from affine import Affine

from geounet.polygon_array import PolygonArray
from geounet.polygons.compiled import compiled
from geounet.polygons.lines import Rings


def polygons_of(rings: Rings, transform: Affine, scale: int) -> PolygonArray:
    """Polygons: shells counter-clockwise, each ring from its smallest (x, y).

    Args:
        rings: of each region its shell and then its holes.
        transform: (col, row) → CRS coordinates.
        scale: units of the vertices in a pixel.
    """
    t = transform
    # The scale is a power of two, so the division is exact.
    numbers = np.array([t.a / scale, t.b / scale, t.c, t.d / scale, t.e / scale, t.f])
    first, x, y = _smallest(rings.at, rings.xy, numbers)
    order = np.arange(first.size)
    if (np.diff(rings.of) > 2).any():
        hole = np.ones(first.size, bool)
        hole[rings.of[:-1]] = False
        region = np.repeat(np.arange(rings.of.size - 1), np.diff(rings.of))
        order = np.lexsort((y, x, hole, region))
    ring_at, xy = _drawn(rings.at, rings.xy, numbers, first, order)
    return PolygonArray(xy, ring_at, rings.of)


@compiled
def _on_earth(pixels, numbers, v):
    a, b, c, d, e, f = numbers
    col, row = pixels[v, 0], pixels[v, 1]
    return a * col + b * row + c, d * col + e * row + f


@compiled
def _smallest(at, pixels, numbers):
    """The vertex of each ring with the smallest (x, y), and that."""
    first = np.empty(at.size - 1, np.int64)
    least_x, least_y = np.empty(first.size), np.empty(first.size)
    for k in range(first.size):
        first[k] = at[k]
        least_x[k], least_y[k] = _on_earth(pixels, numbers, at[k])
        for v in range(at[k] + 1, at[k + 1]):
            x, y = _on_earth(pixels, numbers, v)
            if x < least_x[k] or (x == least_x[k] and y < least_y[k]):
                first[k], least_x[k], least_y[k] = v, x, y
    return first, least_x, least_y


@compiled
def _drawn(at, pixels, numbers, first, order):
    """Closed rings in CRS coordinates, in that order, from their first vertices: offsets, xy."""
    turn = -1 if numbers[0] * numbers[4] - numbers[1] * numbers[3] > 0 else 1
    xy = np.empty((pixels.shape[0] + order.size, 2))
    ring_at = np.zeros(order.size + 1, np.int64)
    out = 0
    for n in range(order.size):
        k = order[n]
        start, stop, v = at[k], at[k + 1], first[k]
        for _ in range(start, stop + 1):
            xy[out, 0], xy[out, 1] = _on_earth(pixels, numbers, v)
            out += 1
            v += turn
            if v == stop:
                v = start
            elif v < start:
                v = stop - 1
        ring_at[n + 1] = out
    return ring_at, xy
