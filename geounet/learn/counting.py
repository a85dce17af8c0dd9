"""The block index of scenes, counted by Dask slab by slab in one pass: no scene is read whole.

Results are taken in the order of the slabs, and few wait in memory.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise, product
from math import prod

import numpy as np
from distributed import Future
from jaxtyping import Float64, Int64, UInt8

from geounet.card import NODATA
from geounet.cluster import cluster
from geounet.errors import task
from geounet.grid import Window, shape_of, shift
from geounet.indices import Pairs, normalised_differences
from geounet.learn.block_index import BlockIndex, Cells
from geounet.learn.ground import Ground
from geounet.learn.labelled import Image, LabelledScene
from geounet.learn.slabs import slabs_of
from geounet.settings import ComputeSettings

PIXELS_PER_TASK = 2**20
"""Small scenes share a task: the scheduler takes about 0.004 s for each."""


@dataclass(frozen=True)
class Counted:
    """What is counted: cells of at most ``side`` pixels, classes, and indices of pairs of bands."""

    side: int
    classes: int
    pairs: Pairs = ()


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
    counted: Counted,
    workers: int = 0,
) -> BlockIndex:
    """Count every pixel of every scene once.

    Args:
        scenes: what to count.
        grounds: of each scene, where training and validation are.
        counted: the side of a chip, how many classes there are, and which indices.
        workers: Dask processes; 0 counts in threads of this one.

    Raises:
        InputError: if a file cannot be read.
    """
    tasks = list(_tasks(scenes, grounds, counted.side))
    found, cells, values = list[int](), list[Cells](), Counter[int]()
    content = [b"" for _ in scenes]
    for k, slab in _in_order(tasks, counted, workers):
        found += [k] * len(slab.cells.valid)
        cells.append(slab.cells)
        values.update(slab.values)
        content[k] += slab.digest
    digests = tuple(hashlib.sha256(c).hexdigest() if c else "" for c in content)
    return BlockIndex(np.array(found), _joined(cells), dict(sorted(values.items())), digests)


@dataclass(frozen=True)
class SlabCount:
    """What one slab adds to the index; ``digest`` is b"" where its content does not tell it."""

    cells: Cells
    values: dict[int, int]
    digest: bytes


@task
def count_parts(parts: Sequence[Part], counted: Counted) -> list[tuple[int, SlabCount]]:
    """The task: some slabs of some scenes, counted in order, with the number of their scene."""
    return [(part.scene, _count(part, counted)) for part in parts]


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
    tasks: Sequence[list[Part]], counted: Counted, workers: int
) -> Iterator[tuple[int, SlabCount]]:
    """The tasks' results in their order, however many workers there are; few wait in memory."""
    if len(tasks) == 1:
        yield from count_parts(tasks[0], counted)
        return
    waiting = deque(tasks)
    with cluster(ComputeSettings(workers=workers)) as client:
        threads = client.nthreads()
        limit = sum(threads.values()) + len(threads)
        coming: deque[Future] = deque()
        while waiting or coming:
            while waiting and len(coming) < limit:
                task = waiting.popleft()
                coming.append(client.submit(count_parts, task, counted, pure=False))
            yield from coming.popleft().result()


def _count(part: Part, counted: Counted) -> SlabCount:
    """Read one slab and count its cells."""
    slab = part.slab
    values, pixels = np.unique(part.labelled.label_values(slab), return_counts=True)
    image, labels = part.labelled.read(slab)
    rows, cols = (_spans(span, counted.side) for span in slab)
    cells = []
    for row, col in product(rows, cols):
        window = (row, col)
        crop = shift(window, slab)
        cells.append(_cell(image[crop], labels[crop], window, part.ground, counted))
    seen = dict(zip(values.tolist(), pixels.tolist(), strict=True))
    digest = b"" if part.labelled.georeferenced else _digest(image, slab)
    return SlabCount(_joined(cells), seen, digest)


def _digest(image: Image, slab: Window) -> bytes:
    """Names place in the patch and content; b"" where all numbers are the same."""
    numbers = image[np.isfinite(image)]
    if not len(numbers) or numbers.min() == numbers.max():
        return b""
    return hashlib.sha256(f"{slab} {image.shape}".encode() + image.tobytes()).digest()


def _cell(
    image: Image,
    labels: UInt8[np.ndarray, "row col"],
    window: Window,
    ground: Ground,
    counted: Counted,
) -> Cells:
    """The one row of a cell; the arrays are those of its window."""
    learnt = ground.learnable(window, counted.side) & np.isfinite(image).all(axis=-1)
    pixels = _inputs(image[learnt].astype(np.float64), counted.pairs)
    mean = pixels.mean(axis=0) if len(pixels) else np.zeros(pixels.shape[-1])
    counts = _tally(labels[learnt], counted.classes)
    row, col = window
    return Cells(
        windows=np.array([[row.start, row.stop, col.start, col.stop]]),
        counts=counts[None],
        held=_tally(labels[ground.held_out(window)], counted.classes)[None],
        ignored=np.array([len(pixels) - counts.sum()]),
        valid=np.array([len(pixels)]),
        mean=mean[None],
        spread=((pixels - mean) ** 2).sum(axis=0)[None],
    )


def _inputs(
    pixels: Float64[np.ndarray, "pixel band"], pairs: Pairs
) -> Float64[np.ndarray, "pixel input"]:
    """What the network sees of them: bands, then indices."""
    if not pairs:
        return pixels
    return np.concatenate([pixels, normalised_differences(pixels, pairs)], axis=-1)


def _tally(labels: UInt8[np.ndarray, " pixel"], classes: int) -> Int64[np.ndarray, " klass"]:
    return np.bincount(labels, minlength=NODATA + 1)[:classes]


def _spans(span: slice, side: int) -> list[slice]:
    """Equal parts of a slab's side, of at most ``side`` pixels."""
    length = span.stop - span.start
    parts = -(-length // side)
    ends = [span.start + length * k // parts for k in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def _joined(cells: Sequence[Cells]) -> Cells:
    names = [field.name for field in fields(Cells)]
    return Cells(**{n: np.concatenate([getattr(c, n) for c in cells]) for n in names})
