"""Which chips a batch shows: a function of the index, the settings, seed, epoch and batch alone.

A drawn crop is found from the inside out: a class, then a cell by its pixels of that class, then
one of these pixels, then a crop among all allowed ones that hold it. So a class is seen as often
as the settings say however rare it is, and at every place of a crop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import shapely
from jaxtyping import Float64, Int64, UInt8

from geounet.grid import Window
from geounet.learn.block_index import BlockIndex
from geounet.learn.ground import Chip, Ground
from geounet.learn.split_settings import SamplingSettings
from geounet.learn.train_settings import TrainSettings

LabelsOf = Callable[[Chip], UInt8[np.ndarray, "row col"]]


def training_chips(index: BlockIndex, grounds: Sequence[Ground], side: int) -> tuple[Chip, ...]:
    """A grid of chips over the training ground, by scene and place; each is near a label.

    The last chips of a row or column slide inward to the scene's end. A chip that would touch
    closed ground moves to the nearest place where it does not, or is left out; so is one whose
    cells hold no label.
    """
    chips = []
    labelled = index.cells.counts.any(axis=1)
    for scene, ground in enumerate(grounds):
        windows = [_crop(corner, side) for corner in dict.fromkeys(_corners(ground, side))]
        cells = index.cells.windows[labelled & (index.scene == scene)]
        chips += [Chip(scene, windows[k]) for k in _meeting(windows, cells)]
    return tuple(chips)


def validation_chips(grounds: Sequence[Ground], side: int) -> tuple[Chip, ...]:
    """Chips over the validation windows: each validation pixel counts in exactly one of them."""
    chips = []
    for scene, ground in enumerate(grounds):
        for area in ground.validation:
            parts = [
                [slice(i, min(i + side, span.stop)) for i in range(span.start, span.stop, side)]
                for span in area
            ]
            for row, col in product(*parts):
                # The window of the last part slides inward, so that the chip is full.
                corner = [
                    max(min(part.start, span.stop - side), span.start)
                    for part, span in zip((row, col), area, strict=True)
                ]
                chips.append(Chip(scene, _crop((corner[0], corner[1]), side), (row, col)))
    return tuple(chips)


class Every:
    """Each chip once per epoch, in an order drawn from (seed, epoch); the last batch is filled."""

    def __init__(self, chips: Sequence[Chip], settings: TrainSettings) -> None:
        self.steps = -(-len(chips) // settings.batch)
        self._chips, self._batch = chips, settings.batch
        # Remembered, as every batch of an epoch asks for the same order.
        self._order = lru_cache(maxsize=2)(
            lambda epoch: np.random.default_rng((settings.seed, epoch)).permutation(len(chips))
        )

    def chips(self, epoch: int, i: int) -> list[Chip]:
        """The chips of batch ``i``."""
        order = np.resize(self._order(epoch), (self.steps, self._batch))
        return [self._chips[k] for k in order[i]]


class Drawn:
    """Crops drawn with replacement from the training ground, each around a labelled pixel."""

    def __init__(
        self,
        index: BlockIndex,
        grounds: Sequence[Ground],
        settings: TrainSettings,
        labels_of: LabelsOf,
    ) -> None:
        """``settings.sampling.kind`` is random or balanced; ``labels_of`` reads a cell's labels."""
        self._index, self._grounds, self._labels_of = index, grounds, labels_of
        self._settings, self._side = settings, settings.chip
        counts = index.cells.counts
        self._chances = class_chances(counts.sum(axis=0), settings.sampling)
        self._up_to = counts.cumsum(axis=0)
        covered = int(index.cells.valid[counts.any(axis=1)].sum())
        per_batch = self._side**2 * settings.batch
        self.steps = settings.sampling.batches or max(1, -(-covered // per_batch))

    def chips(self, epoch: int, i: int) -> list[Chip]:
        """The crops of batch ``i``."""
        rng = np.random.default_rng((self._settings.seed, epoch, i))
        return [self._draw(rng) for _ in range(self._settings.batch)]

    def _draw(self, rng: np.random.Generator) -> Chip:
        klass = int(rng.choice(len(self._chances), p=self._chances))
        up_to = self._up_to[:, klass]
        cell = int(np.searchsorted(up_to, rng.integers(up_to[-1]), side="right"))
        scene, window = int(self._index.scene[cell]), self._index.window(cell)
        ground = self._grounds[scene]
        labels = self._labels_of(Chip(scene, window))
        found = np.argwhere((labels == klass) & ground.learnable(window, self._side))
        row, col = found[rng.integers(len(found))] + [span.start for span in window]
        # One of the allowed crops that hold the pixel, all alike.
        among = (slice(row - self._side + 1, row + 1), slice(col - self._side + 1, col + 1))
        corners = np.argwhere(ground.corners(among, self._side))
        row, col = corners[rng.integers(len(corners))] + [span.start for span in among]
        return Chip(scene, _crop((int(row), int(col)), self._side))


def class_chances(
    counts: Int64[np.ndarray, " klass"], settings: SamplingSettings
) -> Float64[np.ndarray, " klass"]:
    """The chance of each class that a crop is drawn for it; they sum to 1.

    In proportion to its labelled pixels for ``random``, to a power of them for ``balanced``. A
    class without any is never drawn.
    """
    power = 1.0 if settings.kind == "random" else settings.power
    weights = np.where(counts > 0, (counts / counts.sum()) ** power, 0.0)
    return weights / weights.sum()


def _corners(ground: Ground, side: int) -> Iterator[tuple[int, int]]:
    """Corners of a grid of chips, moved off closed ground."""
    rows, cols = (
        [max(min(i, length - side), 0) for i in range(0, length, side)] for length in ground.shape
    )
    for row, col in product(rows, cols):
        here = (slice(row, row + 1), slice(col, col + 1))
        if ground.corners(here, side).all():
            yield row, col
            continue
        around = (slice(row - side + 1, row + side), slice(col - side + 1, col + side))
        allowed = np.argwhere(ground.corners(around, side)) - (side - 1)
        if len(allowed):
            nearest = allowed[np.abs(allowed).sum(axis=1).argmin()]
            yield row + int(nearest[0]), col + int(nearest[1])


def _meeting(windows: Sequence[Window], cells: Int64[np.ndarray, "cell 4"]) -> list[int]:
    """Which windows share a pixel with a cell, in order."""
    top, bottom, left, right = cells.T
    tree = shapely.STRtree(shapely.box(left, top, right, bottom))
    edges = np.array([(r.start, r.stop, c.start, c.stop) for r, c in windows]).reshape(-1, 4).T
    # Half a pixel smaller, so that windows which only touch are not found.
    boxes = shapely.box(edges[2] + 0.5, edges[0] + 0.5, edges[3] - 0.5, edges[1] - 0.5)
    return np.unique(tree.query(boxes)[0]).tolist()


def _crop(corner: tuple[int, int], side: int) -> Window:
    row, col = corner
    return (slice(row, row + side), slice(col, col + side))
