"""Polygons against the mask that they were traced from, and against GDAL's own."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.crs import CRS
from rasterio.features import rasterize, shapes
from scipy import ndimage

from geounet.area import PixelArea
from geounet.grid import Grid
from geounet.polygonize import (
    Features,
    PolygonOptions,
    polygonize,
    present_values,
)
from geounet.vector_settings import Amount, area_amount, length_amount

TRANSFORMS = {
    "north-up": (Affine(10, 0, 399_960, 0, -10, 5_590_020), 32633),
    "rotated": (
        Affine.translation(399_960, 5_590_020) @ Affine.rotation(27) @ Affine.scale(10, -7),
        32633,
    ),
    "south-up": (Affine(30, 0, 500_010, 0, 30, 4_000_020), 32617),
    "geographic": (Affine(0.00025, 0, 11.5, 0, -0.00025, 48.25), 4326),
    "mirrored": (Affine(-10, 0, 499_960, 0, -10, 5_590_020), 32633),
}
CLASSES = [0, 1, 2, 7, 254]


def grid_of(name: str, shape: tuple[int, int]) -> Grid:
    transform, code = TRANSFORMS[name]
    return Grid(shape, transform, CRS.from_epsg(code))


@st.composite
def masks(draw, most: int = 40):
    """1 to 5 classes and nodata, from noise to large blobs."""
    shape = draw(st.tuples(st.integers(1, most), st.integers(1, most)))
    classes = draw(st.lists(st.sampled_from([*CLASSES, 255]), min_size=1, max_size=6, unique=True))
    seed, scale = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([1, 1, 2, 5]))
    coarse = [-(-n // scale) for n in shape]
    values = np.random.default_rng(seed).choice(np.array(classes, np.uint8), coarse)
    large = np.repeat(np.repeat(values, scale, 0), scale, 1)[: shape[0], : shape[1]]
    noise = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from(classes), fill=st.nothing()))
    return np.where(draw(st.booleans()), large, noise).astype(np.uint8)


def all_of(batches) -> Features:
    batches = list(batches)
    if not batches:
        return Features(np.empty(0, object), *(np.empty(0) for _ in range(4)))
    return Features(
        *(
            np.concatenate([getattr(b, name) for b in batches])
            for name in ("polygon", "class_id", "n_px", "area_ha", "confidence")
        )
    )


def regions_of(mask: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(last pixel, mask of the region) of each region, by brute force."""
    found = []
    for value in np.unique(mask[mask != 255]):
        numbers, n = ndimage.label(mask == value)
        found += [numbers == k for k in range(1, n + 1)]
    return sorted((int(np.flatnonzero(region)[-1]), region) for region in found)


@pytest.mark.parametrize("name", TRANSFORMS)
@given(mask=masks())
def test_polygons_rasterised_are_the_mask(name, mask):
    grid = grid_of(name, mask.shape)
    found = all_of(polygonize(mask, grid))
    assert shapely.is_valid(found.polygon).all()
    pairs = list(zip(found.polygon, found.class_id.tolist(), strict=True))
    again = np.full(mask.shape, 255, np.uint8)
    if pairs:
        again = rasterize(pairs, mask.shape, fill=255, transform=grid.transform, dtype="uint8")
    assert np.array_equal(again, mask)


@pytest.mark.parametrize("name", TRANSFORMS)
@given(mask=masks())
def test_polygons_are_gdals_polygons(name, mask):
    grid = grid_of(name, mask.shape)
    found = all_of(polygonize(mask, grid))
    gdal = [
        (int(value), shapely.normalize(shapely.geometry.shape(geometry)))
        for geometry, value in shapes(
            mask, mask=mask != 255, connectivity=4, transform=grid.transform
        )
    ]
    ours = list(zip(found.class_id.tolist(), shapely.normalize(found.polygon), strict=True))
    assert len(ours) == len(gdal)
    key = [(v, p.bounds) for v, p in ours], [(v, p.bounds) for v, p in gdal]
    for i, j in zip(*(sorted(range(len(k)), key=k.__getitem__) for k in key), strict=True):
        assert ours[i][0] == gdal[j][0]
        assert shapely.equals_exact(ours[i][1], gdal[j][1], tolerance=1e-9 * 5.6e6)


@given(mask=masks())
def test_features_come_in_the_order_of_their_last_pixel(mask):
    found = all_of(polygonize(mask, grid_of("north-up", mask.shape)))
    regions = regions_of(mask)
    assert found.n_px.tolist() == [int(region.sum()) for _, region in regions]
    assert found.class_id.tolist() == [int(mask.flat[last]) for last, _ in regions]


@given(mask=masks(), name=st.sampled_from(sorted(TRANSFORMS)))
def test_rings_start_at_their_smallest_vertex_and_shells_turn_left(mask, name):
    found = all_of(polygonize(mask, grid_of(name, mask.shape)))
    for polygon in found.polygon:
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)
        for ring in (polygon.exterior, *polygon.interiors):
            assert ring.coords[0] == min(ring.coords)


@given(mask=masks(), name=st.sampled_from(sorted(TRANSFORMS)))
def test_areas_of_features_add_up_to_those_of_their_class(mask, name):
    grid = grid_of(name, mask.shape)
    found = all_of(polygonize(mask, grid))
    hectares = PixelArea(grid).window(grid.whole) / 10_000
    for value in np.unique(mask[mask != 255]):
        of_class = found.class_id == value
        assert found.area_ha[of_class].sum() == pytest.approx(hectares[mask == value].sum(), 1e-9)
        assert found.n_px[of_class].sum() == (mask == value).sum()


