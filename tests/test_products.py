"""Sentinel-2, Landsat and HLS folders and scene.yaml: the right file, scale and mask per band."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from geounet.errors import InputError
from geounet.product_metadata import read_mtl
from geounet.scene import open_scene
from geounet.scene_options import SceneOptions
from geounet.sensors import SURFACE, TOA
from tests.made_scenes import (
    LANDSAT,
    MTL,
    S2_NAME,
    make_hls,
    make_landsat,
    make_landsat_level1,
    make_safe,
    north_up,
    numbers,
    s2_offsets,
    write,
)


def test_a_safe_gives_each_band_at_its_finest_and_the_offset_of_its_xml(tmp_path):
    scene = open_scene(make_safe(tmp_path))
    names = ["coastal", "blue", "green", "red", "nir", "nir08", "swir1"]
    assert [b.name for b in scene.bands] == names
    assert (scene.sensor, scene.level, scene.date) == ("S2", SURFACE, "2023-06-03")
    assert scene.name == S2_NAME.removesuffix(".SAFE")
    assert scene.grid.shape == (66, 90)
    sizes = [b.raster.grid.pixel_size[0] for b in scene.bands]
    assert sizes == [60, 10, 10, 10, 10, 20, 20]
    for band in scene.bands:
        assert (band.scale, band.nodata) == (1e-4, 0)
        assert band.offset == pytest.approx(-0.1)
    assert "offset -0.1 from MTD_MSIL2A.xml, processing baseline 05.09" in scene.notes[0]
    pixels = scene.read(scene.grid.whole)
    assert pixels.bands.dtype == np.uint16
    assert not pixels.valid[:1, :2].any()
    assert pixels.valid[12:, :].all()
    blue = numbers((1, 66, 90), seed=10)[0]
    np.testing.assert_array_equal(pixels.bands[..., 1][pixels.valid], blue[pixels.valid])


def test_the_flag_stands_above_the_xml_and_an_older_baseline_has_no_offset(tmp_path):
    safe = make_safe(tmp_path, baseline="02.14", offsets="")
    assert {b.offset for b in open_scene(safe).bands} == {0.0}
    assert {b.offset for b in open_scene(safe, SceneOptions(offset=-0.1)).bands} == {-0.1}


def test_the_granule_and_the_xml_itself_stand_for_the_product(tmp_path):
    safe = make_safe(tmp_path)
    whole = open_scene(safe)
    for part in (
        "MTD_MSIL2A.xml",
        "GRANULE",
        "GRANULE/L2A_T33UUU_A041500_20230603T101600/IMG_DATA",
    ):
        assert open_scene(safe / part) == whole


def test_scl_hides_shadow_and_cloud_by_nearest(tmp_path):
    scene = open_scene(make_safe(tmp_path), SceneOptions(mask=("scl",))).select(["blue"])
    pixels = scene.read(scene.grid.whole)
    classes = numbers((1, 33, 45), seed=23, high=12).astype("uint8")[0]
    classes[:1, :2] = 0
    cloudy = np.isin(classes, [3, 8, 9, 10]).repeat(2, axis=0).repeat(2, axis=1)
    cloudy[:1, :2] = False
    np.testing.assert_array_equal(pixels.hidden, cloudy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<a><b>", "is not XML: .*download the product again"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a/>', "declares a DTD or entities, which are not read"),
        ("<a/>", "has no usable BOA_QUANTIFICATION_VALUE"),
    ],
)
def test_product_xml_that_cannot_be_trusted_is_refused(tmp_path, text, message):
    safe = make_safe(tmp_path)
    (safe / "MTD_MSIL2A.xml").write_text(text)
    with pytest.raises(InputError, match=rf"MTD_MSIL2A\.xml: {message}"):
        open_scene(safe)


def test_huge_xml_is_not_read(tmp_path, monkeypatch):
    safe = make_safe(tmp_path)
    monkeypatch.setattr("geounet.xml_file.SIZE_LIMIT", 100)
    with pytest.raises(InputError, match="is larger than 0 MB; it is no product metadata"):
        open_scene(safe)


@pytest.mark.parametrize("baseline", ["04.00", "05.10", ""])
def test_a_new_baseline_without_its_offset_is_undecidable(tmp_path, baseline):
    safe = make_safe(tmp_path, baseline=baseline, offsets="")
    with pytest.raises(InputError, match=r"no BOA_ADD_OFFSET; say --offset -0\.1 .*--offset 0"):
        open_scene(safe)
    assert open_scene(safe, SceneOptions(offset=0, scale=1e-4)).bands[0].offset == 0


def bare_jp2s(folder):
    images = make_safe(folder) / "GRANULE"
    bare = Path(folder) / "bare"
    bare.mkdir()
    for file in sorted(images.rglob("*_10m.jp2")):
        shutil.copy(file, bare / file.name)
    return bare


def test_bare_sentinel_numbers_are_undecidable_without_the_flag(tmp_path):
    bare = bare_jp2s(tmp_path)
    for source in (bare, next(iter(sorted(bare.iterdir())))):
        with pytest.raises(InputError, match=r"hold ESA's offset.*--offset -0\.1 .*--offset 0 "):
            open_scene(source)
    for offset in (0, -0.1):
        scene = open_scene(bare, SceneOptions(offset=offset))
        assert [b.name for b in scene.bands] == ["blue", "green", "red", "nir"]
        assert {(b.scale, b.offset, b.nodata) for b in scene.bands} == {(1e-4, offset, 0)}
    assert (scene.name, scene.level, scene.date) == (
        "T33UUU_20230603T101559",
        SURFACE,
        "2023-06-03",
    )


def test_a_file_s_own_scaling_decides_the_offset(tmp_path):
    import rasterio

    file = write(tmp_path / "S2A_33UUU_20230601_0_L2A" / "B02.tif", numbers((1, 8, 9)))
    with pytest.raises(InputError, match="offset of 1000"):
        open_scene(file, SceneOptions(sensor="S2"))
    with rasterio.open(file, "r+") as out:
        out.scales, out.offsets = (1e-4,), (-0.1,)
    band = open_scene(Path(file).parent).bands[0]
    assert (band.name, band.scale, band.offset) == ("blue", 1e-4, -0.1)


def test_a_name_with_an_old_baseline_proves_that_there_is_no_offset(tmp_path):
    stem = "S2B_MSIL1C_20170216T102101_N0204_R065_T33UUU_20170216T102204"
    file = write(tmp_path / f"{stem}.tif", numbers((1, 8, 9)), descriptions=("B2",))
    band = open_scene(file).bands[0]
    assert (band.name, band.scale, band.offset, band.nodata) == ("blue", 1e-4, 0, 0)


def test_floats_and_bytes_of_sentinel_2_are_rescaled_already(tmp_path):
    for dtype in ("float32", "uint8"):
        file = write(tmp_path / f"{dtype}.tif", numbers((1, 8, 9), high=99, dtype=dtype))
        band = open_scene(file, SceneOptions(sensor="S2")).bands[0]
        assert (band.scale, band.offset) == (None, None)


def test_two_granules_and_two_products_in_a_folder_are_refused(tmp_path):
    safe = make_safe(tmp_path)
    granule = next((safe / "GRANULE").iterdir())
    shutil.copytree(granule, safe / "GRANULE" / "L2A_T33UUV_A041500_20230603T101600")
    with pytest.raises(InputError, match="for band B1; give the folder of one product"):
        open_scene(safe)
    for stem in ("T33UUU_20230603T101559_B02", "T33UUU_20240603T101559_B03"):
        write(tmp_path / "two" / f"{stem}.tif", numbers((1, 8, 9)))
    with pytest.raises(InputError, match="holds files of several products"):
        open_scene(tmp_path / "two")


def test_a_landsat_folder_has_the_scaling_of_collection_2(tmp_path):
    scene = open_scene(make_landsat(tmp_path), SceneOptions(mask=("qa_pixel",)))
    assert [b.name for b in scene.bands] == ["red", "nir", "thermal1"]
    assert [(b.scale, b.offset) for b in scene.bands] == [
        (0.0000275, -0.2),
        (0.0000275, -0.2),
        (0.00341802, 149.0),
    ]
    assert {b.nodata for b in scene.bands} == {0}
    assert (scene.name, scene.sensor, scene.level) == (LANDSAT, "L8-9", SURFACE)
    assert scene.date == "2020-06-01"
    pixels = scene.read(scene.grid.whole)
    expected = np.zeros((40, 31), bool)
    expected[5:9, 4:8] = expected[20, 20] = True
    np.testing.assert_array_equal(pixels.hidden, expected)
    assert scene.select(["nir08"]).bands[0].name == "nir"


def test_landsat_level_1_takes_its_mtl_and_the_sun(tmp_path):
    scene = open_scene(make_landsat_level1(tmp_path))
    assert [b.name for b in scene.bands] == ["red", "nir", "pan", "thermal1"]
    red = scene.select(["red"]).bands[0]
    # The sun stands 30° high, and sin 30° is a half.
    assert (red.scale, red.offset) == pytest.approx((4e-5, -0.2))
    assert scene.level == TOA
    assert scene.grid.pixel_size == (30, 30)
    assert "sine of the sun's elevation" in scene.notes[0]


def test_landsat_level_1_without_a_usable_mtl_is_refused(tmp_path):
    base = make_landsat_level1(tmp_path, mtl="")
    with pytest.raises(InputError, match=r"Level 1, whose numbers .* without …_MTL\.txt"):
        open_scene(base)
    assert open_scene(base, SceneOptions(scale=1, offset=0)).bands[0].scale == 1
    mtl = base / "LC08_L1TP_193023_20200601_20200825_02_T1_MTL.txt"
    for text, message in {
        "no groups here": "is not a Landsat MTL file",
        MTL.replace("REFLECTANCE_ADD_BAND_4", "X"): "lacks a usable .*REFLECTANCE_ADD_BAND_4",
        MTL.replace("30.0", "-3.0"): "puts the sun at -3.0° above the horizon",
    }.items():
        mtl.write_text(text)
        with pytest.raises(InputError, match=message):
            open_scene(base)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_mtl(base / "none_MTL.txt")


def test_a_lone_landsat_file_of_level_1_is_refused_too(tmp_path):
    base = make_landsat_level1(tmp_path, mtl="")
    with pytest.raises(InputError, match="Level 1, whose numbers have no scale"):
        open_scene(next(iter(sorted(base.glob("*_B4.TIF")))))


def test_a_lone_file_of_a_known_product_is_scaled_as_in_its_folder(tmp_path):
    base = make_landsat(tmp_path)
    band = open_scene(base / f"{LANDSAT}_SR_B4.TIF").bands[0]
    assert (band.name, band.scale, band.offset, band.nodata) == ("red", 0.0000275, -0.2, 0)
    base = make_hls(tmp_path)
    band = open_scene(next(iter(sorted(base.glob("*.B06.tif"))))).bands[0]
    assert (band.name, band.scale, band.offset) == ("swir1", 0.0001, 0)


@pytest.mark.parametrize(
    ("sensor", "names"),
    [("L30", ["red", "nir", "swir1"]), ("S30", ["red", "rededge1", "rededge2"])],
)
def test_hls_bands_mean_what_their_half_of_the_set_says(tmp_path, sensor, names):
    scene = open_scene(make_hls(tmp_path, sensor), SceneOptions(mask=("hls",)))
    assert [b.name for b in scene.bands] == names
    assert {(b.scale, b.offset, b.nodata) for b in scene.bands} == {(0.0001, 0.0, -9999)}
    assert (scene.sensor, scene.level, scene.date) == (f"HLS-{sensor}", SURFACE, "2020-06-01")
    pixels = scene.read(scene.grid.whole)
    assert np.argwhere(pixels.hidden).tolist() == [[10, 10]]
    assert pixels.bands.dtype == np.int16
    assert not pixels.valid[:2, :3].any()


def test_a_bare_folder_of_an_unknown_sensor_keeps_its_ids(tmp_path):
    for band in ("B2", "B5"):
        write(tmp_path / "plain" / f"x_{band}.tif", numbers((1, 8, 9)))
    scene = open_scene(tmp_path / "plain")
    assert [b.name for b in scene.bands] == ["B2", "B5"]
    known = open_scene(tmp_path / "plain", SceneOptions(sensor="L4-7"))
    assert [b.name for b in known.bands] == ["green", "swir1"]
    assert {b.scale for b in known.bands} == {None}


def test_folders_without_bands_and_archives_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no band files such as"):
        open_scene(tmp_path)
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="is an archive; unpack it with `unzip`"):
        open_scene(tmp_path / "a.zip")


def test_a_folder_of_very_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("geounet.products.FILES_LIMIT", 3)
    for k in range(4):
        (tmp_path / f"{k}.txt").touch()
    with pytest.raises(InputError, match="holds more than 3 files; give the folder of one product"):
        open_scene(tmp_path)


def test_a_scene_file_says_all_there_is_to_say(tmp_path):
    write(tmp_path / "data" / "vv.tif", numbers((1, 8, 9), 1))
    write(tmp_path / "data" / "stack.tif", numbers((3, 8, 9), 2))
    write(tmp_path / "clouds.tif", numbers((1, 8, 9), 3, 0, 3))
    (tmp_path / "flood.yaml").write_text(
        """
