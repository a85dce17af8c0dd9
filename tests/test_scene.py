"""Laws of a scene: a window is the window of the whole, and a pixel is valid or it is not."""

from __future__ import annotations

import json
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from geounet.errors import InputError, ModelError, SettingsError
from geounet.grid import shape_of
from geounet.scene import open_scene
from geounet.scene_options import SceneOptions
from tests.made_scenes import CORNER, make_safe, north_up, numbers, write


def same(a, b):
    return (
        np.array_equal(a.bands, b.bands)
        and np.array_equal(a.valid, b.valid)
        and np.array_equal(a.hidden, b.hidden)
        and a.bands.dtype == b.bands.dtype
    )


def crop(pixels, window):
    return type(pixels)(pixels.bands[window], pixels.valid[window], pixels.hidden[window])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of one place: 10, 20 and 60 m, another zone, degrees, rotated, floats, masks.

    Larger than the warper's own blocks of 128 × 512 pixels, within which every window is alike.
    """
    base = tmp_path_factory.mktemp("scene files")
    write(base / "ten.tif", ten(), nodata=0, tiled=True, blockxsize=32, blockysize=16)
    twenty = numbers((2, 103, 280), 1)
    twenty[1, 7:11, 5:9] = 0
    write(base / "twenty.tif", twenty, transform=north_up(20), nodata=0)
    write(base / "sixty.tif", numbers((1, 34, 93), 2), transform=north_up(60))
    x, y = transform_points(CRS.from_epsg(32633), CRS.from_epsg(32632), [CORNER[0]], [CORNER[1]])
    zone32 = Affine(17, 0, x[0] + 55, 0, -17, y[0] - 33)
    write(base / "zone32.tif", numbers((1, 140, 360), 3), transform=zone32, crs="EPSG:32632")
    x, y = transform_points(CRS.from_epsg(32633), CRS.from_epsg(4326), [CORNER[0]], [CORNER[1]])
    degrees = Affine(2e-4, 0, x[0], 0, -1.3e-4, y[0])
    write(base / "degrees.tif", numbers((1, 150, 360), 4), transform=degrees, crs="EPSG:4326")
    rotated = Affine.translation(CORNER[0] + 200, CORNER[1] - 60) @ Affine.rotation(30)
    rotated = rotated @ Affine.scale(15, -15)
    floats = numbers((1, 140, 250), 5, dtype="float32")
    floats[0, 10:13, 10:13] = np.nan
    write(base / "rotated.tif", floats, transform=rotated)
    cover = np.full((103, 280), 255, "uint8")
    cover[3:9, 20:31] = 0
    write(base / "covered.tif", twenty, transform=north_up(20), nodata=0, mask=cover)
    write(base / "clouds.tif", numbers((1, 57, 143), 6, 0, 12, "uint8"), transform=north_up(40))
    return base


def ten():
    data = numbers((2, 206, 560))
    data[:, 10:20, 30:50] = 0
    data[0, 40, 41] = 0
    return data


FILES = ("ten", "twenty", "sixty", "zone32", "degrees", "rotated", "covered")


def span(length):
    """Windows that touch the scene, and may hang over either edge."""
    starts, sizes = st.integers(-9, length - 1), st.integers(1, 160)
    return st.tuples(starts, sizes).map(lambda pair: slice(pair[0], sum(pair)))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_window_is_the_window_of_the_whole(folder, data):
    """Rule 5, over files, CRS, resolutions, resampling, nodata, masks: bit for bit."""
    names = data.draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=3, unique=True))
    nodata = data.draw(st.sampled_from([None, 7]))
    lines = [f"  {n}: {{file: {n}.tif, nodata: {nodata or 'null'}}}" for n in names]
    if "twenty" in names:
        lines.append("  second: {file: twenty.tif, band: 2, nodata: 5}")
    yaml = folder / "scene.yaml"
    yaml.write_text("\n".join(["bands:", *lines]))
    options = SceneOptions(
        resampling=data.draw(st.sampled_from(["nearest", "bilinear", "cubic"])),
        resolution=data.draw(st.sampled_from([None, None, 8.0, 27.0]))
        if "zone32" not in names and "degrees" not in names
        else None,
        mask=data.draw(st.sampled_from([(), ("clouds.tif:values=3,8",), ("clouds.tif:bits=0",)])),
        mask_dilate=data.draw(st.integers(0, 3)),
    )
    scene = open_scene(yaml, options)
    rows, cols = scene.grid.shape
    whole = (slice(-9, rows + 170), slice(-9, cols + 170))
    everything = scene.read(whole)
    for _ in range(3):
        window = tuple(data.draw(span(n)) for n in (rows, cols))
        part = tuple(slice(s.start + 9, s.stop + 9) for s in window)
        assert same(scene.read(window), crop(everything, part))


def test_not_even_the_last_bit_hangs_on_the_window(folder):
    """Warped as one piece per window, 1 in 20 000 of these floats differs in its last bit."""
    (folder / "turned.yaml").write_text("bands: {ten: ten.tif, rotated: rotated.tif}")
    scene = open_scene(folder / "turned.yaml", SceneOptions(resolution=8)).select(["rotated"])
    everything = scene.read(scene.grid.whole)
    rows, cols = scene.grid.shape
    for top in range(3, rows - 70, 23):
        for left in range(5, cols - 90, 41):
            window = (slice(top, top + 70), slice(left, left + 90))
            assert same(scene.read(window), crop(everything, window))


def test_a_window_has_its_shape_and_nothing_outside_the_scene_is_valid(folder):
    scene = open_scene(folder / "ten.tif")
    window = (slice(-5, 220), slice(550, 600))
    pixels = scene.read(window)
    assert pixels.bands.shape == (*shape_of(window), 2)
    assert pixels.valid.shape == shape_of(window)
    inside = np.zeros(shape_of(window), bool)
    inside[5:211, :10] = True
    assert not pixels.valid[~inside].any()
    assert pixels.valid[inside].any()
    assert (pixels.bands[~inside] == 0).all()
    far = scene.read((slice(900, 910), slice(0, 7)))
    assert far.bands.shape == (10, 7, 2)
    assert not far.valid.any()


def test_a_file_on_the_grid_is_read_as_it_is_and_keeps_its_type(folder):
    scene = open_scene(folder / "ten.tif")
    pixels = scene.read(scene.grid.whole)
    assert pixels.bands.dtype == np.uint16 == scene.dtype
    expected = (ten() != 0).all(axis=0)
    np.testing.assert_array_equal(pixels.valid, expected)
    np.testing.assert_array_equal(pixels.bands, np.moveaxis(ten() * expected, 0, 2))


def test_bands_on_a_coarser_grid_come_by_bilinear_interpolation(tmp_path):
    """A plane is its own bilinear interpolation, whatever the resolution."""
    rows, cols = np.mgrid[0:40, 0:50] * 20.0 + 10
    plane = (3 * cols + 7 * rows + 100).astype("float32")[None]
    write(tmp_path / "coarse.tif", plane, transform=north_up(20))
    write(tmp_path / "fine.tif", numbers((1, 80, 100)))
    (tmp_path / "scene.yaml").write_text("bands: {fine: fine.tif, plane: coarse.tif}")
    scene = open_scene(tmp_path).select(["plane"])
    rows, cols = np.mgrid[0:80, 0:100] * 10.0 + 5
    inner = (slice(2, 78), slice(2, 98))
    expected = (3 * cols + 7 * rows + 100)[inner]
    np.testing.assert_allclose(scene.read(inner).bands[..., 0], expected, rtol=1e-6)


def test_a_pixel_is_valid_when_all_selected_bands_are(folder):
    scene = open_scene(folder / "ten.tif", SceneOptions(bands={"a": "1", "b": "2"}))
    one, two = (scene.select([n]).read(scene.grid.whole).valid for n in "ab")
    both = scene.read(scene.grid.whole).valid
    np.testing.assert_array_equal(both, one & two)
    assert not one[40, 41]
    assert two[40, 41]


@pytest.mark.parametrize("internal", [True, False])
def test_nan_and_infinity_and_a_file_s_own_mask_are_no_data(tmp_path, internal):
    data = numbers((1, 12, 17), dtype="float32")
    data[0, 2, 3], data[0, 4, 5] = np.nan, np.inf
    cover = np.full((12, 17), 255, "uint8")
    cover[7, 8] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        scene = open_scene(write(tmp_path / "a.tif", data, mask=cover, nodata=-1))
    assert (tmp_path / "a.tif.msk").exists() != internal
    pixels = scene.read(scene.grid.whole)
    assert [tuple(p) for p in np.argwhere(~pixels.valid)] == [(2, 3), (4, 5), (7, 8)]
    assert np.isfinite(pixels.bands).all()
    with_alpha = numbers((4, 12, 17), dtype="uint8", high=200)
    with_alpha[3] = cover
    file = write(tmp_path / "rgba.tif", with_alpha, photometric="RGB", alpha="YES")
    scene = open_scene(file)
    assert [b.name for b in scene.bands] == ["red", "green", "blue"]
    assert [tuple(p) for p in np.argwhere(~scene.read(scene.grid.whole).valid)] == [(7, 8)]


@pytest.mark.parametrize("bands", [(1, 2), (1,), (2,)])
def test_a_mask_holds_on_another_grid_beside_a_nodata(folder, bands):
    """GDAL's warper by default forgets one or the other, depending on which bands are read."""
    entries = (f"b{i}: {{file: covered.tif, band: {i}}}" for i in bands)
    (folder / "cover.yaml").write_text(f"bands: {{ten: ten.tif, {', '.join(entries)}}}")
    scene = open_scene(folder / "cover.yaml").select([f"b{i}" for i in bands])
    pixels = scene.read(scene.grid.whole)
    assert not pixels.valid[7:17, 41:61].any()
    assert pixels.valid[15:21, 11:17].any() == (2 not in bands)
    assert pixels.valid[24:, :].all()


