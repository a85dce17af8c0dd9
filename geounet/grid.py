"""Where pixels lie on Earth, and how a scene is cut into tiles without leaving a seam.

Pixels are ``(row, col)``, and pixel (0, 0) is the corner of the top-left pixel: pixel ``(r, c)``
covers rows ``r`` to ``r + 1``. A window is a pair of slices, ``(rows, cols)``.

The five rules of exact tiling (ARCHITECTURE.md) that this module keeps: halo ≥ reach (1), windows,
cores and halos on the stride grid (2), edge windows that slide inward on the padded grid (3).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

from affine import Affine
from rasterio.crs import CRS

Window = tuple[slice, slice]

PIXELS = CRS.from_wkt(
    'LOCAL_CS["pixels of one image",UNIT["pixel",1],AXIS["column",EAST],AXIS["row",SOUTH]]'
)
"""The CRS of an image without a place on Earth; an empty CRS could not be sent to a process."""


@dataclass(frozen=True)
class Grid:
    """The pixels of a raster on Earth: ``shape`` is (rows, cols).

    ``transform`` maps (col, row) to CRS coordinates, as in GDAL.
    """

    shape: tuple[int, int]
    transform: Affine
    crs: CRS

    def __getitem__(self, window: Window) -> Grid:
        """The grid of a part: ``grid[window]`` has the window's shape and its own corner."""
        rows, cols = window
        return Grid(
            (rows.stop - rows.start, cols.stop - cols.start),
            self.transform @ Affine.translation(cols.start, rows.start),
            self.crs,
        )

    @property
    def whole(self) -> Window:
        """The window of every pixel: ``grid[grid.whole] == grid``."""
        return (slice(0, self.shape[0]), slice(0, self.shape[1]))

    @property
    def georeferenced(self) -> bool:
        """False for a patch without a place on Earth, whose coordinates are its pixels."""
        return self.crs != PIXELS

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Height and width of a pixel along its own axes, in CRS units (not always metres)."""
        t = self.transform
        return (hypot(t.b, t.e), hypot(t.a, t.d))

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """CRS coordinates of the four outer corners, clockwise in pixels from pixel (0, 0)."""
        rows, cols = self.shape
        return tuple(self.transform @ xy for xy in ((0, 0), (cols, 0), (cols, rows), (0, rows)))


@dataclass(frozen=True)
class Tile:
    """One unit of work: read ``window``, keep ``core``.

    Both are ``(rows, cols)`` slices of the padded scene, and ``crop`` finds the core inside the
    window: ``scene[window][crop] == scene[core]``.
    """

    window: Window
    core: Window

    @property
    def crop(self) -> Window:
        return shift(self.core, self.window)

    @property
    def place(self) -> str:
        """For messages: rows and columns of the core."""
        rows, cols = self.core
        return f"tile {self.name} (rows {rows.start}–{rows.stop}, columns {cols.start}–{cols.stop})"

    @property
    def name(self) -> str:
        """The core's first row and column, unique in its plan: it names the tile's files."""
        return f"r{self.core[0].start:07d}c{self.core[1].start:07d}"


def shape_of(window: Window) -> tuple[int, int]:
    """Rows and columns of a window."""
    rows, cols = window
    return (rows.stop - rows.start, cols.stop - cols.start)


def shift(inner: Window, outer: Window) -> Window:
    """``inner`` counted from ``outer``'s corner: ``a[outer][shift(inner, outer)] == a[inner]``."""
    rows, cols = (
        slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True)
    )
    return (rows, cols)


def intersect(a: Window, b: Window) -> Window | None:
    """The pixels in both windows, or None where there are none."""
    starts = [max(p.start, q.start) for p, q in zip(a, b, strict=True)]
    stops = [min(p.stop, q.stop) for p, q in zip(a, b, strict=True)]
    if any(start >= stop for start, stop in zip(starts, stops, strict=True)):
        return None
    return (slice(starts[0], stops[0]), slice(starts[1], stops[1]))


def round_up(length: int, stride: int) -> int:
    """The smallest multiple of ``stride`` that is not below ``length``."""
    return -(-length // stride) * stride


@dataclass(frozen=True)
class Plan:
    """How one scene is cut: known before a pixel is read.

    Args:
        shape: rows and columns of the scene.
        window: side of a window in pixels; a multiple of ``stride`` above ``2 * halo``.
        halo: pixels around a core; a multiple of ``stride``, at least the network's reach.
        stride: the pooling grid, 2^depth.

    Raises:
        ValueError: if a number leaves the stride grid or the window has no core.
    """

    shape: tuple[int, int]
    window: int
    halo: int
    stride: int

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"a scene of {self.shape} pixels has nothing to segment")
        if self.window % self.stride or self.halo % self.stride:
            raise ValueError(
                f"window {self.window} and halo {self.halo} must be multiples of {self.stride}"
            )
        if self.window <= 2 * self.halo:
            raise ValueError(f"window {self.window} must be larger than twice its halo {self.halo}")

    @property
    def tiles(self) -> list[Tile]:
        """Row by row; the cores partition the scene, and every window has ``window_shape``."""
        rows, cols = (_spans(n, self.window, self.halo, self.stride) for n in self.shape)
        return [
            Tile((row_window, col_window), (row_core, col_core))
            for row_window, row_core in rows
            for col_window, col_core in cols
        ]

    @property
    def window_shape(self) -> tuple[int, int]:
        """The one shape that the network is compiled for."""
        rows, cols = (min(round_up(n, self.stride), self.window) for n in self.shape)
        return (rows, cols)


def _spans(length: int, size: int, halo: int, stride: int) -> list[tuple[slice, slice]]:
    """``(window, core)`` along one axis: the cores partition ``range(length)``.

    ``size`` and ``halo`` are multiples of ``stride``; windows lie in the length padded to it.
    """
    padded = round_up(length, stride)
    if padded <= size:
        return [(slice(0, padded), slice(0, length))]
    step = size - 2 * halo
    # Edge windows slide inward, on the stride grid, rather than hang over the edge: the network
    # then meets the true edge, as an untiled run would, and XLA compiles a single shape.
    lefts = {start: min(max(start - halo, 0), padded - size) for start in range(0, length, step)}
    return [
        (slice(left, left + size), slice(start, min(start + step, length)))
        for start, left in lefts.items()
    ]
