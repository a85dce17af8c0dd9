"""Features as labels: burnt the same in any window, in file order, and refused by name."""

from __future__ import annotations

import re

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rasterio.crs import CRS
from rasterio.features import rasterize

from geounet.card import LandClass
from geounet.errors import InputError, SettingsError
from geounet.grid import Grid
from geounet.learn.data_settings import DataSettings
from geounet.learn.label_coding import UNLABELLED
from geounet.learn.label_features import metres_per_pixel
from geounet.learn.label_settings import VectorSettings
from geounet.learn.labelled import open_labelled
from tests.made_scenes import CORNER, UTM33, north_up, numbers, write

CLASSES = tuple(
    LandClass(value=v, name=n, colour="#d8cfb4")
    for v, n in ((0, "land"), (3, "forest"), (7, "water"))
)
SHAPE = (61, 83)
SAID = {"attribute": "kind", "values": {"wood": "forest", "lake": 7}}
KINDS = {"wood": 3, "lake": 7}


@pytest.fixture
def image(tmp_path):
    write(tmp_path / "a.tif", numbers((1, *SHAPE)))
    return tmp_path


def at(*pixels):
    """Coordinates of (col, row) of the image."""
    return [north_up(10) @ xy for xy in pixels]


def square(col, row, side):
    return shapely.Polygon(
        at((col, row), (col + side, row), (col + side, row + side), (col, row + side))
    )


def features(path, shapes, kinds, crs=UTM33, **more):
    frame = gpd.GeoDataFrame({"kind": kinds}, geometry=shapes, crs=crs)
    frame.to_file(path, engine="pyogrio", **more)
    return path


def opened(folder, labels="l.gpkg", **changes):
    data = DataSettings(
        root=folder,
        images=changes.pop("images", "a.tif"),
        labels=labels,
        bands={"g": 1},
        vector={**SAID, **changes.pop("vector", {})},
        **changes,
    )
    return open_labelled(data, CLASSES)[0]


def whole(scene):
    return scene.label_values(scene.grid.whole)


def blobs(n, seed, size=30.0, extent=SHAPE):
    """Irregular polygons, many of them over each other and over the image's edges."""
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(n):
        middle = rng.uniform(-10, 10, 2) + rng.uniform(0, 1, 2) * extent[::-1]
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        reach = rng.uniform(size / 6, size / 2, (9, 1))
        ring = middle + reach * np.stack([np.cos(angles), np.sin(angles)], -1)
        shapes.append(shapely.make_valid(shapely.Polygon(at(*ring))))
    return shapes, rng.choice(["wood", "lake"], n).tolist()


@pytest.mark.parametrize("ending", ["gpkg", "shp", "geojson", "fgb"])
@pytest.mark.parametrize("all_touched", [False, True])
def test_polygons_are_what_gdal_makes_of_them_in_file_order(image, ending, all_touched):
    shapes, kinds = blobs(40, 1)
    crs = "EPSG:32633"
    # FlatGeobuf sorts features by place for its index, and that is then the order of the file.
    more = {"SPATIAL_INDEX": "NO"} if ending == "fgb" else {}
    features(image / f"l.{ending}", shapes, kinds, crs, **more)
    with_crs = {"assume_crs": crs} if ending == "geojson" else {}
    scene = opened(image, f"l.{ending}", vector={"all_touched": all_touched}, **with_crs)
    expected = rasterize(
        [(s, KINDS[k]) for s, k in zip(shapes, kinds, strict=True)],
        out_shape=SHAPE,
        transform=north_up(10),
        fill=99,
        dtype="int16",
        all_touched=all_touched,
    )
    found = whole(scene)
    wrong = (np.where(found == UNLABELLED, 99, found) != expected).mean()
    # GeoJSON keeps 7 decimals of a degree, so edges move by a millimetre.
    assert wrong <= (0.001 if ending == "geojson" else 0)
    assert {3, 7, UNLABELLED} == set(np.unique(found))
    assert any("of different classes overlap: the later" in note for note in scene.notes)


_LARGE = {}


