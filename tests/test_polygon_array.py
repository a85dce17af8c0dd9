"""Polygons in arrays are the same polygons, to the byte."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geounet.polygon_array import PolygonArray, concatenated, shapely_of, wkb_of


def polygons_of(seed: int, count: int) -> np.ndarray:
    """Polygons with no hole, one or several."""
    rng = np.random.default_rng(seed)
    shells = shapely.buffer(shapely.points(rng.uniform(-1e6, 1e6, (count, 2))), 5, quad_segs=3)
    for _ in range(3):
        near = shapely.get_coordinates(shapely.centroid(shells))
        moved = shapely.buffer(shapely.points(near + rng.uniform(-3, 3, (count, 2))), 0.2)
        shells = np.where(rng.random(count) < 0.5, shapely.difference(shells, moved), shells)
    return shells


def arrays_of(polygons: np.ndarray) -> PolygonArray:
    _, xy, (ring_at, polygon_at) = shapely.to_ragged_array(polygons)
    return PolygonArray(xy, ring_at, polygon_at)


@given(st.integers(0, 1000), st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
def test_arrays_and_objects_give_the_same_bytes_whole_and_in_part(seed, count, start, stop):
    polygons = polygons_of(seed, count)
    arrays, part = arrays_of(polygons), slice(start, stop)
    assert len(arrays[part]) == len(polygons[part])
    for a, b in ((arrays, polygons), (arrays[part], polygons[part])):
        one, other = wkb_of(a), wkb_of(b)
        assert one.at.tolist() == other.at.tolist()
        assert one.data.tobytes() == other.data.tobytes()
        assert (one.rings, one.vertices) == (other.rings, other.vertices)
    assert shapely.equals_identical(arrays[part].shapely, polygons[part]).all()


@given(st.integers(0, 1000), st.integers(1, 9), st.integers(0, 9))
def test_parts_one_after_another_are_the_whole(seed, count, cut):
    polygons = polygons_of(seed, count)
    arrays = arrays_of(polygons)
    for whole in (arrays, polygons):
        again = concatenated([whole[:cut], whole[cut:]])
        assert shapely.equals_identical(shapely_of(again), polygons).all()


def test_only_polygons_that_follow_each_other_are_a_part():
    with pytest.raises(ValueError, match="a step of 2: only polygons that follow each other"):
        arrays_of(polygons_of(1, 5))[::2]