def test_no_data_does_not_blend_into_its_neighbours(folder):
    """Next to nodata and NaN the numbers stay within those of the file's other pixels."""
    (folder / "blend.yaml").write_text(
        "{bands: {ten: ten.tif, whole: flat.tif, holed: {file: flat.tif, band: 2}}}"
    )
    flat = np.full((2, 103, 280), 2000, "uint16")
    flat[1, 40:50, 60:70] = 0
    write(folder / "flat.tif", flat, transform=north_up(20), nodata=0)
    scene = open_scene(folder / "blend.yaml").select(["holed", "whole"])
    pixels = scene.read(scene.grid.whole)
    assert set(np.unique(pixels.bands[..., 0])) == {0, 2000}
    np.testing.assert_array_equal(pixels.bands[..., 0] == 2000, pixels.valid)


def test_masks_hide_values_and_grow(tmp_path):
    write(tmp_path / "image.tif", numbers((1, 20, 31)))
    flags = np.zeros((1, 20, 31), "uint8")
    flags[0, 4, 6], flags[0, 12, 20], flags[0, 0, 0] = 3, 4, 2
    write(tmp_path / "flags.tif", flags)
    options = SceneOptions(mask=("flags.tif:values=3",))
    scene = open_scene(tmp_path / "image.tif", options)
    pixels = scene.read(scene.grid.whole)
    assert np.argwhere(pixels.hidden).tolist() == [[4, 6]]
    np.testing.assert_array_equal(pixels.valid, ~pixels.hidden)
    assert pixels.bands[4, 6, 0] == numbers((1, 20, 31))[0, 4, 6]
    options = SceneOptions(mask=("flags.tif:bits=1",), mask_dilate=2)
    hidden = open_scene(tmp_path / "image.tif", options).read(scene.grid.whole).hidden
    expected = np.zeros((20, 31), bool)
    expected[2:7, 4:9] = expected[:3, :3] = True
    np.testing.assert_array_equal(hidden, expected)


