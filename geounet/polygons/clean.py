"""Small regions join a neighbour: decided once, on the graph of all regions of the scene.

A region is small below ``min_area``. It joins the neighbour that is not small with which it shares
the longest border, counted in pixel edges; of equals the larger, then the one whose first pixel is
earlier. Small regions without such a neighbour form clusters: each cluster as a whole joins the
region with which it shares the longest border by way of the small regions around it that joined.
A cluster with nothing around it but no data stays. No data is never a neighbour.

Holes are clusters of regions below ``fill_holes`` that have, together, less than it, touch neither
no data nor the scene's outside, and one other region only: that one they join, before the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geounet.polygons.lattice import Lattice
from geounet.polygons.measures import Measures
from geounet.polygons.survey import Survey
from geounet.vector_settings import Amount


@dataclass(frozen=True)
class Cleaning:
    """What joins what.

    Args:
        absorb: regions below it join a neighbour.
        fill_holes: enclosed clusters below it join the region around them.
    """

    absorb: Amount | None = None
    fill_holes: Amount | None = None


class Graph(NamedTuple):
    """All regions of a scene: ``size`` in pixels and in square metres; NaN is unknown.

    ``one``, ``other`` and ``length`` are their borders, each in both directions.
    """

    label: ndarray
    first: ndarray
    pixels: ndarray
    metres: ndarray
    void: ndarray
    one: ndarray
    other: ndarray
    length: ndarray

    def is_small(self, least: Amount) -> ndarray:
        """True for regions below an area; what is not known is not small."""
        return self.sizes(least) < least.value

    def sizes(self, least: Amount) -> ndarray:
        """Sizes in the unit of an area."""
        return self.pixels if least.in_pixels else self.metres


def decide(
    surveys: Sequence[Survey], lattice: Lattice, measures: Measures, cleaning: Cleaning
) -> tuple[list[ndarray], int]:
    """The new label of each region of each cell, and how many small regions stay."""
    graph, group, starts = _graph(surveys, lattice, measures)
    target, stay = np.arange(graph.label.size), 0
    if cleaning.fill_holes is not None:
        _fill(graph, cleaning.fill_holes, target)
    if cleaning.absorb is not None:
        stay = _absorb(graph, cleaning.absorb, target)
    label = graph.label[target[target]]
    # ^ A filled hole's region may itself have joined another.
    return np.split(label[group], starts[1:-1]), stay


def _graph(
    surveys: Sequence[Survey], lattice: Lattice, measures: Measures
) -> tuple[Graph, ndarray, ndarray]:
    """The graph, the region of each cell's part, and where each cell's parts begin."""
    starts = np.concatenate([[0], np.cumsum([survey.label.size for survey in surveys])])
    label = np.concatenate([survey.label for survey in surveys])
    a, b = _seams(surveys, lattice, starts)
    same = label[a] == label[b]
    ones = np.ones(int(same.sum()), bool)
    graph = coo_array((ones, (a[same], b[same])), shape=(label.size, label.size))
    n, group = connected_components(graph, directed=False)
    pairs = [
        (s.one + start, s.other + start, s.length)
        for s, start in zip(surveys, starts, strict=False)
    ]
    one, other, length = (np.concatenate(column) for column in zip(*pairs, strict=True))
    one = group[np.concatenate([one, a[~same]])]
    other = group[np.concatenate([other, b[~same]])]
    length = np.concatenate([length, np.ones(int((~same).sum()), np.int64)])
    borders = (
        coo_array(
            (np.tile(length, 2), (np.concatenate([one, other]), np.concatenate([other, one]))),
            (n, n),
        )
        .tocsr()
        .tocoo()
    )
    columns = [np.concatenate([getattr(s, k) for s in surveys]) for k in Survey._fields[1:5]]
    first, (pixels, area, unknown, void) = np.full(n, np.iinfo(np.int64).max), np.zeros((4, n), int)
    np.minimum.at(first, group, columns[0])
    np.add.at(pixels, group, columns[1])
    np.add.at(area, group, columns[2])
    np.add.at(unknown, group, columns[2] < 0)
    np.add.at(void, group, columns[3])
    labels = np.empty(n, np.int32)
    labels[group] = label
    metres = measures.square_metres(np.where(unknown > 0, -1, area))
    row, col = borders.coords
    return Graph(labels, first, pixels, metres, void > 0, row, col, borders.data), group, starts


def _seams(surveys: Sequence[Survey], lattice: Lattice, starts: ndarray) -> tuple[ndarray, ndarray]:
    """The parts on both sides of each pixel edge between two cells."""
    found = [np.empty((2, 0), np.int64)]
    for cell, survey in enumerate(surveys):
        below = cell + lattice.cols
        meetings = []
        if (cell + 1) % lattice.cols:
            meetings.append((survey.edges.right, surveys[cell + 1].edges.left, cell + 1))
        if below < len(surveys):
            meetings.append((survey.edges.bottom, surveys[below].edges.top, below))
        for ours, theirs, other in meetings:
            both = (ours >= 0) & (theirs >= 0)
            found.append(np.stack([ours[both] + starts[cell], theirs[both] + starts[other]]))
    a, b = np.concatenate(found, axis=1)
    return a, b


def _clusters(graph: Graph, members: ndarray) -> ndarray:
    """The cluster of each region among ``members``, a mask; numbers of others mean nothing."""
    within = members[graph.one] & members[graph.other]
    n = members.size
    links = coo_array(
        (np.ones(int(within.sum()), bool), (graph.one[within], graph.other[within])), shape=(n, n)
    )
    return connected_components(links, directed=False)[1]


def _fill(graph: Graph, least: Amount, target: ndarray) -> None:
    small = graph.is_small(least)
    cluster = _clusters(graph, small)
    size = np.bincount(cluster[small], graph.sizes(least)[small], minlength=small.size)
    open_ = np.zeros(small.size, bool)
    open_[cluster[small & graph.void]] = True
    out = small[graph.one] & ~small[graph.other]
    around = np.unique(np.stack([cluster[graph.one[out]], graph.other[out]]), axis=1)
    single = np.bincount(around[0], minlength=small.size) == 1
    host = np.full(small.size, -1)
    host[around[0]] = around[1]
    filled = single & ~open_ & (size < least.value)
    joins = small & filled[cluster]
    target[joins] = host[cluster[joins]]


def _absorb(graph: Graph, least: Amount, target: ndarray) -> int:
    """Set the targets of small regions; returns how many have none."""
    sizes, filled = graph.sizes(least), target != np.arange(target.size)
    small = graph.is_small(least) & ~filled
    usable = ~(small | filled)
    out = small[graph.one] & usable[graph.other]
    found = _best(graph.one[out], graph.other[out], graph.length[out], graph, sizes)
    target[found[0]] = found[1]
    rest = small.copy()
    rest[found[0]] = False
    cluster = _clusters(graph, rest)
    via = rest[graph.one] & small[graph.other] & ~rest[graph.other]
    found = _best(
        cluster[graph.one[via]], target[graph.other[via]], graph.length[via], graph, sizes
    )
    host = np.full(target.size, -1)
    host[found[0]] = found[1]
    joins = rest & (host[cluster] >= 0)
    target[joins] = host[cluster[joins]]
    return int((rest & ~joins).sum())


def _best(
    joining: ndarray, hosts: ndarray, length: ndarray, graph: Graph, sizes: ndarray
) -> tuple[ndarray, ndarray]:
    """For each that joins, the host of the longest border; then the larger, then the earlier."""
    n = graph.label.size
    borders = coo_array((length, (joining, hosts)), shape=(n, n)).tocsr().tocoo()
    row, col = borders.coords
    order = np.lexsort((graph.first[col], -sizes[col], -borders.data, row))
    joined, first = np.unique(row[order], return_index=True)
    return joined, col[order][first]