@given(mask=masks(), data=st.data())
def test_confidence_is_the_mean_over_the_pixels_that_have_one(mask, data):
    confidence = data.draw(
        hnp.arrays(np.uint8, mask.shape, elements=st.sampled_from([0, 1, 50, 99, 100, 255]))
    )
    found = all_of(polygonize(mask, grid_of("north-up", mask.shape), None, confidence))
    for (_, region), mean in zip(regions_of(mask), found.confidence, strict=True):
        scores = confidence[region & (confidence <= 100)]
        expected = scores.mean() / 100 if scores.size else np.nan
        assert mean == pytest.approx(expected, nan_ok=True)


@given(mask=masks(), least=st.integers(1, 12), keep=st.sets(st.sampled_from(CLASSES)))
def test_classes_and_the_least_area_choose_features_and_change_none(mask, least, keep):
    grid = grid_of("north-up", mask.shape)
    every = all_of(polygonize(mask, grid))
    options = PolygonOptions(classes=tuple(keep), min_area=Amount(least, in_pixels=True))
    some = all_of(polygonize(mask, grid, options))
    kept = np.isin(every.class_id, list(keep)) & (every.n_px >= least)
    assert some.n_px.tolist() == every.n_px[kept].tolist()
    assert all(a.equals(b) for a, b in zip(some.polygon, every.polygon[kept], strict=True))


def test_the_least_area_is_measured_on_the_ellipsoid():
    mask = np.full((5, 9), 255, np.uint8)
    mask[0, :4] = 1
    mask[3, :5] = 1
    grid = grid_of("north-up", mask.shape)
    # ^ Away from the central meridian a pixel of 10 m is a little more than 100 m².
    for text, sizes in (("500m2", [5]), ("400m2", [4, 5]), ("0.06ha", []), ("4px", [4, 5])):
        found = all_of(polygonize(mask, grid, PolygonOptions(min_area=area_amount(text))))
        assert found.n_px.tolist() == sizes


@given(mask=masks(), tolerance=st.sampled_from([0.5, 1.0, 2.0, 5.0]))
def test_simplified_polygons_are_valid_share_their_borders_and_keep_their_attributes(
    mask, tolerance
):
    mask = np.where(mask == 255, 0, mask).astype(np.uint8)
    grid = grid_of("north-up", mask.shape)
    plain = all_of(polygonize(mask, grid))
    options = PolygonOptions(simplify=Amount(tolerance, in_pixels=True))
    found = all_of(polygonize(mask, grid, options))
    assert shapely.is_valid(found.polygon).all()
    assert set(shapely.get_type_id(found.polygon).tolist()) <= {3}
    # ^ No gap and no overlap: the parts cover their union, and no more.
    whole = shapely.union_all(found.polygon)
    assert shapely.area(found.polygon).sum() == pytest.approx(whole.area, 1e-9)
    assert shapely.get_num_interior_rings(shapely.get_parts(whole)).sum() == 0
    assert found.n_px.tolist() == plain.n_px.tolist()
    assert shapely.get_num_coordinates(found.polygon).sum() <= (
        shapely.get_num_coordinates(shapely.segmentize(plain.polygon, 10)).sum()
    )


def test_simplifying_takes_the_steps_out_of_a_slanting_border():
    rows, cols = np.indices((60, 80))
    mask = (rows * 2 > cols).astype(np.uint8)
    grid = grid_of("north-up", mask.shape)
    plain = all_of(polygonize(mask, grid))
    for text in ("2px", "20m"):
        options = PolygonOptions(simplify=length_amount(text))
        smooth = all_of(polygonize(mask, grid, options))
        vertices = shapely.get_num_coordinates
        assert vertices(smooth.polygon).sum() < vertices(plain.polygon).sum() / 4
        assert smooth.area_ha.tolist() == plain.area_ha.tolist()


def test_a_hole_and_the_island_in_it_are_kept():
    mask = np.ones((7, 9), np.uint8)
    mask[1:6, 2:7] = 2
    mask[3, 4] = 1
    found = all_of(polygonize(mask, grid_of("north-up", mask.shape)))
    assert found.class_id.tolist() == [1, 2, 1]
    assert shapely.get_num_interior_rings(found.polygon).tolist() == [0, 1, 1]


def test_regions_that_touch_at_a_corner_stay_apart():
    found = all_of(polygonize(np.array([[1, 2], [2, 1]], np.uint8), grid_of("north-up", (2, 2))))
    assert found.n_px.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("value", [0, 255])
def test_an_area_that_is_not_known_is_no_number(value):
    sinusoidal = CRS.from_string("+proj=sinu +R=6371007.181 +units=m +no_defs")
    grid = Grid((4, 6), Affine(5000, 0, -2e7, 0, -5000, 9e6), sinusoidal)
    found = all_of(polygonize(np.full((4, 6), value, np.uint8), grid))
    assert np.isnan(found.area_ha).tolist() == ([True] if value == 0 else [])


def test_many_features_come_in_batches_in_order():
    rows, cols = np.indices((150, 140))
    mask = ((rows + cols) % 2).astype(np.uint8)
    batches = list(polygonize(mask, grid_of("north-up", mask.shape)))
    assert [len(b) for b in batches] == [10_000, 10_000, 1_000]
    assert np.array_equal(all_of(batches).class_id, mask.ravel())


def test_labels_that_do_not_fit_the_grid_are_refused():
    with pytest.raises(ValueError, match="do not lie on a grid"):
        list(polygonize(np.zeros((2, 3), np.uint8), grid_of("north-up", (3, 2))))


@given(hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0)))
def test_present_values_are_the_unique_values(labels):
    assert present_values(labels).tolist() == np.unique(labels).tolist()
