"""Pixel areas against geodesic polygons of PROJ, in every kind of CRS."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyproj
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from geounet.area import PixelArea
from geounet.errors import InputError
from geounet.grid import Grid

UTM = Grid((377, 611), Affine(10, 0, 399_960, 0, -10, 5_590_020), CRS.from_epsg(32633))
GRIDS = {
    "UTM": UTM,
    "UTM far outside its zone": Grid(
        (501, 2003), Affine(1000, 0, -8e5, 0, -1000, 8.9e6), CRS.from_epsg(32633)
    ),
    "Albers": Grid((3001, 4513), Affine(900, 0, -2e6, 0, -900, 3e6), CRS.from_epsg(5070)),
    "polar, with the pole": Grid(
        (1264, 1327), Affine(6250, 0, -3.95e6, 0, -6250, 4.35e6), CRS.from_epsg(3031)
    ),
    "rotated": Grid(
        (403, 307),
        Affine.translation(1.5e6, -3.9e6) @ Affine.rotation(25) @ Affine.scale(25, -25),
        CRS.from_epsg(3577),
    ),
    "south-up": Grid((401, 307), Affine(30, 0, 5e5, 0, 30, 4e6), CRS.from_epsg(32617)),
    "geographic": Grid((360, 723), Affine(0.01, 0, 11, 0, -0.01, 52), CRS.from_epsg(4326)),
    "geographic, rotated": Grid(
        (300, 211),
        Affine.translation(11, 52) @ Affine.rotation(30) @ Affine.scale(0.01, -0.01),
        CRS.from_epsg(4326),
    ),
    "across the antimeridian": Grid(
        (301, 503), Affine(1000, 0, 600_000, 0, -1000, 7e6), CRS.from_epsg(32660)
    ),
    "feet": Grid((307, 211), Affine(98.4, 0, 1.9e6, 0, -98.4, 5e5), CRS.from_epsg(2264)),
    "sphere of Mars": Grid(
        (307, 211),
        Affine(500, 0, 7.3e6, 0, -500, -8.6e5),
        CRS.from_string("+proj=eqc +lat_ts=-10 +lon_0=180 +R=3395582 +units=m +no_defs"),
    ),
    "Mercator of the world": Grid(
        (2003, 2003), Affine(20_000, 0, -2.003e7, 0, -20_000, 2.003e7), CRS.from_epsg(3857)
    ),
}


def geodesic_area(grid: Grid, row: int, col: int, pieces: int = 16) -> float:
    """The pixel's outline, its edges cut in pieces, as a polygon of geodesics."""
    crs = pyproj.CRS.from_wkt(grid.crs.to_wkt(version="WKT2_2019"))
    way = np.linspace(0, 1, pieces, endpoint=False)
    zero, one = np.zeros(pieces), np.ones(pieces)
    cols = col + np.concatenate([way, one, 1 - way, zero])
    rows = row + np.concatenate([zero, way, one, 1 - way])
    xy = [grid.transform @ (float(c), float(r)) for c, r in zip(cols, rows, strict=True)]
    to_lonlat = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    lon, lat = to_lonlat.transform(*np.transpose(xy))
    return abs(crs.get_geod().polygon_area_perimeter(lon, lat)[0])


@cache
def area_of(name: str) -> PixelArea:
    return PixelArea(GRIDS[name])


def pixel(row: int, col: int) -> tuple[slice, slice]:
    return (slice(row, row + 1), slice(col, col + 1))


