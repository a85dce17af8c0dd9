"""How much each vertex of an arc matters to its shape."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np

from geounet.polygons.compiled import compiled


@compiled
def rank_vertices(at, row, col, closed, by_area):
    """The tolerance at which each vertex goes; infinite for those that stay at any.

    Ends stay, and of a closed arc also the vertex farthest from its end.

    Args:
        at: offsets of the arcs' vertices.
        row, col: of the vertices.
        closed: True for an arc that ends where it starts.
        by_area: False for distances of Douglas and Peucker (1973), in units of the coordinates;
            True for areas of Visvalingam and Whyatt (1993), in square units.
    """
    rank = np.full(row.size, np.inf)
    for k in range(at.size - 1):
        first, last = at[k], at[k + 1] - 1
        middle = _farthest(row, col, first, last) if closed[k] else last
        for start, end in ((first, middle), (middle, last)):
            if end - start < 2:
                continue
            if by_area:
                _rank_by_area(rank, row, col, start, end)
            else:
                _rank_by_distance(rank, row, col, start, end)
    return rank


@compiled
def _farthest(row, col, first, last):
    best, most = first, -1
    for v in range(first, last):
        away = (row[v] - row[first]) ** 2 + (col[v] - col[first]) ** 2
        if away > most:
            best, most = v, away
    return best


@compiled
def _distance(row, col, v, a, b):
    """From vertex v to the segment from a to b, squared."""
    x, y = float(col[v] - col[a]), float(row[v] - row[a])
    dx, dy = float(col[b] - col[a]), float(row[b] - row[a])
    length = dx * dx + dy * dy
    along = x * dx + y * dy
    if length == 0 or along <= 0:
        return x * x + y * y
    if along >= length:
        return (x - dx) ** 2 + (y - dy) ** 2
    return (x * dy - y * dx) ** 2 / length


@compiled
def _rank_by_distance(rank, row, col, first, last):
    # A vertex goes when the one does that the chord was first split at: never later.
    todo = [(first, last, np.inf)]
    while todo:
        start, end, least = todo.pop()
        best, most = start, -1.0
        for v in range(start + 1, end):
            away = _distance(row, col, v, start, end)
            if away > most:
                best, most = v, away
        rank[best] = min(np.sqrt(most), least)
        if best - start > 1:
            todo.append((start, best, rank[best]))
        if end - best > 1:
            todo.append((best, end, rank[best]))


@compiled
def _triangle(row, col, a, v, c):
    across = (col[v] - col[a]) * (row[c] - row[a]) - (row[v] - row[a]) * (col[c] - col[a])
    return abs(float(across)) / 2


@compiled
def _rank_by_area(rank, row, col, first, last):
    before = np.arange(first - 1, last)
    after = np.arange(first + 1, last + 2)
    current = np.full(last - first + 1, -1.0)
    heap = [(0.0, first)]
    heap.pop()
    for v in range(first + 1, last):
        current[v - first] = _triangle(row, col, v - 1, v, v + 1)
        heap.append((current[v - first], v))
    heapify(heap)
    most = 0.0
    while heap:
        area, v = heappop(heap)
        if area != current[v - first] or rank[v] != np.inf:
            continue
        most = max(most, area)
        rank[v] = most
        a, c = before[v - first], after[v - first]
        after[a - first], before[c - first] = c, a
        for n in (a, c):
            if first < n < last:
                current[n - first] = _triangle(row, col, before[n - first], n, after[n - first])
                heappush(heap, (current[n - first], n))
