"""How a label raster lies on an image: on its pixels, beside them, or nowhere near.

Labels whose pixels are the image's are copied; all others are warped to the image's grid with
nearest, and the user is told what that did.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from geounet.errors import InputError
from geounet.grid import Grid
from geounet.raster import GDAL_ERRORS, Raster
from geounet.resample import overlap, placement, scale_between

SAME_PIXEL = 0.5
"""Pixels by which two CRSs may move a place and nearest still finds the same pixel."""
EDGE_POINTS = 21
"""Points along each side of an outline that is carried from one CRS to another."""


def placed(raster: Raster, grid: Grid, crop: bool) -> tuple[Raster, tuple[str, ...]]:
    """The label raster where it lies on the image's ``grid``, and what to tell the user.

    Args:
        raster: the labels; without georeferencing they are laid on the image's pixels.
        grid: the image's.
        crop: whether labels without georeferencing may be larger than the image.

    Raises:
        InputError: if the labels do not lie on the image.
    """
    if not (raster.grid.georeferenced and grid.georeferenced):
        return _laid_on(raster, grid, crop)
    seen = _share_covered(raster, grid)
    notes = [] if seen > 0.999 else [f"labels cover {seen:.1%} of the image; the rest has none"]
    if tags_differ(raster.grid.crs, grid.crs) and _same_numbers(raster.grid, grid):
        apart = tag_shift(raster.grid.crs, grid)
        if apart < SAME_PIXEL:
            notes.append(f"{_two_tags(raster.grid.crs, grid, apart)}: read pixel by pixel")
            return replace(raster, grid=replace(raster.grid, crs=grid.crs)), tuple(notes)
    if placement(grid, raster.grid) is not None:
        return raster, tuple(notes)
    return raster, (*notes, _warp_note(raster.grid, grid))


def tag_shift(crs: CRS, grid: Grid) -> float:
    """Pixels between what the grid's middle is in its own CRS, and what its numbers are in ``crs``.

    Infinite where the numbers have no place in one of the two.
    """
    rows, cols = grid.shape
    x, y = grid.transform @ (cols / 2, rows / 2)
    try:
        xs, ys = transform_points(registered(crs), registered(grid.crs), [x], [y])
    except GDAL_ERRORS:
        return float("inf")
    col, row = ~grid.transform @ (xs[0], ys[0])
    apart = float(np.hypot(col - cols / 2, row - rows / 2))
    return apart if np.isfinite(apart) else float("inf")


def short(crs: CRS) -> str:
    """The CRS for a message."""
    return crs.to_string()[:80]


def registered(crs: CRS) -> CRS:
    """The CRS as EPSG defines it: files often drop the datum, and then all datums look the same."""
    code = crs.to_epsg()
    return crs if code is None else CRS.from_epsg(code)


def tags_differ(a: CRS, b: CRS) -> bool:
    """GDAL takes a CRS without a datum for equal to one with; their EPSG codes tell them apart."""
    return a != b or a.to_epsg() != b.to_epsg()


def _laid_on(raster: Raster, grid: Grid, crop: bool) -> tuple[Raster, tuple[str, ...]]:
    rows, cols = raster.grid.shape
    larger = rows >= grid.shape[0] and cols >= grid.shape[1]
    if raster.grid.shape != grid.shape and not (crop and larger):
        way = (
            "say `crop_labels: true` under data to use their top left, or cut them with "
            f"`gdal_translate -srcwin 0 0 {grid.shape[1]} {grid.shape[0]}`"
            if larger
            else "export both with the same size, or georeference both"
        )
        raise InputError(
            f"{raster.shown}: the labels are {rows} × {cols} pixels, the image {grid.shape[0]} × "
            f"{grid.shape[1]}, and without georeferencing nothing says where they lie; {way}"
        )
    notes = []
    if raster.grid.georeferenced != grid.georeferenced:
        which = "image has" if raster.grid.georeferenced else "labels have"
        notes.append(f"the {which} no georeferencing: labels are read pixel by pixel")
    if raster.grid.shape != grid.shape:
        notes.append(f"labels of {rows} × {cols} pixels are cropped to the image's top left")
    return replace(raster, grid=Grid(raster.grid.shape, grid.transform, grid.crs)), tuple(notes)


def _share_covered(raster: Raster, grid: Grid) -> float:
    """The share of the image's pixels on which the labels lie.

    Measured on the labels' side: a map of the whole Earth has no outline in the image's CRS.

    Raises:
        InputError: if there are none.
    """
    rows, cols = raster.grid.shape
    image = shapely.make_valid(outline(grid, raster.grid))
    share = 0.0
    if image.area > 0:
        labels = shapely.box(0, 0, cols, rows)
        share = shapely.area(shapely.intersection(image, labels)) / image.area
    if not share > 0 and not overlap(raster.grid, grid):
        raise InputError(
            f"{raster.shown}: the labels do not lie on the image; their {short(raster.grid.crs)} "
            f"bounds are {_bounds(raster.grid)}, the image's {short(grid.crs)} bounds "
            f"{_bounds(grid)}; give the labels of this place, or correct their CRS with "
            "`gdal_edit.py -a_srs`"
        )
    return float(share)


def outline(inner: Grid, grid: Grid) -> shapely.Polygon:
    """The edge of ``inner`` in pixels of ``grid``, ``(col, row)``."""
    rows, cols = inner.shape
    t = np.linspace(0, 1, EDGE_POINTS)[:-1]
    one, zero = np.ones_like(t), np.zeros_like(t)
    x = np.concatenate([t, one, 1 - t, zero]) * cols
    y = np.concatenate([zero, t, one, 1 - t]) * rows
    xs, ys = (np.asarray(v) for v in inner.transform @ (x, y))  # type: ignore[operator]
    if inner.crs != grid.crs:
        try:
            xs, ys = map(np.asarray, transform_points(inner.crs, grid.crs, xs, ys))
        except GDAL_ERRORS:
            return shapely.Polygon()
    points = np.stack(~grid.transform @ (xs, ys), axis=-1)
    return shapely.Polygon(points[np.isfinite(points).all(axis=-1)])


def _same_numbers(a: Grid, b: Grid) -> bool:
    """Whether two grids would be one if both had the CRS of ``b``."""
    return placement(b, replace(a, crs=b.crs)) is not None


def _two_tags(crs: CRS, grid: Grid, apart: float) -> str:
    return (
        f"labels are tagged {short(crs)} and the image {short(grid.crs)}, with the same "
        f"coordinates; these are {apart:.2f} pixel apart"
    )


def _warp_note(labels: Grid, grid: Grid) -> str:
    """What warping does: pixel sizes, and how far the lattices are apart."""
    x, y = scale_between(labels, grid)
    size = f"label pixels are {_times(x, y)} of the image's"
    if not tags_differ(labels.crs, grid.crs):
        lattice = _lattice_note(labels, grid)
        return f"labels are warped (nearest) to the image's grid; {size}; {lattice}"
    apart = tag_shift(labels.crs, grid)
    if _same_numbers(labels, grid):
        return (
            f"{_two_tags(labels.crs, grid, apart)}: warped (nearest) to the image; if one of the "
            "tags is wrong, correct it with `gdal_edit.py -a_srs`"
        )
    note = f"labels in {short(labels.crs)} are warped (nearest) to {short(grid.crs)}; {size}"
    near = apart < SAME_PIXEL
    return f"{note}; {_lattice_note(labels, grid)}" if near else note


def _lattice_note(labels: Grid, grid: Grid) -> str:
    col, row = lattice_shift(labels.transform, grid.transform)
    note = f"their corner lies {col:.2f} columns and {row:.2f} rows beside the image's lattice"
    if max(col, row) <= 0.4:
        return note
    return (
        f"{note}; half a pixel often means that centres of pixels were taken for corners: lay the "
        "labels over the image and look"
    )


def lattice_shift(labels: Affine, image: Affine) -> tuple[float, float]:
    """Columns and rows, 0 to 0.5, between the labels' corner and the nearest pixel corner."""
    col, row = ~image @ (labels.c, labels.f)
    return abs(col - round(col)), abs(row - round(row))


def _times(x: float, y: float) -> str:
    alike = abs(x - 1) < 1e-3 and abs(y - 1) < 1e-3
    return "the size" if alike else f"{x:.3g} × {y:.3g} the size"


def _bounds(grid: Grid) -> str:
    xs, ys = zip(*grid.corners, strict=True)
    return f"({min(xs):.8g}, {min(ys):.8g}, {max(xs):.8g}, {max(ys):.8g})"
