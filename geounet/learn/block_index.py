"""What the training ground holds, cell by cell: counted by Dask in one pass, no scene read whole.

A cell is about a chip: a slab cut into equal parts of at most a chip's side. Of each the index
keeps the pixels of every class, and count, mean and sum of squares of every band, over the pixels
that training may see; and the pixels of every class that are held out. Cells have a fixed order
and are summed in it, so nothing depends on how many workers counted.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import product
from math import prod

import numpy as np
from distributed import Future
from jaxtyping import Float64, Int64, UInt8

from geounet.card import NODATA
from geounet.engine import cluster
from geounet.errors import GeounetError, InputError
from geounet.grid import Window, shape_of, shift
from geounet.learn.ground import Ground
from geounet.learn.labelled import Image, LabelledScene
from geounet.learn.slabs import slabs_of

PIXELS_PER_TASK = 2**20
"""Small scenes share a task: the scheduler takes about 0.004 s for each."""


@dataclass(frozen=True)
class Cells:
    """Some cells of one scene, or of all: one row each.

    ``windows`` holds first row, end row, first column and end column. ``valid`` counts the pixels
    of the training ground that have data, ``ignored`` those of them without a label, ``counts``
    those of each class, and ``held`` the labelled validation pixels of each class. ``mean`` and
    ``spread`` (sum of squared deviations) are those of the valid pixels, 0 where there are none.
    """

    windows: Int64[np.ndarray, "cell 4"]
    counts: Int64[np.ndarray, "cell klass"]
    held: Int64[np.ndarray, "cell klass"]
    ignored: Int64[np.ndarray, " cell"]
    valid: Int64[np.ndarray, " cell"]
    mean: Float64[np.ndarray, "cell band"]
    spread: Float64[np.ndarray, "cell band"]


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
        """Mean and standard deviation of each band over the training pixels with data.

        Raises:
            InputError: if there are none, or a band is the same everywhere.
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
                    f"training images: band {name} is the same everywhere; check data.bands"
                )
        return tuple(mean.tolist()), tuple(np.sqrt(spread / count).tolist())


@dataclass(frozen=True)
class Part:
    """One slab of a scene, with all that is needed to count it."""

    scene: int
    labelled: LabelledScene
    ground: Ground
    slab: Window


def build_index(
    scenes: Sequence[LabelledScene],
    grounds: Sequence[Ground],
    side: int,
    classes: int,
    workers: int = 0,
) -> BlockIndex:
    """Count every pixel of every scene once.

    Args:
        scenes: what to count.
        grounds: of each scene, where training and validation are.
        side: of a chip.
        classes: how many there are.
        workers: Dask processes; 0 counts in threads of this one.

    Raises:
        InputError: if a file cannot be read.
    """
    tasks = list(_tasks(scenes, grounds, side))
    found, cells, values = list[int](), list[Cells](), Counter[int]()
    digests = [hashlib.sha256() for _ in scenes]
    varied = [False for _ in scenes]
    for k, slab in _in_order(tasks, side, classes, workers):
        found += [k] * len(slab.cells.valid)
        cells.append(slab.cells)
        values.update(slab.values)
        digests[k].update(slab.digest)
        varied[k] |= slab.varies
    names = tuple(
        digest.hexdigest() if varies and not scene.georeferenced else ""
        for scene, digest, varies in zip(scenes, digests, varied, strict=True)
    )
    return BlockIndex(np.array(found), _joined(cells), dict(sorted(values.items())), names)


@dataclass(frozen=True)
class SlabCount:
    """What one slab adds to the index; ``varies`` is False where its bands hold one number."""

    cells: Cells
    values: dict[int, int]
    digest: bytes
    varies: bool


def count_parts(parts: Sequence[Part], side: int, classes: int) -> list[tuple[int, SlabCount]]:
    """The task: some slabs of some scenes, counted in order, with the number of their scene."""
    try:
        return [(part.scene, _count(part, side, classes)) for part in parts]
    except GeounetError as error:
        failure = type(error)(str(error))
    # Raised anew, without its causes: Dask pickles those too, and GDAL's cannot be read back.
    raise failure


