"""Are these points the sample that was drawn: all of them, only them, and where they were drawn?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from geounet.assess.design_file import SampleDesign
from geounet.assess.sample_file import Interpreted
from geounet.errors import InputError
from geounet.grid import Grid

_UNKNOWN = (
    "this is no probability sample: {why}. The points are taken as if they had been drawn at "
    "random over the map, which nothing assures, so the intervals do not hold"
)


@dataclass(frozen=True)
class Matched:
    """Points with a class, the stratum each was drawn from, and what is to be said of them.

    ``chance`` is False where nobody knows with which chances they came into the sample; the strata
    then say nothing. ``missing`` points of the design have no class, or are gone.
    """

    points: Interpreted
    stratum: Int[ndarray, " point"]
    chance: bool
    missing: int
    notes: tuple[str, ...]

    def where(self, mask: ndarray) -> Matched:
        """Only the points that ``mask`` has."""
        kept = self.points.where(mask)
        return Matched(kept, self.stratum[mask], self.chance, self.missing, self.notes)


def match(path: Path, found: Interpreted, design: SampleDesign | None, grid: Grid) -> Matched:
    """The points that count.

    Those that are not of the design are left out. Where some were moved, nobody knows the chances
    of any. Those that are gone are missing, like those without a class.

    Raises:
        InputError: if a point lies off the map, an id comes twice, or none is of the design.
    """
    _refuse_off(path, found, grid)
    filled = np.array([bool(text) for text in found.text], bool)
    if design is None:
        note = _UNKNOWN.format(why="no design tells how it was drawn (--design)")
        points = found.where(filled)
        missing = int((~filled).sum())
        return Matched(points, np.zeros_like(points.id), False, missing, (note,))
    _refuse_twice(path, found)
    known = {p.id: (p.row, p.col, p.stratum) for p in design.points}
    own = np.array([i in known for i in found.id.tolist()], bool)
    if not own.any():
        raise InputError(
            f"{path}: no point has an id of the design; keep the field `id`, or give the design "
            "of these points with --design"
        )
    points = found.where(own & filled)
    drawn = np.array([known[i] for i in points.id.tolist()], np.int64).reshape(-1, 3)
    moved = int(((points.rows != drawn[:, 0]) | (points.cols != drawn[:, 1])).sum())
    notes = []
    if not own.all():
        notes.append(f"{(~own).sum()} points are not of the design, and were left out")
    if moved:
        why = f"{moved} points do not lie in the pixel that was drawn"
        notes.append(_UNKNOWN.format(why=why))
    missing = len(design.points) - len(points.id)
    return Matched(points, drawn[:, 2], not moved, missing, tuple(notes))


def _refuse_off(path: Path, found: Interpreted, grid: Grid) -> None:
    rows, cols = found.rows, found.cols
    off = (rows < 0) | (cols < 0) | (rows >= grid.shape[0]) | (cols >= grid.shape[1])
    if off.any():
        raise InputError(
            f"{path}: {off.sum()} points lie off the map, the first with id "
            f"{found.id[off.argmax()]}; move them back, or give the map that they were drawn on"
        )


def _refuse_twice(path: Path, found: Interpreted) -> None:
    ids, counts = np.unique(found.id[found.id >= 0], return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"{path}: id {ids[counts.argmax()]} comes {counts.max()} times; keep one point of each"
        )
