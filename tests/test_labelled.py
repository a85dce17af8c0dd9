"""Images with their labels: whatever grid the labels lie on, and every fault is named."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import transform as transform_points

from geounet.card import LandClass
from geounet.errors import InputError, SettingsError
from geounet.grid import PIXELS
from geounet.learn.data_settings import DataSettings
from geounet.learn.label_coding import UNLABELLED, coding_of, refuse_unknown
from geounet.learn.labelled import open_labelled, shared_scaling
from geounet.raster import read_header
from geounet.scene import open_scene
from geounet.scene_options import SceneOptions
from tests.made_scenes import LANDSAT, make_landsat, make_safe, north_up, numbers
from tests.made_scenes import write as write_scene

CLASSES = (
    LandClass(value=0, name="land", colour="#d8cfb4"),
    LandClass(value=7, name="water", colour="#1f78b4"),
)
SHAPE = (21, 37)
PLACE = {"crs": CRS.from_epsg(32633), "transform": Affine(30, 0, 331_015, 0, -30, 5_822_045)}
WHERE = (331_015, 5_822_045)


def write(path, array, **profile):
    """(band, row, col) to a file, with or without a place on Earth."""
    driver = "PNG" if path.suffix == ".png" else "GTiff"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = profile.pop("names", ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        count, height, width = array.shape
        size = {"count": count, "height": height, "width": width}
        with rasterio.open(path, "w", driver=driver, dtype=array.dtype, **size, **profile) as file:
            file.write(array)
            for index, name in enumerate(names, 1):
                file.set_band_description(index, name)
    return path


@pytest.fixture
def image(tmp_path):
    bands = numbers((3, *SHAPE), low=-200, high=5000, dtype="int16")
    bands[1, 2, 3] = -999
    return write(tmp_path / "a.tif", bands, nodata=-999, names=("green", "red", "nir"), **PLACE)


def settings(path, **changes):
    fields = {
        "root": path.parent,
        "images": path.name,
        "labels": "labels/*",
        "bands": {"nir": "nir", "green": 1},
        "scale": 1e-4,
    }
    return DataSettings(**{**fields, **changes})


def labels_of(image, array, name="labels/a.tif", **profile):
    """Labels of the image on the grid that ``profile`` says, else on the image's."""
    return write(image.parent / name, array, **{**PLACE, **profile})


def opened(image, **changes):
    return open_labelled(settings(image, **changes), CLASSES)[0]


def whole(scene):
    return scene.label_values(scene.grid.whole)


def drawn(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).choice([0, 7, 9], (1, *shape)).astype(np.uint8)


def test_a_window_is_in_unit_with_class_indices_and_gaps_outside(image):
    values = drawn()
    labels_of(image, values)
    scene = opened(image, offset=0.1, ignore=(9,))
    window = (slice(-2, 9), slice(30, 41))
    pixels, labels = scene.read(window)
    assert (pixels.dtype, labels.dtype) == (np.float32, np.uint8)
    with rasterio.open(image) as file:
        numbers = file.read([3, 1]).astype(np.float64)
    index = np.select([values[0] == 0, values[0] == 7], [0, 1], 255)
    np.testing.assert_allclose(
        pixels[2:, :7], np.moveaxis(numbers, 0, -1)[:9, 30:] * 1e-4 + 0.1, atol=1e-6
    )
    np.testing.assert_array_equal(labels[2:, :7], index[:9, 30:])
    assert np.isnan(pixels[:2]).all()
    assert np.isnan(pixels[:, 7:]).all()
    assert (labels[:2] == 255).all()
    assert (labels[:, 7:] == 255).all()
    assert scene.scale == (1e-4, 1e-4)
    assert scene.offset == (0.1, 0.1)


def test_no_label_is_learnt_where_the_image_has_no_data(image):
    labels_of(image, np.full((1, *SHAPE), 7, np.uint8))
    scene = opened(image, bands={"red": "red", "nir": 3})
    pixels, labels = scene.read(scene.grid.whole)
    assert np.isnan(pixels[2, 3]).all()
    assert labels[2, 3] == 255
    assert (labels == 255).sum() == 1
    assert (scene.labels(scene.grid.whole) == 1).all()


