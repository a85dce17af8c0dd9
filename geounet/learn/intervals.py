"""How far a score would move with other places: the bootstrap over groups, percentile intervals.

Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13. Groups (places, scenes),
not pixels, are drawn with replacement, since the pixels of one place are alike. All counts are
sums over pixels, so a draw is a weighted sum of the groups' counts, and no pixel is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Int

Stack = Mapping[str, Int[np.ndarray, "group ..."]]
Scores = Mapping[str, Float[np.ndarray, "..."]]

DRAWS_AT_ONCE = 250
"""Draws whose counts are in memory together."""


def bootstrap(
    groups: Stack,
    scores: Callable[[Stack], Scores],
    draws: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The percentile interval of each score; NaN with fewer than two groups, which say nothing.

    Args:
        groups: counts of each kind, stacked by group along their first axis.
        scores: from counts stacked by draw to scores stacked by draw.
        draws: of as many groups as there are, with replacement.
        seed: the same seed, counts and draws give the same interval.
        level: share of the draws inside.

    Returns:
        Name of a score → its lower and upper end, of one draw's shape.
    """
    number = len(next(iter(groups.values())))
    rng = np.random.default_rng(seed)
    found: dict[str, list[np.ndarray]] = {}
    for start in range(0, draws, DRAWS_AT_ONCE):
        size = min(DRAWS_AT_ONCE, draws - start)
        # How often each group comes up in a draw of as many: one multinomial.
        weights = rng.multinomial(number, np.full(number, 1 / number), size)
        drawn = {name: _weighted(weights, counts) for name, counts in groups.items()}
        for name, values in scores(drawn).items():
            found.setdefault(name, []).append(values)
    ends = (50 * (1 - level), 50 * (1 + level))
    return {
        name: _percentiles(np.concatenate(parts), ends, number) for name, parts in found.items()
    }


def _weighted(
    weights: Int[np.ndarray, "draw group"], counts: Int[np.ndarray, "group ..."]
) -> Int[np.ndarray, "draw ..."]:
    # In float64, whose matrix product is fast, and exact for sums below 2^53.
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    total = weights.astype(np.float64) @ flat
    return total.astype(np.int64).reshape(len(weights), *counts.shape[1:])


def _percentiles(
    values: Float[np.ndarray, "draw ..."], ends: tuple[float, float], groups: int
) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)
    if groups < 2:
        return low, high
    for place in np.ndindex(values.shape[1:]):
        column = values[(slice(None), *place)]
        # A draw without a class has no score of it.
        there = column[np.isfinite(column)]
        if len(there):
            low[place], high[place] = np.percentile(there, ends)
    return low, high
