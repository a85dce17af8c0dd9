"""Polygons against the mask that they were traced from, and against GDAL's own."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyproj import Geod, Transformer
from rasterio.crs import CRS
from rasterio.features import rasterize, shapes
from scipy import ndimage

from geounet.area import PixelArea
from geounet.class_raster import present_values
from geounet.errors import SettingsError
from geounet.grid import Grid
from geounet.polygon_array import concatenated, shapely_of
from geounet.polygonize import Features, PolygonOptions, polygonize
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
COLUMNS = (
    "polygon", "class_id", "n_px", "area_ha", "perimeter_m", "confidence", "confidence_min",
)  # fmt: skip


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
        return Features(np.empty(0, object), *(np.empty(0) for _ in COLUMNS[1:]))
    columns = [concatenated([getattr(b, name) for b in batches]) for name in COLUMNS]
    return Features(shapely_of(columns[0]), *columns[1:])


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


def corners(polygons, grid: Grid) -> list:
    """Polygons in whole pixels without the vertices on their straight borders, normalised."""

    def pixels(xy):
        cols, rows = ~grid.transform @ xy.T
        return np.rint(np.stack([cols, rows], -1))

    whole = shapely.normalize(shapely.transform(np.array(polygons, object), pixels))
    # ^ Normalised rings start at a corner, which simplifying by nothing keeps.
    return shapely.to_wkt(shapely.normalize(shapely.simplify(whole, 0))).tolist()


@pytest.mark.parametrize("name", TRANSFORMS)
@given(mask=masks(), side=st.sampled_from([5, 16, 64]))
def test_polygons_are_gdals_polygons(name, mask, side):
    grid = grid_of(name, mask.shape)
    found = all_of(polygonize(mask, grid, side=side))
    gdal = list(shapes(mask, mask=mask != 255, connectivity=4, transform=grid.transform))
    theirs = corners([shapely.geometry.shape(geometry) for geometry, _ in gdal], grid)
    values = [int(value) for _, value in gdal]
    ours = corners(found.polygon, grid)
    assert sorted(zip(found.class_id.tolist(), ours, strict=True)) == sorted(
        zip(values, theirs, strict=True)
    )


@given(mask=masks(), sides=st.sets(st.integers(1, 50), min_size=2, max_size=2), data=st.data())
def test_features_do_not_depend_on_the_cells_that_they_were_traced_in(mask, sides, data):
    grid = grid_of("north-up", mask.shape)
    confidence = data.draw(
        hnp.arrays(np.uint8, mask.shape, elements=st.sampled_from([0, 50, 99, 100, 255]))
    )
    one, other = (all_of(polygonize(mask, grid, None, confidence, side)) for side in sides)
    assert shapely.to_wkb(one.polygon).tolist() == shapely.to_wkb(other.polygon).tolist()
    for name in COLUMNS[1:]:
        assert np.array_equal(
            getattr(one, name), getattr(other, name), equal_nan=name != "class_id"
        )


@given(mask=masks(), side=st.sampled_from([7, 64]))
def test_every_junction_is_a_vertex_of_all_regions_that_meet_there(mask, side):
    grid = grid_of("north-up", mask.shape)
    found = all_of(polygonize(mask, grid, side=side))
    assert not len(found) or shapely.coverage_is_valid(found.polygon)
    framed = np.full([n + 2 for n in mask.shape], -1)
    framed[1:-1, 1:-1] = mask
    a, b, c, d = framed[:-1, :-1], framed[:-1, 1:], framed[1:, :-1], framed[1:, 1:]
    meets = ((a != b).astype(int) + (b != d) + (c != d) + (a != c)) >= 3
    vertices = {tuple(xy) for xy in shapely.get_coordinates(found.polygon)}
    for row, col in np.argwhere(meets):
        around = framed[row : row + 2, col : col + 2]
        if np.isin(around, CLASSES).any():
            assert grid.transform @ (float(col), float(row)) in vertices


@given(mask=masks(), side=st.sampled_from([6, 64]))
def test_features_come_in_the_order_of_their_last_pixel(mask, side):
    found = all_of(polygonize(mask, grid_of("north-up", mask.shape), side=side))
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
    for k, (_, region) in enumerate(regions_of(mask)):
        scores = confidence[region & (confidence <= 100)]
        mean, least = (scores.mean() / 100, scores.min() / 100) if scores.size else (np.nan,) * 2
        assert found.confidence[k] == pytest.approx(mean, nan_ok=True)
        assert found.confidence_min[k] == pytest.approx(least, nan_ok=True)


@given(mask=masks(most=12), name=st.sampled_from(sorted(TRANSFORMS)))
def test_the_perimeter_is_that_of_the_pixels_on_the_ellipsoid(mask, name):
    grid = grid_of(name, mask.shape)
    found = all_of(polygonize(mask, grid, side=16))
    to_lonlat = Transformer.from_crs(grid.crs, 4326, always_xy=True)
    lonlat = shapely.transform(found.polygon, lambda xy: np.stack(to_lonlat.transform(*xy.T), -1))
    rings, of = shapely.get_rings(lonlat, return_index=True)
    lengths = [Geod(ellps="WGS84").geometry_length(ring) for ring in rings]
    expected = np.bincount(of, lengths, minlength=len(found))
    assert found.perimeter_m == pytest.approx(expected, rel=2e-4)


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


def test_areas_are_summed_where_only_the_tip_of_a_scene_has_one():
    sinusoidal = CRS.from_string("+proj=sinu +R=6371007.181 +units=m +no_defs")
    grid = Grid((100, 4000), Affine(1000, 0, -3.0e6, 0, -1000, 1.0e7), sinusoidal)
    area = PixelArea(grid).window(grid.whole)
    mask = np.where(np.isfinite(area), 1, 255).astype(np.uint8)
    found = all_of(polygonize(mask, grid))
    assert found.area_ha.sum() == pytest.approx(np.nansum(area) / 10_000, rel=1e-9)


def test_metres_are_refused_where_the_crs_has_none():
    sinusoidal = CRS.from_string("+proj=sinu +R=6371007.181 +units=m +no_defs")
    grid = Grid((4, 6), Affine(5000, 0, -2e7, 0, -5000, 9e6), sinusoidal)
    mask = np.zeros((4, 6), np.uint8)
    with pytest.raises(SettingsError, match=r"give --simplify in pixels, as in 1px"):
        list(polygonize(mask, grid, PolygonOptions(simplify=length_amount("10m"))))
    assert len(all_of(polygonize(mask, grid, PolygonOptions(simplify=length_amount("1px")))))


def test_many_features_come_in_batches_in_order():
    rows, cols = np.indices((150, 140))
    mask = ((rows + cols) % 2).astype(np.uint8)
    batches = list(polygonize(mask, grid_of("north-up", mask.shape)))
    assert [len(b) for b in batches] == [20_000, 1_000]
    assert np.array_equal(all_of(batches).class_id, mask.ravel())


def test_too_many_features_are_refused_with_their_number():
    mask = (np.indices((30, 40)).sum(0) % 2).astype(np.uint8)
    grid = grid_of("north-up", mask.shape)
    options = PolygonOptions(max_features=1199)
    with pytest.raises(SettingsError, match=r"has 1200 features, more than --max-features 1199"):
        next(polygonize(mask, grid, options, side=16))
    assert len(all_of(polygonize(mask, grid, PolygonOptions(max_features=1200)))) == 1200


def test_a_feature_that_is_too_large_is_refused_and_split_on_request():
    mask = np.zeros((60, 60), np.uint8)
    mask[::2, ::2] = 1
    grid = grid_of("north-up", mask.shape)
    for side in (16, 64):
        with pytest.raises(SettingsError, match=r"class 0 has \d+ vertices, more than.*--split"):
            list(polygonize(mask, grid, PolygonOptions(max_vertices=500), side=side))
    options = PolygonOptions(max_vertices=500, split=True)
    found = all_of(polygonize(mask, grid, options, side=16))
    assert shapely.coverage_is_valid(found.polygon)
    assert found.n_px[found.class_id == 0].tolist() == [
        int((part == 0).sum())
        for part in (
            mask[i : i + 16, j : j + 16] for i in range(0, 60, 16) for j in range(0, 60, 16)
        )
    ]


def test_labels_that_do_not_fit_the_grid_are_refused():
    with pytest.raises(ValueError, match="do not lie on a grid"):
        list(polygonize(np.zeros((2, 3), np.uint8), grid_of("north-up", (3, 2))))


@given(hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0)))
def test_present_values_are_the_unique_values(labels):
    assert present_values(labels).tolist() == np.unique(labels).tolist()