def _large(factory, touched):
    if touched not in _LARGE:
        folder = factory.mktemp("large")
        # Pixels of 16 m: corners of triangles lie exactly on pixel centres, so that edges run
        # through others, where the last bit decides.
        place = north_up(16)
        write(folder / "a.tif", numbers((1, 520, 300), dtype="uint8", high=200), transform=place)
        rng = np.random.default_rng(4)
        corners = rng.integers(-50, 500, (150, 3, 2)) + 0.5
        shapes = [shapely.Polygon([place @ xy for xy in three]) for three in corners]
        shapes = [s for s in shapes if s.is_valid]
        shapes += [shapely.LineString([place @ xy for xy in three]) for three in corners[:20]]
        shapes += [shapely.Point(place @ xy) for xy in rng.integers(0, 300, (40, 2))]
        kinds = np.resize(["wood", "lake", "lake"], len(shapes)).tolist()
        features(folder / "l.gpkg", shapes, kinds)
        scene = opened(folder, vector={"all_touched": touched, "background": "land"})
        _LARGE[touched] = (scene, whole(scene))
    return _LARGE[touched]


@given(st.booleans(), st.tuples(*[st.integers(-9, 530)] * 2), st.integers(1, 300))
def test_labels_of_a_window_are_the_window_of_all(tmp_path_factory, touched, corner, side):
    scene, every = _large(tmp_path_factory, touched)
    top, left = corner
    window = (slice(top, top + side), slice(left, left + side + 5))
    found = scene.label_values(window)
    rows, cols = (slice(max(s.start, 0), max(s.stop, 0)) for s in window)
    part = every[rows, cols]
    inner = found[rows.start - top :, cols.start - left :][: part.shape[0], : part.shape[1]]
    np.testing.assert_array_equal(inner, part)
    outside = np.ones(found.shape, bool)
    outside[rows.start - top :, cols.start - left :][: part.shape[0], : part.shape[1]] = False
    assert (found[outside] == 0).all()
    assert (scene.read(window)[1][outside] == 255).all()


def test_the_order_of_the_file_holds_against_a_spatial_index(image):
    rng = np.random.default_rng(0)
    spots = rng.permutation(60)
    shapes = [square(float(s), 10, 12) for s in spots]
    kinds = ["wood" if k % 2 else "lake" for k in range(60)]
    features(image / "l.gpkg", shapes, kinds)
    expected = np.full(SHAPE, UNLABELLED)
    for spot, kind in zip(spots, kinds, strict=True):
        expected[10:22, spot : spot + 12] = KINDS[kind]
    np.testing.assert_array_equal(whole(opened(image)), expected)


def test_ground_without_a_feature_is_unlabelled_or_background(image):
    features(image / "l.gpkg", [square(5, 6, 9)], ["lake"])
    inside = np.zeros(SHAPE, bool)
    inside[6:15, 5:14] = True
    for background, value in ((None, UNLABELLED), (0, 0), ("forest", 3)):
        scene = opened(image, vector={"background": background})
        np.testing.assert_array_equal(whole(scene), np.where(inside, 7, value))
    labels = opened(image).read((slice(0, 61), slice(0, 83)))[1]
    np.testing.assert_array_equal(labels, np.where(inside, 2, 255))


def test_a_feature_may_say_that_nothing_is_known(image):
    shapes = [square(0, 0, 30), square(5, 5, 10), square(40, 0, 5), square(50, 0, 5)]
    features(image / "l.gpkg", shapes, ["lake", "wood", "swamp", None])
    values = {"lake": 7, "wood": None, "swamp": None, "(empty)": "forest"}
    found = whole(opened(image, vector={"values": values, "background": 0}))
    assert (found[5:15, 5:15] == UNLABELLED).all()
    assert (found[0:5, 40:45] == UNLABELLED).all()
    assert (found[0:5, 50:55] == 3).all()
    assert (found[0:5, 0:30] == 7).all()
    assert (found[40:] == 0).all()


