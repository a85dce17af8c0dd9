"""Which pixels a sample takes: ranks within each stratum, found again as the map streams by.

A stratum's pixels are ranked in raster order. The ranks are drawn first, from the number of pixels
alone, so the same seed gives the same pixels however the map is cut into strips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from geounet.assess.census import STRIP_PIXELS, Population
from geounet.reporting import Reporter

Ranks = Sequence[Int[np.ndarray, " drawn"]]


@dataclass(frozen=True)
class Drawn:
    """Pixels of a sample and the stratum each was drawn from, in an order that tells nothing."""

    rows: Int[np.ndarray, " point"]
    cols: Int[np.ndarray, " point"]
    stratum: Int[np.ndarray, " point"]


def draw_ranks(pixels: Sequence[int], points: Sequence[int], seed: int) -> Ranks:
    """For each stratum, ``points`` of ``range(pixels)`` without repeats, ascending.

    Every stratum has a generator of its own, so that another size of one leaves the others alone.
    """
    return [
        np.sort(np.random.default_rng([seed, index]).choice(total, n, replace=False))
        for index, (total, n) in enumerate(zip(pixels, points, strict=True))
    ]


def find_pixels(
    population: Population,
    values: Sequence[int | None],
    ranks: Ranks,
    reporter: Reporter,
    pixels: int = STRIP_PIXELS,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows, cols) of the pixels with those ranks, stratum by stratum, in the order of the ranks.

    Args:
        population: what is drawn from.
        values: the one that makes up each stratum; None for all pixels.
        ranks: ascending, per stratum.
        reporter: hears how far the pass is.
        pixels: of a strip, about.
    """
    shape = population.maps[0].grid.shape
    passed = [0] * len(ranks)
    found: list[list[np.ndarray]] = [[] for _ in ranks]
    reporter.start("drawing", shape[0] * shape[1], 0)
    for strip in population.strips(pixels):
        for index, (value, wanted) in enumerate(zip(values, ranks, strict=True)):
            everything = value is None
            here = np.flatnonzero(strip.inside & (everything | (strip.values == value)))
            first, last = np.searchsorted(wanted, [passed[index], passed[index] + len(here)])
            found[index].append(
                here[wanted[first:last] - passed[index]] + strip.rows.start * shape[1]
            )
            passed[index] += len(here)
        reporter.advance(strip.inside.size)
    reporter.finish()
    flat = [np.concatenate(parts) for parts in found]
    return [(places // shape[1], places % shape[1]) for places in flat]


def shuffled(places: Sequence[tuple[np.ndarray, np.ndarray]], seed: int) -> Drawn:
    """All strata's pixels in one order drawn by chance: neighbours in it share nothing."""
    stratum = np.repeat(np.arange(len(places)), [len(rows) for rows, _ in places])
    rows, cols = (np.concatenate([place[axis] for place in places]) for axis in (0, 1))
    order = np.random.default_rng([seed, 2**32 - 1]).permutation(len(rows))
    return Drawn(rows[order], cols[order], stratum[order])
