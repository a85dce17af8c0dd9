"""What the training ground holds, cell by cell: values only, counted by counting.py.

A cell is about a chip: a slab cut into equal parts of at most a chip's side. Cells have a fixed
order and are summed in it, so nothing depends on how many workers counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from geounet.errors import InputError
from geounet.grid import Window


@dataclass(frozen=True)
class Cells:
    """Some cells of one scene, or of all: one row each.

    ``windows`` holds first row, end row, first column and end column. ``valid`` counts the pixels
    of the training ground that have data, ``ignored`` those of them without a label, ``counts``
    those of each class, and ``held`` the labelled validation pixels of each class. ``mean`` and
    ``spread`` (sum of squared deviations) are those of the valid pixels' bands and indices, 0 where
    there are none.
    """

    windows: Int64[np.ndarray, "cell 4"]
    counts: Int64[np.ndarray, "cell klass"]
    held: Int64[np.ndarray, "cell klass"]
    ignored: Int64[np.ndarray, " cell"]
    valid: Int64[np.ndarray, " cell"]
    mean: Float64[np.ndarray, "cell input"]
    spread: Float64[np.ndarray, "cell input"]


@dataclass(frozen=True)
class BlockIndex:
    """The cells of all scenes, by scene and place; ``scene`` is each cell's scene.

    ``values`` counts the pixels of every label value, before it is mapped to a class, and
    ``digests`` name the content of each scene without a place ("" for the others, and where
    nothing varies).
    """

    scene: Int64[np.ndarray, " cell"]
    cells: Cells
    values: dict[int, int]
    digests: tuple[str, ...]

    def window(self, cell: int) -> Window:
        """The window of a cell."""
        top, bottom, left, right = self.cells.windows[cell].tolist()
        return (slice(top, bottom), slice(left, right))

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Labelled training pixels of each class."""
        return tuple(self.cells.counts.sum(axis=0).tolist())

    @property
    def held_counts(self) -> tuple[int, ...]:
        """Labelled validation pixels of each class."""
        return tuple(self.cells.held.sum(axis=0).tolist())

    def statistics(self, names: Sequence[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each input over the training pixels with data.

        Raises:
            InputError: if there are none, or an input is the same everywhere.
        """
        count = self.cells.valid.sum()
        if not count:
            raise InputError("training images: have no valid pixel; check data.bands and nodata")
        # Chan et al. 1979: merging parts by their means loses no digits to cancellation.
        part = self.cells.valid[:, None]
        mean = (part * self.cells.mean).sum(axis=0) / count
        spread = (self.cells.spread + part * (self.cells.mean - mean) ** 2).sum(axis=0)
        for name, width in zip(names, spread, strict=True):
            if not width > 0:
                raise InputError(
                    f"training images: {name} is the same everywhere; check data.bands"
                )
        return tuple(mean.tolist()), tuple(np.sqrt(spread / count).tolist())
