"""Reads part of a file onto a scene's grid, so that no pixel depends on how much is read.

The law (rule 5 of exact tiling): ``read_on(part, grid, window)`` equals the same part of
``read_on(part, grid, grid.whole)`` bit for bit. Files whose pixels are the grid's are copied. All
others are resampled by GDAL's warper, which by default breaks the law twice: it approximates the
transformation over the part that is asked for, and it chooses the size of its kernel from that
part. Both are fixed here, and what rounding is left is the same for all, because the warper is
asked for fixed blocks only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as transform_points
from rasterio.warp import transform_bounds
from rasterio.windows import Window as FileWindow

from geounet.errors import InputError
from geounet.grid import Grid, Window, intersect, shape_of, shift
from geounet.raster import Raster
from geounet.raster_file import GDAL_ERRORS, cause_of, repeated_read

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
    rows, cols = window
    where = f"rows {rows.start}–{rows.stop}, columns {cols.start}–{cols.stop} of the scene"

    def attempt() -> tuple[np.ndarray, np.ndarray]:
        with part.raster.open(where) as data:
            if place is not None:
                return _copy(data, part, place, window)
            return _warp(data, part, grid, window)

    try:
        return repeated_read(part.raster.file, attempt)
    except GDAL_ERRORS as error:
        raise InputError(
            f"{part.raster.shown}: {where} cannot be read: {cause_of(error)}; the file is damaged "
            f"or incomplete: download or copy it again"
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
    """``(row, col)``: True where every band is finite and not its nodata."""
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
    numbers = np.zeros((*shape_of(window), len(part.indexes)), dtype_on(part, grid))
    valid = np.zeros(shape_of(window), bool)
    seen = intersect(window, grid.whole)
    if seen is None:
        return numbers, valid
    target = shift(seen, window)
    valid[target] = True
    for nodata in dict.fromkeys(part.nodata):
        places = [k for k, n in enumerate(part.nodata) if n == nodata]
        indexes = [part.indexes[k] for k in places]
        layers, good = _warp_alike(data, part, indexes, nodata, grid, seen)
        numbers[target][..., places] = np.moveaxis(layers, 0, 2)
        valid[target] &= good
    return numbers, valid


def _warp_alike(
    data: DatasetReader,
    part: Part,
    indexes: list[int],
    nodata: float | None,
    grid: Grid,
    window: Window,
) -> tuple[np.ndarray, np.ndarray]:
    """``(band, row, col)`` numbers of bands with one nodata, and where all of them have data."""
    own = np.result_type(*(part.raster.dtypes[i - 1] for i in indexes))
    if nodata is None and own.kind == "f":
        # Left in the kernel, NaN would spread to its neighbours.
        nodata = np.nan
    settings: dict[str, object] = {"src_nodata": nodata, "nodata": nodata}
    if nodata is None:
        # Said, or rasterio takes the file's own number for no data after all.
        settings = {
            "src_nodata": None,
            "nodata": np.nan,
            "dtype": np.result_type(own, np.float32).name,
        }
    with WarpedVRT(data, **settings, **_exactly(part, grid)) as warped:
        layers = np.zeros((len(indexes), *shape_of(window)), warped.dtypes[0])
        for block in _blocks(window, warped.block_shapes[0], grid.shape):
            piece = warped.read(indexes, window=FileWindow.from_slices(*block))
            shared = intersect(block, window)
            if shared is not None:
                here, there = shift(shared, window), shift(shared, block)
                layers[:, *here] = piece[:, *there]
    marker = np.nan if nodata is None else nodata
    return layers, measured(np.moveaxis(layers, 0, 2), (marker,) * len(indexes))


def _blocks(window: Window, block: tuple[int, int], shape: tuple[int, int]) -> Iterator[Window]:
    """The blocks of a fixed layout that a window touches.

    Even at its finest tolerance the warper interpolates positions between the ends of what it is
    asked for, and the last bit of a float then hangs on the window: so it is always asked the same.
    """
    rows, cols = (
        [
            slice(start, min(start + size, length))
            for start in range(span.start // size * size, span.stop, size)
        ]
        for span, size, length in zip(window, block, shape, strict=True)
    )
    yield from product(rows, cols)


def _exactly(part: Part, grid: Grid) -> dict[str, object]:
    """Settings under which the warper's answer does not depend on the window.

    XSCALE and YSCALE must be keywords: rasterio 1.4 drops a ``warp_extras`` dictionary in silence.
    """
    x, y = scale_between(part.raster.grid, grid)
    return {
        "crs": grid.crs,
        "transform": grid.transform,
        "height": grid.shape[0],
        "width": grid.shape[1],
        "resampling": Resampling[part.resampling],
        "tolerance": EXACT,
        "XSCALE": repr(x),
        "YSCALE": repr(y),
        # By default a pixel counts as no data only where all bands that are read have none, and
        # the file's own mask is forgotten when there are two or more.
        "UNIFIED_SRC_NODATA": "NO",
    }


def scale_between(source: Grid, target: Grid) -> tuple[float, float]:
    """Pixels of ``target`` per pixel of ``source`` along the source's x and y, at the centre.

    Taken once for the whole grid, so that the warper's kernel is one size everywhere.

    Raises:
        InputError: if the one cannot be expressed in the CRS of the other.
    """
    rows, cols = target.shape
    centre = np.array([[0.0, 0.5, -0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5, -0.5]])
    xs, ys = target.transform @ (centre[0] + cols / 2, centre[1] + rows / 2)
    try:
        if source.crs != target.crs:
            xs, ys = map(np.asarray, transform_points(target.crs, source.crs, xs, ys))
    except GDAL_ERRORS as error:
        raise InputError(
            f"{_short(source.crs)}: cannot be brought to {_short(target.crs)}: {cause_of(error)}; "
            f"check that the files show the same place"
        ) from error
    px, py = ~source.transform @ (xs, ys)
    steps = [np.hypot(p[1] - p[2], p[3] - p[4]) for p in (px, py)]
    if not all(np.isfinite(s) and s > 0 for s in steps):
        raise InputError(
            f"{_short(source.crs)}: does not reach the middle of the scene's grid in "
            f"{_short(target.crs)}; check that the files show the same place"
        )
    return 1 / float(steps[0]), 1 / float(steps[1])


def _short(crs: CRS) -> str:
    return crs.to_string()[:80]


def resized(grid: Grid, size: float) -> Grid:
    """The grid with pixels of ``size`` CRS units, the same corner, and at least the same extent."""
    height, width = grid.pixel_size
    rows, cols = grid.shape
    shape = (max(1, ceil(rows * height / size - 1e-6)), max(1, ceil(cols * width / size - 1e-6)))
    return Grid(shape, grid.transform @ Affine.scale(size / width, size / height), grid.crs)


def overlap(inner: Grid, grid: Grid) -> bool:
    """False where two grids surely share no pixel."""
    try:
        bounds = [_bounds(inner, grid.crs), _bounds(grid, grid.crs)]
    except GDAL_ERRORS:
        return False
    (left, bottom, right, top), (left2, bottom2, right2, top2) = bounds
    return left < right2 and left2 < right and bottom < top2 and bottom2 < top


def covers(outer: Grid, grid: Grid) -> bool:
    """True where the bounds of one grid hold those of another, but for a pixel's breadth."""
    (left, bottom, right, top), inner = _bounds(outer, grid.crs), _bounds(grid, grid.crs)
    x, y = (
        (high - low) / n
        for low, high, n in zip(inner[:2], inner[2:], grid.shape[::-1], strict=True)
    )
    return (
        left <= inner[0] + x
        and bottom <= inner[1] + y
        and right >= inner[2] - x
        and top >= inner[3] - y
    )


def _bounds(grid: Grid, crs: CRS) -> tuple[float, float, float, float]:
    xs, ys = zip(*grid.corners, strict=True)
    box = (min(xs), min(ys), max(xs), max(ys))
    return box if grid.crs == crs else transform_bounds(grid.crs, crs, *box)