def test_a_scene_survives_pickling_and_reads_the_same(image):
    labels_of(image, drawn())
    scene = opened(image, ignore=(9,))
    copy = pickle.loads(pickle.dumps(scene))
    assert copy == scene
    np.testing.assert_array_equal(whole(copy), whole(scene))


def test_patches_without_a_place_and_png_labels_are_read(tmp_path):
    image = write(tmp_path / "p.tif", np.arange(48, dtype=np.float32).reshape(1, 6, 8))
    write(tmp_path / "labels/p.png", np.full((1, 6, 8), 7, np.uint8))
    scene = opened(image, bands={"g": 1}, scale=None)
    assert not scene.georeferenced
    assert scene.grid.crs == PIXELS
    pixels, labels = scene.read(scene.grid.whole)
    assert pixels[5, 7, 0] == 47
    assert (labels == 1).all()
    assert scene.notes == ()
    assert pickle.loads(pickle.dumps(scene)) == scene


def test_segment_still_refuses_what_has_no_place(tmp_path):
    patch = write(tmp_path / "p.tif", np.zeros((1, 6, 8), np.uint8))
    picture = write(tmp_path / "p.png", np.zeros((1, 6, 8), np.uint8))
    with pytest.raises(InputError, match="has no georeferencing"):
        open_scene(patch)
    with pytest.raises(InputError, match="neither a GeoTIFF nor a JPEG 2000"):
        open_scene(picture)


def test_only_one_of_both_has_a_place_read_pixel_by_pixel_with_a_note(image):
    values = drawn()
    write(image.parent / "labels/a.png", values)
    scene = opened(image, ignore=(9,))
    np.testing.assert_array_equal(whole(scene), values[0])
    assert any("labels have no georeferencing" in note for note in scene.notes)


def test_labels_of_another_size_without_a_place_are_refused_or_cropped(image):
    values = drawn((21, 40))
    write(image.parent / "labels/a.png", values)
    with pytest.raises(InputError, match=r"21 × 40 pixels, the image 21 × 37, .*crop_labels: true"):
        opened(image)
    scene = opened(image, crop_labels=True)
    np.testing.assert_array_equal(whole(scene), values[0, :, :37])
    assert any("21 × 40 pixels are cropped" in note for note in scene.notes)
    write(image.parent / "labels/a.png", drawn((20, 40)))
    with pytest.raises(InputError, match="export both with the same size, or georeference both"):
        opened(image, crop_labels=True)


def test_labels_on_part_of_the_lattice_leave_the_rest_without_label(image):
    values = drawn((9, 10))
    corner = PLACE["transform"] @ Affine.translation(-3, 15)
    labels_of(image, values, transform=corner)
    scene = opened(image)
    expected = np.full(SHAPE, UNLABELLED)
    expected[15:, :7] = values[0, :6, 3:]
    np.testing.assert_array_equal(whole(scene), expected)
    assert [n for n in scene.notes if "cover 5.4% of the image" in n]


@pytest.mark.parametrize(
    ("size", "shift", "told"),
    [
        (90, 0, r"label pixels are 3 × 3 the size of the image's; .*0\.00 columns and 0\.00 rows"),
        (30, 15, r"the size of the image's; .*0\.50 columns and 0\.50 rows .*centres of pixels"),
        (10, 4, r"label pixels are 0\.333 × 0\.333 the size.*0\.13 columns"),
    ],
)
def test_labels_on_another_grid_come_by_nearest_with_a_note(image, size, shift, told):
    shape = (int(700 / size), int(1300 / size))
    values = drawn(shape)
    x, y = WHERE
    labels_of(image, values, transform=north_up(size, (x + shift, y - shift)))
    scene = opened(image)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    r = np.floor((rows * 30 - shift) / size).astype(int)
    c = np.floor((cols * 30 - shift) / size).astype(int)
    inside = (r >= 0) & (c >= 0) & (r < shape[0]) & (c < shape[1])
    expected = np.where(
        inside, values[0][r.clip(0, shape[0] - 1), c.clip(0, shape[1] - 1)], UNLABELLED
    )
    found = whole(scene)
    # Half a pixel off, centres lie on the border of two label pixels: either is nearest.
    if shift != 15:
        np.testing.assert_array_equal(found, expected)
    assert (found[3:20, 3:36] != UNLABELLED).all()
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(found, found[::-1])
    assert [n for n in scene.notes if "(nearest)" in n]
    assert any(re.search(told, n) for n in scene.notes)