def _tasks(
    scenes: Sequence[LabelledScene], grounds: Sequence[Ground], side: int
) -> Iterator[list[Part]]:
    """All slabs in order, about ``PIXELS_PER_TASK`` at a time."""
    task: list[Part] = []
    pixels = 0
    for k, (scene, ground) in enumerate(zip(scenes, grounds, strict=True)):
        for slab in slabs_of(scene, side).all:
            task.append(Part(k, scene, ground, slab))
            pixels += prod(shape_of(slab))
            if pixels >= PIXELS_PER_TASK:
                yield task
                task, pixels = [], 0
    if task:
        yield task


def _in_order(
    tasks: Sequence[list[Part]], side: int, classes: int, workers: int
) -> Iterator[tuple[int, SlabCount]]:
    """The tasks' results in their order, however many workers there are; few wait in memory."""
    if len(tasks) == 1:
        yield from count_parts(tasks[0], side, classes)
        return
    waiting = deque(tasks)
    with cluster(workers) as client:
        threads = client.nthreads()
        limit = sum(threads.values()) + len(threads)
        coming: deque[Future] = deque()
        while waiting or coming:
            while waiting and len(coming) < limit:
                task = waiting.popleft()
                coming.append(client.submit(count_parts, task, side, classes, pure=False))
            yield from coming.popleft().result()


def _count(part: Part, side: int, classes: int) -> SlabCount:
    """Read one slab and count its cells."""
    slab = part.slab
    values, pixels = np.unique(part.labelled.label_values(slab), return_counts=True)
    image, labels = part.labelled.read(slab)
    rows, cols = (_spans(span, side) for span in slab)
    cells = []
    for row, col in product(rows, cols):
        window = (row, col)
        crop = shift(window, slab)
        cells.append(_cell(image[crop], labels[crop], window, part.ground, (side, classes)))
    digest = hashlib.sha256(f"{slab}{image.shape}".encode() + np.ascontiguousarray(image).tobytes())
    seen = dict(zip(values.tolist(), pixels.tolist(), strict=True))
    numbers = image[np.isfinite(image)]
    varies = bool(len(numbers)) and bool(numbers.min() < numbers.max())
    return SlabCount(_joined(cells), seen, digest.digest(), varies)


def _cell(
    image: Image,
    labels: UInt8[np.ndarray, "row col"],
    window: Window,
    ground: Ground,
    side_and_classes: tuple[int, int],
) -> Cells:
    """The one row of a cell; the arrays are those of its window."""
    side, classes = side_and_classes
    learnt = ground.learnable(window, side) & np.isfinite(image).all(axis=-1)
    pixels = image[learnt].astype(np.float64)
    mean = pixels.mean(axis=0) if len(pixels) else np.zeros(image.shape[-1])
    counts = _tally(labels[learnt], classes)
    row, col = window
    return Cells(
        windows=np.array([[row.start, row.stop, col.start, col.stop]]),
        counts=counts[None],
        held=_tally(labels[ground.held_out(window)], classes)[None],
        ignored=np.array([len(pixels) - counts.sum()]),
        valid=np.array([len(pixels)]),
        mean=mean[None],
        spread=((pixels - mean) ** 2).sum(axis=0)[None],
    )


def _tally(labels: UInt8[np.ndarray, " pixel"], classes: int) -> Int64[np.ndarray, " klass"]:
    return np.bincount(labels, minlength=NODATA + 1)[:classes]


def _spans(span: slice, side: int) -> list[slice]:
    """Equal parts of a slab's side, of at most ``side`` pixels."""
    length = span.stop - span.start
    parts = -(-length // side)
    ends = [span.start + length * k // parts for k in range(parts + 1)]
    return [slice(a, b) for a, b in zip(ends, ends[1:], strict=False)]


def _joined(cells: Sequence[Cells]) -> Cells:
    names = [field.name for field in fields(Cells)]
    return Cells(**{n: np.concatenate([getattr(c, n) for c in cells]) for n in names})
