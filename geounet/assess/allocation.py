"""How many points a sample needs, and how many of them each stratum gets.

Olofsson et al. 2014, section 5.1; Cochran 1977, Sampling Techniques, chapters 2 and 5. ``W`` are
the strata's shares of the area, ``U`` the accuracy that is expected in each, and ``S`` the
standard deviation ``sqrt(U (1 − U))`` that follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from geounet.errors import SettingsError

Scheme = Literal["neyman", "proportional", "equal"]
_HALVINGS = 100


@dataclass(frozen=True)
class Prospect:
    """A stratum before it is drawn from: its name, pixels, share of the area, expected accuracy."""

    name: str
    pixels: int
    weight: float
    accuracy: float

    @property
    def deviation(self) -> float:
        return sqrt(self.accuracy * (1 - self.accuracy))


def sample_size(prospects: Sequence[Prospect], target: float) -> int:
    """Points for a standard error ``target`` of overall accuracy (Olofsson et al. 2014, eq. 13).

    ``n = (Σ W S)² / (target² + Σ W S² / N)``, rounded up; with one stratum it is the size of a
    simple random sample. That is what the best allocation needs, and any other needs more:
    `expected_error` says what it will reach.
    """
    deviation = sum(p.weight * p.deviation for p in prospects)
    variance = sum(p.weight * p.deviation**2 for p in prospects)
    pixels = sum(p.pixels for p in prospects)
    # Rounded first, so that 641.0000000001 points are 641.
    return ceil(round(deviation**2 / (target**2 + variance / pixels), 6))


def expected_error(prospects: Sequence[Prospect], points: Sequence[int] | np.ndarray) -> float:
    """The standard error of overall accuracy that an allocation would reach (Cochran, eq. 5.7)."""
    return sqrt(
        sum(
            p.weight**2 * p.deviation**2 / n * (1 - n / p.pixels)
            for p, n in zip(prospects, (int(n) for n in points), strict=True)
            if n
        )
    )


def allocate(
    prospects: Sequence[Prospect], size: int, scheme: Scheme, least: int
) -> Int[np.ndarray, " stratum"]:
    """Points of each stratum: they sum to ``size``.

    Proportional to ``W S`` (neyman: the least standard error of overall accuracy, Cochran 1977,
    eq. 5.26, at equal cost), to ``W``, or equal; but ``least`` for every stratum, or all its
    pixels where it has fewer, as Olofsson et al. 2014 advise 50 to 100 for rare classes.

    Raises:
        SettingsError: if the strata cannot have so few points, or so many.
    """
    pixels = np.array([p.pixels for p in prospects], np.int64)
    low = np.minimum(least, pixels)
    if size < low.sum():
        raise SettingsError(
            f"{size} points are too few for {len(prospects)} strata of at least {least} each; give "
            f"--size {low.sum()} or more, or a smaller --at-least"
        )
    if size > pixels.sum():
        raise SettingsError(
            f"{size} points are more than the {pixels.sum()} pixels that the map has; "
            "give a smaller --size"
        )
    wanted = {
        "neyman": [p.weight * p.deviation for p in prospects],
        "proportional": [p.weight for p in prospects],
        "equal": [1.0] * len(prospects),
    }[scheme]
    return _whole(_bounded(np.array(wanted), size, low, pixels), size, pixels)


def _bounded(
    wanted: np.ndarray, size: int, low: np.ndarray, high: np.ndarray
) -> Float[np.ndarray, " stratum"]:
    """``clip(k · wanted, low, high)`` with the ``k`` whose sum is ``size``."""
    below, above = 0.0, float(high.max() / wanted.min())
    for _ in range(_HALVINGS):
        k = (below + above) / 2
        enough = np.clip(k * wanted, low, high).sum() >= size
        below, above = (below, k) if enough else (k, above)
    return np.clip(above * wanted, low, high)


def _whole(shares: np.ndarray, size: int, high: np.ndarray) -> Int[np.ndarray, " stratum"]:
    """The shares in whole points, by the largest remainders."""
    # A share that is whole but for rounding must not lose its point to the floor.
    points = np.floor(shares + 1e-6).astype(np.int64)
    order = np.argsort(points - shares, kind="stable")
    for index in order[points[order] < high[order]][: max(0, size - int(points.sum()))]:
        points[index] += 1
    return points
