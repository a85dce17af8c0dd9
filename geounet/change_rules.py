"""What two or more dates say of one place: was it of a class, is it now, and since when.

Two dates cannot be told apart from what lasts: water on both is not "permanent water". Only a
layer that marks places from elsewhere, over many years, can say that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from numpy import ndarray

from geounet.card import NODATA


@dataclass(frozen=True)
class Seen:
    """What is known of some pixels.

    Attributes:
        share: the probability of the class that is looked for, at each date.
        valid: where a date was seen.
        marked: where a layer from elsewhere marks the place; None without one.
    """

    share: Float32[ndarray, "date row col"]
    valid: Bool[ndarray, "date row col"]
    marked: Bool[ndarray, "row col"] | None = None


@dataclass(frozen=True)
class ChangeRule:
    """The value that a map gives to each kind of change of a class.

    A pixel is mapped where two dates or more were seen, and compared at the first and the last of
    them: what comes back before the last is no change, as most of that is a cloud that no mask hid.

    Args:
        both: of the class at the first date and the last.
        appeared: at the last only.
        gone: at the first only.
        neither: at none of the two.
        marked: at the last, where a layer marks the place.
        dated: True if ``gone`` grows by the number of the date, from 0, since which it is gone.
        threshold: the least probability at which a pixel is of the class.
    """

    both: int
    appeared: int
    gone: int
    neither: int
    marked: int | None = None
    dated: bool = False
    threshold: float = 0.5

    def __call__(self, seen: Seen) -> tuple[UInt8[ndarray, "row col"], UInt8[ndarray, "row col"]]:
        """Class values, and scores in %; both NODATA where fewer than two dates were seen.

        The score is the probability of the first state times that of the second. That is the
        probability of the change only if the errors of the two dates were independent, which those
        of one network at one place are not.
        """
        mapped = is_mapped(seen.valid)
        of_class = (seen.share >= self.threshold) & seen.valid
        first, last = _first(seen.valid), _last(seen.valid)
        was, now = _at(of_class, first), _at(of_class, last)
        before, since = _turn(of_class, seen.valid, was & ~now, first, last)
        kinds = [was & now, ~was & now, was & ~now]
        labels = np.select(kinds, [self.both, self.appeared, self.gone], self.neither)
        if self.dated:
            labels = np.where(kinds[2], self.gone + since, labels)
        if self.marked is not None and seen.marked is not None:
            labels = np.where(now & seen.marked, self.marked, labels)
        old, new = _at(seen.share, before), _at(seen.share, since)
        score = np.where(was, old, 1 - old) * np.where(now, new, 1 - new)
        percent = np.round(np.float32(100) * score).astype(np.uint8)
        nothing = np.uint8(NODATA)
        return np.where(mapped, labels.astype(np.uint8), nothing), np.where(
            mapped, percent, nothing
        )


def is_mapped(valid: Bool[ndarray, "date row col"]) -> Bool[ndarray, "row col"]:
    """Where dates can be compared: two or more were seen."""
    return valid.sum(axis=0) >= 2


def _first(valid: Bool[ndarray, "date row col"]) -> Int64[ndarray, "row col"]:
    return valid.argmax(axis=0)


def _last(valid: Bool[ndarray, "date row col"]) -> Int64[ndarray, "row col"]:
    return len(valid) - 1 - valid[::-1].argmax(axis=0)


def _at(values: ndarray, date: Int64[ndarray, "row col"]) -> ndarray:
    return np.take_along_axis(values, date[None], axis=0)[0]


def _turn(
    of_class: Bool[ndarray, "date row col"],
    valid: Bool[ndarray, "date row col"],
    gone: Bool[ndarray, "row col"],
    first: Int64[ndarray, "row col"],
    last: Int64[ndarray, "row col"],
) -> tuple[Int64[ndarray, "row col"], Int64[ndarray, "row col"]]:
    """The dates between which the class went: the last that has it, the first after that.

    Where it is not ``gone`` these are ``first`` and ``last``.
    """
    before, since, without = first.copy(), last.copy(), gone.copy()
    for date in range(len(valid) - 1, -1, -1):
        before[without & of_class[date]] = date
        without &= ~of_class[date]
        since[without & valid[date]] = date
    return before, since
