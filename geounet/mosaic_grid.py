"""One grid for scenes that lie side by side."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

import numpy as np
from affine import Affine
from rasterio.warp import transform as transform_points

from geounet.errors import InputError
from geounet.grid import Grid, Window, shift
from geounet.raster import GDAL_ERRORS
from geounet.resample import ON_GRID

_STEPS = 21
"""Points along each edge: a straight edge bends between two CRSs."""


def around(grids: Sequence[Grid], names: Sequence[str]) -> tuple[Grid, tuple[Window, ...]]:
    """The first grid, grown by whole pixels until it holds all, and where each lies in it.

    Args:
        grids: of scenes; the first gives the CRS, the pixels' size and their corners.
        names: of the same scenes, for errors.

    Raises:
        InputError: if a scene has no place in the CRS of the first.
    """
    first = grids[0]
    extents = [_extent(grid, first, name) for grid, name in zip(grids, names, strict=True)]
    (top, bottom), (left, right) = (
        (min(e[axis].start for e in extents), max(e[axis].stop for e in extents)) for axis in (0, 1)
    )
    whole = (slice(top, bottom), slice(left, right))
    moved = first.transform @ Affine.translation(left, top)
    grid = Grid((bottom - top, right - left), moved, first.crs)
    return grid, tuple(shift(extent, whole) for extent in extents)


def _extent(grid: Grid, first: Grid, name: str) -> Window:
    """The pixels of ``first``, or beyond it, that a grid touches."""
    rows, cols = grid.shape
    along, zero = np.linspace(0, 1, _STEPS), np.zeros(_STEPS)
    sides = [(along, zero), (along, zero + 1), (zero, along), (zero + 1, along)]
    u, v = np.concatenate(sides, axis=1)
    x, y = _moved(grid.transform, cols * u, rows * v)
    if grid.crs != first.crs:
        try:
            x, y = (np.array(v) for v in transform_points(grid.crs, first.crs, x, y))
        except GDAL_ERRORS as error:
            raise _nowhere(name) from error
    col, row = _moved(~first.transform, x, y)
    if not (np.isfinite(col).all() and np.isfinite(row).all()):
        raise _nowhere(name)
    return (
        slice(floor(row.min() + ON_GRID), ceil(row.max() - ON_GRID)),
        slice(floor(col.min() + ON_GRID), ceil(col.max() - ON_GRID)),
    )


def _moved(by: Affine, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return by.a * x + by.b * y + by.c, by.d * x + by.e * y + by.f


def _nowhere(name: str) -> InputError:
    return InputError(
        f"{name}: has no place in the CRS of the first scene; give scenes of one region, or warp "
        "it with gdalwarp -t_srs"
    )