def test_a_mask_s_nodata_hides_only_where_it_is_listed(tmp_path):
    write(tmp_path / "image.tif", numbers((1, 20, 31)))
    flags = np.zeros((1, 10, 15), "uint8")
    flags[0, 2, 3], flags[0, 6, 7] = 255, 254
    for name, transform in (("same", north_up(10)), ("coarse", north_up(20))):
        write(tmp_path / f"{name}.tif", flags, transform=transform, nodata=255)
        for rule, known in (("bits=1", False), ("values=254", False), ("values=254,255", True)):
            scene = open_scene(tmp_path / "image.tif", SceneOptions(mask=(f"{name}.tif:{rule}",)))
            hidden = scene.read(scene.grid.whole).hidden
            size = 1 if name == "same" else 2
            assert hidden[6 * size, 7 * size]
            assert hidden[2 * size, 3 * size] == known
            # The mask ends before the image does.
            assert hidden[19, 30] == known
            assert not hidden[0, 0]


def test_hidden_never_names_a_pixel_without_data(folder):
    options = SceneOptions(mask=("clouds.tif:values=1,2,3,4,5,6",), mask_dilate=1)
    pixels = open_scene(folder / "ten.tif", options).read((slice(-3, 70), slice(-3, 565)))
    plain = open_scene(folder / "ten.tif").read((slice(-3, 70), slice(-3, 565)))
    np.testing.assert_array_equal(pixels.valid | pixels.hidden, plain.valid)
    assert not (pixels.valid & pixels.hidden).any()


