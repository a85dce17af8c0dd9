"""Features of a vector file on the pixels of an image, burnt in blocks of a fixed layout.

The law, as for rasters (rule 5 of exact tiling): ``burnt(labels, grid, window)`` equals that part
of ``burnt(labels, grid, grid.whole)``. Which pixel an edge takes that runs through a pixel's centre
hangs on the last bit of an intersection, and that on where GDAL counts from: so every pixel is
always burnt as part of the same block.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil

import numpy as np
import pyogrio
import pyproj
import shapely
from affine import Affine
from jaxtyping import Int64
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.features import rasterize

from geounet.errors import InputError
from geounet.grid import Grid, Window, intersect, shape_of, shift
from geounet.learn.label_coding import UNLABELLED
from geounet.learn.label_grid import (
    EDGE_POINTS,
    outline,
    registered,
    short,
    tag_shift,
    tags_differ,
)
from geounet.learn.label_vector import VectorLabels, attribute_texts, readable

BLOCK = 256
"""Side of the blocks, in pixels."""
PIECE = 64.0
"""Longest piece, in pixels, of an edge that is carried to another CRS, where it bends."""
MARGIN = 16.0
"""Pixels around the image within which features are kept whole."""
PAIRS = 100_000
"""Pairs of neighbours up to which overlaps are looked for."""


@dataclass(frozen=True)
class Features:
    """What lies on an image, in file order: shapes in pixels ``(col, row)`` and label values."""

    shapes: np.ndarray
    values: Int64[np.ndarray, " feature"]
    tree: shapely.STRtree


def burnt(labels: VectorLabels, grid: Grid, window: Window) -> Int64[np.ndarray, "row col"]:
    """Label values of a window of ``grid``; where features overlap the later one wins.

    Raises:
        InputError: if the file cannot be read, or holds an invalid geometry there.
    """
    values = np.full(shape_of(window), labels.background, np.int64)
    inside = intersect(window, grid.whole)
    if inside is None:
        return values
    rows, cols = (range(s.start // BLOCK, (s.stop - 1) // BLOCK + 1) for s in inside)
    for row, col in product(rows, cols):
        block = (
            slice(row * BLOCK, row * BLOCK + BLOCK),
            slice(col * BLOCK, col * BLOCK + BLOCK),
        )
        shared = intersect(block, inside)
        if shared is not None:
            piece = _burnt_block(labels, grid, row, col)
            values[shift(shared, window)] = piece[shift(shared, block)]
    return values


def features_on(labels: VectorLabels, grid: Grid) -> tuple[str, ...]:
    """Check that the labels lie on an image, and say how.

    Raises:
        InputError: if the image has no georeferencing, or no feature lies on it.
    """
    if not grid.georeferenced:
        raise InputError(
            f"{labels.file}: the image has no georeferencing, so its features have no place on it; "
            "use class rasters of the image's size, or georeference the image"
        )
    rows, cols = grid.shape
    features = _features(labels, grid)
    on = features.tree.query(shapely.box(0, 0, cols, rows), predicate="intersects")
    if not len(on):
        return _nothing_on(labels, grid)
    return (*_crs_note(labels, grid), *_overlap_note(features))


@lru_cache(maxsize=128)
def _burnt_block(
    labels: VectorLabels, grid: Grid, row: int, col: int
) -> Int64[np.ndarray, "row col"]:
    """One block, at its full size also at the image's edge."""
    features = _features(labels, grid)
    left, top = col * BLOCK, row * BLOCK
    near = np.sort(features.tree.query(shapely.box(left, top, left + BLOCK, top + BLOCK)))
    block = np.full((BLOCK, BLOCK), labels.background, np.int64)
    if len(near):
        rasterize(
            zip(features.shapes[near], features.values[near].tolist(), strict=True),
            out=block,
            transform=Affine.translation(left, top),
            all_touched=labels.all_touched,
        )
    block.flags.writeable = False
    return block


@lru_cache(maxsize=32)
def _features(labels: VectorLabels, grid: Grid) -> Features:
    """The features on and near the image. They are read once for each image and process."""
    widen = _buffer_pixels(labels, grid)
    outside = _surroundings(labels, grid, MARGIN + max(widen))
    with readable(labels.file):
        frame = pyogrio.read_dataframe(
            labels.file,
            layer=labels.layer,
            columns=[labels.attribute],
            bbox=None if outside is None else outside.bounds,
            force_2d=True,
            fid_as_index=True,
        )
    # A spatial index answers in its own order.
    frame = frame.sort_index()
    shapes = frame.geometry.to_numpy()
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    frame, shapes = frame[there], shapes[there]
    _refuse_invalid(labels, shapes, frame.index.to_numpy())
    shapes = _widened(_in_pixels(shapes, labels, grid, outside), widen)
    meaning = dict(labels.meaning)
    texts = attribute_texts(frame[labels.attribute].to_numpy())
    values = np.array([meaning[text] for text in texts], np.int64)
    kept = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    return Features(shapes[kept], values[kept], shapely.STRtree(shapes[kept]))


def _refuse_invalid(labels: VectorLabels, shapes: np.ndarray, ids: np.ndarray) -> None:
    broken = np.flatnonzero(~shapely.is_valid(shapes))
    if broken.size:
        reason = shapely.is_valid_reason(shapes[broken[0]])
        raise InputError(
            f"{labels.file}: {broken.size} features have an invalid geometry, the first of them "
            f"feature {ids[broken[0]]} ({reason}); mend them with "
            "`ogr2ogr -makevalid out.gpkg in`"
        )


