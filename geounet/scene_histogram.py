"""The percentiles of a whole scene, read once, window by window."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from geounet import stretch
from geounet.grid import Window
from geounet.scene import Scene

SIDE = 1024
THREADS = 3


def scene_bounds(scene: Scene, percentiles: tuple[float, float]) -> stretch.Bounds:
    """The numbers of each band of the scene at two percentiles of its valid pixels.

    No more than a few windows are in memory at once. Counts are whole numbers, so their sum does
    not depend on the order in which threads finish.

    Raises:
        InputError: if a file cannot be read.
    """
    total = np.zeros((len(scene.bands), stretch.KEYS), np.int64)
    with ThreadPoolExecutor(THREADS) as pool:
        running: deque[Future[stretch.Counts]] = deque()
        for window in _windows(scene.grid.shape):
            running.append(pool.submit(_count, scene, window))
            if len(running) > THREADS:
                total += running.popleft().result()
        for part in running:
            total += part.result()
    return stretch.bounds(total, scene.dtype, percentiles)


def _count(scene: Scene, window: Window) -> stretch.Counts:
    pixels = scene.read(window)
    return stretch.count(pixels.bands, pixels.valid)


def _windows(shape: tuple[int, int]) -> Iterator[Window]:
    """Squares of ``SIDE`` that partition the scene, row by row."""
    rows, cols = (
        [slice(start, min(start + SIDE, length)) for start in range(0, length, SIDE)]
        for length in shape
    )
    return ((row, col) for row in rows for col in cols)
