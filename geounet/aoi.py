"""The area of interest: polygons from a vector file, in the scene's CRS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio
import shapely

from geounet.errors import InputError
from geounet.grid import Grid


def read_aoi(path: str | Path, grid: Grid) -> shapely.Geometry:
    """The union of a file's polygons, in the CRS of ``grid``.

    Raises:
        InputError: if the file cannot be read, has no CRS, or has no polygon on the scene.
    """
    try:
        frame = pyogrio.read_dataframe(Path(path).resolve(), columns=[], force_2d=True)
    except (pyogrio.errors.DataSourceError, OSError) as error:
        raise InputError(f"{path}: the area of interest cannot be read ({error})") from error
    if frame.crs is None:
        raise InputError(f"{path}: the area of interest has no CRS; write one with ogr2ogr -a_srs")
    shapes = frame.geometry.to_crs(grid.crs.to_wkt())
    polygons = shapes[shapes.geom_type.isin(["Polygon", "MultiPolygon"])]
    area = shapely.union_all(shapely.make_valid(polygons.to_numpy()))
    if area.is_empty or not area.intersects(shapely.Polygon(grid.corners)):
        raise InputError(f"{path}: no polygon of the area of interest lies on the scene")
    return area


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
