"""Where in one scene may be learnt from, and what is held out: rectangles in its pixels.

A crop is a square of ``side`` pixels, named by its top-left pixel, its corner. It lies inside the
scene, or at (0, 0) along an axis that is shorter than the crop, and there hangs over the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from geounet.grid import Window, intersect, shape_of


@dataclass(frozen=True)
class Chip:
    """A training sample: ``window`` of a scene; labels count inside ``keep`` only, if given."""

    scene: int
    window: Window
    keep: Window | None = None


@dataclass(frozen=True)
class Ground:
    """One scene's ``validation`` windows, and the ``closed`` ones that no training crop touches.

    Validation lies inside ``closed``, which also holds the buffer around it. A scene that is held
    out is closed as a whole.
    """

    shape: tuple[int, int]
    validation: tuple[Window, ...] = ()
    closed: tuple[Window, ...] = ()

    def corners(self, among: Window, side: int) -> Bool[np.ndarray, "row col"]:
        """Which pixels of the window ``among`` are corners of a crop that may be learnt from."""
        last = [max(n - side, 0) for n in self.shape]
        inside = (slice(0, last[0] + 1), slice(0, last[1] + 1))
        allowed = _marked(among, (inside,))
        # A crop touches a rectangle when its corner lies up to side - 1 pixels before it.
        return allowed & ~_marked(among, [_widened(w, side - 1, 0) for w in self.closed])

    def learnable(self, window: Window, side: int) -> Bool[np.ndarray, "row col"]:
        """The pixels of ``window`` that at least one crop holds that may be learnt from."""
        reach = _widened(window, side - 1, 0)
        if all(intersect(_widened(w, side - 1, side - 1), window) is None for w in self.closed):
            return _marked(window, ((slice(0, self.shape[0]), slice(0, self.shape[1])),))
        corners = self.corners(reach, side)
        # A pixel is held when a corner lies in the square that ends with it: a summed-area table.
        table = np.pad(corners, ((1, 0), (1, 0))).astype(np.int64).cumsum(axis=0).cumsum(axis=1)
        sums = table[side:] - table[:-side]
        held = (sums[:, side:] - sums[:, :-side]) > 0
        return held & _marked(window, ((slice(0, self.shape[0]), slice(0, self.shape[1])),))

    def held_out(self, window: Window) -> Bool[np.ndarray, "row col"]:
        """The pixels of ``window`` that are validation."""
        return _marked(window, self.validation)


def widened(windows: tuple[Window, ...], by: int) -> tuple[Window, ...]:
    """Each window with ``by`` more pixels on all four sides; it may hang over the scene."""
    return tuple(_widened(w, by, by) for w in windows)


def _widened(window: Window, before: int, after: int) -> Window:
    rows, cols = (slice(s.start - before, s.stop + after) for s in window)
    return (rows, cols)


def _marked(
    within: Window, windows: tuple[Window, ...] | list[Window]
) -> Bool[np.ndarray, "row col"]:
    """True at the pixels of ``within`` that lie in one of ``windows``."""
    marked = np.zeros(shape_of(within), bool)
    rows, cols = within
    for window in windows:
        common = intersect(within, window)
        if common is not None:
            r, c = common
            marked[
                r.start - rows.start : r.stop - rows.start,
                c.start - cols.start : c.stop - cols.start,
            ] = True
    return marked