def test_the_grid_is_the_finest_band_s_and_select_keeps_it(folder):
    (folder / "grids.yaml").write_text("bands: {a: sixty.tif, b: twenty.tif, c: zone32.tif}")
    scene = open_scene(folder / "grids.yaml")
    assert scene.grid.crs == CRS.from_epsg(32632)
    assert scene.select(["a"]).grid == scene.grid
    assert [b.name for b in scene.select(["c", "a"]).bands] == ["c", "a"]


def test_resolution_resamples_the_whole_scene_and_keeps_the_corner(folder):
    scene = open_scene(folder / "ten.tif", SceneOptions(resolution=25))
    assert scene.grid.shape == (83, 224)
    assert scene.grid.pixel_size == (25, 25)
    assert scene.grid.corners[0] == CORNER
    assert scene.read(scene.grid.whole).valid.sum() > 18_000


@pytest.mark.parametrize(
    "transform",
    [
        Affine.translation(5e5, 5e6) @ Affine.rotation(30) @ Affine.scale(10, -10),
        Affine(10, 0, 5e5, 0, 10, 5e6),
    ],
    ids=["rotated", "south-up"],
)
def test_rotated_and_south_up_grids_are_read_as_they_lie(tmp_path, transform):
    scene = open_scene(write(tmp_path / "odd.tif", numbers((1, 9, 14)), transform=transform))
    assert scene.grid.transform.almost_equals(transform)
    assert scene.read(scene.grid.whole).valid.all()


def test_a_scene_travels_to_processes_and_threads(folder):
    scene = open_scene(folder / "twenty.tif", SceneOptions(resolution=13))
    again = pickle.loads(pickle.dumps(scene))
    assert again == scene
    windows = [
        (slice(r, r + 20), slice(c, c + 20)) for r in range(0, 40, 9) for c in range(0, 60, 7)
    ]
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(again.read, windows))
    assert all(same(scene.read(w), p) for w, p in zip(windows, parts, strict=True))


def test_select_names_both_lists(folder):
    scene = open_scene(folder / "ten.tif", SceneOptions(bands={"red": "1"}))
    with pytest.raises(ModelError, match=r"no band nir.*asked for red, nir.*there are red, band2"):
        scene.select(["red", "nir"])


def test_a_bare_band_id_of_an_unknown_sensor_is_refused_with_its_readings(tmp_path):
    file = write(tmp_path / "a.tif", numbers((2, 8, 9)), descriptions=("B2", "B5"))
    scene = open_scene(file)
    with pytest.raises(InputError, match=r"B2 .*blue on S2, blue on L8-9, green on L4-7.*--sensor"):
        scene.select(["blue"])
    assert scene.select(["B2"]).bands[0].index == 1
    for sensor, names in {"S2": "blue rededge1", "L4-7": "green swir1", "L8-9": "blue nir"}.items():
        known = open_scene(file, SceneOptions(sensor=sensor, offset=0))
        assert [b.name for b in known.bands] == names.split()
        assert [b.index for b in known.select(["B05", "b2"]).bands] == [2, 1]


