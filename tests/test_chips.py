"""Reading samples: every labelled pixel comes out once, and every fault is named."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

from geounet.card import LandClass
from geounet.errors import InputError, SettingsError
from geounet.learn.chips import check_labels, find_chips, read_chip, split_chips
from geounet.learn.data_settings import DataSettings, Selection
from geounet.learn.samples import Samples, statistics

CLASSES = (
    LandClass(value=0, name="land", colour="#d8cfb4"),
    LandClass(value=7, name="water", colour="#1f78b4"),
)
SIDE = 16
PLACE = {"crs": CRS.from_epsg(32633), "transform": Affine(30, 0, 331_015, 0, -30, 5_822_045)}


def write(path, array, **profile):
    """(band, row, col) to a file; PNG for labels without a place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    driver = "PNG" if path.suffix == ".png" else "GTiff"
    count, height, width = array.shape
    fields = {"driver": driver, "count": count, "height": height, "width": width}
    names = profile.pop("names", ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", dtype=array.dtype, **fields, **profile) as file:
            file.write(array)
            for index, name in enumerate(names, 1):
                file.set_band_description(index, name)


@pytest.fixture
def folder(tmp_path):
    """Three images of odd sizes with a real nodata, and labels of 0, 7 and 9."""
    rng = np.random.default_rng(0)
    for stem, shape in (("a", (16, 16)), ("b", (21, 37)), ("c", (5, 18))):
        bands = rng.integers(-200, 5000, (3, *shape)).astype(np.int16)
        bands[1, 2, 3] = -999
        labels = rng.choice([0, 7, 9], (1, *shape)).astype(np.uint8)
        named = {"names": ("green", "red", "nir")}
        write(tmp_path / f"images/{stem}.tif", bands, nodata=-999, **PLACE, **named)
        write(tmp_path / f"labels/{stem}.tif", labels, **PLACE)
    (tmp_path / "places.csv").write_text("stem,place\na,x\nb,y\nc,x\n")
    return tmp_path


def settings(root, **changes):
    fields = {
        "root": root,
        "images": "images/*.tif",
        "labels": "labels/*.tif",
        "bands": {"nir": "nir", "green": 1},
        "scale": 1e-4,
        "offset": 0.1,
        "ignore": (9,),
        "table": "places.csv",
        "key": "stem",
    }
    return DataSettings(**{**fields, **changes})


def raw(path):
    with rasterio.open(path) as file:
        return file.read()


def test_chips_cover_every_pixel_and_lie_inside_the_image(folder):
    for stem, shape in (("a", (16, 16)), ("b", (21, 37)), ("c", (5, 18))):
        seen = np.zeros(shape, int)
        for chip in find_chips(settings(folder), SIDE):
            if chip.stem == stem:
                assert seen[chip.window].shape == tuple(min(n, SIDE) for n in shape)
                seen[chip.window] += 1
        assert seen.min() >= 1


def test_a_chip_is_its_window_in_unit_with_class_indices(folder):
    data = settings(folder)
    for chip in find_chips(data, SIDE):
        image, labels = read_chip(chip, data, CLASSES, SIDE)
        assert image.shape == (SIDE, SIDE, 2)
        assert image.dtype == np.float32
        numbers = raw(chip.image)[[2, 0]][(slice(None), *chip.window)].astype(float)
        values = raw(chip.label)[0][chip.window]
        rows, cols = values.shape
        seen = np.isfinite(image[:rows, :cols]).all(axis=-1)
        expected = np.moveaxis(numbers, 0, -1) * 1e-4 + 0.1
        np.testing.assert_allclose(image[:rows, :cols][seen], expected[seen], atol=1e-6)
        index = np.select([values == 0, values == 7], [0, 1], 255)
        np.testing.assert_array_equal(labels[:rows, :cols], index)
        assert np.isnan(image[rows:]).all()
        assert np.isnan(image[:, cols:]).all()
        assert (labels[rows:] == 255).all()
        assert (labels[:, cols:] == 255).all()


def test_nodata_of_the_file_and_of_the_settings_become_nan_in_all_bands(folder):
    data = settings(folder, bands={"red": 2, "nir": 3})
    chip = find_chips(data, SIDE)[0]
    image, _ = read_chip(chip, data, CLASSES, SIDE)
    assert np.isnan(image[2, 3]).all()
    assert np.isfinite(image).all(axis=-1).sum() == SIDE**2 - 1
    number = float(raw(chip.image)[2, 5, 6])
    image, _ = read_chip(chip, data.model_copy(update={"nodata": number}), CLASSES, SIDE)
    assert np.isnan(image[5, 6]).all()


def test_remapped_labels_mean_another_class_or_nothing(folder):
    data = settings(folder, remap={9: 7, 0: 5}, ignore=(5,))
    chip = find_chips(data, SIDE)[0]
    _, labels = read_chip(chip, data, CLASSES, SIDE)
    values = raw(chip.label)[0]
    np.testing.assert_array_equal(labels, np.where(values == 0, 255, 1))
    check_labels([chip], data, CLASSES)


def test_patches_without_a_place_and_png_labels_are_read(tmp_path):
    write(tmp_path / "i/p.tif", np.arange(256, dtype=np.float32).reshape(1, 16, 16))
    write(tmp_path / "l/p.png", np.full((1, 16, 16), 7, np.uint8))
    data = DataSettings(root=tmp_path, images="i/*.tif", labels="l/*.png", bands={"g": 1})
    image, labels = read_chip(find_chips(data, SIDE)[0], data, CLASSES, SIDE)
    assert image[15, 15, 0] == 255
    assert (labels == 1).all()


def test_samples_are_the_same_from_memory_and_from_disk(folder):
    data = settings(folder)
    chips = find_chips(data, SIDE)
    kept, read = (Samples(chips, data, CLASSES, SIDE, mb) for mb in (64, 0))
    assert len(kept) == len(chips)
    for index in (0, 3, 0):
        for one, other in zip(kept[index], read[index], strict=True):
            np.testing.assert_array_equal(one, other)
    assert kept[0] is kept[0]
    assert read[0] is not read[0]


def test_a_split_puts_each_place_on_one_side(folder):
    chips = find_chips(settings(folder), SIDE)
    kept, held = split_chips(chips, Selection(column="place", values=("x",)))
    assert {c.stem for c in kept} == {"b"}
    assert {c.stem for c in held} == {"a", "c"}
    assert len(kept) + len(held) == len(chips)
    assert split_chips(chips, None) == (chips, [])


@pytest.mark.parametrize(
    ("column", "values", "cause"),
    [
        ("city", ("x",), "no column city in the table .*stem, place"),
        ("place", ("z",), "selects none of the 9 chips"),
        ("place", ("x", "y"), "selects all of the 9 chips"),
    ],
)
def test_a_split_that_cannot_be_is_refused(folder, column, values, cause):
    with pytest.raises(SettingsError, match=cause):
        split_chips(find_chips(settings(folder), SIDE), Selection(column=column, values=values))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(0, 99))
