"""Parts of regions in several cells become whole ones.

Cells are taken row by row. After a row, the regions that do not reach the next one are complete:
their parts are found by the edges at which cells meet, and their chains are linked into rings.
What is kept of the others is a record for each part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geounet.polygons.cell import Edges, Sums
from geounet.polygons.compiled import compiled
from geounet.polygons.lines import Chains, Rings, reordered


class Part(NamedTuple):
    """What is known of the open regions of one cell without reading their lines."""

    sums: Sums
    edges: Edges


@dataclass(frozen=True)
class Whole:
    """Regions that lie in several cells, by last pixel.

    Attributes:
        sums: of each.
        group: for each part, the region that it belongs to.
        cell, part: where each part is: the cell's (row, col) as an index, and its open region.
    """

    sums: Sums
    group: ndarray
    cell: ndarray
    part: ndarray


@dataclass
class Joiner:
    """Joins open regions, a row of cells after the other."""

    _sums: Sums | None = None
    _cell: ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    _part: ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    _group: ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    _front: ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def add_row(self, parts: Sequence[Part], first_cell: int, is_last: bool) -> Whole:
        """Take a row of cells, numbered from ``first_cell``; returns what is complete then."""
        counts = [part.sums.label.size for part in parts]
        starts = self._part.size + np.concatenate([[0], np.cumsum(counts)])
        self._take(parts, counts, first_cell)
        pairs = [self._own_pairs(starts[0]), *self._seams(parts, starts)]
        group = _components(np.concatenate(pairs, axis=1), starts[-1])
        bottom = [_numbered(part.edges.bottom, s) for part, s in zip(parts, starts, strict=False)]
        self._front = np.concatenate(bottom)
        goes_on = np.zeros(group.max(initial=-1) + 1, bool)
        if not is_last:
            goes_on[group[self._front[self._front >= 0]]] = True
        return self._release(group, goes_on)

    def _take(self, parts: Sequence[Part], counts: Sequence[int], first_cell: int) -> None:
        tables = [part.sums for part in parts]
        tables = [self._sums, *tables] if self._sums is not None else tables
        self._sums = Sums(*(np.concatenate(columns) for columns in zip(*tables, strict=True)))
        cells = np.repeat(np.arange(len(parts)) + first_cell, counts)
        self._cell = np.concatenate([self._cell, cells])
        self._part = np.concatenate([self._part, *(np.arange(n) for n in counts)])

    def _own_pairs(self, n: int) -> ndarray:
        """Parts that are known to be of one region: each with its group's first."""
        _, first, group = np.unique(self._group, return_index=True, return_inverse=True)
        return np.stack([np.arange(n), first[group]]) if n else np.empty((2, 0), np.int64)

    def _seams(self, parts: Sequence[Part], starts: ndarray) -> Iterator[ndarray]:
        """Parts that meet at an edge between two cells."""
        if self._front.size:
            top = [_numbered(part.edges.top, s) for part, s in zip(parts, starts, strict=False)]
            yield _meeting(self._front, np.concatenate(top))
        for k in range(len(parts) - 1):
            right = _numbered(parts[k].edges.right, starts[k])
            yield _meeting(right, _numbered(parts[k + 1].edges.left, starts[k + 1]))

    def _release(self, group: ndarray, goes_on: ndarray) -> Whole:
        """Give the complete regions away, and keep the others."""
        assert self._sums is not None
        stays = goes_on[group]
        done = np.flatnonzero(~stays)
        _, of = np.unique(group[done], return_inverse=True)
        sums = _added(Sums(*(column[done] for column in self._sums)), of)
        order = np.argsort(sums.last, kind="stable")
        rank = np.empty(order.size, np.int64)
        rank[order] = np.arange(order.size)
        sums = Sums(*(column[order] for column in sums))
        whole = Whole(sums, rank[of], self._cell[done], self._part[done])
        number = np.cumsum(stays) - 1
        front = self._front
        self._front = np.where(front >= 0, number[front], -1) if stays.any() else front[:0]
        self._sums = Sums(*(column[stays] for column in self._sums))
        self._cell, self._part = self._cell[stays], self._part[stays]
        self._group = group[stays]
        return whole


def _meeting(a: ndarray, b: ndarray) -> ndarray:
    """Parts on both sides of an edge: where one goes on beyond it, so does the other."""
    meet = a >= 0
    return np.stack([a[meet], b[meet]])


def _numbered(edge: ndarray, start: int) -> ndarray:
    return np.where(edge >= 0, edge.astype(np.int64) + start, -1)


