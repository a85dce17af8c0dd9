"""What varies slowly over a scene, known at nodes and interpolated between them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray


@dataclass(frozen=True)
class NodeLattice:
    """Values at evenly spaced nodes over a grid of ``shape``, with cubics through four of them."""

    shape: tuple[int, int]
    cells: int
    values: Float[ndarray, "node node"]
    doubtful: ndarray = field(default_factory=lambda: np.zeros((1, 1), bool))

    def cell(self, places: ndarray, axis: int) -> ndarray:
        """The cell that each place (in pixels) along an axis lies in."""
        index = np.floor(places * (self.cells / self.shape[axis])).astype(np.int64)
        return np.clip(index, 0, self.cells - 1)

    def weights(self, places: ndarray, axis: int) -> tuple[ndarray, ndarray]:
        """The first of four nodes around each place, and Lagrange's weights of the four."""
        first = np.clip(self.cell(places, axis) - 1, 0, self.cells - 3)
        t = places * (self.cells / self.shape[axis]) - first
        a, b, c, d = t, t - 1, t - 2, t - 3
        return first, np.stack([-b * c * d / 6, a * c * d / 2, -a * b * d / 2, a * b * c / 6], -1)

    def at(self, rows: ndarray, cols: ndarray) -> Float[ndarray, "row col"]:
        """Interpolated values at each row and column place."""
        # Sums of four products, term by term: a matrix product would round differently with the
        # shape of the window.
        r0, wr = self.weights(rows, 0)
        c0, wc = self.weights(cols, 1)
        down = sum(wr[:, k, None] * self.values[r0 + k] for k in range(4))
        return sum(wc[None, :, k] * down[:, c0 + k] for k in range(4))

    def with_doubt(self, wrong: ndarray) -> NodeLattice:
        """The same lattice, with the cells marked that cannot be trusted.

        A cubic looks a cell beyond its own, two at the edge of the grid, so doubt spreads so far.
        """
        doubtful = wrong.copy()
        for r, c in zip(*np.nonzero(wrong), strict=True):
            doubtful[max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3] = True
        return NodeLattice(self.shape, self.cells, self.values, doubtful)