def test_values_without_a_class_are_listed_with_counts_and_refused_or_ignored(image):
    shapes = [square(k * 9, 0, 5) for k in range(6)]
    features(image / "l.gpkg", shapes, ["lake", "moor", "moor", "wood", None, "moor"])
    cause = r"kind has values without a class: moor \(3 features\), \(empty\) \(1 features\); add"
    with pytest.raises(InputError, match=cause):
        opened(image)
    scene = opened(image, vector={"others": "ignore", "background": 0})
    found = whole(scene)
    assert (found[:5, 9:14] == UNLABELLED).all()
    assert (found[:5, :5] == 7).all()
    assert any("not learnt from: moor (3 features)" in note for note in scene.notes)
    with pytest.raises(InputError, match=r"no feature has one of .*\(lak\); its kind holds moor"):
        opened(image, vector={"values": {"lak": 7}, "others": "ignore"})
    more = {"lake": 7, "wood": 3, "moor": 0, "(empty)": None, "bog": 0}
    assert "no feature has kind bog" in opened(image, vector={"values": more}).notes


@pytest.mark.parametrize("kinds", [[1, 2], [1.0, 2.0], ["1", "2"], [True, False]])
def test_numbers_texts_and_truths_are_matched_by_how_they_are_written(image, kinds):
    features(image / "l.gpkg", [square(0, 0, 5), square(9, 9, 5)], kinds)
    values = {"true": 3, "false": 7} if kinds[0] is True else {1: 3, 2: 7}
    found = whole(opened(image, vector={"values": values}))
    assert (found[0, 0], found[9, 9]) == (3, 7)


def test_points_and_lines_take_the_pixels_they_are_on_or_a_buffer(image):
    shapes = [shapely.Point(*at((20.5, 30.5))), shapely.LineString(at((40.5, 5.5), (40.5, 50.5)))]
    features(image / "l.gpkg", shapes, ["lake", "wood"])
    found = whole(opened(image))
    assert (found == 7).sum() == 1
    assert found[30, 20] == 7
    assert (found[5:51, 40] == 3).all()
    assert (found == 3).sum() == 46
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    away = np.hypot(rows - 30.5, cols - 20.5)
    for buffer in ("3.2 px", "32m"):
        wide = whole(opened(image, vector={"buffer": buffer}))
        disc = wide == 7
        assert disc[away < 3.1].all()
        assert not disc[away > 3.3].any()
        assert (wide[10:45, 38:43] == 3).all()
        assert (wide[10:45, 36] == UNLABELLED).all()


def test_a_buffer_leaves_polygons_as_they_are(image):
    features(image / "l.gpkg", [square(5, 6, 9)], ["lake"])
    np.testing.assert_array_equal(
        whole(opened(image, vector={"buffer": "2 px"})), whole(opened(image))
    )


def test_metres_are_metres_in_degrees_too(tmp_path):
    corner = (13.0, 60.0)
    write(
        tmp_path / "a.tif", numbers((1, 40, 50)), crs="EPSG:4326", transform=north_up(1e-4, corner)
    )
    features(tmp_path / "l.gpkg", [shapely.Point(13.0025, 59.998)], ["lake"], "EPSG:4326")
    scene = opened(tmp_path, vector={"buffer": "100 m"})
    x, y = metres_per_pixel(scene.grid)
    assert x == pytest.approx(5.58, abs=0.01)
    assert y == pytest.approx(11.14, abs=0.01)
    area = (whole(scene) == 7).sum() * x * y
    assert area == pytest.approx(np.pi * 100**2, rel=0.03)


def test_metres_need_a_body_to_measure_on():
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]')
    with pytest.raises(InputError, match=r"has no ellipsoid .* give data\.vector\.buffer in px"):
        metres_per_pixel(Grid((3, 4), north_up(10), local))


def test_another_crs_is_carried_over_with_a_note_and_long_edges_bend(tmp_path):
    # 3 degrees of a parallel are a straight edge in degrees and bend by 1.2 km in UTM.
    write(
        tmp_path / "a.tif",
        numbers((1, 200, 200)),
        crs=UTM33,
        transform=north_up(100, (490_000, 5_770_000)),
    )
    north = 52.0
    shape = shapely.box(13.5, north - 1, 16.5, north)
    features(tmp_path / "l.gpkg", [shape], ["lake"], "EPSG:4326")
    scene = opened(tmp_path)
    found = whole(scene) == 7
    rows, cols = np.mgrid[:200, :200] + 0.5
    x, y = scene.grid.transform @ (cols.ravel(), rows.ravel())
    lonlat = gpd.GeoSeries(gpd.points_from_xy(x, y), crs=UTM33).to_crs(4326)
    expected = (lonlat.y < north).to_numpy().reshape(200, 200)
    assert 0.2 < expected.mean() < 0.9
    assert (found != expected).mean() < 1e-3
    assert any(
        re.search("EPSG:4326 are carried to the image's EPSG:32633$", n) for n in scene.notes
    )


