"""How many square metres each pixel covers on the ellipsoid, in any CRS.

A pixel's edges are straight in the CRS. Its corners, and points along its edges, go to longitude
and latitude on the CRS's own ellipsoid, and from there to a Lambert azimuthal equal-area plane
that touches the pixel's own centre: area is kept exactly by that projection, nothing is wrapped at
the antimeridian, and a pixel that holds a pole is like any other.

Areas vary slowly over a scene, so they are measured on a lattice of the whole scene and
interpolated between. The lattice depends on the grid alone: no window moves a value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import atanh, sqrt

import numpy as np
import pyproj
from jaxtyping import Float
from numpy import ndarray
from pyproj import Transformer
from rasterio.crs import CRS

from geounet.errors import InputError
from geounet.grid import Grid, Window
from geounet.node_lattice import NodeLattice

TOLERANCE = 4e-7
"""Largest relative error of the interpolation where it was checked, between the lattice's nodes."""

HECTARE = 10_000.0

_MOST_CELLS = 256
_PIECES = 8
_LEAST_SIDE_M = 1000.0


@dataclass(frozen=True)
class PixelArea:
    """The geodesic area of each pixel of ``grid``: ``area.window(w) == area.window(whole)[w]``.

    Where a corner of a pixel lies outside the domain of the projection, its area is NaN.

    Raises:
        InputError: if the grid's CRS has no ellipsoid.
    """

    grid: Grid
    _ellipsoid: Ellipsoid = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ellipsoid", _ellipsoid_of(self.grid.crs))

    def window(self, window: Window) -> Float[ndarray, "row col"]:
        """Square metres of each pixel of a window of the grid."""
        rows, cols = (np.arange(s.start, s.stop) for s in window)
        if self._rows is not None:
            return np.tile(self._rows[rows][:, None], (1, cols.size))
        return self._between_nodes(rows, cols)

    @property
    def planar(self) -> float:
        """Square metres of a pixel on the map, as if the map were true to scale."""
        height, width = self.grid.pixel_size
        return height * width * self._ellipsoid.metres_per_unit**2

    def interpolation(self, window: Window) -> tuple[ndarray, ...] | None:
        """How areas of a window follow from nodes; None where pixels must be measured one by one.

        Returns:
            The first of four nodes for each row, the weights of the four, the same for each column,
            and the nodes' areas: the area of a pixel is the double sum of weights times nodes.
        """
        if self.rows_are_alike:
            return None
        lattice, (rows, cols) = (
            _lattice_of(self),
            (np.arange(s.start, s.stop) + 0.5 for s in window),
        )
        if lattice.doubtful[np.ix_(lattice.cell(rows, 0), lattice.cell(cols, 1))].any():
            return None
        return (*lattice.weights(rows, 0), *lattice.weights(cols, 1), lattice.values)

    @property
    def rows_are_alike(self) -> bool:
        """True if all pixels of a row have one area."""
        return self._rows is not None

    @cached_property
    def typical(self) -> float:
        """Square metres of the pixel in the middle of the scene; NaN where that has no area."""
        row, col = (n // 2 for n in self.grid.shape)
        return self.window((slice(row, row + 1), slice(col, col + 1))).item()

    @cached_property
    def _rows(self) -> Float[ndarray, " row"] | None:
        """The area of a pixel of each row, where all pixels of a row are alike.

        So they are on a geographic grid whose rows follow the parallels: the zone between two
        parallels has a closed form (Snyder 1987, eq. 3-12).
        """
        t = self.grid.transform
        if not self._ellipsoid.geographic or t.b or t.d:
            return None
        unit = self._ellipsoid.radians_per_unit
        edges = (t.f + t.e * np.arange(self.grid.shape[0] + 1)) * unit
        # A global grid of cell centres hangs half a pixel over the poles, where there is no area.
        authalic = self._ellipsoid.authalic(np.clip(edges, -np.pi / 2, np.pi / 2))[0]
        return self._ellipsoid.radius**2 * abs(t.a) * unit * np.abs(np.diff(authalic))

    def _between_nodes(self, rows: ndarray, cols: ndarray) -> Float[ndarray, "row col"]:
        lattice = _lattice_of(self)
        areas = lattice.at(rows + 0.5, cols + 0.5)
        doubtful = lattice.doubtful[
            np.ix_(lattice.cell(rows + 0.5, 0), lattice.cell(cols + 0.5, 1))
        ]
        if doubtful.any():
            r, c = np.nonzero(doubtful)
            areas[r, c] = self.measured(rows[r] + 0.5, cols[c] + 0.5, 1.0)
        return areas

    def measured(self, rows: ndarray, cols: ndarray, span: float | None = None) -> ndarray:
        """Area of a pixel centred at each (row, col): of ``span`` pixels, divided by span².

        PROJ's inverses are right to about a millimetre, so a pixel of a few metres is measured
        as a square of a kilometre; the difference is of the order of (1 km / Earth's radius)².
        """
        if span is None:
            span = max(1.0, _LEAST_SIDE_M / self._ellipsoid.pixel_metres(self.grid))
        outline = _outline()
        around = (cols[..., None] + span * outline[:, 0], rows[..., None] + span * outline[:, 1])
        x, y = self._on_map(*around)
        x0, y0 = self._on_map(cols, rows)
        return self._ellipsoid.area(x, y, x0, y0) / span**2

    def _on_map(self, cols: ndarray, rows: ndarray) -> tuple[ndarray, ndarray]:
        t = self.grid.transform
        return t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f


@dataclass(frozen=True)
class Ellipsoid:
    """The figure of the body that a grid lies on, and the way from its CRS to it."""

    radius: float
    eccentricity: float
    geographic: bool
    radians_per_unit: float
    metres_per_unit: float
    to_lonlat: Transformer = field(repr=False)
    period: float = 0.0

    def pixel_metres(self, grid: Grid) -> float:
        """About how long a pixel's shorter side is."""
        return min(grid.pixel_size) * self.metres_per_unit

    def authalic(self, latitude: ndarray) -> tuple[ndarray, ndarray]:
        """``q/2`` of Snyder 1987, eq. 3-12, and how far it is from its value at the nearer pole.

        The second is computed without cancellation, so that it holds its digits at the pole.
        """
        e = self.eccentricity
        sine = np.sin(np.abs(latitude))
        versed = 2 * np.sin((np.pi / 2 - np.abs(latitude)) / 2) ** 2
        below = (versed * (1 + e**2 * sine) / (1 - (e * sine) ** 2)) / 2
        if e > 0:
            below = below + (1 - e**2) / e * np.arctanh(e * versed / (1 - e**2 * sine)) / 2
        else:
            below = below + versed / 2
        return np.sign(latitude) * (self.authalic_pole - below), below

    @property
    def authalic_pole(self) -> float:
        """``q/2`` at the pole; 1 on a sphere."""
        e = self.eccentricity
        return (1 + (1 - e**2) * (atanh(e) / e)) / 2 if e > 0 else 1.0

    def area(self, x: ndarray, y: ndarray, x0: ndarray, y0: ndarray) -> ndarray:
        """Square metres within each ring ``x, y`` (… point), projected about its (x0, y0)."""
        lon, sin, cos = self._authalic_sphere(x, y)
        lon0, sin0, cos0 = (v[..., None] for v in self._authalic_sphere(x0, y0))
        turn = lon - lon0
        with np.errstate(invalid="ignore", divide="ignore"):
            k = np.sqrt(2 / (1 + sin0 * sin + cos0 * cos * np.cos(turn)))
            u = k * cos * np.sin(turn)
            v = k * (cos0 * sin - sin0 * cos * np.cos(turn))
            twice = (u * np.roll(v, -1, -1) - np.roll(u, -1, -1) * v).sum(-1)
        return np.abs(twice) / 2 * self.radius**2 * self.authalic_pole

    def _authalic_sphere(self, x: ndarray, y: ndarray) -> tuple[ndarray, ndarray, ndarray]:
        """Longitude, and sine and cosine of the authalic latitude; NaN outside the domain."""
        if self.geographic:
            lon, lat = (np.asarray(v) * self.radians_per_unit for v in (x, y))
            lat = np.where(np.abs(lat) > np.pi / 2 + 1e-12, np.nan, lat)
        else:
            lon, lat = self._lonlat(x, y)
        q, below = self.authalic(lat)
        pole = self.authalic_pole
        return lon, q / pole, np.sqrt(below * (2 * pole - below)) / pole

    def _lonlat(self, x: ndarray, y: ndarray) -> tuple[ndarray, ndarray]:
        """Radians; NaN where the way back to the CRS ends elsewhere.

        PROJ answers outside the domain of some projections too (a sinusoidal map beyond ±180°),
        and only the way back tells: by kilometres there, by 2 mm at most where PROJ's inverse is
        approximate. On a cylinder, a turn around the Earth is no error.
        """
        lon, lat = self.to_lonlat.transform(x, y)
        back_x, back_y = self.to_lonlat.transform(lon, lat, direction="INVERSE")
        near = 1 / self.metres_per_unit
        with np.errstate(invalid="ignore"):
            off = np.abs(back_x - x)
            if self.period:
                off = np.minimum(off, np.abs(off - self.period))
            home = (off < near) & (np.abs(back_y - y) < near)
            lon, lat = (np.where(home, np.radians(v), np.nan) for v in (lon, lat))
        return lon, lat


@lru_cache(maxsize=8)
def _ellipsoid_of(crs: CRS) -> Ellipsoid:
    """The ellipsoid of a CRS: Mars has its own."""
    full = pyproj.CRS.from_wkt(crs.to_wkt(version="WKT2_2019")) if crs else None
    if full is None or full.ellipsoid is None or full.geodetic_crs is None:
        raise InputError(
            f"no area can be measured on a grid whose CRS is {crs or 'missing'}: "
            "it names no ellipsoid; give the raster its CRS, for example with gdal_edit -a_srs"
        )
    a, b = full.ellipsoid.semi_major_metre, full.ellipsoid.semi_minor_metre
    unit = full.axis_info[0].unit_conversion_factor
    geographic = full.is_geographic
    to_lonlat = Transformer.from_crs(full, full.geodetic_crs, always_xy=True)
    return Ellipsoid(
        radius=a,
        eccentricity=sqrt(max(0.0, 1 - (b / a) ** 2)),
        geographic=geographic,
        radians_per_unit=unit if geographic else 1.0,
        metres_per_unit=unit * a if geographic else unit,
        to_lonlat=to_lonlat,
        period=0.0 if geographic else _period(to_lonlat),
    )


def _period(to_lonlat: Transformer) -> float:
    """How long the equator is on the map, where every parallel is as long; 0 elsewhere."""
    lon = np.arange(-170.0, 180.0, 20.0)
    steps = [
        np.diff(to_lonlat.transform(lon, np.full_like(lon, lat), direction="INVERSE")[0])
        for lat in (0.0, 40.0)
    ]
    with np.errstate(invalid="ignore"):
        step = np.median(steps[0])
        even = all((np.abs(s - step) < abs(step) * 1e-9).sum() >= s.size - 1 for s in steps)
    return float(18 * abs(step)) if even else 0.0


@lru_cache(maxsize=8)
def _lattice_of(area: PixelArea) -> NodeLattice:
    """The coarsest lattice that is right to `TOLERANCE` in the middle of each of its cells.

    Cells that stay wrong, or that touch a place with no coordinates, are marked doubtful, and
    their pixels are measured one by one.
    """
    grid, cells = area.grid, 4
    while True:
        nodes = [np.linspace(0, n, cells + 1) for n in grid.shape]
        lattice = NodeLattice(grid.shape, cells, area.measured(*_mesh(*nodes)))
        middles = [(n[:-1] + n[1:]) / 2 for n in nodes]
        error = np.abs(lattice.at(*middles) / area.measured(*_mesh(*middles)) - 1)
        wrong = ~(error < TOLERANCE)
        if not wrong.any() or cells >= _MOST_CELLS:
            return lattice.with_doubt(wrong)
        cells *= 2


def _mesh(rows: ndarray, cols: ndarray) -> tuple[ndarray, ndarray]:
    return tuple(np.meshgrid(rows, cols, indexing="ij"))


@lru_cache(maxsize=1)
def _outline() -> Float[ndarray, "point 2"]:
    """(col, row) of points around a unit square centred on (0, 0), each side in pieces."""
    side = np.linspace(-0.5, 0.5, _PIECES, endpoint=False)
    low, high = np.full(_PIECES, -0.5), np.full(_PIECES, 0.5)
    sides = [(side, low), (high, side), (-side, high), (low, -side)]
    return np.concatenate([np.stack(s, -1) for s in sides])
