"""Only plain rasters are opened, and every refusal names the file, the cause and a way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC

from geounet import cli
from geounet.errors import InputError
from geounet.locations import locate, shown
from geounet.raster import cause_of, open_raster, read_header
from geounet.scene import open_scene
from geounet.scene_options import SceneOptions
from tests.made_scenes import UTM33, north_up, numbers, write


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is neither a GeoTIFF nor a JPEG 2000 image .it is empty"),
        (
            b"<!doctype html><title>404</title>",
            ".*it is XML or HTML.*or download it",
        ),
        (bytes(range(200)), "is neither a GeoTIFF nor a JPEG 2000"),
        (b"II*\0", r"cannot be opened as GTiff: .*is it complete\?"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "cannot be opened as JP2OpenJPEG"),
        (b"<VRTDataset></VRTDataset>", "is a GDAL VRT, which can name any other file.*--allow-vrt"),
        (b"<GDAL_WMS></GDAL_WMS>", "is neither a GeoTIFF nor a JPEG 2000"),
    ],
)
def test_files_in_disguise_are_refused(tmp_path, content, message):
    file = tmp_path / "scene.tif"
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"scene\.tif: {message}") as caught:
        open_scene(file)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.tif: does not exist; check the path"):
        open_scene(tmp_path / "none.tif")
    with pytest.raises(InputError, match=r"none\.tif: cannot be read: No such file"):
        read_header(str(tmp_path / "none.tif"))


@pytest.mark.parametrize("fraction", [0.3, 0.9])
@pytest.mark.parametrize("compress", ["none", "deflate", "lzw", "zstd"])
def test_a_truncated_file_is_named_with_its_window(tmp_path, fraction, compress):
    data = numbers((2, 200, 230))
    file = Path(write(tmp_path / "cut.tif", data, compress=compress, tiled=True))
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(InputError, match=r"cut\.tif: (rows 0–200, columns 0–230|cannot be opened)"):
        read_all(file)


def read_all(file):
    scene = open_scene(file)
    return scene.read(scene.grid.whole)


def quiet(*args, **kwargs):
    with pytest.warns(NotGeoreferencedWarning):
        return write(*args, **kwargs)


def test_a_raster_without_a_place_is_refused_with_the_way_out(tmp_path):
    data = numbers((1, 8, 9))
    bare = quiet(tmp_path / "bare.tif", data, transform=Affine.identity(), crs=None)
    with pytest.raises(InputError, match="has no georeferencing; write its corners and CRS"):
        open_scene(bare)
    points = [GroundControlPoint(r, c, 5e5 + c, 5e6 - r) for r, c in ((0, 0), (0, 9), (8, 0))]
    with rasterio.open(bare, "r+") as out:
        out.gcps = points, CRS.from_string(UTM33)
    with pytest.raises(InputError, match="only by 3 ground control points; run `gdalwarp"):
        open_scene(bare)


def test_only_rpcs_are_refused_with_the_way_out(tmp_path):
    names = ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")
    rpc = {f"{n}_{k}": 1.0 for n in names for k in ("OFF", "SCALE")}
    many = " ".join(["0.5"] * 20)
    rpc |= {f"{n}_{k}_COEFF": many for n in ("LINE", "SAMP") for k in ("NUM", "DEN")}
    rpc = RPC.from_gdal({k: str(v) for k, v in rpc.items()})
    file = quiet(
        tmp_path / "rpc.tif", numbers((1, 8, 9)), transform=Affine.identity(), crs=None, rpcs=rpc
    )
    with pytest.raises(InputError, match="is placed only by RPCs; run `gdalwarp -rpc"):
        open_scene(file)


def test_a_raster_without_crs_needs_assume_crs(tmp_path):
    file = write(tmp_path / "a.tif", numbers((1, 8, 9)), crs=None)
    with pytest.raises(InputError, match="names no coordinate reference system; write it with"):
        open_scene(file)
    assert open_scene(file, SceneOptions(assume_crs=UTM33)).grid.crs == CRS.from_string(UTM33)
    with pytest.raises(InputError, match=r"assume_crs 'EPSG:0': is not a CRS.*write"):
        open_scene(file, SceneOptions(assume_crs="EPSG:0"))


def test_a_singular_transform_is_no_georeferencing(tmp_path):
    transform = Affine(10, 10, 5e5, 10, 10, 5e6)
    file = write(tmp_path / "flat.tif", numbers((1, 8, 9)), transform=transform)
    with pytest.raises(InputError, match="has no georeferencing"):
        open_scene(file)


def test_palettes_one_bit_and_complex_rasters_are_no_measurements(tmp_path):
    palette = write(tmp_path / "palette.tif", numbers((1, 8, 9), dtype="uint8", high=4))
    with rasterio.open(palette, "r+") as out:
        out.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    bit = write(tmp_path / "bit.tif", numbers((1, 8, 9), 0, 0, 2, "uint8"), nbits=1)
    wave = write(tmp_path / "wave.tif", np.zeros((1, 8, 9), "complex64"))
    for file, reason in ((palette, "a palette"), (bit, "is a 1-bit"), (wave, "of type complex64")):
        with pytest.raises(InputError, match=rf"band 1 .*{reason}.*not a measurement; convert it"):
            open_scene(file)
    scene = open_scene(
        write(tmp_path / "image.tif", numbers((1, 8, 9))),
        SceneOptions(mask=("palette.tif:values=1", "bit.tif:values=1")),
    )
    assert scene.read(scene.grid.whole).hidden.any()


def test_a_giant_block_is_refused_before_it_is_read(tmp_path):
    """Such a file is kilobytes on disk, and a gigabyte for its first pixel."""
    file = tmp_path / "giant.tif"
    with rasterio.open(
        file,
        "w",
        driver="GTiff",
        width=32768,
        height=32768,
        count=1,
        dtype="uint8",
        tiled=True,
        blockxsize=32768,
        blockysize=32768,
        SPARSE_OK=True,
        crs=UTM33,
        transform=north_up(10),
    ):
        pass
    with pytest.raises(InputError, match=r"one block of 32768×32768 .* 1024 MB .*gdal_translate"):
        open_scene(file)


def test_too_many_bands_are_refused(tmp_path):
    file = tmp_path / "many.tif"
    with rasterio.open(
        file,
        "w",
        driver="GTiff",
        width=16,
        height=16,
        count=1025,
        dtype="uint8",
        SPARSE_OK=True,
        crs=UTM33,
        transform=north_up(10),
    ):
        pass
    with pytest.raises(InputError, match=r"has 1025 bands, more than the 1024 .*gdal_translate -b"):
        open_scene(file)


@pytest.mark.parametrize(
    "name",
    [
        "http://a.example/x.tif",
        "file:///x.tif",
        "ftp://a.example/x.tif",
        "/vsicurl/https://a/x.tif",
    ],
)
def test_only_https_and_s3_addresses_are_opened(name):
    with pytest.raises(InputError, match="only local files, https:// and s3:// are opened"):
        open_scene(name)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "[::1]:8080", ""]
)
def test_addresses_inside_the_own_network_are_refused(host):
    with pytest.raises(InputError, match="is an address inside this machine or network"):
        open_scene(f"https://{host}/scene.tif")


def test_names_that_look_like_schemes_are_plain_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("s3:foo.tif", "zip:x.tif", "GTIFF_DIR:1:f.tif", "-.tif", "[x] %41.tif", "a b.tif")
    for name in names:
        write(tmp_path / name, numbers((1, 8, 9)))
        scene = open_scene(name)
        assert scene.files == (str(tmp_path / name),)
        assert scene.read(scene.grid.whole).valid.all()
        assert "/" not in scene.name
    with pytest.raises(InputError, match="holds a line break or a zero byte"):
        locate("a\nb.tif")


def test_signatures_and_passwords_are_not_shown():
    assert shown("https://me:word@a.example/x.tif?sig=1") == "https://a.example/x.tif"


def test_the_cause_is_that_of_the_root():
    outer = ValueError("outer")
    outer.__cause__ = OSError("the\nreason")
    assert cause_of(outer) == "the reason"


VRT = """<VRTDataset rasterXSize="9" rasterYSize="8"><SRS>EPSG:32633</SRS>
<GeoTransform>330010, 10, 0, 5822050, 0, -10</GeoTransform>
<VRTRasterBand dataType="UInt16" band="1"{kind}>
<SimpleSource><SourceFilename relativeToVRT="{relative}">{source}</SourceFilename>
<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""