def test_crs_tags_that_are_nearly_alike_are_told_with_their_shift(tmp_path):
    where = north_up(28.5, (630_534, 228_114))
    write(tmp_path / "a.tif", numbers((1, 30, 40)), crs="EPSG:32119", transform=where)
    box = shapely.box(630_600, 227_500, 631_000, 228_000)
    features(tmp_path / "l.gpkg", [box], ["lake"], "EPSG:3358")
    notes = opened(tmp_path).notes
    assert any(
        "EPSG:3358 are carried to the image's EPSG:32119: the two are 0.03" in n for n in notes
    )


def test_one_file_serves_images_on_some_of_which_nothing_lies(image):
    write(
        image / "b.tif", numbers((1, 20, 20)), transform=north_up(10, (CORNER[0], CORNER[1] + 300))
    )
    shapes = [square(5, 6, 9), square(5, -60, 9)]
    features(image / "l.gpkg", shapes, ["lake", "wood"])
    with pytest.raises(InputError, match=r"no feature of l lies on the image; in EPSG:32633 they"):
        opened(image, images=("a.tif", "b.tif"))
    data = DataSettings(
        root=image,
        images="[ab].tif",
        labels="l.gpkg",
        bands={"g": 1},
        vector={**SAID, "background": 0},
    )
    a, b = open_labelled(data, CLASSES)
    assert (whole(b) == 0).all()
    assert (whole(a) == 7).any()
    assert any("all of it is background, 0" in note for note in b.notes)
    features(image / "l.gpkg", [square(9000, 0, 5)], ["lake"])
    with pytest.raises(InputError, match=r"no feature of l lies on the image.*ogr2ogr -a_srs"):
        opened(image, vector={"background": 0})


def test_an_edited_file_is_read_again(image):
    for side in (5, 6):
        features(image / "l.gpkg", [square(3, 3, side)], ["lake"])
        assert (whole(opened(image)) == 7).sum() == side**2


def test_an_invalid_geometry_is_refused_by_its_number(image):
    bow = shapely.Polygon(at((5, 5), (15, 15), (15, 5), (5, 15)))
    features(image / "l.gpkg", [square(30, 30, 5), bow], ["lake", "wood"])
    with pytest.raises(
        InputError, match=r"1 features have an invalid .* feature 2 \(Self-inter.*mak"
    ):
        opened(image)


def test_missing_geometry_is_passed_over(image):
    features(image / "l.gpkg", [square(3, 3, 5), None, shapely.Polygon()], ["lake", "wood", "wood"])
    assert (whole(opened(image)) == 7).sum() == 25


def test_layers_and_attributes_are_named_when_missing(image):
    path = features(image / "l.gpkg", [square(3, 3, 5)], ["lake"], layer="lakes")
    features(path, [square(3, 3, 5)], ["lake"], layer="ponds")
    with pytest.raises(
        InputError, match=r"has several layers; set data\.vector\.layer to .*lakes, po"
    ):
        opened(image)
    with pytest.raises(InputError, match=r"has no layer sea; .* one of: lakes, ponds"):
        opened(image, vector={"layer": "sea"})
    with pytest.raises(InputError, match=r"layer lakes has no attribute sort; .* one of: kind"):
        opened(image, vector={"layer": "lakes", "attribute": "sort"})
    assert (whole(opened(image, vector={"layer": "ponds"})) == 7).sum() == 25


def test_a_layer_without_features_geometry_or_crs_is_refused(image):
    features(image / "l.gpkg", [], [])
    with pytest.raises(InputError, match="layer l has no feature; give the labels"):
        opened(image)
    features(image / "none.shp", [square(3, 3, 5)], ["lake"])
    (image / "none.prj").unlink()
    with pytest.raises(InputError, match=r"names no coordinate reference system; .*ogr2ogr"):
        opened(image, "none.shp")
    assert (whole(opened(image, "none.shp", assume_crs=UTM33)) == 7).sum() == 25
    table = gpd.pd.DataFrame({"kind": ["lake"]})
    pyogrio.write_dataframe(table, image / "t.gpkg", driver="GPKG")
    with pytest.raises(InputError, match="the layer has no geometry; choose another"):
        opened(image, "t.gpkg")


