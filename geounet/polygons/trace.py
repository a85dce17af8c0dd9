"""Read a cell, and trace it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geounet.polygons.cell import Cell, trace_cell
from geounet.polygons.lattice import Confidence, Labels, Lattice, read_framed
from geounet.polygons.measures import Measures
from geounet.polygons.regions import Pixels
from geounet.polygons.thin import Thinning


@dataclass(frozen=True)
class Tracer:
    """All that is needed to trace any cell of a scene.

    Args:
        labels: reads class values of a window.
        measures: of the scene's pixels.
        lattice: the cells.
        thinning: what is done to borders.
        confidence: reads the confidence of a window, if there is one.
    """

    labels: Labels
    measures: Measures
    lattice: Lattice
    thinning: Thinning
    confidence: Confidence | None = None

    def __call__(self, number: int) -> Cell:
        """Trace a cell."""
        window = self.lattice.window(number)
        framed = read_framed(self.labels, self.lattice.shape, window)
        none = np.empty((0, 0), np.uint8)
        pixels = Pixels(
            framed,
            self.measures.areas(window),
            self.confidence(window) if self.confidence else none,
        )
        corner = (window[0].start, window[1].start)
        lengths = self.measures.lengths(window)
        return trace_cell(pixels, lengths, corner, self.lattice.shape[1], self.thinning)
