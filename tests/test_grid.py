import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from geounet.grid import Grid, Plan, intersect, round_up, shape_of, shift

UTM = CRS.from_epsg(32633)


@st.composite
def plans(draw):
    stride = 2 ** draw(st.integers(1, 5))
    halo = stride * draw(st.integers(1, 4))
    window = 2 * halo + stride * draw(st.integers(1, 6))
    shape = tuple(draw(st.integers(1, 3 * window)) for _ in range(2))
    return Plan(shape, window, halo, stride)


@given(plans())
def test_cores_partition_the_scene(plan):
    seen = np.zeros(plan.shape, int)
    for tile in plan.tiles:
        seen[tile.core] += 1
    assert (seen == 1).all()


@given(plans())
def test_windows_and_cores_start_on_the_stride_grid_and_have_one_shape(plan):
    for tile in plan.tiles:
        assert shape_of(tile.window) == plan.window_shape
        for window, core in zip(tile.window, tile.core, strict=True):
            assert window.start % plan.stride == core.start % plan.stride == 0
            assert window.stop % plan.stride == 0


@given(plans())
def test_a_core_has_its_halo_or_the_edge_of_the_padded_scene(plan):
    for tile in plan.tiles:
        for window, core, length in zip(tile.window, tile.core, plan.shape, strict=True):
            assert core.start - window.start >= plan.halo or window.start == 0
            padded = round_up(length, plan.stride)
            assert window.stop - core.stop >= plan.halo or window.stop == padded


@given(plans())
def test_crop_finds_the_core_in_the_window(plan):
    rows, cols = (round_up(n, plan.stride) for n in plan.shape)
    scene = np.arange(rows * cols).reshape(rows, cols)
    for tile in plan.tiles:
        assert (scene[tile.window][tile.crop] == scene[tile.core]).all()


@given(plans())
def test_tiles_are_named_uniquely(plan):
    names = [tile.name for tile in plan.tiles]
    assert len(set(names)) == len(names)
    assert names == sorted(names)


def test_a_scene_smaller_than_the_window_is_one_tile_of_its_padded_shape():
    plan = Plan((5, 37), 64, 24, 8)
    assert plan.window_shape == (8, 40)
    assert [t.core for t in plan.tiles] == [(slice(0, 5), slice(0, 37))]


@pytest.mark.parametrize(
    ("window", "halo", "match"),
    [(65, 24, "multiples of 8"), (64, 20, "multiples of 8"), (48, 24, "larger than twice")],
)
def test_a_plan_off_the_stride_grid_is_refused(window, halo, match):
    with pytest.raises(ValueError, match=match):
        Plan((100, 100), window, halo, 8)


def test_an_empty_scene_is_refused():
    with pytest.raises(ValueError, match="nothing to segment"):
        Plan((0, 100), 64, 24, 8)


@pytest.mark.parametrize("angle", [0, 30, 180])
def test_the_grid_of_a_part_lies_where_its_pixels_lie(angle):
    transform = Affine.translation(500_003, 5_700_011) @ Affine.rotation(angle)
    grid = Grid((30, 41), transform @ Affine.scale(10, -10), UTM)
    part = grid[(slice(7, 19), slice(11, 40))]
    assert part.shape == (12, 29)
    assert part.transform @ (3, 2) == pytest.approx(grid.transform @ (14, 9), abs=1e-6)
    assert grid[grid.whole] == grid


def test_pixel_size_is_along_the_pixels_own_axes():
    grid = Grid((3, 4), Affine.rotation(30) @ Affine.scale(10, -20), UTM)
    assert grid.pixel_size == pytest.approx((20, 10))


def test_corners_go_round_from_the_first_pixel():
    grid = Grid((3, 4), Affine(10, 0, 100, 0, -10, 200), UTM)
    assert grid.corners == ((100, 200), (140, 200), (140, 170), (100, 170))


def test_shift_and_intersect_agree_with_slicing():
    a = np.arange(400).reshape(20, 20)
    outer, inner = (slice(3, 15), slice(2, 18)), (slice(5, 9), slice(4, 7))
    assert (a[outer][shift(inner, outer)] == a[inner]).all()
    assert intersect(outer, (slice(10, 30), slice(0, 5))) == (slice(10, 15), slice(2, 5))
    assert intersect(outer, (slice(15, 30), slice(0, 5))) is None