def test_what_is_no_vector_file_is_refused(image):
    (image / "l.gpkg").write_text("<OGRVRTDataSource></OGRVRTDataSource>")
    with pytest.raises(InputError, match=r"is no \.gpkg file, whatever its name says"):
        opened(image)
    (image / "l.geojson").write_text('{"type": "FeatureCollection", "features": [')
    with pytest.raises(InputError, match=r"cannot be read as a vector file: .*is it complete"):
        opened(image, "l.geojson")
    with pytest.raises(InputError, match="read from this machine; download it first"):
        opened(image, "https://example.org/l.gpkg")
    (image / "l.shp").mkdir()
    with pytest.raises(InputError, match="cannot be read: Is a directory; check the path"):
        opened(image, "l.shp")


def test_an_image_without_a_place_takes_no_features(tmp_path):
    from tests.test_labelled import write as write_patch

    write_patch(tmp_path / "a.tif", numbers((1, *SHAPE)))
    features(tmp_path / "l.gpkg", [square(3, 3, 5)], ["lake"])
    with pytest.raises(
        InputError, match="the image has no georeferencing, so its features have no"
    ):
        opened(tmp_path)


def test_features_need_their_settings(image):
    features(image / "l.gpkg", [square(3, 3, 5)], ["lake"])
    data = DataSettings(root=image, images="a.tif", labels="l.gpkg", bands={"g": 1})
    with pytest.raises(SettingsError, match=r"data\.vector is missing.*values: \{forest: 1\}"):
        open_labelled(data, CLASSES)
    with pytest.raises(
        SettingsError, match=r"data\.vector\.values lake: sea is not the name of one"
    ):
        opened(image, vector={"values": {"lake": "sea"}})
    with pytest.raises(SettingsError, match=r"data\.vector\.background: sea is not the name"):
        opened(image, vector={"background": "sea"})


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"values": {True: 3}}, "reads one of the keys as True; put it in quotes"),
        ({"values": {}}, "at least 1 item"),
        ({"values": {"a": 300}}, "less than or equal to 254"),
        ({"buffer": "3"}, "String should match pattern"),
        ({"others": "keep"}, "'refuse' or 'ignore'"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, cause):
    with pytest.raises(ValidationError, match=cause):
        VectorSettings(**{**SAID, **changes})


def test_a_class_that_there_is_not_is_refused_with_its_field(image):
    features(image / "l.gpkg", [square(3, 3, 5)], ["lake"])
    with pytest.raises(SettingsError, match=r"data\.vector\.values b: 5 is not the value of one"):
        opened(image, vector={"values": {"lake": 7, "b": 5}})


def test_an_attribute_of_lists_is_refused(image):
    frame = gpd.GeoDataFrame({"kind": ["lake"]}, geometry=[square(3, 3, 5)], crs=UTM33)
    text = frame.to_json(to_wgs84=True).replace('"lake"', "[1, 2]")
    (image / "l.geojson").write_text(text)
    with pytest.raises(InputError, match=r"l\.geojson: kind holds lists; .*vector\.attribute"):
        opened(image, "l.geojson")


def test_dates_are_spelled_without_the_first_moment_of_the_day(image):
    when = [pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-02 13:00")]
    features(image / "l.gpkg", [square(3, 3, 5), square(20, 20, 5)], when)
    with pytest.raises(InputError, match=r"2020-01-01 \(1 features\), 2020-01-02 13:00:00"):
        opened(image, vector={"values": {"2020-01-03": 7}})
    values = yaml.safe_load("{2020-01-01: 7, 2020-01-02 13:00:00: 3}")
    scene = opened(image, vector={"values": values})
    found = scene.label_values(scene.grid.whole)
    assert {7, 3} < set(np.unique(found).tolist())


def test_settings_survive_their_file():
    said = VectorSettings(attribute="a", values={1: 3, 2.0: "water", "x": None}, buffer="2 px")
    assert said.values == {"1": 3, "2": "water", "x": None}
    assert VectorSettings.model_validate(said.model_dump(mode="json")) == said
