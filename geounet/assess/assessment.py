"""What an assessment gives: estimates with their intervals, and the error matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from jaxtyping import Float, Int

from geounet.assess.intervals import Limits, Z


@dataclass(frozen=True)
class Estimate:
    """A share between 0 and 1, its standard error, and its 95 % interval.

    ``points`` is how many points it rests on. NaN where the sample says nothing of it.
    """

    value: float
    error: float
    low: float
    high: float
    points: int

    @property
    def margin(self) -> float:
        """Half the width of the papers' interval: 1.96 standard errors."""
        return Z * self.error


@dataclass(frozen=True)
class Assessment:
    """The error matrix in proportions of the area, and all that follows from it.

    Rows are map classes and columns reference classes; ``shares`` are those of the reference
    classes in ``total``, the area of the population. ``points`` are those of each stratum.
    """

    classes: tuple[str, ...]
    counts: Int[np.ndarray, "mapped truth"]
    matrix: Float[np.ndarray, "mapped truth"]
    overall: Estimate
    users: tuple[Estimate, ...]
    producers: tuple[Estimate, ...]
    shares: tuple[Estimate, ...]
    total: float
    source: str


def estimates(
    limits: Limits, variance: np.ndarray, points: Sequence[int] | np.ndarray
) -> tuple[Estimate, ...]:
    """One estimate of each value."""
    ends = limits.within
    return tuple(
        Estimate(float(v), sqrt(s) if s >= 0 else nan, float(low), float(high), int(n))
        for v, s, low, high, n in zip(
            ends.value, variance, ends.low, ends.high, points, strict=True
        )
    )


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """``above / below``, NaN where there is nothing below."""
    empty = np.full(np.broadcast(above, below).shape, np.nan)
    return np.divide(above, below, out=empty, where=below > 0)