def test_statistics_chip_by_chip_are_those_of_all_pixels_with_data(sizes, seed):
    rng = np.random.default_rng(seed)
    images = [rng.normal(5000, 3, (n, 3, 2)).astype(np.float32) for n in sizes]
    images[0][0, 1] = np.nan
    images.append(np.full((2, 2, 2), np.nan, np.float32))
    mean, std = statistics(iter(images), ("a", "b"))
    pixels = np.concatenate([i.reshape(-1, 2) for i in images]).astype(float)
    np.testing.assert_allclose(mean, np.nanmean(pixels, axis=0), rtol=1e-9)
    np.testing.assert_allclose(std, np.nanstd(pixels, axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "cause"),
    [(3.0, "band green is the same everywhere"), (np.nan, "band green has no valid pixel")],
)
def test_a_band_without_variation_is_refused(value, cause):
    with pytest.raises(InputError, match=cause):
        statistics(iter([np.full((4, 5, 1), value, np.float32)]), ("green",))


def test_unknown_labels_are_listed_with_their_counts(folder):
    data = settings(folder, ignore=())
    pixels = sum((raw(folder / f"labels/{stem}.tif") == 9).sum() for stem in "abc")
    with pytest.raises(InputError, match=rf"no class: 9 \({pixels} pixels\)"):
        check_labels(find_chips(data, 64), data, CLASSES)