@pytest.mark.parametrize("name", GRIDS)
def test_a_pixel_has_the_area_of_its_geodesic_polygon(name):
    grid, area = GRIDS[name], area_of(name)
    rng = np.random.default_rng(7)
    rows, cols = (rng.integers(0, n, 60) for n in grid.shape)
    corners = [(0, 0), (0, grid.shape[1] - 1), (grid.shape[0] - 1, 0)]
    for row, col in [*corners, *zip(rows.tolist(), cols.tolist(), strict=True)]:
        expected = geodesic_area(grid, row, col)
        assert area.window(pixel(row, col)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", GRIDS)
@given(data=st.data())
def test_the_window_does_not_move_a_value(name, data):
    grid, area = GRIDS[name], area_of(name)
    spans = []
    for n in grid.shape:
        start = data.draw(st.integers(0, n - 1))
        spans.append((start, data.draw(st.integers(start + 1, min(n, start + 90)))))
    (r0, r1), (c0, c1) = spans
    outer = area.window((slice(r0 // 2, r1), slice(c0 // 2, c1)))
    inner = area.window((slice(r0, r1), slice(c0, c1)))
    assert np.array_equal(outer[r0 - r0 // 2 :, c0 - c0 // 2 :], inner)


def test_the_pixels_of_the_world_cover_the_ellipsoid():
    grid = Grid((181, 360), Affine(1, 0, -180, 0, -1, 90.5), CRS.from_epsg(4326))
    # ^ Cell centres on the poles: half of the first and of the last row lies beyond them.
    e2 = 0.0066943799901413165
    e = e2**0.5
    surface = 2 * np.pi * 6_378_137.0**2 * (1 + (1 - e2) / e * np.arctanh(e))
    assert PixelArea(grid).window(grid.whole).sum() == pytest.approx(surface, rel=1e-12)


def test_a_polar_cap_has_its_area_though_a_pixel_holds_the_pole():
    grid = Grid((81, 81), Affine(50_000, 0, -2.025e6, 0, -50_000, 2.025e6), CRS.from_epsg(3031))
    edge = np.linspace(-2.025e6, 2.025e6, 2000)
    x = np.concatenate([edge, np.full(2000, edge[-1]), edge[::-1], np.full(2000, edge[0])])
    y = np.concatenate([np.full(2000, edge[0]), edge, np.full(2000, edge[-1]), edge[::-1]])
    lon, lat = pyproj.Transformer.from_crs(3031, 4326, always_xy=True).transform(x, y)
    expected = abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0])
    assert PixelArea(grid).window(grid.whole).sum() == pytest.approx(expected, rel=1e-6)


def test_places_outside_the_projection_have_no_area():
    sinusoidal = CRS.from_string("+proj=sinu +R=6371007.181 +units=m +no_defs")
    grid = Grid((4003, 8006), Affine(5000, 0, -2.0015e7, 0, -5000, 1.00075e7), sinusoidal)
    areas = PixelArea(grid).window((slice(500, 505), slice(2400, 2540)))
    inside = np.isfinite(areas)
    assert np.allclose(areas[inside], 25e6, rtol=1e-5)
    edge = 2 * np.pi * 6_371_007.181 * np.cos(np.radians(90 - 500 * 180 / 4003)) / 2
    first = (2.0015e7 - edge) / 5000 - 2400
    assert inside[0].argmax() == pytest.approx(first, abs=3)
    assert all(np.array_equal(row, np.sort(row)) for row in inside)


def test_small_pixels_keep_their_digits():
    grid = Grid((1000, 1000), Affine(0.05, 0, 5e5, 0, -0.05, 5e6), CRS.from_epsg(32633))
    areas = PixelArea(grid).window(grid.whole)
    expected = geodesic_area(Grid((1, 1), Affine(50, 0, 5e5, 0, -50, 5e6), grid.crs), 0, 0)
    assert areas.sum() == pytest.approx(expected, rel=1e-6)
    assert np.ptp(areas) / areas.mean() < 1e-6


def test_the_typical_pixel_is_the_middle_one():
    assert PixelArea(UTM).typical == PixelArea(UTM).window(pixel(188, 305)).item()


@pytest.mark.parametrize("crs", [CRS(), CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')])
def test_a_grid_without_an_ellipsoid_is_refused(crs):
    with pytest.raises(InputError, match="names no ellipsoid; give the raster its CRS"):
        PixelArea(Grid((2, 3), Affine(1, 0, 0, 0, -1, 0), crs))
