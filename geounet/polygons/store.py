"""Where traced cells wait until their features are written: in memory, or in cell_files.py."""

from __future__ import annotations

from typing import Protocol

from numpy import ndarray

from geounet.polygons.cell import Cell, Sums
from geounet.polygons.join import Part
from geounet.polygons.lines import Chains, Rings, select


class CellStore(Protocol):
    """Keeps what was traced in each cell."""

    def put(self, number: int, cell: Cell) -> object:
        """Keep a cell; may be called from several threads."""

    def whole(self, number: int) -> Sums:
        """The sums of the finished regions of a cell."""

    def part(self, number: int) -> Part:
        """What is known of the open regions of a cell."""

    def finished(self, number: int, regions: ndarray) -> Rings:
        """The rings of some finished regions of a cell."""

    def open(self, number: int, regions: ndarray) -> Chains:
        """The chains of some open regions of a cell."""


class Memory:
    """Cells in memory."""

    def __init__(self) -> None:
        self._cells: dict[int, Cell] = {}

    def put(self, number: int, cell: Cell) -> None:
        """Keep a cell."""
        self._cells[number] = cell

    def whole(self, number: int) -> Sums:
        """The sums of the finished regions of a cell."""
        return self._cells[number].finished.sums

    def part(self, number: int) -> Part:
        """What is known of the open regions of a cell."""
        cell = self._cells[number]
        return Part(cell.open.sums, cell.edges)

    def finished(self, number: int, regions: ndarray) -> Rings:
        """The rings of some finished regions of a cell."""
        return select(self._cells[number].finished.rings, regions)

    def open(self, number: int, regions: ndarray) -> Chains:
        """The chains of some open regions of a cell."""
        return select(self._cells[number].open.chains, regions)
