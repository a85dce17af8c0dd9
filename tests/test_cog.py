"""A COG that holds what was given, where it was given, and nothing less."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rio_cogeo import cog_validate

from geounet.card import LandClass
from geounet.cog import CogStyle, Piece, write_cog
from geounet.errors import OutputError
from geounet.grid import Grid
from geounet.style import colour_table, pam_xml, raster_qml

CLASSES = (
    LandClass(value=0, name="land", colour="#996633"),
    LandClass(value=1, name="wäter & <reed>", colour="#3366cc"),
    LandClass(value=4, name="snow", colour="#eeeeff"),
)
MASK = CogStyle(CLASSES, tags={"GEOUNET_MODEL": "water-1", "GEOUNET_SCENE": "wäter.tif"})
UTM = Grid((1043, 1211), Affine(10, 0, 399_960, 0, -10, 5_590_020), CRS.from_epsg(32633))
ALBERS = CRS.from_wkt(
    'PROJCS["Brazil Data Cube",GEOGCS["GRS80 of its own",DATUM["unknown",SPHEROID["GRS80",6378137,'
    '298.257222101]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION['
    '"Albers_Conic_Equal_Area"],PARAMETER["latitude_of_center",-12],PARAMETER["longitude_of_center"'
    ',-54],PARAMETER["standard_parallel_1",-2],PARAMETER["standard_parallel_2",-22],PARAMETER['
    '"false_easting",5000000],PARAMETER["false_northing",10000000],UNIT["metre",1]]'
)
CRS84 = CRS.from_string("OGC:CRS84")
ROTATED_POLE = CRS.from_string("+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=30 +lon_0=10")
MARS = CRS.from_string("+proj=eqc +lat_ts=-10 +lon_0=180 +R=3395582 +units=m +no_defs")


def labels_of(shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(5)
    coarse = rng.choice(np.array([0, 1, 4, 255], np.uint8), [-(-n // 9) for n in shape])
    return np.repeat(np.repeat(coarse, 9, 0), 9, 1)[: shape[0], : shape[1]]


def pieces_of(values: np.ndarray, step: int = 208) -> list[Piece]:
    rows, cols = values.shape[:2]
    windows = [
        (slice(r, min(r + step, rows)), slice(c, min(c + step, cols)))
        for r in range(0, rows, step)
        for c in range(0, cols, step)
    ]
    return [(window, values[window]) for window in windows]


def test_the_file_is_the_labels_on_the_grid(tmp_path):
    labels, path = labels_of(UTM.shape), tmp_path / "mask.tif"
    write_cog(path, UTM, pieces_of(labels), MASK)
    with rasterio.open(path) as data:
        assert np.array_equal(data.read(1), labels)
        assert (data.shape, data.transform, data.crs) == (UTM.shape, UTM.transform, UTM.crs)
        assert data.nodata == 255
        assert data.colormap(1) == colour_table(CLASSES)
        assert data.tags().items() >= MASK.tags.items()
        assert data.overviews(1) == [2, 4]
        assert data.block_shapes == [(512, 512)]
    assert cog_validate(path, strict=True) == (True, [], [])


def test_overviews_hold_no_class_that_the_mask_does_not(tmp_path):
    path = tmp_path / "mask.tif"
    write_cog(path, UTM, pieces_of(labels_of(UTM.shape)), MASK)
    with rasterio.open(path, overview_level=1) as data:
        assert set(np.unique(data.read(1)).tolist()) == {0, 1, 4, 255}


def test_names_and_colours_lie_beside_the_mask(tmp_path):
    write_cog(tmp_path / "mask.tif", UTM, pieces_of(labels_of(UTM.shape)), MASK)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "mask.qml",
        "mask.tif",
        "mask.tif.aux.xml",
    ]
    side_car = (tmp_path / "mask.tif.aux.xml").read_text(encoding="utf-8")
    assert side_car == pam_xml(CLASSES)
    assert [c.text for c in ElementTree.fromstring(side_car).iter("Category")][4] == "snow"
    assert (tmp_path / "mask.qml").read_text(encoding="utf-8") == raster_qml(CLASSES)


def test_the_order_and_the_cut_of_the_pieces_do_not_matter(tmp_path):
    labels = labels_of(UTM.shape)
    shuffled = pieces_of(labels, 176)
    random.Random(1).shuffle(shuffled)
    write_cog(tmp_path / "a.tif", UTM, pieces_of(labels), MASK)
    write_cog(tmp_path / "b.tif", UTM, iter(shuffled), MASK)
    a, b = (hashlib.sha256((tmp_path / n).read_bytes()).digest() for n in ("a.tif", "b.tif"))
    assert a == b


def test_what_no_piece_covers_is_nodata(tmp_path):
    path = tmp_path / "mask.tif"
    window = (slice(600, 700), slice(100, 130))
    write_cog(path, UTM, [(window, np.ones((100, 30), np.uint8))], MASK)
    expected = np.full(UTM.shape, 255, np.uint8)
    expected[window] = 1
    with rasterio.open(path) as data:
        assert np.array_equal(data.read(1), expected)


@pytest.mark.parametrize(
    "grid",
    [
        Grid((1, 1), UTM.transform, UTM.crs),
        Grid(
            (511, 513), Affine(10.000002857955266, 0, 5880157.2816, 0, -10.0001675, 9.8e6), ALBERS
        ),
        Grid((300, 207), Affine(5.00134168157424, 0, 7376380.5, 0, -5.0014854, -860015.5), MARS),
        Grid((300, 207), UTM.transform @ Affine.rotation(27), UTM.crs),
        Grid((300, 207), Affine(30, 0, 1e5 / 3, 0, 30, 2e5 / 7), UTM.crs),
        Grid((300, 207), Affine(0.00025, 0, 11 / 3, 0, -0.00025, 48.25), CRS.from_epsg(4326)),
        Grid((300, 207), Affine(0.25, 0, -20, 0, -0.25, 48.25), CRS84),
        Grid((300, 207), Affine(6250, 0, -3.95e6, 0, -6250, 4.35e6), CRS.from_epsg(3031)),
    ],
    ids=["one pixel", "Albers", "Mars", "rotated", "south-up", "4326", "CRS84", "3031"],
)
def test_the_grid_is_kept_exactly(tmp_path, grid):
    path, labels = tmp_path / "mask.tif", labels_of(grid.shape)
    write_cog(path, grid, pieces_of(labels), MASK)
    with rasterio.open(path) as data:
        assert data.transform == grid.transform
        assert data.shape == grid.shape
        assert data.crs.to_wkt() == grid.crs.to_wkt() or data.crs == grid.crs or grid.crs == CRS84
        assert np.array_equal(data.read(1), labels)


def test_a_measure_has_no_colours_and_averages_in_its_overviews(tmp_path):
    path = tmp_path / "probabilities.tif"
    values = np.full((*UTM.shape, 2), 255, np.uint8)
    values[:, :1000, 0] = np.indices((1043, 1000))[1] % 2 * 100
    values[:, :1000, 1] = 7
    write_cog(path, UTM, pieces_of(values), CogStyle(bands=("land", "water")))
    with rasterio.open(path) as data:
        assert np.array_equal(np.moveaxis(data.read(), 0, -1), values)
        assert data.descriptions == ("land", "water")
        assert data.nodatavals == (255, 255)
        assert [c.name for c in data.colorinterp] == ["gray", "undefined"]
    with rasterio.open(path, overview_level=0) as data:
        overview = data.read()
        assert set(np.unique(overview[0, :, :499]).tolist()) == {50}
        assert (overview[:, :, 505:] == 255).all()
    assert cog_validate(path, strict=True) == (True, [], [])
    assert [p.name for p in tmp_path.iterdir()] == ["probabilities.tif"]


def test_nothing_is_overwritten_unless_asked(tmp_path):
    path = tmp_path / "mask.tif"
    path.write_bytes(b"a map of last year")
    with pytest.raises(OutputError, match=r"mask\.tif: exists; give --overwrite"):
        write_cog(path, UTM, [], MASK)
    assert path.read_bytes() == b"a map of last year"
    write_cog(path, UTM, [], MASK, overwrite=True)
    with rasterio.open(path) as data:
        assert (data.read() == 255).all()


@pytest.mark.parametrize(
    "values",
    [np.zeros((3, 4), np.int16), np.zeros((4, 3), np.uint8), np.zeros((3, 4, 2), np.uint8)],
    ids=["type", "shape", "bands"],
)
def test_a_piece_that_does_not_fill_its_window_is_refused(tmp_path, values):
    with pytest.raises(ValueError, match="does not fill the window"):
        write_cog(tmp_path / "mask.tif", UTM, [((slice(0, 3), slice(0, 4)), values)], MASK)
    assert list(tmp_path.iterdir()) == []


def test_a_piece_that_was_written_over_is_found_when_the_file_is_checked(tmp_path):
    window = (slice(5, 8), slice(2, 6))
    pieces = [(window, np.full((3, 4), value, np.uint8)) for value in (0, 1)]
    with pytest.raises(OutputError, match="rows 5 to 8, columns 2 to 6 differ after writing"):
        write_cog(tmp_path / "mask.tif", UTM, pieces, MASK)
    assert list(tmp_path.iterdir()) == []


def test_a_crs_that_gdal_keeps_beside_the_file_is_there_with_the_class_names(tmp_path):
    grid, path = Grid((30, 20), Affine(0.1, 0, 3, 0, -0.1, 9), ROTATED_POLE), tmp_path / "mask.tif"
    for folder in (tmp_path, tmp_path / "again"):
        write_cog(folder / path.name, grid, [], MASK)
    with rasterio.open(path) as data:
        assert data.crs == ROTATED_POLE
    assert len(list((tmp_path / "again").iterdir())) == 3
    side_car = path.with_name("mask.tif.aux.xml").read_text(encoding="utf-8")
    assert [c.text for c in ElementTree.fromstring(side_car).iter("Category")][4] == "snow"
    assert side_car == (tmp_path / "again" / "mask.tif.aux.xml").read_text(encoding="utf-8")


def test_a_grid_that_a_geotiff_cannot_hold_is_refused(tmp_path):
    grid = Grid((30, 20), UTM.transform, CRS.from_string("+proj=hammer"))
    with pytest.raises(OutputError, match=r"its CRS would be .*, not .*; bring the scene"):
        write_cog(tmp_path / "mask.tif", grid, [], MASK)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"mask\.tif: cannot be written \("):
        write_cog(tmp_path / "file" / "mask.tif", UTM, [], MASK)


def run(body: str, folder: Path, **environment: str) -> list[str]:
    """Run ``body`` in a process of its own, and return the lines that it prints."""
    script = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from affine import Affine
import numpy as np
from rasterio.crs import CRS
from geounet.card import LandClass
from geounet.cog import CogStyle, write_cog
from geounet.errors import OutputError
from geounet.grid import Grid
path = Path({str(folder)!r}) / "mask.tif"
classes = (LandClass(value=0, name="land", colour="#996633"),)
def grid(side):
    return Grid((side, side), Affine(10, 0, 4e5, 0, -10, 5e6), CRS.from_epsg(32633))
def pieces(side, step=512):
    noise = np.random.default_rng(0).integers(0, 254, (step, step), dtype=np.uint8)
    for r in range(0, side, step):
        for c in range(0, side, step):
            yield (slice(r, r + step), slice(c, c + step)), noise
"""
    # -B: a limit on the size of files would cut the bytecode that Python caches, for ever.
    done = subprocess.run(
        [sys.executable, "-B", "-c", script + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    # GDAL_NUM_THREADS in a user's environment is what hides failed writes from rasterio.
    told = run(
        """
        for limit in (300_000, 2_500_000, 4_300_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                write_cog(path, grid(2048), pieces(2048), CogStyle(classes))
            except OutputError as error:
                print(error)
        """,
        tmp_path,
        GDAL_NUM_THREADS="2",
    )
    assert len(told) == 3
    assert all("mask.tif: " in line and "check the disk's free space" in line for line in told)
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_scene(tmp_path):
    peaks = run(
        """
        for side in (2048, 2048, 8192):
            write_cog(path, grid(side), pieces(side), CogStyle(classes), overwrite=True)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(peak * (1 if sys.platform == "darwin" else 1024))
        """,
        tmp_path,
    )
    small, large = int(peaks[1]), int(peaks[2])
    # 64 MB of GDAL's cache fill up; the scene grows by 63 MB uncompressed, and 200 pieces.
    assert large - small < 64 * 2**20