CASES = [
    {"transform": north_up(47, (330_900, 5_822_100))},
    {"transform": Affine(0.0004, 0, 12.55, 0, -0.0003, 52.52), "crs": CRS.from_epsg(4326)},
    {"transform": north_up(30, (1_397_500, 6_895_500)), "crs": CRS.from_epsg(3857)},
]


@given(st.sampled_from(range(3)), st.tuples(*[st.integers(-5, 600)] * 2), st.integers(1, 130))
def test_labels_of_a_window_are_the_window_of_all(tmp_path_factory, case, corner, side):
    image, scene = _large(tmp_path_factory, case)
    top, left = corner
    window = (slice(top, top + side), slice(left, left + side + 3))
    found = scene.label_values(window)
    rows, cols = (slice(max(s.start, 0), max(s.stop, 0)) for s in window)
    expected = np.full(found.shape, UNLABELLED)
    part = image[rows, cols]
    at = (rows.start - top, cols.start - left)
    expected[at[0] : at[0] + part.shape[0], at[1] : at[1] + part.shape[1]] = part
    np.testing.assert_array_equal(found, expected)


_MADE = {}


def _large(factory, case):
    """All label values of a scene that is larger than the warper's blocks, and the scene."""
    if case not in _MADE:
        folder = factory.mktemp("large")
        image = write(folder / "a.tif", numbers((1, 530, 570)), **PLACE)
        labels_of(image, drawn((500, 610)), **CASES[case])
        scene = opened(image, bands={"g": 1})
        _MADE[case] = (whole(scene), scene)
        assert (_MADE[case][0] != UNLABELLED).mean() > 0.3
    return _MADE[case]


def test_another_crs_is_warped_with_a_note_that_names_both(image):
    values = drawn((60, 90))
    there = CRS.from_epsg(4326)
    west, north = (v[0] for v in transform_points(PLACE["crs"], there, *([v] for v in WHERE)))
    corner = Affine(0.0003, 0, west - 0.003, 0, -0.0003, north + 0.001)
    labels_of(image, values, crs=there, transform=corner)
    scene = opened(image)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    xs, ys = PLACE["transform"] @ (cols.ravel(), rows.ravel())
    c, r = ~corner @ tuple(map(np.asarray, transform_points(PLACE["crs"], there, xs, ys)))
    expected = values[0, np.floor(r).astype(int), np.floor(c).astype(int)].reshape(SHAPE)
    np.testing.assert_array_equal(whole(scene), expected)
    assert [n for n in scene.notes if "EPSG:4326 are warped (nearest) to EPSG:32633" in n]


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ((32119, 3358), r"EPSG:3358 and the image EPSG:32119, .* 0\.03 pixel apart: read pixel by"),
        ((32119, 2264), None),
    ],
)
def test_other_tags_over_the_same_numbers_are_noticed(tmp_path, tags, told):
    where = Affine(28.5, 0, 630_534, 0, -28.5, 228_114)
    values = drawn()
    image = write(
        tmp_path / "a.tif", numbers((1, *SHAPE)), crs=CRS.from_epsg(tags[0]), transform=where
    )
    labels_of(image, values, crs=CRS.from_epsg(tags[1]), transform=where)
    if told is None:
        with pytest.raises(InputError, match="labels do not lie on the image; their EPSG:2264 bo"):
            opened(image, bands={"g": 1})
        return
    scene = opened(image, bands={"g": 1})
    np.testing.assert_array_equal(whole(scene), values[0])
    assert any(re.search(told, n) for n in scene.notes)


