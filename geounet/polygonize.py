"""Regions of one class become polygons with attributes.

A region is a 4-connected component of pixels of equal class: with 8-connectivity, polygons would
touch themselves. This first tracer holds the whole mask in memory; what it yields, `Features` in
region order, is all that a file's writer sees, so that a tracer of tiles can take its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from math import sqrt

import numpy as np
import shapely
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from rasterio.features import shapes
from scipy import ndimage

from geounet.area import HECTARE, PixelArea
from geounet.grid import Grid
from geounet.vector_settings import Amount

_BATCH = 10_000
_ROWS = 512
_CHUNK = 2**20


@dataclass(frozen=True)
class Features:
    """Some features, in columns: polygons in CRS coordinates, and what is known of each.

    Attributes:
        polygon: shapely polygons; shells counter-clockwise, each ring from its smallest vertex.
        class_id: the class value of the region.
        n_px: its pixels.
        area_ha: geodesic hectares of its pixels; NaN if one lies outside the CRS's domain.
        confidence: mean of its pixels, 0 to 1; NaN where none has one.
    """

    polygon: ndarray
    class_id: Int[ndarray, " feature"]
    n_px: Int[ndarray, " feature"]
    area_ha: Float[ndarray, " feature"]
    confidence: Float[ndarray, " feature"]

    def __len__(self) -> int:
        return len(self.polygon)


@dataclass(frozen=True)
class PolygonOptions:
    """What becomes a polygon: every option at its default keeps every region as it is.

    Args:
        nodata: the label that gives no polygon.
        classes: the class values to keep; None keeps all.
        min_area: regions below it are dropped, and leave a hole.
        simplify: borders are simplified to about this tolerance, and stay shared.
    """

    nodata: int | None = 255
    classes: tuple[int, ...] | None = None
    min_area: Amount | None = None
    simplify: Amount | None = None


def polygonize(
    labels: Int[ndarray, "row col"],
    grid: Grid,
    options: PolygonOptions | None = None,
    confidence: UInt8[ndarray, "row col"] | None = None,
) -> Iterator[Features]:
    """The features of a mask, in batches, ordered by the last pixel of their regions.

    Without options the polygons, rasterised, are the mask again, and the areas of a class's
    features add up to the area of its pixels.

    Args:
        labels: class values.
        grid: where the pixels lie; ``labels`` has its shape.
        options: which regions are kept and how they are drawn.
        confidence: 0 to 100, 255 where there is none.
    """
    options = options or PolygonOptions()
    if labels.shape != grid.shape:
        raise ValueError(f"labels of {labels.shape} pixels do not lie on a grid of {grid.shape}")
    area = PixelArea(grid)
    regions = _measure(_components(labels, options), labels, area, confidence)
    regions = _without_small(regions, options.min_area)
    if not regions.count:
        return
    polygons = _outlines(regions)
    if options.simplify is not None:
        tolerance = options.simplify.pixels(sqrt(area.typical))
        polygons = simplify_coverage(polygons, tolerance)
    yield from _batches(regions, polygons, grid)


def simplify_coverage(polygons: ndarray, tolerance: float) -> ndarray:
    """Polygons in pixel units with fewer vertices; borders that were shared stay shared.

    GEOS wants neighbours to have the same vertices along a shared border, but a traced edge lacks
    those of its neighbours' corners: cutting every edge at each pixel gives them. However large
    the tolerance, a polygon keeps a triangle at least.
    """
    return shapely.coverage_simplify(shapely.segmentize(polygons, 1.0), tolerance)


@dataclass(frozen=True)
class _Regions:
    """``ids`` holds 1 to ``count`` in the order of regions' last pixels, and 0 elsewhere.

    The columns have an entry per region, from region 1.
    """

    ids: Int[ndarray, "row col"]
    class_id: ndarray
    n_px: ndarray
    area: ndarray
    confidence: ndarray

    @property
    def count(self) -> int:
        return len(self.class_id)


def present_values(labels: Int[ndarray, "..."]) -> Int[ndarray, " value"]:
    """The values that occur, ascending: `numpy.unique`, without sorting every pixel."""
    if not labels.size:
        return np.empty(0, np.int64)
    low, high = int(labels.min()), int(labels.max())
    if high - low >= _CHUNK:
        return np.unique(labels)
    flat, seen = labels.reshape(-1), np.zeros(high - low + 1, bool)
    for start in range(0, flat.size, _CHUNK):
        seen[flat[start : start + _CHUNK].astype(np.int64) - low] = True
    return np.flatnonzero(seen) + low


def _components(labels: ndarray, options: PolygonOptions) -> Int[ndarray, "row col"]:
    """Numbers of the 4-connected components of equal class, from 1; 0 elsewhere."""
    ids = np.zeros(labels.shape, np.int32)
    found = 0
    for value in present_values(labels).tolist():
        if value == options.nodata or (
            options.classes is not None and value not in options.classes
        ):
            continue
        mask = labels == value
        numbers, n = ndimage.label(mask)
        np.add(numbers, found, out=ids, where=mask)
        found += n
    return ids


def _measure(
    ids: ndarray, labels: ndarray, area: PixelArea, confidence: ndarray | None
) -> _Regions:
    """Renumber the components by their last pixel, and sum what lies in each.

    Rows are taken some at a time: areas and positions of all pixels would be larger than the mask.
    """
    n = int(ids.max(initial=0)) + 1
    last, class_id = np.zeros(n, np.int64), np.zeros(n, np.int64)
    n_px, square_metres = np.zeros(n, np.int64), np.zeros(n)
    points, scored = np.zeros(n), np.zeros(n, np.int64)
    rows, cols = ids.shape
    for start in range(0, rows, _ROWS):
        part = (slice(start, min(start + _ROWS, rows)), slice(0, cols))
        flat = ids[part].ravel()
        # ^ Of several values for one index NumPy keeps the last, which is what is wanted.
        last[flat] = np.arange(start * cols, start * cols + flat.size)
        class_id[flat] = labels[part].ravel()
        n_px += np.bincount(flat, minlength=n)
        square_metres += np.bincount(flat, weights=area.window(part).ravel(), minlength=n)
        if confidence is not None:
            score = confidence[part].ravel()
            known = score <= 100
            scored += np.bincount(flat[known], minlength=n)
            points += np.bincount(flat[known], weights=score[known], minlength=n)
    order = np.argsort(last[1:], kind="stable") + 1
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = points / (100.0 * scored)
    return _Regions(
        _renumbered(ids, order, n),
        class_id[order],
        n_px[order],
        square_metres[order],
        mean[order],
    )


def _renumbered(ids: ndarray, order: ndarray, n: int) -> Int[ndarray, "row col"]:
    """``ids`` with ``order[k]`` become ``k + 1``, and what is not in ``order`` become 0."""
    number = np.zeros(n, np.int32)
    number[order] = np.arange(1, len(order) + 1)
    return number[ids]


def _without_small(regions: _Regions, least: Amount | None) -> _Regions:
    if least is None:
        return regions
    size = regions.n_px if least.in_pixels else regions.area
    # A region whose area is unknown is kept: nothing says that it is small.
    keep = np.flatnonzero(~(size < least.value))
    return _Regions(
        _renumbered(regions.ids, keep + 1, regions.count + 1),
        regions.class_id[keep],
        regions.n_px[keep],
        regions.area[keep],
        regions.confidence[keep],
    )


def _outlines(regions: _Regions) -> ndarray:
    """The polygon of each region, in pixel units: x is the column, y the row."""
    polygons = np.empty(regions.count, object)
    traced = shapes(regions.ids, mask=regions.ids > 0, connectivity=4)
    while some := list(islice(traced, _BATCH)):
        index = np.array([int(value) - 1 for _, value in some])
        polygons[index] = _built([shape["coordinates"] for shape, _ in some])
    return polygons


def _built(outlines: list[list[list[tuple[float, float]]]]) -> ndarray:
    """Polygons from lists of rings, all at once: one by one takes twice as long."""
    rings = list(chain.from_iterable(outlines))
    lengths = np.array([len(ring) for ring in rings])
    points = np.fromiter(
        chain.from_iterable(chain.from_iterable(rings)), np.float64, count=2 * int(lengths.sum())
    ).reshape(-1, 2)
    ring_starts = np.concatenate([[0], np.cumsum(lengths)])
    polygon_starts = np.concatenate([[0], np.cumsum([len(outline) for outline in outlines])])
    return shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, points, (ring_starts, polygon_starts)
    )


def _batches(regions: _Regions, polygons: ndarray, grid: Grid) -> Iterator[Features]:
    for start in range(0, regions.count, _BATCH):
        part = slice(start, start + _BATCH)
        yield Features(
            on_earth(polygons[part], grid),
            regions.class_id[part],
            regions.n_px[part],
            regions.area[part] / HECTARE,
            regions.confidence[part],
        )


def on_earth(polygons: ndarray, grid: Grid) -> ndarray:
    """Polygons of pixel units in CRS coordinates; rings start at their smallest (x, y)."""
    t = grid.transform

    def affine(xy: ndarray) -> ndarray:
        x, y = xy[:, 0], xy[:, 1]
        return np.stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f], -1)

    return shapely.orient_polygons(shapely.normalize(shapely.transform(polygons, affine)))
