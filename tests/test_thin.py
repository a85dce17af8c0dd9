"""Simplified and smoothed borders: valid, shared, and holding the same areas in all."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from geounet.polygonize import PolygonOptions, polygonize, reader_of
from geounet.polygons.lattice import Lattice
from geounet.polygons.measures import Measures
from geounet.polygons.rank import rank_vertices
from geounet.polygons.trace import Tracer
from geounet.vector_settings import Amount
from tests.test_polygonize import all_of, grid_of, masks

METHODS = ["douglas-peucker", "visvalingam"]
TOLERANCES = [0.0, 0.5, 1.0, 2.0, 5.0, 20.0]


@st.composite
def smooth_masks(draw):
    """Winding borders with islands, of three classes."""
    shape = draw(st.tuples(st.integers(20, 70), st.integers(20, 70)))
    seed, sigma = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([1.5, 3.0]))
    relief = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return np.digitize(relief, np.quantile(relief, [0.3, 0.6])).astype(np.uint8)


def options_of(data, **fixed) -> PolygonOptions:
    tolerance = data.draw(st.sampled_from(TOLERANCES))
    return PolygonOptions(
        simplify=Amount(tolerance, in_pixels=True) if tolerance else None,
        method=data.draw(st.sampled_from(METHODS)),
        smooth=data.draw(st.integers(0, 3)),
        **fixed,
    )


@given(mask=masks() | smooth_masks(), side=st.sampled_from([9, 16, 64]), data=st.data())
def test_simplified_and_smoothed_polygons_are_a_coverage_of_the_scene(mask, side, data):
    grid = grid_of("north-up", mask.shape)
    split, outline = data.draw(st.booleans()), data.draw(st.booleans())
    options = options_of(data, nodata=None, split=split, outline=outline)
    plain = all_of(polygonize(mask, grid, PolygonOptions(nodata=None, split=split), side=side))
    found = all_of(polygonize(mask, grid, options, side=side))
    assert shapely.is_valid(found.polygon).all()
    assert shapely.coverage_is_valid(found.polygon)
    assert shapely.area(found.polygon).sum() / 100 == pytest.approx(mask.size, rel=1e-9)
    assert found.n_px.tolist() == plain.n_px.tolist()
    assert found.area_ha.tolist() == plain.area_ha.tolist()


@given(mask=masks() | smooth_masks(), side=st.sampled_from([9, 64]), data=st.data())
def test_borders_to_no_data_and_to_the_outside_stay_as_they_are(mask, side, data):
    mask = np.where(mask == mask[0, 0], 255, mask).astype(np.uint8)
    grid = grid_of("north-up", mask.shape)
    plain = all_of(polygonize(mask, grid, side=side))
    found = all_of(polygonize(mask, grid, options_of(data), side=side))
    if len(plain):
        both = [shapely.union_all(f.polygon) for f in (plain, found)]
        assert both[0].equals(both[1])
        assert shapely.coverage_is_valid(found.polygon)


@given(mask=smooth_masks(), tolerance=st.sampled_from([0.5, 1.0, 2.0, 5.0]))
def test_a_border_moves_by_the_tolerance_and_by_twice_that_where_another_is_in_its_way(
    mask, tolerance
):
    grid = grid_of("north-up", mask.shape)
    options = PolygonOptions(simplify=Amount(tolerance, in_pixels=True))
    plain, found = (all_of(polygonize(mask, grid, o)) for o in (None, options))
    measures = Measures(grid)
    held = Tracer(reader_of(mask, 255), measures, Lattice(grid.shape), options.thinning(measures))(
        0
    ).held
    apart = shapely.hausdorff_distance(
        shapely.boundary(shapely.segmentize(plain.polygon, 1.0)), shapely.boundary(found.polygon)
    )
    assert apart.max() <= (20 if held else 10) * tolerance * (1 + 1e-9)


def test_an_island_beside_a_border_is_not_jumped_over():
    mask = np.zeros((40, 40), np.uint8)
    mask[20:, :] = 1
    mask[8:20, 15:25] = 1
    mask[15:18, 18:22] = 2
    grid = grid_of("north-up", mask.shape)
    options = PolygonOptions(simplify=Amount(30, in_pixels=True))
    found = all_of(polygonize(mask, grid, options))
    assert shapely.coverage_is_valid(found.polygon)
    assert shapely.area(found.polygon).sum() == pytest.approx(mask.size * 100)


def test_a_blob_that_two_cells_share_keeps_its_area_at_any_tolerance():
    mask = np.zeros((32, 32), np.uint8)
    mask[12:20, 12:20] = 1
    options = PolygonOptions(simplify=Amount(1000, in_pixels=True), outline=True)
    found = all_of(polygonize(mask, grid_of("north-up", mask.shape), options, side=16))
    assert (shapely.area(found.polygon) > 0).all()
    assert shapely.coverage_is_valid(found.polygon)


def test_smoothing_rounds_corners_by_a_quarter_of_their_edges():
    mask = np.zeros((12, 12), np.uint8)
    mask[:, 6:] = 1
    mask[6:, 2:] = 1
    grid = grid_of("north-up", mask.shape)
    found = all_of(polygonize(mask, grid, PolygonOptions(smooth=1)))
    cols, rows = ~grid.transform @ shapely.get_coordinates(found.polygon[0]).T
    inner = {(c, r) for c, r in zip(cols.round(6), rows.round(6), strict=True)} & {
        (6.0, 4.5), (5.0, 6.0), (3.0, 6.0), (2.0, 7.5),
    }  # fmt: skip
    assert len(inner) == 4


@pytest.mark.parametrize("by_area", [False, True])
def test_ranks_are_those_of_the_definition(by_area):
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = int(rng.integers(3, 30))
        xy = np.cumsum(rng.integers(-3, 4, (n, 2)), axis=0)
        at = np.array([0, n])
        rank = rank_vertices(
            at, xy[:, 1].astype(np.int32), xy[:, 0].astype(np.int32), np.array([False]), by_area
        )
        expected = by_visvalingam(xy) if by_area else by_douglas_peucker(xy)
        assert rank == pytest.approx(expected)


def by_douglas_peucker(xy: np.ndarray) -> np.ndarray:
    """The largest tolerance at which each vertex is still kept, by brute force over recursion."""
    rank = np.full(len(xy), np.inf)

    def cut(first: int, last: int, least: float) -> None:
        if last - first < 2:
            return
        chord = shapely.LineString([xy[first], xy[last]])
        away = shapely.distance(shapely.points(xy[first + 1 : last].astype(float)), chord)
        best = first + 1 + int(away.argmax())
        rank[best] = min(least, float(away.max()))
        cut(first, best, rank[best])
        cut(best, last, rank[best])

    cut(0, len(xy) - 1, np.inf)
    return rank


def by_visvalingam(xy: np.ndarray) -> np.ndarray:
    """The area at which each vertex goes: always the least one first, by looking at all."""
    rank, left, most = np.full(len(xy), np.inf), list(range(len(xy))), 0.0
    while len(left) > 2:
        areas = [
            abs(np.linalg.det(np.stack([xy[b] - xy[a], xy[c] - xy[a]]).astype(float))) / 2
            for a, b, c in zip(left, left[1:], left[2:], strict=False)
        ]
        k = int(np.argmin(np.round(areas, 6)))
        most = max(most, areas[k])
        rank[left.pop(k + 1)] = most
    return rank