def _components(pairs: ndarray, n: int) -> ndarray:
    ones = np.ones(pairs.shape[1], bool)
    graph = coo_array((ones, (pairs[0], pairs[1])), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _added(sums: Sums, group: ndarray) -> Sums:
    """The sums of groups of rows; -1 where one row's is unknown."""
    n = int(group.max(initial=-1)) + 1
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(n))
    by_group = Sums(*(column[order] for column in sums))

    def total(column: ndarray) -> ndarray:
        return np.add.reduceat(column, starts) if n else column

    def known(column: ndarray) -> ndarray:
        unknown = total((column < 0).astype(np.int64)) > 0
        return np.where(unknown, -1, total(column))

    return Sums(
        by_group.label[starts],
        np.minimum.reduceat(by_group.first, starts) if n else by_group.first,
        np.maximum.reduceat(by_group.last, starts) if n else by_group.last,
        total(by_group.n_px),
        known(by_group.area),
        known(by_group.length),
        total(by_group.scored),
        total(by_group.score),
        np.minimum.reduceat(by_group.least, starts) if n else by_group.least,
        total(by_group.vertices),
    )


@compiled
def _turn(leaves, arrives):
    """Right 0, straight 1, left 2."""
    return (1 - (leaves - arrives)) % 4


@compiled
def _successor(k, of, lines, by_start):
    """The chain that goes on from the end of chain ``k``: the first on the right hand."""
    x, y = lines.xy[lines.at[k + 1] - 1]
    low, high = 0, by_start.size
    while low < high:
        middle = (low + high) // 2
        n = by_start[middle]
        a, b = lines.xy[lines.at[n]]
        if (of[n], a, b) < (of[k], x, y):
            low = middle + 1
        else:
            high = middle
    best, least = -1, 4
    while low < by_start.size:
        n = by_start[low]
        a, b = lines.xy[lines.at[n]]
        if of[n] != of[k] or a != x or b != y:
            break
        turn = _turn(lines.leaves[n], lines.arrives[k])
        if turn < least:
            best, least = n, turn
        low += 1
    if best < 0:
        raise AssertionError("a chain ends where none of its region begins")
    return best


@compiled
def _is_straight(xy, a, b, c):
    one, two = xy[b].astype(np.int64) - xy[a], xy[c].astype(np.int64) - xy[b]
    return one[0] * two[1] == one[1] * two[0]


@compiled
def _append(xy, v, start, lines, k):
    """Add a chain's vertices but its last; a start that is no corner and no joint is left out."""
    for a in range(lines.at[k], lines.at[k + 1] - 1):
        xy[v] = lines.xy[a]
        v += 1
        if a == lines.at[k] and not lines.joint[k] and v - 1 > start:
            xy[v] = lines.xy[a + 1]
            # ^ Only to look ahead: the next vertex, or the next chain's first, takes its place.
            if _is_straight(xy, v - 2, v - 1, v):
                v -= 1
    return v


@compiled
def link_chains(
    of: ndarray, lines: Chains, by_start: ndarray
) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    """Rings of chains.

    Args:
        of: the region of each line.
        lines: chains; a ring has its first vertex again at its end.
        by_start: the lines, sorted by region and first vertex.

    Returns:
        The region of each ring, offsets of its vertices, the vertices, and its area as in Lines.
    """
    n = of.size
    ring_of, area = np.empty(n, np.int64), np.zeros(n, np.int64)
    at, xy = np.zeros(n + 1, np.int64), np.empty((lines.xy.shape[0] + 1, 2), np.int32)
    seen = np.zeros(n, np.bool_)
    rings = v = 0
    for first in by_start:
        if seen[first]:
            continue
        start, k = v, first
        while not seen[k]:
            seen[k] = True
            area[rings] += lines.area[k]
            v = _append(xy, v, start, lines, k)
            k = _successor(k, of, lines, by_start)
        v = _closed(xy, start, v, lines.joint[first])
        ring_of[rings] = of[first]
        rings += 1
        at[rings] = v
    return ring_of[:rings], at[: rings + 1], xy[:v], area[:rings]


@compiled
def _closed(xy, start, stop, joint):
    """The end of a ring whose first vertex may be no corner."""
    if joint:
        return stop
    one = xy[start].astype(np.int64) - xy[stop - 1]
    two = xy[start + 1].astype(np.int64) - xy[start]
    if one[0] * two[1] != one[1] * two[0]:
        return stop
    for a in range(start, stop - 1):
        xy[a] = xy[a + 1]
    return stop - 1


def rings_of(regions: int, chains: Chains, group: ndarray) -> Rings:
    """The rings of complete regions, shells first.

    Args:
        regions: how many there are.
        chains: of all their parts.
        group: the region of each chain.
    """
    starts = chains.xy[chains.at[:-1]]
    by_start = np.lexsort((starts[:, 1], starts[:, 0], group))
    of, at, xy, area = link_chains(group, chains, by_start)
    at, xy = reordered(at, xy, np.lexsort((area >= 0, of)))
    counts = np.bincount(of, minlength=regions)
    return Rings(np.concatenate([[0], np.cumsum(counts)]), at, xy)
