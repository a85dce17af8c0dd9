"""An interpreted sample as arrays, and what its strata say: means, and how sure they are.

Pixels are drawn with equal chances within a stratum. Where their areas differ, as in a geographic
CRS, every mean is a ratio of areas: the area of the pixels that have a property over the area of
all pixels drawn. With equal pixels that is the plain share of Olofsson et al. 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Stratum:
    """A part of the population with a draw of its own; ``pixels`` is infinite where unknown."""

    name: str
    area: float
    pixels: float = inf


@dataclass(frozen=True)
class Sample:
    """Interpreted pixels: an entry per point in each array.

    ``stratum`` counts in ``strata``, ``mapped`` and ``truth`` in ``classes``; ``area`` is the
    pixel's own, in the unit of the strata's.
    """

    strata: tuple[Stratum, ...]
    classes: tuple[str, ...]
    stratum: Int[np.ndarray, " point"]
    mapped: Int[np.ndarray, " point"]
    truth: Int[np.ndarray, " point"]
    area: Float[np.ndarray, " point"]

    @property
    def size(self) -> int:
        return len(self.stratum)

    @property
    def points(self) -> Int[np.ndarray, " stratum"]:
        """How many points each stratum has."""
        return np.bincount(self.stratum, minlength=len(self.strata))

    @property
    def worth(self) -> Float[np.ndarray, " stratum"]:
        """As many points of an endless stratum would be as good: ``n / (1 − n/N)``."""
        pixels = np.array([s.pixels for s in self.strata], np.float64)
        n = self.points.astype(np.float64)
        unseen = 1 - np.divide(n, pixels, out=np.zeros_like(n), where=pixels > 0)
        return np.divide(n, unseen, out=np.full_like(n, inf), where=unseen > 0)

    @property
    def weights(self) -> Float[np.ndarray, " stratum"]:
        """The strata's shares of the area, Olofsson's ``W_i``."""
        areas = np.array([s.area for s in self.strata], np.float64)
        return areas / areas.sum()

    @property
    def counts(self) -> Int[np.ndarray, "mapped truth"]:
        """The error matrix in points."""
        number = len(self.classes)
        flat = np.bincount(self.mapped * number + self.truth, minlength=number**2)
        return flat.reshape(number, number)

    @property
    def thin(self) -> tuple[int, ...]:
        """Strata whose variance is unknown: fewer than two points, and not all of their pixels."""
        return tuple(
            index
            for index, (stratum, n) in enumerate(zip(self.strata, self.points, strict=True))
            if n < 2 and n < stratum.pixels
        )


def sample_of(counts: Sequence[Sequence[int]], strata: Sequence[Stratum]) -> Sample:
    """The sample behind an error matrix whose rows are both the map's classes and the strata."""
    matrix = np.asarray(counts, np.int64)
    mapped, truth = (np.repeat(i.ravel(), matrix.ravel()) for i in np.indices(matrix.shape))
    names = tuple(s.name for s in strata)
    return Sample(tuple(strata), names, mapped, mapped, truth, np.ones(len(mapped)))


def means(sample: Sample, values: Float[np.ndarray, "point value"]) -> np.ndarray:
    """(stratum, value) area-weighted means; 0 in a stratum without points."""
    totals = _sums(sample, sample.area[:, None] * values)
    areas = _sums(sample, sample.area[:, None])
    return np.divide(totals, areas, out=np.zeros_like(totals), where=areas > 0)


def variances(sample: Sample, values: Float[np.ndarray, "point value"]) -> np.ndarray:
    """(stratum, value) variances of `means`.

    ``(1 − n/N) · s² / n`` (Cochran 1977, eq. 2.20), where ``s²`` is that of the residuals, each
    times its pixel's area over the mean one (eq. 6.13, of a ratio). With equal pixels and a huge
    stratum, a share ``p`` has Olofsson's ``p (1 − p) / (n − 1)``.
    """
    n = sample.points[:, None].astype(np.float64)
    mean_area = _sums(sample, sample.area[:, None]) / np.maximum(n, 1)
    relative = sample.area[:, None] / mean_area[sample.stratum]
    residuals = relative * (values - means(sample, values)[sample.stratum])
    worth = np.maximum(sample.worth[:, None], 1)
    return _sums(sample, residuals**2) / (worth * np.maximum(n - 1, 1))


def indicators(index: Int[np.ndarray, " point"], number: int) -> Float[np.ndarray, "point value"]:
    """1 in the column that each point has, 0 in the others."""
    return (index[:, None] == np.arange(number)).astype(np.float64)


def merged(sample: Sample, groups: Sequence[Sequence[int]]) -> Sample:
    """The same points with the strata of each group taken as one."""
    new = np.empty(len(sample.strata), np.int64)
    strata = []
    for index, group in enumerate(groups):
        members = [sample.strata[i] for i in group]
        new[list(group)] = index
        name = " + ".join(s.name for s in members)
        strata.append(Stratum(name, sum(s.area for s in members), sum(s.pixels for s in members)))
    return replace(sample, strata=tuple(strata), stratum=new[sample.stratum])


def _sums(sample: Sample, values: np.ndarray) -> np.ndarray:
    sums = np.zeros((len(sample.strata), values.shape[1]))
    np.add.at(sums, sample.stratum, values)
    return sums
