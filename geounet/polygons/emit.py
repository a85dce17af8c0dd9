"""Rings in pixels become polygons on Earth."""

from __future__ import annotations

import numpy as np
from affine import Affine

from geounet.polygon_array import PolygonArray
from geounet.polygons.compiled import compiled
from geounet.polygons.lines import Rings, reordered


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
    at, of = rings.at, rings.of
    xy, starts = _on_earth(at, rings.xy, numbers)
    ring_at = at + np.arange(at.size)
    # ^ Each ring has its first vertex once more at its end.
    if (np.diff(of) > 2).any():
        hole = np.ones(starts.shape[0], bool)
        hole[of[:-1]] = False
        region = np.repeat(np.arange(of.size - 1), np.diff(of))
        order = np.lexsort((starts[:, 1], starts[:, 0], hole, region))
        if (order != np.arange(order.size)).any():
            ring_at, xy = reordered(ring_at, xy, order)
    return PolygonArray(xy, ring_at, of)


@compiled
def _on_earth(at, pixels, numbers):
    """Closed rings in CRS coordinates, turned to their smallest vertex; and that vertex."""
    a, b, c, d, e, f = numbers
    turn = -1 if a * e - b * d > 0 else 1
    rings = at.size - 1
    xy = np.empty((pixels.shape[0] + rings, 2))
    starts = np.empty((rings, 2))
    out = 0
    for k in range(rings):
        first, stop = at[k], at[k + 1]
        smallest, least_x, least_y = first, np.inf, np.inf
        for v in range(first, stop):
            x = a * pixels[v, 0] + b * pixels[v, 1] + c
            y = d * pixels[v, 0] + e * pixels[v, 1] + f
            if x < least_x or (x == least_x and y < least_y):
                smallest, least_x, least_y = v, x, y
        starts[k, 0], starts[k, 1] = least_x, least_y
        v = smallest
        for _ in range(first, stop + 1):
            xy[out, 0] = a * pixels[v, 0] + b * pixels[v, 1] + c
            xy[out, 1] = d * pixels[v, 0] + e * pixels[v, 1] + f
            out += 1
            v += turn
            if v == stop:
                v = first
            elif v < first:
                v = stop - 1
    return xy, starts
