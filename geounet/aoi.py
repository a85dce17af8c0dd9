"""The area of interest: polygons from a vector file, in the scene's CRS."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from geounet.errors import InputError
from geounet.grid import Grid


def read_aoi(path: str | Path, grid: Grid) -> shapely.Geometry:
    """The union of a file's polygons, in the CRS of ``grid``.

    Raises:
        InputError: if the file cannot be read, has no CRS, or has no polygon on the scene.
    """
    try:
        with Path(path).open("rb") as file:
            if b"<OGRVRT" in file.read(4096):
                raise InputError(f"{path}: a VRT, which may lead anywhere; give the file it names")
        frame = pyogrio.read_dataframe(Path(path).resolve(), columns=[], force_2d=True)
    except (pyogrio.errors.DataSourceError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as a vector file; is it there, and complete?"
        ) from error
    if not isinstance(frame, gpd.GeoDataFrame):
        raise InputError(f"{path}: has no geometry, so it is no area of interest")
    if frame.crs is None:
        raise InputError(f"{path}: the area of interest has no CRS; write one with ogr2ogr -a_srs")
    shapes = _near(frame.geometry, grid).to_crs(grid.crs.to_wkt())
    polygons = shapes[shapes.geom_type.isin(["Polygon", "MultiPolygon"])]
    area = shapely.union_all(shapely.make_valid(polygons.to_numpy()))
    if area.is_empty or not area.intersects(shapely.Polygon(grid.corners)):
        raise InputError(f"{path}: no polygon of the area of interest lies on the scene")
    return area


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
    if not (left < right and bottom < top):
        return valid
    margin = max(right - left, top - bottom)
    box = shapely.box(left - margin, bottom - margin, right + margin, top + margin)
    return valid.intersection(box).segmentize(margin / 100)


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