def test_half_a_pixel_is_told_under_another_tag_too(tmp_path):
    where = Affine(28.5, 0, 630_534, 0, -28.5, 228_114)
    image = write(
        tmp_path / "a.tif", numbers((1, *SHAPE)), crs=CRS.from_epsg(32119), transform=where
    )
    half = where @ Affine.translation(0.5, 0)
    labels_of(image, drawn(), crs=CRS.from_epsg(3358), transform=half)
    notes = opened(image, bands={"g": 1}).notes
    assert any("EPSG:3358 are warped" in n and "0.50 columns and 0.00 rows" in n for n in notes)


def test_a_map_of_the_earth_labels_an_image_in_utm(image):
    values = drawn((180, 360))
    corner = Affine(1, 0, -180, 0, -1, 90)
    labels_of(image, values, crs=CRS.from_epsg(4326), transform=corner)
    scene = opened(image)
    assert (whole(scene) == values[0, 37, 192]).all()
    assert not any("cover" in note for note in scene.notes)


def test_other_tags_that_are_pixels_apart_are_followed_with_a_note(tmp_path):
    # ED50 and ETRS89 in one zone: the same numbers are about 230 m apart.
    where = Affine(100, 0, 500_000, 0, -100, 5_500_000)
    image = write(
        tmp_path / "a.tif", numbers((1, *SHAPE)), crs=CRS.from_epsg(25832), transform=where
    )
    labels_of(image, drawn(), crs=CRS.from_epsg(23032), transform=where)
    scene = opened(image, bands={"g": 1})
    note = next(n for n in scene.notes if "pixel apart" in n)
    assert "EPSG:23032 and the image EPSG:25832" in note
    assert "warped (nearest) to the image; if one of the tags is wrong" in note
    values = whole(scene)
    assert (values == UNLABELLED).any()
    assert (values != UNLABELLED).any()


def test_labels_elsewhere_are_refused(image):
    labels_of(image, drawn(), transform=north_up(30, (500_000, 5_000_000)))
    with pytest.raises(InputError, match=r"a\.tif: the labels do not lie on the image; their EPSG"):
        opened(image)


@pytest.mark.parametrize("size", [30, 45])
def test_nodata_of_labels_is_no_label_and_never_a_class_by_silence(image, size):
    values = drawn((21, 37))
    placed = {"transform": north_up(size, WHERE)}
    labels_of(image, values, nodata=9, **placed)
    found = whole(opened(image))
    assert set(np.unique(found)) == {0, 7, UNLABELLED}
    labels_of(image, values, nodata=7, **placed)
    with pytest.raises(InputError, match=r"7 is its nodata and the class water too; .*label_nodat"):
        opened(image)
    counts = {
        said: set(np.unique(whole(opened(image, label_nodata=said)))) - {UNLABELLED}
        for said in ("none", 7, 9)
    }
    assert counts == {"none": {0, 7, 9}, 7: {0, 9}, 9: {0, 7}}
    assert 7 in whole(opened(image, remap={7: 0}))


def test_fractions_and_nan_in_float_labels(image):
    values = drawn().astype(np.float32)
    values[0, 0, :3] = np.nan
    labels_of(image, values)
    assert (whole(opened(image))[0, :3] == UNLABELLED).all()
    values[0, 4, 5] = 2.5
    labels_of(image, values)
    with pytest.raises(InputError, match=r"labels are whole numbers, but it holds 2\.5"):
        whole(opened(image))


@pytest.mark.parametrize(
    ("array", "cause"),
    [
        (np.zeros((2, *SHAPE), np.uint8), "has 2 of uint8"),
        (np.zeros((1, *SHAPE), np.complex64), "has 1 of complex64"),
    ],
)
def test_labels_that_are_not_one_band_of_whole_numbers_are_refused(image, array, cause):
    labels_of(image, array)
    with pytest.raises(InputError, match=cause):
        opened(image)


