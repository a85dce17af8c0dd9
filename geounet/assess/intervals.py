"""95 % intervals that know of small counts: Wilson's of each stratum, put together.

The papers' interval is the estimate plus and minus 1.96 standard errors. Where a cell of the error
matrix holds ten to twenty points it covers too little, since few points mean both a low share and
a small standard error (docs/areas.md has the figures). Wilson's interval (1927) of a share does
not; limits of a sum come from those of its terms, by the method of variance estimates recovery
(Zou and Donner 2008, Statistics in Medicine 27, 1693–1702), as Yan and Su 2010 did for strata.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Z = 1.96
"""Of a 95 % interval, to the digits that Olofsson et al. 2014 use."""
_HALVINGS = 50


@dataclass(frozen=True)
class Limits:
    """Values with their lower and upper ends; arrays of one shape."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __mul__(self, factor: np.ndarray) -> Limits:
        return Limits(self.value * factor, self.low * factor, self.high * factor)

    @property
    def within(self) -> Limits:
        """The ends of a share: none below 0 or above 1."""
        return Limits(self.value, np.clip(self.low, 0, 1), np.clip(self.high, 0, 1))


def wilson(share: np.ndarray, variance: np.ndarray, points: np.ndarray) -> Limits:
    """Wilson's interval of a share whose variance is known.

    The variance tells how many points of an endless stratum of equal pixels would be as good;
    where all points say the same it tells nothing, and ``points`` are taken.
    """
    inner = np.broadcast_to(share * (1 - share), np.broadcast(share, variance).shape)
    counted = np.broadcast_to(np.maximum(points, 1), inner.shape).astype(np.float64)
    known = (inner > 1e-12) & (variance > 0)
    n = counted.copy()
    n[known] = 1 + inner[known] / np.broadcast_to(variance, inner.shape)[known]
    n[(inner > 1e-12) & (variance <= 0)] = np.inf
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(inner / n + (Z / (2 * n)) ** 2)
    return Limits(share, centre - half, centre + half)


def total(parts: Limits) -> Limits:
    """Limits of sums along the first axis, of independent parts.

    A part that no point of its stratum has, or every one, has limits too: where a sample finds no
    error at all, the sum is as uncertain as what it may have missed.
    """
    value = parts.value.sum(0)
    below, above = ((e - parts.value) ** 2 for e in (parts.low, parts.high))
    return Limits(value, value - np.sqrt(below.sum(0)), value + np.sqrt(above.sum(0)))


def fraction(part: Limits, rest: Limits) -> Limits:
    """Limits of ``part / (part + rest)``, of independent ones that are not below 0.

    They are the shares ``c`` at which a limit of ``(1 − c) part − c rest`` is 0, as Donner and
    Zou 2012 do for a ratio; found by halving, since their closed form fails for few points.
    """
    whole = part.value + rest.value
    value = np.divide(part.value, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    below = _root(part, rest, (part.value - part.low) ** 2, (rest.high - rest.value) ** 2, -1)
    above = _root(part, rest, (part.high - part.value) ** 2, (rest.value - rest.low) ** 2, 1)
    nothing = np.isnan(value)
    return Limits(value, np.where(nothing, np.nan, below), np.where(nothing, np.nan, above))


def _root(
    part: Limits, rest: Limits, of_part: np.ndarray, of_rest: np.ndarray, side: int
) -> np.ndarray:
    """Where ``(1 − c) part − c rest ± its width`` passes from positive to negative."""
    low, high = np.zeros_like(part.value), np.ones_like(part.value)
    for _ in range(_HALVINGS):
        c = (low + high) / 2
        width = np.sqrt((1 - c) ** 2 * of_part + c**2 * of_rest)
        positive = (1 - c) * part.value - c * rest.value + side * width > 0
        low, high = np.where(positive, c, low), np.where(positive, high, c)
    return (low + high) / 2