def test_bands_are_named_by_number_description_or_file(folder, tmp_path):
    data = numbers((2, 66, 90))
    file = write(tmp_path / "a.tif", data, descriptions=("SWIR 16", "odd one"))
    options = SceneOptions(bands={"nir": "2", "coarse": str(folder / "twenty.tif:2")})
    scene = open_scene(file, options)
    assert [(b.name, b.index) for b in scene.bands] == [("swir1", 1), ("nir", 2), ("coarse", 2)]
    assert [b.index for b in scene.select(["odd one"]).bands] == [2]
    assert scene.files == (file, str(folder / "twenty.tif"))
    with pytest.raises(SettingsError, match=r"--band red=7: is neither .* nor a file; there are"):
        open_scene(file, SceneOptions(bands={"red": "7"}))
    with pytest.raises(InputError, match="has no band 9, only 2; correct the band number"):
        open_scene(file, SceneOptions(bands={"red": str(folder / "twenty.tif:9")}))


@pytest.mark.parametrize("asked", [{"red": "3", "blue": "1"}, {"red": "blue", "blue": "red"}])
def test_bands_swap_their_names(tmp_path, asked):
    file = write(tmp_path / "a.tif", numbers((3, 8, 9)), descriptions=("red", "green", "blue"))
    scene = open_scene(file, SceneOptions(bands=asked))
    assert [b.index for b in scene.select(["blue", "green", "red"]).bands] == [1, 2, 3]


def test_one_band_may_have_two_names(tmp_path):
    scene = open_scene(
        write(tmp_path / "a.tif", numbers((2, 8, 9))), SceneOptions(bands={"nir": "2", "b8a": "2"})
    )
    assert [b.index for b in scene.select(["nir", "b8a"]).bands] == [2, 2]


def test_two_bands_of_one_name_keep_apart(tmp_path):
    file = write(tmp_path / "a.tif", numbers((3, 8, 9)), descriptions=("red", "nir", "Red"))
    assert [b.name for b in open_scene(file).bands] == ["red", "nir", "red_2"]


def test_scale_and_offset_come_from_the_flag_or_the_file_or_stay_unknown(tmp_path):
    file = write(tmp_path / "a.tif", numbers((1, 8, 9)))
    assert (open_scene(file).bands[0].scale, open_scene(file).bands[0].offset) == (None, None)
    flagged = open_scene(file, SceneOptions(scale=0.5)).bands[0]
    assert (flagged.scale, flagged.offset) == (0.5, 0.0)
    with rasterio.open(file, "r+") as data:
        data.scales, data.offsets = (2e-4,), (-0.1,)
    assert (open_scene(file).bands[0].scale, open_scene(file).bands[0].offset) == (2e-4, -0.1)
    assert open_scene(file, SceneOptions(offset=0)).bands[0].offset == 0


def test_a_nodata_that_the_type_cannot_hold_is_none(tmp_path):
    file = write(tmp_path / "a.tif", numbers((1, 8, 9)))
    assert open_scene(file, SceneOptions(nodata=-9999)).bands[0].nodata is None
    assert open_scene(file, SceneOptions(nodata=5)).bands[0].nodata == 5


def test_the_fingerprint_tells_changed_pixels_and_holds_no_path(tmp_path):
    data = numbers((1, 300, 310))
    first = open_scene(write(tmp_path / "one" / "a.tif", data)).fingerprint()
    assert open_scene(write(tmp_path / "two" / "a.tif", data)).fingerprint() == first
    assert str(tmp_path) not in repr(first)
    data[0, 299, 309] += 1
    assert open_scene(write(tmp_path / "one" / "a.tif", data)).fingerprint() != first
    scaled = open_scene(tmp_path / "two" / "a.tif", SceneOptions(scale=2))
    assert scaled.fingerprint() != first
    (tmp_path / "two" / "a.tif").unlink()
    with pytest.raises(InputError, match=r"a\.tif: cannot be read: No such file"):
        scaled.fingerprint()