def _surroundings(labels: VectorLabels, grid: Grid, margin: float) -> shapely.Polygon | None:
    """A box around the image in the layer's CRS, or None where that cannot be told."""
    wide = ceil(margin)
    rows, cols = grid.shape
    around = grid[slice(-wide, rows + wide), slice(-wide, cols + wide)]
    edge = outline(around, Grid((1, 1), Affine.identity(), CRS.from_wkt(labels.crs)))
    if len(shapely.get_coordinates(edge)) <= 4 * (EDGE_POINTS - 1):
        return None
    left, bottom, right, top = edge.bounds
    # Between two points of the outline the true edge may bulge a little.
    slack = 0.01 * max(right - left, top - bottom)
    return shapely.box(left - slack, bottom - slack, right + slack, top + slack)


def _in_pixels(
    shapes: np.ndarray, labels: VectorLabels, grid: Grid, outside: shapely.Polygon | None
) -> np.ndarray:
    """Shapes in pixels of the grid; what lies far off is cut away, or empty."""
    crs = CRS.from_wkt(labels.crs)
    if outside is not None:
        shapes = np.where(
            shapely.covered_by(shapes, outside), shapes, shapely.intersection(shapes, outside)
        )
    if tags_differ(crs, grid.crs):
        if outside is not None:
            left, bottom, right, top = outside.bounds
            piece = PIECE * max(right - left, top - bottom) / max(grid.shape)
            shapes = shapely.segmentize(shapes, piece)
        there = Transformer.from_crs(
            registered(crs).to_wkt(), registered(grid.crs).to_wkt(), always_xy=True
        )
        shapes = shapely.transform(shapes, there.transform, interleaved=False)
    to_pixel = ~grid.transform
    return shapely.transform(shapes, lambda x, y: to_pixel @ (x, y), interleaved=False)


def _buffer_pixels(labels: VectorLabels, grid: Grid) -> tuple[float, float]:
    """How far lines and points are widened, in columns and rows."""
    if labels.buffer is None:
        return 0.0, 0.0
    width = float(labels.buffer.rstrip("mpx "))
    if labels.buffer.endswith("px"):
        return width, width
    x, y = metres_per_pixel(grid)
    return width / x, width / y


def metres_per_pixel(grid: Grid) -> tuple[float, float]:
    """Metres on the ellipsoid across the pixel in the grid's middle: along its row, its column.

    Raises:
        InputError: if the CRS has no ellipsoid.
    """
    crs = pyproj.CRS.from_wkt(grid.crs.to_wkt())
    figure = crs.get_geod()
    if figure is None:
        raise InputError(
            f"{short(grid.crs)}: has no ellipsoid to measure metres on; give data.vector.buffer "
            "in px"
        )
    rows, cols = grid.shape
    across = np.array([-0.5, 0.5, 0.0, 0.0]) + cols / 2
    down = np.array([0.0, 0.0, -0.5, 0.5]) + rows / 2
    lonlat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    lon, lat = lonlat.transform(*(grid.transform @ (across, down)))  # type: ignore[operator]
    _, _, metres = figure.inv(lon[::2], lat[::2], lon[1::2], lat[1::2])
    return float(metres[0]), float(metres[1])


def _widened(shapes: np.ndarray, widen: tuple[float, float]) -> np.ndarray:
    """Lines and points become areas: an ellipse in pixels where these are not square."""
    thin = shapely.get_dimensions(shapes) < 2
    if not (any(widen) and thin.any()):
        return shapes
    size = np.array(widen)
    wide = shapely.transform(shapes[thin], lambda xy: xy / size)
    shapes = shapes.copy()
    shapes[thin] = shapely.transform(shapely.buffer(wide, 1.0), lambda xy: xy * size)
    return shapes


def _nothing_on(labels: VectorLabels, grid: Grid) -> tuple[str, ...]:
    """An image without features may be all background, but not where the layer lies elsewhere."""
    with readable(labels.file):
        info = pyogrio.read_info(labels.file, layer=labels.layer, force_total_bounds=True)
    around = _surroundings(labels, grid, MARGIN)
    there = around is None or around.intersects(shapely.box(*info["total_bounds"]))
    if labels.background != UNLABELLED and there:
        return (f"no feature lies on it: all of it is background, {labels.background}",)
    bounds = ", ".join(f"{v:.8g}" for v in info["total_bounds"])
    image = "" if around is None else " ({})".format(", ".join(f"{v:.8g}" for v in around.bounds))
    raise InputError(
        f"{labels.file}: no feature of {labels.layer} lies on the image; in "
        f"{short(CRS.from_wkt(labels.crs))} they lie within ({bounds}), the image within{image}; "
        "give the labels of this place, or correct their CRS with `ogr2ogr -a_srs`"
    )


def _crs_note(labels: VectorLabels, grid: Grid) -> tuple[str, ...]:
    crs = CRS.from_wkt(labels.crs)
    if not tags_differ(crs, grid.crs):
        return ()
    note = f"features in {short(crs)} are carried to the image's {short(grid.crs)}"
    apart = tag_shift(crs, grid)
    return (note if apart > 10 else f"{note}: the two are {apart:.2f} pixel apart",)


def _overlap_note(features: Features) -> tuple[str, ...]:
    """How many pairs of areas overlap and say different classes: there the order decides."""
    areas = np.flatnonzero(shapely.get_dimensions(features.shapes) == 2)
    a, b = features.tree.query(features.shapes[areas], predicate="intersects")[:, :PAIRS]
    a = areas[a]
    rivals = (a < b) & (features.values[a] != features.values[b])
    shared = shapely.intersection(features.shapes[a[rivals]], features.shapes[b[rivals]])
    pairs = int((shapely.area(shared) > 0.01).sum())
    if not pairs:
        return ()
    return (f"{pairs} pairs of features of different classes overlap: the later in the file wins",)