def test_black_and_white_labels_are_refused_with_the_remap_line(folder):
    for stem in "abc":
        path = folder / f"labels/{stem}.tif"
        write(path, np.where(raw(path) == 0, 0, 255).astype(np.uint8), **PLACE)
    data = settings(folder)
    with pytest.raises(InputError, match="`255: 1`"):
        check_labels(find_chips(data, SIDE), data, CLASSES)
    check_labels(find_chips(data, SIDE), settings(folder, remap={255: 7}), CLASSES)
    check_labels(find_chips(data, SIDE), settings(folder, ignore=(255,)), CLASSES)


def test_an_image_without_labels_is_refused(folder):
    (folder / "labels/b.tif").unlink()
    with pytest.raises(InputError, match="b exist only as image or only as label"):
        find_chips(settings(folder), SIDE)


def test_a_pattern_that_matches_nothing_or_a_stem_twice_is_refused(folder):
    with pytest.raises(InputError, match=r"no file matches scenes/\*\.tif"):
        find_chips(settings(folder, images="scenes/*.tif"), SIDE)
    write(folder / "labels/more/a.tif", np.zeros((1, 16, 16), np.uint8), **PLACE)
    with pytest.raises(InputError, match="several files of stem a"):
        find_chips(settings(folder, labels="labels/**/*.tif"), SIDE)


@pytest.mark.parametrize(
    "other",
    [
        {"shape": (16, 17)},
        {"transform": Affine(30, 0, 331_030, 0, -30, 5_822_045)},
        {"crs": CRS.from_epsg(32634)},
    ],
)
def test_labels_on_another_grid_are_refused(folder, other):
    shape = other.pop("shape", (16, 16))
    write(folder / "labels/a.tif", np.zeros((1, *shape), np.uint8), **{**PLACE, **other})
    with pytest.raises(InputError, match=r"a\.tif: its grid .* is not that of"):
        find_chips(settings(folder), SIDE)


@pytest.mark.parametrize(
    ("bands", "cause"),
    [({"blue": "blue"}, "no band is described blue"), ({"blue": 4}, "no channel 4, only 1 to 3")],
)
def test_a_band_that_the_image_lacks_is_refused(folder, bands, cause):
    data = settings(folder, bands=bands)
    with pytest.raises(InputError, match=cause):
        read_chip(find_chips(data, SIDE)[0], data, CLASSES, SIDE)


@pytest.mark.parametrize(
    ("array", "cause"),
    [
        (np.zeros((2, 16, 16), np.uint8), "2 of uint8"),
        (np.zeros((1, 16, 16), np.float32), "1 of float32"),
    ],
)
def test_labels_that_are_not_one_band_of_whole_numbers_are_refused(folder, array, cause):
    write(folder / "labels/a.tif", array, **PLACE)
    data = settings(folder)
    with pytest.raises(InputError, match=cause):
        check_labels(find_chips(data, SIDE), data, CLASSES)


def test_a_table_without_the_file_the_column_or_the_row_is_refused(folder):
    with pytest.raises(InputError, match="cannot be read as CSV"):
        find_chips(settings(folder, table="none.csv"), SIDE)
    with pytest.raises(InputError, match="has no column id"):
        find_chips(settings(folder, key="id"), SIDE)
    (folder / "places.csv").write_text("stem,place\na,x\n")
    with pytest.raises(InputError, match="has no row for b, c"):
        find_chips(settings(folder), SIDE)


def test_another_file_format_is_refused(folder):
    for stem in "abc":
        (folder / f"labels/{stem}.tif").rename(folder / f"labels/{stem}.img")
    with pytest.raises(InputError, match=r"not a \.tif or \.png"):
        find_chips(settings(folder, labels="labels/*.img"), SIDE)


def test_a_cut_off_image_is_named_with_its_window(folder):
    path = folder / "images/b.tif"
    write(path, raw(path), nodata=-999, **PLACE)
    path.write_bytes(path.read_bytes()[:-1000])
    data = settings(folder, bands={"green": 1})
    chip = [c for c in find_chips(data, SIDE) if c.stem == "b"][-1]
    with pytest.raises(InputError, match=r"b\.tif: window .* cannot be read: .*get the file again"):
        read_chip(chip, data, CLASSES, SIDE)