def test_describe_is_plain_data(tmp_path):
    scene = open_scene(make_safe(tmp_path), SceneOptions(mask=("scl",)))
    said = scene.describe()
    assert json.loads(json.dumps(said)) == said
    assert said["pixel_size"] == [10.0, 10.0]
    assert [b["resampled"] for b in said["bands"] if b["name"] in ("blue", "swir1")] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ("flags.tif:3,8", SettingsError, "write FILE:values="),
        ("values=3", SettingsError, "names no file"),
        ("image.tif:bits=40", SettingsError, "bits count from 0 to 31"),
        ("image.tif:band=3:values=1", InputError, "has no band 3 to mask with, only 1"),
        ("none.tif:values=1", InputError, r"none\.tif: cannot be read"),
        ("scl", InputError, "has no scl layer; give the file"),
        ("complex.tif:values=1", InputError, "is of type complex64, which is no mask"),
    ],
)
def test_masks_that_cannot_be_are_refused(tmp_path, mask, error, message):
    write(tmp_path / "image.tif", numbers((1, 8, 9)))
    write(tmp_path / "complex.tif", np.zeros((1, 8, 9), "complex64"))
    with pytest.raises(error, match=message):
        open_scene(tmp_path / "image.tif", SceneOptions(mask=(mask,)))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('mask: ["x.tif:values=abc"]', r"mask: mask 'x\.tif:values=abc': write FILE:values="),
        ('mask: ["x.tif:bits=99"]', "bits count from 0 to 31"),
        ("scale: 0", "scale: is 0, which would make all pixels equal"),
    ],
)
def test_what_cannot_be_in_a_scene_file_names_it(line, said, tmp_path):
    path = tmp_path / "odd.yaml"
    path.write_text(f"bands: {{a: a.tif}}\n{line}\n")
    with pytest.raises(InputError, match=rf"odd\.yaml: .*{said}"):
        open_scene(path)


def test_a_scene_file_shows_no_byte_of_the_file_that_it_names(tmp_path):
    (tmp_path / "secret").write_text("root:x:0:0")
    path = tmp_path / "scene.yaml"
    path.write_text("bands: {a: secret}\n")
    with pytest.raises(InputError, match=r"secret: is neither .* \(it is text\)") as caught:
        open_scene(path)
    assert "root:x" not in str(caught.value)


def test_files_of_two_places_and_scenes_too_large_are_refused(tmp_path):
    write(tmp_path / "a.tif", numbers((1, 8, 9)))
    write(tmp_path / "b.tif", numbers((1, 8, 9)), transform=north_up(10, (0.0, 0.0)))
    (tmp_path / "scene.yaml").write_text("bands: {a: a.tif, b: b.tif}")
    with pytest.raises(InputError, match="does not overlap the rest of"):
        open_scene(tmp_path)
    with pytest.raises(InputError, match="has 72 pixels, more than --max-pixels 71"):
        open_scene(tmp_path / "a.tif", SceneOptions(max_pixels=71))


MARS = (
    'GEOGCS["Mars 2000",DATUM["D_Mars_2000",SPHEROID["Mars_2000",3396190,169.894447223612]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]'
)


def test_bands_of_two_bodies_or_off_the_map_are_refused(tmp_path):
    write(tmp_path / "earth.tif", numbers((1, 8, 9)))
    degree = Affine(1e-4, 0, 15, 0, -1e-4, 45)
    write(tmp_path / "mars.tif", numbers((1, 8, 9)), transform=degree, crs=MARS)
    off = Affine(1, 0, 0, 0, -1, 2000)
    write(tmp_path / "off.tif", numbers((1, 8, 9)), transform=off, crs="EPSG:4326")
    for other in ("mars", "off"):
        (tmp_path / "scene.yaml").write_text(f"bands: {{a: {other}.tif, b: earth.tif}}")
        with pytest.raises(InputError, match=r"cannot be brought to .* show the same place"):
            open_scene(tmp_path)


def test_opening_a_scene_warns_of_nothing_and_reads_no_pixel(tmp_path):
    """A file cut after its header still opens; only reading fails, naming file and window."""
    file = write(tmp_path / "a.tif", numbers((1, 400, 410)), tiled=True)
    with Path(file).open("r+b") as stream:
        stream.truncate(200_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scene = open_scene(file)
    with pytest.raises(
        InputError,
        match=r"a\.tif: rows 0–400, columns 0–410 .* cannot be read: .*; the file is damaged",
    ):
        scene.read(scene.grid.whole)
