"""The area of interest: polygons from a vector file, in the scene's CRS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from geounet.errors import InputError
from geounet.grid import Grid
from geounet.vector_file import vector_path


def read_aoi(path: str | Path, grid: Grid) -> shapely.Geometry:
    """The union of a file's polygons, in the CRS of ``grid``.

    Raises:
        InputError: if the file cannot be read, has no CRS, or has no polygon on the scene.
    """
    what = "the area of interest"
    frame = read_polygons(path, grid, [], what)
    area = shapely.union_all(shapely.make_valid(frame.geometry.to_numpy()))
    if area.is_empty or not area.intersects(shapely.Polygon(grid.corners)):
        raise InputError(f"{path}: no polygon of {what} lies on the scene")
    return area


def vector_header(path: str | Path) -> dict[str, Any]:
    """What pyogrio says of a file's first layer with geometries, or of its first.

    Raises:
        InputError: if it cannot be read, or may lead elsewhere.
    """
    file = vector_path(path)
    try:
        layers = pyogrio.list_layers(file)
        names = [name for name, kind in layers if kind is not None] or [name for name, _ in layers]
        return pyogrio.read_info(file, layer=names[0])
    except (pyogrio.errors.DataSourceError, OSError, IndexError) as error:
        raise _unreadable(path) from error


def read_polygons(
    path: str | Path, grid: Grid, columns: Sequence[str], what: str
) -> gpd.GeoDataFrame:
    """A file's polygons on and near the scene, in the CRS of ``grid``, with some of its fields.

    Args:
        path: a vector file.
        grid: the scene's.
        columns: names of fields.
        what: the file's part, for errors: "the area of interest".

    Raises:
        InputError: if the file cannot be read, or has no geometry, no CRS, or broken vertices.
    """
    layer = vector_header(path)["layer_name"]
    try:
        frame = pyogrio.read_dataframe(
            Path(path).absolute(), layer=layer, columns=list(columns), force_2d=True
        )
    except (pyogrio.errors.DataSourceError, OSError) as error:
        raise _unreadable(path) from error
    if not isinstance(frame, gpd.GeoDataFrame):
        raise InputError(f"{path}: has no geometry, so it cannot be {what}")
    if frame.crs is None:
        raise InputError(f"{path}: {what} has no CRS; write one with ogr2ogr -a_srs")
    if not np.isfinite(shapely.get_coordinates(frame.geometry.to_numpy())).all():
        raise InputError(
            f"{path}: a polygon has a vertex that is no number or infinite, so it cannot be "
            f"{what}; mend the file first"
        )
    frame = frame.set_geometry(_near(frame.geometry, grid).to_crs(grid.crs.to_wkt()))
    return frame[frame.geometry.geom_type.isin(["Polygon", "MultiPolygon"])]


def _unreadable(path: str | Path) -> InputError:
    return InputError(f"{path}: cannot be read as a vector file; is it there, and complete?")


def _near(shapes: gpd.GeoSeries, grid: Grid) -> gpd.GeoSeries:
    """Cut to the surroundings of the scene: far corners may have no place in its CRS.

    Edges are cut to pieces too, as a long straight edge bends between two CRSs.
    """
    valid = shapes.make_valid()
    x, y = zip(*grid.corners, strict=True)
    here = (min(x), min(y), max(x), max(y))
    try:
        left, bottom, right, top = transform_bounds(grid.crs, shapes.crs.to_wkt(), *here)
    except RasterioError:
        return valid
    across = shapes.crs.is_geographic and left > right
    # ^ The scene lies on both sides of ±180°.
    margin = max(right - left + (360 if across else 0), top - bottom)
    if not margin > 0 or (left >= right and not across):
        return valid
    spans = [(left, right)] if not across else [(left, 180.0), (-180.0, right)]
    boxes = [shapely.box(w - margin, bottom - margin, e + margin, top + margin) for w, e in spans]
    return valid.intersection(shapely.union_all(boxes)).segmentize(margin / 100)


def inside(area: shapely.Geometry, grid: Grid) -> np.ndarray:
    """(row, col) True where a pixel's centre lies in ``area``.

    Not rasterio's geometry_mask: it silences a warning of its own with a filter that all threads
    share, and so now and then fails to.
    """
    if shapely.contains(area, shapely.Polygon(grid.corners)):
        return np.ones(grid.shape, bool)
    shapely.prepare(area)
    rows, cols = grid.shape
    x, y = np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
    return shapely.contains_xy(area, *(grid.transform @ (x, y)))
