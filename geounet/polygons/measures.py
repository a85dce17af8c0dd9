"""Areas and lengths of pixels as whole numbers, so that sums do not depend on their order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import floor, log2

import numpy as np
import pyproj
from jaxtyping import Float, Int64
from numpy import ndarray
from rasterio.crs import CRS

from geounet.area import PixelArea
from geounet.grid import Grid, Window
from geounet.polygons.arcs import SIDE
from geounet.polygons.compiled import compiled

_BITS = 60
_SAMPLES = 3
_LENGTH_UNITS = 2.0**14


@dataclass(frozen=True)
class Measures:
    """Geodesic areas of pixels and lengths of their edges, in whole units.

    Attributes:
        grid: of the scene.
    """

    grid: Grid

    @cached_property
    def pixel_area(self) -> PixelArea:
        """Square metres of each pixel."""
        return PixelArea(self.grid)

    @cached_property
    def area_units(self) -> float:
        """Units in a square metre: the largest power of two with which no sum can overflow.

        Of a scene of 300 million pixels, each has 32 bits: its area is rounded by 2e-10 at most.
        """
        rows, cols = (np.linspace(0, n - 1, min(n, _SAMPLES)).astype(int) for n in self.grid.shape)
        areas = [
            self.pixel_area.window((slice(r, r + 1), slice(c, c + 1))).item()
            for r in rows.tolist()
            for c in cols.tolist()
        ]
        # Where none of these has an area, other pixels may: about what they have on the map.
        known = [area for area in (*areas, self.pixel_area.planar) if area > 0]
        total = 4 * max(known) * self.grid.shape[0] * self.grid.shape[1]
        return 2.0 ** (_BITS - floor(log2(total)))

    def areas(self, window: Window) -> Int64[ndarray, "row col"]:
        """Of each pixel of a window, -1 where unknown; one column where rows are alike."""
        rows, cols = window
        smooth = self.pixel_area.interpolation(window)
        if smooth is not None:
            first_row, row_weights, first_col, col_weights, nodes = smooth
            by_row, by_col = (first_row, row_weights), (first_col, col_weights)
            return _interpolated(by_row, by_col, nodes, self.area_units)
        alike = self.pixel_area.rows_are_alike
        part = (rows, slice(cols.start, cols.start + 1)) if alike else window
        return _whole(self.pixel_area.window(part), self.area_units)

    def square_metres(self, units: Int64[ndarray, " n"]) -> Float[ndarray, " n"]:
        """Sums of ``areas`` in square metres; NaN for -1."""
        return np.where(units < 0, np.nan, units / self.area_units)

    def lengths(self, window: Window) -> Int64[ndarray, "2 row col"]:
        """Of a pixel's step along a row and down a column, for blocks of SIDE pixels; -1 unknown.

        Blocks start at multiples of SIDE in the scene, and reach the window's last vertices, one
        row and column beyond its pixels.
        """
        (row, half_row), (col, half_col) = (
            _blocks(s, n) for s, n in zip(window, self.grid.shape, strict=True)
        )
        row, col = np.meshgrid(row, col, indexing="ij")
        along = self._steps(row, col, (0.0, half_col[None, :]))
        down = self._steps(row, col, (half_row[:, None], 0.0))
        return _whole(np.stack([along, down]), _LENGTH_UNITS)

    def metres(self, units: Int64[ndarray, " n"]) -> Float[ndarray, " n"]:
        """Sums of ``lengths`` in metres; NaN for -1."""
        return np.where(units < 0, np.nan, units / _LENGTH_UNITS)

    def _steps(self, row: ndarray, col: ndarray, half: tuple) -> ndarray:
        """Metres of a pixel's step, measured from ``half`` before a place to as much after it."""
        lon, lat = zip(
            *(self._lonlat(row + sign * half[0], col + sign * half[1]) for sign in (-1, 1)),
            strict=True,
        )
        known = np.isfinite(lon[0] + lon[1] + lat[0] + lat[1])
        ends = [np.where(known, v, 0.0) for v in (lon[0], lat[0], lon[1], lat[1])]
        geod, _ = _reference(self.grid.crs)
        metres = geod.inv(ends[0], ends[1], ends[2], ends[3])[2] / (2 * (half[0] + half[1]))
        return np.where(known, metres, np.nan)

    def _lonlat(self, row: ndarray, col: ndarray) -> tuple[ndarray, ndarray]:
        t = self.grid.transform
        x, y = t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f
        lon, lat = (np.asarray(v) for v in _reference(self.grid.crs)[1].transform(x, y))
        beyond = np.abs(lat) > 90
        return np.where(beyond, np.nan, lon), np.where(beyond, np.nan, lat)


@lru_cache(maxsize=8)
def _reference(crs: CRS) -> tuple[pyproj.Geod, pyproj.Transformer]:
    """The ellipsoid of a CRS, and the way from the CRS to longitude and latitude on it."""
    full = pyproj.CRS.from_wkt(crs.to_wkt(version="WKT2_2019"))
    geod = full.get_geod()
    # `PixelArea` has refused a CRS without an ellipsoid.
    assert geod is not None
    return geod, pyproj.Transformer.from_crs(full, full.geodetic_crs, always_xy=True)


def _blocks(span: slice, length: int) -> tuple[ndarray, ndarray]:
    """Middles and half lengths of the blocks of SIDE pixels along an axis of ``length`` pixels."""
    starts = np.arange(span.start // SIDE, span.stop // SIDE + 1) * SIDE
    # The last vertices may begin a block that has no pixel: it takes the pixel before.
    starts = np.minimum(starts, length - 1)
    stops = np.minimum(starts + SIDE, length)
    return (starts + stops) / 2, (stops - starts) / 2


@compiled
def _interpolated(by_row, by_col, nodes, units):
    """Whole units of each pixel of a window from `PixelArea.interpolation`."""
    (r0, row_weights), (c0, col_weights) = by_row, by_col
    areas = np.empty((r0.size, c0.size), np.int64)
    down = np.empty(nodes.shape[1])
    for i in range(r0.size):
        down[:] = 0.0
        for k in range(4):
            down += row_weights[i, k] * nodes[r0[i] + k]
        down *= units
        for j in range(c0.size):
            area = 0.0
            for k in range(4):
                area += col_weights[j, k] * down[c0[j] + k]
            areas[i, j] = np.int64(area + 0.5)
    return areas


def _whole(values: ndarray, units: float) -> ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(values), np.rint(values * units), -1).astype(np.int64)