def test_a_vrt_is_opened_only_on_request_and_only_over_plain_files(tmp_path, canary):
    write(tmp_path / "image.tif", numbers((1, 8, 9)))
    vrt = tmp_path / "scene.vrt"
    trusting = SceneOptions(allow_vrt=True)

    def says(source, relative=1, kind=""):
        vrt.write_text(VRT.format(source=source, relative=relative, kind=kind))

    says("image.tif")
    scene = open_scene(vrt, trusting)
    np.testing.assert_array_equal(scene.read(scene.grid.whole).bands[..., 0], numbers((1, 8, 9))[0])
    with pytest.raises(InputError, match="say --allow-vrt if you trust it"):
        open_scene(vrt)
    (tmp_path / "secret").write_text("root:x:0:0")
    for source, message in {
        "secret": "names the source .*secret, which is neither GeoTIFF nor JPEG 2000",
        "none.tif": "names the source .* which cannot be read: No such file",
        f"/vsicurl/http://127.0.0.1:{canary.server_port}/x.tif": "only local files",
        f"http://127.0.0.1:{canary.server_port}/x.tif": "only local files",
        f"https://127.0.0.1:{canary.server_port}/x.tif": "inside this machine or network",
        "https://a.example/x.tif": "names the source .*, an address",
    }.items():
        says(source)
        with pytest.raises(InputError, match=message):
            open_scene(vrt, trusting)
    says("image.tif", kind=' subClass="VRTRawRasterBand"')
    with pytest.raises(InputError, match="has a VRTRawRasterBand, which can read any file"):
        open_scene(vrt, trusting)
    vrt.write_text('<VRTDataset subClass="VRTWarpedDataset"></VRTDataset>')
    with pytest.raises(InputError, match="is a VRTWarpedDataset, which is not read"):
        open_scene(vrt, trusting)
    assert canary.seen == []