name: "River flood/2024"
sensor: S2
level: surface reflectance
date: 2024-05-03
scale: 0.0001
mask: clouds.tif:values=1
bands:
  vv: data/vv.tif
  nir: {file: data/stack.tif, band: 3, scale: 0.5, offset: -1, nodata: 12}
"""
    )
    scene = open_scene(tmp_path / "flood.yaml")
    assert (scene.name, scene.sensor, scene.date) == ("River_flood_2024", "S2", "2024-05-03")
    said = [(b.name, b.index, b.scale, b.offset, b.nodata) for b in scene.bands]
    assert said == [("vv", 1, 0.0001, 0.0, None), ("nir", 3, 0.5, -1.0, 12.0)]
    pixels = scene.read(scene.grid.whole)
    np.testing.assert_array_equal(pixels.hidden, numbers((1, 8, 9), 3, 0, 3)[0] == 1)
    np.testing.assert_array_equal(
        pixels.bands, np.stack([numbers((1, 8, 9), 1)[0], numbers((3, 8, 9), 2)[2]], axis=2)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bands: [", "is not YAML"),
        ("bands: {}", "bands: Dictionary should have at least 1 item"),
        ("bands: {a: x.tif}\ncolour: red", "colour: Extra inputs are not permitted"),
        ("bands: {a: {file: x.tif, band: 0}}", "bands.a.band: Input should be greater"),
        ("[1, 2]", "holds no named values; a scene.yaml is lines"),
        ("a: &x [1]\nbands: *x", "uses YAML aliases, which are not read"),
        ("bands: !!python/object:os.system {}", "is not YAML"),
        ("bands: {a: none.tif}", r"none\.tif: cannot be read"),
        ("bands: {a: 'http://a.example/x.tif'}", "only local files, https:// and s3://"),
    ],
)
def test_scene_files_that_cannot_be_are_refused(tmp_path, text, message):
    (tmp_path / "scene.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        open_scene(tmp_path)


def test_a_huge_scene_file_is_not_read(tmp_path):
    (tmp_path / "scene.yaml").write_text("#" * (2**20 + 1))
    with pytest.raises(InputError, match=r"is larger than 1 MB; it is no scene.yaml"):
        open_scene(tmp_path)


def test_offsets_may_differ_by_band(tmp_path):
    rows = s2_offsets().replace('band_id="3">-1000', 'band_id="3">-500')
    scene = open_scene(make_safe(tmp_path, offsets=rows))
    assert scene.select(["red"]).bands[0].offset == pytest.approx(-0.05)
    assert scene.select(["blue"]).bands[0].offset == pytest.approx(-0.1)


def test_bands_of_a_coarse_folder_lie_on_the_finest_grid(tmp_path):
    for band, size, shape in (("B11", 20, (8, 9)), ("B01", 60, (3, 3))):
        file = tmp_path / "s" / f"T33UUU_20170216T102101_{band}.jp2"
        write(file, numbers((1, *shape)), transform=north_up(size), driver="JP2OpenJPEG")
    scene = open_scene(tmp_path / "s", SceneOptions(offset=0))
    assert scene.grid.pixel_size == (20, 20)
    assert scene.level == TOA