def test_classes_merge_by_value_and_by_name(image):
    values = drawn()
    labels_of(image, values)
    for remap in ({9: 7, 0: 7}, {9: "water", 0: "water"}):
        labels = opened(image, remap=remap).labels((slice(0, 21), slice(0, 37)))
        assert (labels == 1).all()
    with pytest.raises(SettingsError, match="remap 9: sand is not the name of one class"):
        opened(image, remap={9: "sand"})


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30), st.integers(0, 9))
def test_a_coding_is_a_lookup(values, seed):
    rng = np.random.default_rng(seed)
    remap = {int(v): 7 for v in rng.choice(values, len(values) // 2)}
    data = DataSettings(images="a", labels="b", bands={"g": 1}, remap=remap)
    array = np.array([[*values, 0, 7, UNLABELLED]])
    means = {0: 0, 7: 1} | dict.fromkeys(remap, 1)
    expected = [[means.get(v, 255) for v in array[0].tolist()]]
    np.testing.assert_array_equal(coding_of(data, CLASSES).encode(array), expected)


def test_unknown_labels_are_listed_with_counts_and_lines_to_write(image):
    data = settings(image)
    with pytest.raises(InputError, match=r"no class: 9 \(5 pixels\), 300 \(2 pixels\); name"):
        refuse_unknown({0: 1, 9: 5, 300: 2, UNLABELLED: 4}, data, CLASSES)
    with pytest.raises(InputError, match=r"remap: \{-1: CLASS, 300: CLASS\}"):
        refuse_unknown({-1: 5, 300: 2}, data, CLASSES)
    refuse_unknown({0: 1, 9: 5, 300: 2, 8: 0}, settings(image, ignore=(9, 300)), CLASSES)
    refuse_unknown({0: 1, 300: 2}, settings(image, remap={300: "water"}), CLASSES)
    with pytest.raises(InputError, match=r"`remap: \{255: 7\}` \(that is `255: 7`\)"):
        refuse_unknown({0: 1, 255: 5}, data, CLASSES)


def test_two_classes_of_one_name_cannot_be_named(image):
    labels_of(image, drawn())
    twins = tuple(LandClass(value=v, name="water", colour="#1f78b4") for v in (0, 7))
    with pytest.raises(SettingsError, match="water is not the name of one class"):
        open_labelled(settings(image, remap={9: "water"}), twins)


def test_one_label_file_serves_many_images_in_order_of_names(tmp_path):
    for stem, x in (("b", 0), ("a", 20)):
        corner = (WHERE[0] + 30 * x, WHERE[1])
        write(
            tmp_path / f"images/{stem}.tif",
            numbers((1, 9, 11)),
            crs=PLACE["crs"],
            transform=north_up(30, corner),
        )
    values = drawn((9, 40))
    write(tmp_path / "all.tif", values, **PLACE)
    data = DataSettings(root=tmp_path, images="images/*", labels="all.tif", bands={"g": 1})
    scenes = open_labelled(data, CLASSES)
    assert [s.name for s in scenes] == ["a", "b"]
    np.testing.assert_array_equal(whole(scenes[0]), values[0, :, 20:31])
    np.testing.assert_array_equal(whole(scenes[1]), values[0, :, :11])


def test_one_label_file_serves_patches_without_a_place_never(tmp_path):
    for stem in "ab":
        write(tmp_path / f"{stem}.tif", numbers((1, 4, 5)))
    labels = write(tmp_path / "l.png", np.zeros((1, 4, 5), np.uint8))
    data = DataSettings(root=tmp_path, images="[ab].tif", labels=labels.name, bands={"g": 1})
    with pytest.raises(InputError, match=r"l\.png cannot serve a, b alike; give each image"):
        open_labelled(data, CLASSES)
    assert len(open_labelled(data.model_copy(update={"images": ("a.tif",)}), CLASSES)) == 1


def test_settings_of_features_without_features_are_refused(image):
    labels_of(image, drawn())
    with pytest.raises(
        SettingsError, match=r"data\.vector is given, but .*a\.tif is no vector file"
    ):
        opened(image, vector={"attribute": "a", "values": {1: 0}})


def test_images_are_named_one_by_one_and_sidecars_are_passed_over(image):
    for stem in "bc":
        write(image.parent / f"{stem}.tif", numbers((3, *SHAPE)), **PLACE)
    (image.parent / "c.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    for stem in "abc":
        labels_of(image, drawn(), name=f"labels/{stem}.tif")
    every = settings(image, images=(str(image), "[bc].tif*"), bands={"g": 1})
    assert [s.name for s in open_labelled(every, CLASSES)] == ["a", "b", "c"]
    absolute = settings(image, images=f"{image.parent}/*.tif", bands={"g": 1})
    assert len(open_labelled(absolute, CLASSES)) == 3


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("id,place\na,x\nb\n", "line 3 has fewer cells than the header's 2; correct it"),
        ("id,place\na,x,y\n", "line 2 has more cells than the header's 2; correct it"),
        ("id;place\na;x\n", "no column id, only id;place; .* separate columns by commas"),
        ("", "no column id, only none"),
        ("id,place\na,x\nb,x\na,y\n", "line 4 is the second of a; remove one"),
    ],
)
def test_a_table_that_is_not_one_row_per_stem_is_refused(image, text, cause):
    labels_of(image, drawn())
    (image.parent / "t.csv").write_text(text)
    with pytest.raises(InputError, match=rf"t\.csv: .*{cause}"):
        opened(image, table="t.csv")


def test_a_table_from_a_spreadsheet_is_read(image):
    labels_of(image, drawn())
    (image.parent / "t.csv").write_bytes(b"\xef\xbb\xbfid,place\r\na,x\r\n")
    assert opened(image, table="t.csv").row == {"id": "a", "place": "x"}


def test_a_label_is_remapped_or_ignored_and_means_a_class(image):
    with pytest.raises(ValidationError, match="label 9 is in remap and in ignore: choose one"):
        settings(image, remap={9: 7}, ignore=(9,))
    with pytest.raises(SettingsError, match=r"data\.remap 9: 5 is not the value of one class"):
        coding_of(settings(image, remap={9: 5}), CLASSES)


def test_a_crs_that_is_none_is_refused_with_its_field(image):
    labels_of(image, drawn())
    with pytest.raises(SettingsError, match=r"data\.assume_crs foo: is not a CRS .*EPSG:32633"):
        opened(image, assume_crs="foo")


def test_a_crs_of_no_number_is_refused_in_one_line(image, capfd):
    with pytest.raises(SettingsError, match=r"data\.assume_crs EPSG:9999999: is not a CRS"):
        opened(image, assume_crs="EPSG:9999999")
    assert capfd.readouterr().err == ""


def test_a_list_of_bands_holds_names(image):
    with pytest.raises(ValidationError, match=r"bands\s.*write channels .*as in \{red: 1"):
        settings(image, bands=[1, 2, 3])


def test_the_table_gives_each_scene_its_row(image):
    labels_of(image, drawn())
    table = image.parent / "places.csv"
    table.write_text("stem,place\na,x\n")
    assert opened(image, table="places.csv", key="stem").row == {"stem": "a", "place": "x"}
    with pytest.raises(InputError, match=r"has no column id, only stem, place; set data\.key"):
        opened(image, table="places.csv")
    table.write_text("stem,place\nb,x\n")
    with pytest.raises(InputError, match="has no row for a; add them"):
        opened(image, table="places.csv", key="stem")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        opened(image, table="none.csv")


def test_images_without_labels_missing_files_and_twins_are_refused(image):
    with pytest.raises(InputError, match=r"no file matches labels/\*; check data.root"):
        opened(image)
    labels_of(image, drawn(), name="labels/b.tif")
    with pytest.raises(InputError, match="a, b exist only as image or only as label"):
        opened(image)
    with pytest.raises(InputError, match=r"none\.tif: does not exist"):
        opened(image, images="none.tif")
    labels_of(image, drawn(), name="labels/more/b.tif")
    with pytest.raises(InputError, match="several files of stem b"):
        opened(image, labels="labels/**/*.tif")


@pytest.mark.parametrize(
    ("bands", "cause"),
    [
        ({"blue": "blue"}, r"a\.tif: has no band blue for blue, only 1 green, 2 red, 3 nir"),
        ({"blue": 4}, r"a\.tif: has no channel 4 for blue, only 1 green.*correct data\.bands"),
    ],
)
def test_a_band_that_the_image_lacks_is_refused(image, bands, cause):
    labels_of(image, drawn())
    with pytest.raises(InputError, match=cause):
        opened(image, bands=bands)


def test_other_wrong_options_name_their_field(image, tmp_path):
    labels_of(image, drawn())
    with pytest.raises(SettingsError, match="mask 'x': write FILE:values"):
        opened(image, mask="x")
    plain = write(tmp_path / "S2_B02.tif", numbers((1, *SHAPE)), names=("B02",), **PLACE)
    with pytest.raises(InputError, match=r"--offset 0 if not .*\(in a training file: data\.offset"):
        opened(plain, sensor="S2", scale=None, bands=["blue"], labels="labels/a.tif")


def test_a_product_is_opened_as_segment_opens_it(tmp_path):
    product = make_landsat(tmp_path)
    values = drawn((40, 31))
    write_scene(tmp_path / f"labels/{LANDSAT}.tif", values, transform=north_up(30), nodata=9)
    data = DataSettings(
        root=tmp_path,
        images=f"{LANDSAT[:4]}*",
        labels="labels/*",
        bands=["nir", "red"],
        mask="qa_pixel",
        mask_dilate=1,
    )
    (scene,) = open_labelled(data, CLASSES)
    same = open_scene(product, SceneOptions(mask=("qa_pixel",), mask_dilate=1))
    assert scene.name == LANDSAT
    assert scene.scale == (2.75e-5, 2.75e-5)
    assert shared_scaling([scene]) == (2.75e-5, -0.2)
    pixels = same.select(["nir", "red"]).read(same.grid.whole)
    found, labels = scene.read(scene.grid.whole)
    np.testing.assert_array_equal(np.isfinite(found).all(axis=-1), pixels.valid)
    numbers_there = pixels.bands[pixels.valid].astype(np.float32)
    np.testing.assert_allclose(found[pixels.valid], numbers_there * 2.75e-5 - 0.2, rtol=1e-5)
    assert (labels[~pixels.valid] == 255).all()
    assert pixels.hidden.any()


def test_bands_of_several_resolutions_are_learnt_on_the_finest(tmp_path):
    safe = make_safe(tmp_path)
    write_scene(tmp_path / "l.tif", drawn((33, 45)), transform=north_up(20))
    data = DataSettings(
        root=tmp_path, images=safe.name, labels="l.tif", bands={"swir1": "B11", "red": "red"}
    )
    (scene,) = open_labelled(data, CLASSES)
    assert scene.name == safe.name.removesuffix(".SAFE")
    assert scene.grid.shape == (66, 90)
    assert scene.offset == (-0.1, -0.1)
    assert any("2 × 2 the size" in n for n in scene.notes)
    with pytest.raises(InputError, match=r"has no channel 1 for red, only coastal"):
        open_labelled(data.model_copy(update={"bands": {"red": 1}}), CLASSES)


def test_the_file_of_yesterday_keeps_its_meaning():
    data = DataSettings(images="i/*.tif", labels="l/*.png", bands={"blue": 2}, remap={255: 1})
    assert (data.images, data.labels) == (("i/*.tif",), ("l/*.png",))
    assert data.scene_options == SceneOptions(bands={"blue": "2"})
    said = DataSettings.model_validate(data.model_dump(mode="json"))
    assert said == data
    with pytest.raises(ValidationError, match="images"):
        DataSettings(images=(), labels="l", bands={"blue": 1})


def test_a_header_of_a_patch_may_have_a_crs_assumed(tmp_path):
    placed = write(tmp_path / "a.tif", np.zeros((1, 4, 5), np.uint8), transform=PLACE["transform"])
    assert read_header(str(placed), patches=True).grid.crs == PIXELS
    said = read_header(str(placed), patches=True, assume_crs="EPSG:32633").grid
    assert (said.crs, said.transform) == (PLACE["crs"], PLACE["transform"])


def test_the_examples_of_the_page_on_labels_are_settings():
    page = (Path(__file__).parent.parent / "docs/labels.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    classes = tuple(
        LandClass(value=k, name=name, colour="#d8cfb4")
        for k, name in enumerate(("land", "forest", "water"))
    )
    for block in blocks:
        coding_of(DataSettings.model_validate(yaml.safe_load(block)), classes)
    assert len(blocks) == 3
