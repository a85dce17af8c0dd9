"""The fixed lattice of cells that a scene is traced in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, UInt8
from numpy import ndarray

from geounet.grid import Window
from geounet.polygons.cracks import OUTSIDE

SIDE = 2048
"""Pixels along a cell of the lattice."""

Labels = Callable[[Window], Int32[ndarray, "row col"]]
"""Reads class values of a window of the scene; VOID where there is no data."""
Confidence = Callable[[Window], UInt8[ndarray, "row col"]]


@dataclass(frozen=True)
class Lattice:
    """Cells of ``side`` pixels over a scene of ``shape``, numbered row by row."""

    shape: tuple[int, int]
    side: int = SIDE

    @property
    def rows(self) -> int:
        """Rows of cells."""
        return -(-self.shape[0] // self.side)

    @property
    def cols(self) -> int:
        """Cells in a row."""
        return -(-self.shape[1] // self.side)

    def window(self, cell: int) -> Window:
        """The pixels of a cell."""
        starts = [k * self.side for k in divmod(cell, self.cols)]
        rows, cols = (
            slice(start, min(start + self.side, n))
            for start, n in zip(starts, self.shape, strict=True)
        )
        return rows, cols

    def row(self, row: int) -> range:
        """The cells of a row of cells."""
        return range(row * self.cols, (row + 1) * self.cols)


def read_framed(read: Labels, shape: tuple[int, int], window: Window) -> Int32[ndarray, "row col"]:
    """A window with a frame of one pixel around it; OUTSIDE beyond a scene of ``shape``."""
    wanted = [(s.start - 1, s.stop + 1) for s in window]
    rows, cols = (
        slice(max(start, 0), min(stop, n)) for (start, stop), n in zip(wanted, shape, strict=True)
    )
    framed = np.full([stop - start for start, stop in wanted], OUTSIDE, np.int32)
    top, left = (s.start - start for s, (start, _) in zip((rows, cols), wanted, strict=True))
    part = read((rows, cols))
    framed[top : top + part.shape[0], left : left + part.shape[1]] = part
    return framed
