"""What any GIS reads from the files: the features, their CRS, their style, and the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine
from pydantic import ValidationError
from rasterio.crs import CRS

from geounet.card import LandClass
from geounet.errors import InputError, OutputError
from geounet.grid import Grid
from geounet.polygonize import Features, polygonize
from geounet.vector import VectorLayer, write_features
from geounet.vector_formats import geojson_features, refuse_large
from geounet.vector_settings import Amount, VectorSettings, area_amount, length_amount

CLASSES = (
    LandClass(value=0, name="land", colour="#996633"),
    LandClass(value=1, name="wäter 水 & <reed>", colour="#3366cc"),
)
UTM = Grid((37, 53), Affine(10, 0, 399_960, 0, -10, 5_590_020), CRS.from_epsg(32633))
ALBERS = (
    'PROJCS["Brazil Data Cube",GEOGCS["GRS80 of its own",DATUM["unknown",SPHEROID["GRS80",6378137,'
    '298.257222101]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION['
    '"Albers_Conic_Equal_Area"],PARAMETER["latitude_of_center",-12],PARAMETER["longitude_of_center"'
    ',-54],PARAMETER["standard_parallel_1",-2],PARAMETER["standard_parallel_2",-22],PARAMETER['
    '"false_easting",5000000],PARAMETER["false_northing",10000000],UNIT["metre",1]]'
)
MARS = CRS.from_string("+proj=eqc +lat_ts=-10 +lon_0=180 +R=3395582 +units=m +no_defs")
SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb")
LAYER = VectorLayer(UTM, CLASSES)


def mask_of(grid: Grid, seed: int = 3) -> np.ndarray:
    mask = np.random.default_rng(seed).choice(np.array([0, 0, 1, 255], np.uint8), grid.shape)
    return np.repeat(np.repeat(mask, 3, 0), 3, 1)[: grid.shape[0], : grid.shape[1]]


def features_of(grid: Grid = UTM) -> list[Features]:
    mask = mask_of(grid)
    confidence = (np.arange(mask.size, dtype=np.int64).reshape(mask.shape) % 101).astype(np.uint8)
    return list(polygonize(mask, grid, None, confidence))


def read(path: Path):
    return pyogrio.read_dataframe(path, layer=path.stem)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_again(tmp_path, suffix):
    path = tmp_path / f"features{suffix}"
    (given,) = features_of()
    assert write_features([given], LAYER, [path]) == len(given)
    found = read(path)
    if suffix == ".fgb":
        # Its index sorts the features by place.
        found = found.sort_values("area_ha").reset_index()
        order = np.argsort(given.area_ha, kind="stable")
        given = Features(*(getattr(given, n)[order] for n in given.__dataclass_fields__))
    assert np.allclose(found["area_ha"], given.area_ha, rtol=1e-12)
    if suffix != ".fgb":
        assert found["class_id"].tolist() == given.class_id.tolist()
        assert found["n_px"].tolist() == given.n_px.tolist()
        assert np.allclose(found["confidence"], given.confidence, atol=1e-9)
    assert set(found["class"]) == {c.name for c in CLASSES}
    assert found["n_px"].sum() == given.n_px.sum()
    assert (found.geometry.type == "Polygon").all()
    assert found.is_valid.all()
    if suffix == ".geojson":
        assert found.crs == "EPSG:4326"
    else:
        assert found.crs == "EPSG:32633"
        assert shapely.area(found.geometry.to_numpy()).sum() == shapely.area(given.polygon).sum()


def test_the_order_of_features_and_their_vertices_are_kept_in_a_geopackage(tmp_path):
    (given,) = features_of()
    write_features([given], LAYER, [tmp_path / "features.gpkg"])
    found = read(tmp_path / "features.gpkg").geometry.to_numpy()
    assert all(shapely.equals_identical(found, given.polygon))


def in_another_process(body: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run ``body`` with this module's features; ``folder`` is where it writes."""
    script = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from tests.test_vector import LAYER, SUFFIXES, OutputError, features_of, write_features
