"""Reads part of a file onto a scene's grid, so that no pixel depends on how much is read.

The law (rule 5 of exact tiling): ``read_on(…, grid, window) == read_on(…, grid, grid.whole)[window]``
bit for bit. Files whose pixels are the grid's are copied. All others are resampled by GDAL's
warper, which by default breaks the law twice: it approximates the transformation over the part
that is asked for, and it chooses the size of its kernel from that part. Both are fixed here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as FileWindow

from geounet.errors import InputError
from geounet.grid import Grid, Window, intersect, shape_of, shift
from geounet.raster import Raster, cause_of, open_raster

EXACT = 1e-9
"""Pixels by which the warper may misplace a source pixel; 0 is refused by rasterio 1.4."""
ON_GRID = 0.01
"""Pixels by which a file's corners may miss the grid's and still be copied, not resampled."""


@dataclass(frozen=True)
class Part:
    """Which bands of a file to read, what counts as no data in each, and how to resample."""

    raster: Raster
    indexes: tuple[int, ...]
    nodata: tuple[float | None, ...]
    resampling: str = "bilinear"


def placement(grid: Grid, inner: Grid) -> Window | None:
    """Where ``inner`` lies in ``grid``, in whole pixels, or None where their pixels differ."""
    if grid.crs != inner.crs:
        return None
    to_pixel = ~grid.transform
    rows, cols = inner.shape
    spots = [to_pixel @ (inner.transform @ xy) for xy in ((0, 0), (cols, 0), (0, rows))]
    col, row = round(spots[0][0]), round(spots[0][1])
    expected = [(col, row), (col + cols, row), (col, row + rows)]
    error = np.abs(np.subtract(spots, expected)).max()
    return (slice(row, row + rows), slice(col, col + cols)) if error <= ON_GRID else None


def read_on(part: Part, grid: Grid, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Numbers ``(row, col, band)`` and validity ``(row, col)`` of a window of ``grid``.

    A pixel is valid where the file has data in all of the bands. The numbers have ``dtype_on``'s
    type and are 0 outside the file.

    Raises:
        InputError: if the file cannot be read there.
    """
    place = placement(grid, part.raster.grid)
    try:
        with open_raster(part.raster.file, part.raster.driver) as data:
            if place is not None:
                return _copy(data, part, place, window)
            return _warp(data, part, grid, window)
    except RasterioError as error:
        (rows, cols) = window
        raise InputError(
            f"{part.raster.shown}: rows {rows.start}–{rows.stop}, columns {cols.start}–{cols.stop} "
            f"of the scene cannot be read: {cause_of(error)}; the file is damaged or incomplete: "
            f"download or copy it again"
        ) from error


def dtype_on(part: Part, grid: Grid) -> np.dtype:
    """The type of the numbers: the file's own, unless pixels outside must be told by NaN."""
    own = np.result_type(*(part.raster.dtypes[i - 1] for i in part.indexes))
    if placement(grid, part.raster.grid) is not None or _common_nodata(part) is not None:
        return own
    return np.result_type(own, np.float32)


def _common_nodata(part: Part) -> float | None:
    """The one number that means no data in all of the bands, if there is one."""
    return part.nodata[0] if len(set(part.nodata)) == 1 else None


def _copy(
    data: DatasetReader, part: Part, place: Window, window: Window
) -> tuple[np.ndarray, np.ndarray]:
    dtype = np.result_type(*(part.raster.dtypes[i - 1] for i in part.indexes))
    numbers = np.zeros((*shape_of(window), len(part.indexes)), dtype)
    valid = np.zeros(shape_of(window), bool)
    seen = intersect(window, place)
    if seen is None:
        return numbers, valid
    rows, cols = shift(seen, place)
    file_window = FileWindow.from_slices(rows, cols)
    target = shift(seen, window)
    # rasterio wants (band, row, col), and writes through the strides of any view of that shape.
    data.read(list(part.indexes), window=file_window, out=np.moveaxis(numbers[target], 2, 0))
    valid[target] = measured(numbers[target], part.nodata)
    if part.raster.mask:
        valid[target] &= data.read_masks(part.indexes[0], window=file_window) > 0
    return numbers, valid


def measured(numbers: np.ndarray, nodata: tuple[float | None, ...]) -> np.ndarray:
    """True where every band is finite and not its nodata: ``(row, col, band)`` to ``(row, col)``."""
    valid = np.ones(numbers.shape[:2], bool)
    for band, number in zip(np.moveaxis(numbers, 2, 0), nodata, strict=True):
        if number is not None:
            valid &= band != number
        if band.dtype.kind == "f":
            valid &= np.isfinite(band)
    return valid


def _warp(
    data: DatasetReader, part: Part, grid: Grid, window: Window
) -> tuple[np.ndarray, np.ndarray]:
    raise NotImplementedError
