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
    numbers = np.array([t.a, t.b, t.c, t.d, t.e, t.f])
    at, of = rings.at, rings.of
    xy, starts = _on_earth(at, rings.xy, numbers, float(scale))
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
def _on_earth(at, pixels, numbers, scale):
    """Closed rings in CRS coordinates, turned to their smallest vertex; and that vertex."""
    a, b, c, d, e, f = numbers
    mirrored = a * e - b * d > 0
    rings = at.size - 1
    xy = np.empty((pixels.shape[0] + rings, 2))
    starts = np.empty((rings, 2))
    out = 0
    for k in range(rings):
        first, n = at[k], at[k + 1] - at[k]
        smallest = 0
        for step in range(n):
            col, row = pixels[first + step, 0] / scale, pixels[first + step, 1] / scale
            x, y = a * col + b * row + c, d * col + e * row + f
            if step == 0 or x < starts[k, 0] or (x == starts[k, 0] and y < starts[k, 1]):
                starts[k, 0], starts[k, 1] = x, y
                smallest = step
        for step in range(n + 1):
            turn = smallest - step if mirrored else smallest + step
            v = first + turn % n
            col, row = pixels[v, 0] / scale, pixels[v, 1] / scale
            xy[out, 0], xy[out, 1] = a * col + b * row + c, d * col + e * row + f
            out += 1
    return xy, starts