WMS = """<GDAL_WMS><Service name="TMS">
<ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>
<DataWindow><UpperLeftX>-9</UpperLeftX><UpperLeftY>9</UpperLeftY><LowerRightX>9</LowerRightX>
<LowerRightY>-9</LowerRightY><TileLevel>1</TileLevel></DataWindow></GDAL_WMS>"""
RAW = """<VRTDataset rasterXSize="9" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"
subClass="VRTRawRasterBand"><SourceFilename relativeToVRT="0">/etc/passwd</SourceFilename>
</VRTRasterBand></VRTDataset>"""


@pytest.mark.parametrize("kind", ["vrt", "vsicurl", "wms", "raw"])
def test_a_document_named_tif_asks_no_server_and_reads_no_other_file(
    kind, tmp_path, canary, capsys
):
    """G1: as a scene, a band, a mask, and a class raster."""
    url = f"http://127.0.0.1:{canary.server_port}/x"
    text = {
        "vrt": VRT.format(source=f"{url}.tif", relative=0, kind=""),
        "vsicurl": VRT.format(source=f"/vsicurl/{url}.tif", relative=0, kind=""),
        "wms": WMS.format(url=url),
        "raw": RAW,
    }[kind]
    evil, good = tmp_path / "evil.tif", write(tmp_path / "a.tif", numbers((1, 8, 9)))
    evil.write_text(text)
    for tokens in (
        ["inspect", evil],
        ["inspect", good, "--band", f"red={evil}"],
        ["inspect", good, "--mask", f"{evil}:values=1"],
        ["vectorize", evil, tmp_path / "a.fgb"],
    ):
        assert cli.run([str(token) for token in tokens]) == 3, tokens
    said = capsys.readouterr()
    assert "root:" not in said.out + said.err
    assert said.err.count("geounet: ") == 4
    assert canary.seen == []


def test_gdal_s_own_threads_stay_off_whatever_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("GDAL_NUM_THREADS", "ALL_CPUS")
    file = write(tmp_path / "a.tif", numbers((1, 8, 9)))
    with open_raster(file, "GTiff"):
        assert rasterio.env.getenv()["GDAL_NUM_THREADS"] in ("1", 1)