folder, features = Path({str(folder)!r}), features_of()
"""
    # -B: a limit on the size of files would cut the bytecode that Python caches, for ever.
    return subprocess.run(
        [sys.executable, "-B", "-c", script + textwrap.dedent(body)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_same_features_give_the_same_bytes_at_any_time_and_in_any_batches(tmp_path):
    (given,) = features_of()
    names = list(given.__dataclass_fields__)
    parts = [Features(*(getattr(given, n)[k : k + 7] for n in names)) for k in range(0, 999, 7)]
    for suffix in SUFFIXES:
        write_features([given], LAYER, [tmp_path / "now" / f"features{suffix}"])
    # A day and more apart on the clock, and in another order of formats.
    done = in_another_process(
        "write_features(features, LAYER, [folder / f'features{s}' for s in SUFFIXES[::-1]])",
        tmp_path / "later",
        TZ="XXX+30",
    )
    assert done.returncode == 0, done.stderr
    write_features(parts, LAYER, [tmp_path / "parts" / f"features{s}" for s in SUFFIXES])
    assert digests(tmp_path / "now") == digests(tmp_path / "later") == digests(tmp_path / "parts")


def test_all_formats_come_from_one_pass(tmp_path):
    paths = [tmp_path / f"features{suffix}" for suffix in SUFFIXES]
    count = write_features(iter(features_of()), LAYER, paths)
    assert [len(read(path)) for path in paths] == [count] * 4
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [f"features{s}" for s in (*SUFFIXES, ".shx", ".dbf", ".prj", ".cpg", ".qml")]
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_features_still_have_schema_crs_and_type(tmp_path, suffix):
    path = tmp_path / f"features{suffix}"
    assert write_features([], LAYER, [path]) == 0
    info = pyogrio.read_info(path, layer="features", force_feature_count=True)
    assert info["features"] == 0
    if suffix != ".geojson":
        # A GeoJSON without features has no place for either.
        assert info["fields"].tolist() == ["class_id", "class", "area_ha", "n_px", "confidence"]
        assert info["geometry_type"] == "Polygon"
        assert pyproj.CRS(info["crs"]).to_epsg() == 32633


def test_geojson_is_rfc_7946(tmp_path):
    path = tmp_path / "features.geojson"
    write_features(features_of(), LAYER, [path])
    text = path.read_text(encoding="utf-8")
    document = json.loads(text)
    assert "crs" not in document
    for feature in document["features"]:
        assert feature["geometry"]["type"] == "Polygon"
        shell, *holes = feature["geometry"]["coordinates"]
        assert shapely.LinearRing(shell).is_ccw
        assert not any(shapely.LinearRing(hole).is_ccw for hole in holes)
        for x, y in shell:
            assert round(x, 7) == x
            assert round(y, 7) == y
            assert -180 <= x <= 180


def test_geojson_is_split_at_the_antimeridian_and_loses_no_area(tmp_path):
    grid = Grid((40, 40), Affine(500, 0, 636_000, 0, -500, 7.1e6), CRS.from_epsg(32660))
    path = tmp_path / "features.geojson"
    mask = np.ones(grid.shape, np.uint8)
    write_features(polygonize(mask, grid), VectorLayer(grid, CLASSES), [path])
    (feature,) = json.loads(path.read_text(encoding="utf-8"))["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    geometry = shapely.geometry.shape(feature["geometry"])
    assert geometry.bounds[0] == -180
    assert geometry.bounds[2] == 180
    area, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(geometry)
    assert abs(area) / 1e4 == pytest.approx(feature["properties"]["area_ha"], rel=1e-5)


def test_long_edges_are_cut_before_they_are_bent_into_longitude_and_latitude(tmp_path):
    grid = Grid((3000, 10_000), Affine(10, 0, 4e5, 0, -10, 7.2e6), CRS.from_epsg(32633))
    corners = shapely.box(4e5, 7.17e6, 5e5, 7.2e6)
    ones = np.ones(1)
    feature = Features(np.array([corners]), ones, ones, ones, ones)
    paths = [tmp_path / "features.geojson", tmp_path / "features.gpkg"]
    write_features([feature], VectorLayer(grid, CLASSES), paths)
    written = read(paths[0]).geometry[0]
    to_utm = pyproj.Transformer.from_crs(4326, 32633, always_xy=True)
    way = shapely.segmentize(written, 0.001)
    back = shapely.transform(way, lambda xy: np.stack(to_utm.transform(*xy.T), -1))
    assert shapely.hausdorff_distance(back.exterior, corners.exterior, 0.001) < 0.5
    assert shapely.get_num_coordinates(read(paths[1]).geometry[0]) == 5


def test_geojson_of_a_polygon_around_the_pole_loses_no_area(tmp_path):
    grid = Grid((40, 44), Affine(50_000, 0, -1.13e6, 0, -50_000, 0.97e6), CRS.from_epsg(3031))
    path = tmp_path / "features.geojson"
    mask = np.ones(grid.shape, np.uint8)
    write_features(polygonize(mask, grid), VectorLayer(grid, CLASSES), [path])
    (feature,) = json.loads(path.read_text(encoding="utf-8"))["features"]
    geometry = shapely.geometry.shape(feature["geometry"])
    assert geometry.is_valid
    assert geometry.bounds[:2] == (-180, -90)
    # In the plane of longitude and latitude, where programs of GeoJSON draw it.
    equal_area = pyproj.Transformer.from_crs(4326, "+proj=cea +ellps=WGS84", always_xy=True)
    flat = shapely.transform(
        shapely.segmentize(geometry, 0.1), lambda xy: np.stack(equal_area.transform(*xy.T), -1)
    )
    assert flat.area / 1e4 == pytest.approx(feature["properties"]["area_ha"], rel=1e-3)


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".fgb"])
@pytest.mark.parametrize("crs", [CRS.from_wkt(ALBERS), MARS], ids=["Albers", "Mars"])
def test_a_crs_without_a_number_is_kept(tmp_path, suffix, crs):
    grid = Grid((9, 7), Affine(10, 0, 5_880_157, 0, -10, 1_866_658), crs)
    path = tmp_path / f"features{suffix}"
    write_features(features_of(grid), VectorLayer(grid, CLASSES), [path])
    found, expected = pyproj.CRS(read(path).crs), pyproj.CRS.from_wkt(crs.to_wkt())
    assert found.ellipsoid.semi_major_metre == expected.ellipsoid.semi_major_metre
    points = np.array([[5_880_157, 5_890_157], [1_866_658, 1_856_658]], float)
    there, here = (
        pyproj.Transformer.from_crs(c, c.geodetic_crs, always_xy=True).transform(*points)
        for c in (found, expected)
    )
    assert np.allclose(there, here, atol=1e-10)


def test_geojson_of_another_body_is_refused_with_what_to_write_instead(tmp_path):
    grid = Grid((9, 7), Affine(10, 0, 0, 0, -10, 0), MARS)
    with pytest.raises(InputError, match=r"another body; write \.gpkg, \.shp or \.fgb"):
        write_features([], VectorLayer(grid, CLASSES), [tmp_path / "features.geojson"])


def test_a_grid_without_crs_is_refused(tmp_path):
    grid = Grid((9, 7), Affine(10, 0, 0, 0, -10, 0), CRS())
    with pytest.raises(InputError, match="would have no CRS"):
        write_features([], VectorLayer(grid, CLASSES), [tmp_path / "features.gpkg"])


def test_the_style_is_in_the_geopackage_and_beside_it(tmp_path):
    path = tmp_path / "features.gpkg"
    write_features(features_of(), LAYER, [path])
    with sqlite3.connect(path) as data:
        rows = data.execute(
            "SELECT f_table_name, f_geometry_column, styleQML, useAsDefault FROM layer_styles"
        ).fetchall()
    data.close()
    qml = path.with_suffix(".qml").read_text(encoding="utf-8")
    assert rows == [("features", "geom", qml, 1)]


def test_nothing_is_overwritten_unless_asked(tmp_path):
    path = tmp_path / "features.shp"
    write_features(features_of(), LAYER, [path])
    before = digests(tmp_path)
    with pytest.raises(OutputError, match="exists; give --overwrite"):
        write_features([], LAYER, [path])
    assert digests(tmp_path) == before
    (tmp_path / "features.qix").write_bytes(b"an index of what was there")
    assert write_features([], LAYER, [path], overwrite=True) == 0
    assert not (tmp_path / "features.qix").exists()


def test_a_name_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"\.txt is no vector format"):
        write_features([], LAYER, [tmp_path / "features.txt"])
    (tmp_path / "folder.gpkg").mkdir()
    with pytest.raises(OutputError, match="is a folder; give the name of a file"):
        write_features([], LAYER, [tmp_path / "folder.gpkg"], overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_features([], LAYER, [tmp_path / "file" / "features.gpkg"])


def test_a_shapefile_that_would_be_too_large_is_refused():
    path = Path("features.shp")
    # 10 records of 8 + 44 + 4 + 5 · 16 bytes and a header of 100; the .dbf has 156 a record.
    refuse_large(path, features=10, rings=10, vertices=50, limit=1560)
    with pytest.raises(OutputError, match=r"10 features would take .* write \.gpkg or \.fgb"):
        refuse_large(path, features=10, rings=10, vertices=50, limit=1559)
    with pytest.raises(OutputError, match=r"1 features would take 1\.5 GB"):
        refuse_large(path, features=1, rings=1, vertices=10**8, limit=10**9)


def test_a_geojson_that_breaks_off_has_no_features(tmp_path):
    path = tmp_path / "features.geojson"
    count = write_features(features_of(), LAYER, [path])
    assert geojson_features(path) == count
    path.write_bytes(path.read_bytes()[:-3])
    assert geojson_features(path) == 0


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    done = in_another_process(
        """
        for limit in (20_000, 150_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            for suffix in SUFFIXES:
                try:
                    write_features(features * 40, LAYER, [folder / f"features{suffix}"])
                except OutputError as error:
                    print(error)
        """,
        tmp_path,
    )
    told = done.stdout.splitlines()
    assert len(told) == 2 * len(SUFFIXES), done.stderr
    assert all("check the disk's free space" in line for line in told)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0.5ha", Amount(5000, False)),
        ("100m2", Amount(100, False)),
        (" 100 m² ", Amount(100, False)),
        ("2km2", Amount(2e6, False)),
        ("25px", Amount(25, True)),
        (".5 HA", Amount(5000, False)),
    ],
)
def test_areas_are_understood(text, amount):
    assert area_amount(text) == amount


def test_lengths_are_understood_in_pixels_and_metres():
    assert length_amount("1.5px").pixels(10.0) == 1.5
    assert length_amount("15m").pixels(10.0) == 1.5
    assert length_amount("0.015km").pixels(10.0) == 1.5


@pytest.mark.parametrize(
    "text", ["5", "ha", "-1ha", "1 acre", "1e3m2", "1m", "", "nan px", "1,5ha"]
)
def test_what_is_no_area_is_refused_with_the_forms(text):
    with pytest.raises(
        ValueError, match=r"is not an area: write a number and its unit, as in 0\.5ha"
    ):
        area_amount(text)
    with pytest.raises(ValidationError, match="is not an area"):
        VectorSettings(min_area=text)


def test_what_is_no_length_is_refused_with_the_forms():
    with pytest.raises(ValidationError, match=r"is not a length.* as in 10m, 0\.1km or 1px"):
        VectorSettings(simplify="1m2")
