"""Pixels of labelled scenes, decoded slab by slab, each slab once while memory lasts.

A slab is a part of a scene that lies on the blocks of its files: reading one never decodes a block
that another slab needs too, so chips that lie anywhere cost no more than chips on the blocks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from threading import Lock

import numpy as np

from geounet.card import NODATA
from geounet.grid import Window, intersect, round_up, shape_of, shift
from geounet.learn.ground import Chip
from geounet.learn.labelled import Image, LabelledScene, Labels
from geounet.scene import Scene

SMALL = 2**20
"""Pixels: a scene of so many at most is one slab, whatever its blocks."""
SLAB_BYTES = 64 * 2**20
"""A slab that would be larger, decoded, is cut; never below one block."""
LATEST = 8
"""One of so many parts of the memory is for the latest slabs."""
Key = tuple[int, int, int]
Decoded = tuple[Image, Labels]


@dataclass(frozen=True)
class Slabs:
    """The slabs of one scene: ``size`` each, from pixel (0, 0), smaller at the end."""

    shape: tuple[int, int]
    size: tuple[int, int]

    @property
    def all(self) -> list[Window]:
        """Row by row; they partition the scene."""
        return self.meeting((slice(0, self.shape[0]), slice(0, self.shape[1])))

    def meeting(self, window: Window) -> list[Window]:
        """The slabs that share pixels with ``window``."""
        rows, cols = (
            [slice(start, min(start + size, length)) for start in _starts(span, length, size)]
            for span, length, size in zip(window, self.shape, self.size, strict=True)
        )
        return list(product(rows, cols))


def slabs_of(labelled: LabelledScene, side: int) -> Slabs:
    """Slabs of whole blocks, at least ``side`` pixels each way where the scene is."""
    shape = labelled.grid.shape
    pixel_bytes = 4 * len(labelled.scale) + 1
    return Slabs(shape, _size(shape, _block(labelled.scene), side, pixel_bytes))


class Reader:
    """Reads any chip; decoded slabs stay in memory while ``cache_mb`` lasts.

    Threads may read at once. Most of the memory holds the slabs that came first, and never gives
    them up: chips come in no order, so a new slab is no likelier to be needed than an old one. The
    rest holds the latest, as the crop that is drawn around a pixel needs the pixel's slab again.
    """

    def __init__(self, scenes: Sequence[LabelledScene], side: int, cache_mb: int) -> None:
        self._scenes = tuple(scenes)
        self._slabs = tuple(slabs_of(scene, side) for scene in scenes)
        self._kept: dict[Key, Decoded] = {}
        self._latest: OrderedDict[Key, Decoded] = OrderedDict()
        self._room_for_latest = cache_mb * 2**20 // LATEST
        self._room = cache_mb * 2**20 - self._room_for_latest
        self._lock = Lock()

    def read(self, chip: Chip) -> tuple[Image, Labels]:
        """The chip's bands and labels: NaN and 255 outside the scene, 255 outside ``keep``."""
        window, bands = chip.window, len(self._scenes[chip.scene].scale)
        image = np.full((*shape_of(window), bands), np.nan, np.float32)
        for slab in self._slabs[chip.scene].meeting(window):
            common = intersect(slab, window)
            assert common is not None
            numbers, _ = self._read(chip.scene, slab)
            image[shift(common, window)] = numbers[shift(common, slab)]
        return image, self.labels(chip)

    def labels(self, chip: Chip) -> Labels:
        """``read(chip)[1]``, without copying the bands."""
        labels = np.full(shape_of(chip.window), NODATA, np.uint8)
        for slab in self._slabs[chip.scene].meeting(chip.window):
            common = intersect(slab, chip.window if chip.keep is None else chip.keep)
            if common is not None:
                classes = self._read(chip.scene, slab)[1]
                labels[shift(common, chip.window)] = classes[shift(common, slab)]
        return labels

    def _read(self, scene: int, slab: Window) -> Decoded:
        key = (scene, slab[0].start, slab[1].start)
        known = self._kept.get(key) or self._latest.get(key)
        if known is not None:
            return known
        read = self._scenes[scene].read(slab)
        with self._lock:
            # Another thread may have read it meanwhile: then its arrays are those to keep.
            known = self._kept.get(key) or self._latest.get(key)
            return known or self._keep(key, read)

    def _keep(self, key: Key, read: Decoded) -> Decoded:
        if _size_of(read) <= self._room:
            self._room -= _size_of(read)
            self._kept[key] = read
            return read
        self._room_for_latest -= _size_of(read)
        self._latest[key] = read
        while self._room_for_latest < 0:
            _, oldest = self._latest.popitem(last=False)
            self._room_for_latest += _size_of(oldest)
        return read


def _size_of(read: Decoded) -> int:
    return sum(array.nbytes for array in read)


def _starts(span: slice, length: int, size: int) -> range:
    """Where the parts of ``size`` begin that share pixels with ``span``, along one axis."""
    first, end = max(span.start, 0), min(span.stop, length)
    return range(first // size * size, end, size) if first < end else range(0)


def _block(scene: Scene) -> tuple[int, int]:
    """Rows and columns of the largest block among the files on the scene's own grid."""
    blocks = [b.raster.block for b in scene.bands if b.raster.grid == scene.grid]
    rows, cols = (max((block[k] for block in blocks), default=1) for k in (0, 1))
    return rows, cols


def _size(
    shape: tuple[int, int], block: tuple[int, int], side: int, pixel_bytes: int
) -> tuple[int, int]:
    if shape[0] * shape[1] <= SMALL:
        return shape
    rows, cols = (min(n, round_up(side, b)) for n, b in zip(shape, block, strict=True))
    if rows * cols * pixel_bytes > SLAB_BYTES:
        # A file of wide strips: fewer rows at a time, as every row is decoded at full width.
        rows = max(block[0], SLAB_BYTES // (cols * pixel_bytes) // block[0] * block[0])
    return min(rows, shape[0]), cols
