"""Read a cell; trace it, or survey it for cleaning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geounet.grid import Window
from geounet.polygons.cell import Cell, trace_cell
from geounet.polygons.lattice import Confidence, Labels, Lattice, read_framed
from geounet.polygons.measures import Measures
from geounet.polygons.regions import Pixels
from geounet.polygons.survey import Survey, survey_cell
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
        window, pixels = self.lattice.window(number), self.pixels(number)
        lengths = self.measures.lengths(window)
        return trace_cell(pixels, lengths, _corner(window), self.lattice.shape[1], self.thinning)

    def survey(self, number: int) -> Survey:
        """What cleaning must know of a cell."""
        corner = _corner(self.lattice.window(number))
        return survey_cell(self.pixels(number), corner, self.lattice.shape[1])

    def pixels(self, number: int) -> Pixels:
        """Read a cell."""
        window, none = self.lattice.window(number), np.empty((0, 0), np.uint8)
        return Pixels(
            read_framed(self.labels, self.lattice.shape, window),
            self.measures.areas(window),
            self.confidence(window) if self.confidence else none,
        )


def _corner(window: Window) -> tuple[int, int]:
    return window[0].start, window[1].start
