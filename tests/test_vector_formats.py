"""Each format keeps what its readers need: the rules of RFC 7946, field types, CRSs, any name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import geoparquet_validator
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from geounet import vector
from geounet.errors import OutputError
from geounet.grid import Grid
from geounet.style import MapClass, printable
from geounet.vector import VectorLayer, write_features
from geounet.vector_formats import (
    check_target,
    dbf_record,
    ending_of,
    geojson_totals,
    refuse_large,
    with_format,
)
from geounet.vector_stage import FIELDS, Staged
from geounet.vector_tiles import zooms
from tests.made_features import CLASSES, LAYER, SUFFIXES, UTM, features_of

TABLES = tuple(s for s in SUFFIXES if s != ".pmtiles")
GEOJSONS = (".geojson", ".geojsonl")
GRIDS = {
    "mirrored": Affine(-10, 0, 400_490, 0, -10, 5_590_020),
    "south-up": Affine(10, 0, 399_960, 0, 10, 5_589_650),
    "rotated": Affine.translation(399_960, 5_590_020) @ Affine.rotation(37) @ Affine.scale(10, -8),
}
ACROSS = Grid((40, 40), Affine(500, 0, 636_000, 0, -500, 7.1e6), CRS.from_epsg(32660))
POLAR = Grid((40, 44), Affine(50_000, 0, -1.13e6, 0, -50_000, 0.97e6), CRS.from_epsg(3031))
PAST_180 = Grid((20, 40), Affine(0.5, 0, 170, 0, -0.5, 20), CRS.from_epsg(4326))


def read(path: Path):
    if path.suffix == ".parquet":
        return gpd.read_parquet(path)
    return pyogrio.read_dataframe(path, layer="features")


def checked(path: Path) -> list[dict]:
    """The features of a GeoJSON or its lines, once they keep RFC 7946; numbers stay text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".geojsonl":
        found = [json.loads(line, parse_float=str) for line in text.splitlines()]
    else:
        document = json.loads(text, parse_float=str)
        assert document["type"] == "FeatureCollection"
        assert "crs" not in document
        found = document["features"]
    for feature in found:
        assert feature["type"] == "Feature"
        assert isinstance(feature["properties"], dict)
        assert "crs" not in feature
        geometry = feature["geometry"]
        parts = geometry["coordinates"]
        assert geometry["type"] in ("Polygon", "MultiPolygon")
        for polygon in [parts] if geometry["type"] == "Polygon" else parts:
            for k, ring in enumerate(polygon):
                check_ring(ring, shell=k == 0)
        geometry["coordinates"] = json.loads(json.dumps(parts).replace('"', ""))
    return found


def check_ring(ring: list[list[str]], *, shell: bool) -> None:
    assert all(len(position) == 2 for position in ring)
    assert all(len(str(v).partition(".")[2]) <= 7 for position in ring for v in position)
    points = np.array(ring, float)
    assert len(points) >= 4
    assert (points[0] == points[-1]).all()
    assert np.abs(points[:, 0]).max() <= 180
    assert np.abs(points[:, 1]).max() <= 90
    assert shapely.LinearRing(points).is_ccw == shell
    crosses = np.abs(np.diff(points[:, 0])) > 180
    at_pole = np.abs(points[:-1, 1]) == 90
    assert not (crosses & ~at_pole).any()


def one_feature(grid: Grid, path: Path) -> tuple[dict, shapely.Geometry]:
    given = features_of(grid, np.ones(grid.shape, np.uint8))
    write_features([given], VectorLayer(grid, CLASSES), [path])
    (feature,) = checked(path)
    geometry = shapely.geometry.shape(feature["geometry"])
    assert geometry.is_valid
    return feature, geometry


def plane_hectares(geometry: shapely.Geometry) -> float:
    """In the plane of longitude and latitude, where programs of GeoJSON draw it."""
    equal_area = pyproj.Transformer.from_crs(4326, "+proj=cea +ellps=WGS84", always_xy=True)
    edges = shapely.segmentize(geometry, 0.1)
    flat = shapely.transform(edges, lambda xy: np.stack(equal_area.transform(*xy.T), -1))
    return flat.area / 1e4


@pytest.mark.parametrize("suffix", GEOJSONS)
def test_geojson_is_rfc_7946(tmp_path, suffix):
    path, given = tmp_path / f"features{suffix}", features_of()
    write_features([given], LAYER, [path])
    found = checked(path)
    assert [f["properties"]["n_px"] for f in found] == given.n_px.tolist()
    assert {f["geometry"]["type"] for f in found} == {"Polygon"}
    # A missing number is there, and null.
    unknown = [f["properties"]["confidence"] is None for f in found]
    assert unknown == np.isnan(given.confidence).tolist()


@pytest.mark.parametrize("suffix", GEOJSONS)
@pytest.mark.parametrize("grid", [ACROSS, PAST_180], ids=["UTM", "longitudes to 190"])
def test_geojson_is_split_at_the_antimeridian_and_loses_no_area(tmp_path, suffix, grid):
    feature, geometry = one_feature(grid, tmp_path / f"features{suffix}")
    assert feature["geometry"]["type"] == "MultiPolygon"
    assert geometry.bounds[0] == -180
    assert geometry.bounds[2] == 180
    whole = features_of(grid, np.ones(grid.shape, np.uint8)).polygon
    to_earth = pyproj.Transformer.from_crs(grid.crs.to_wkt(), 4326, always_xy=True)
    dense = shapely.segmentize(whole[0], min(grid.pixel_size))
    earth = shapely.transform(dense, lambda xy: np.stack(to_earth.transform(*xy.T), -1))
    ellipsoid = pyproj.Geod(ellps="WGS84")
    area, _ = ellipsoid.geometry_area_perimeter(earth)
    found, _ = ellipsoid.geometry_area_perimeter(shapely.segmentize(geometry, 0.5))
    assert abs(found) == pytest.approx(abs(area), rel=1e-5)


@pytest.mark.parametrize("suffix", GEOJSONS)
def test_geojson_of_a_polygon_around_the_pole_loses_no_area(tmp_path, suffix):
    path = tmp_path / f"features{suffix}"
    given = features_of(POLAR, np.ones(POLAR.shape, np.uint8))
    _, geometry = one_feature(POLAR, path)
    assert geometry.bounds[:2] == (-180, -90)
    to_earth = pyproj.Transformer.from_crs(3031, 4326, always_xy=True)
    dense = shapely.segmentize(given.polygon[0], 5000)
    earth = shapely.transform(dense, lambda xy: np.stack(to_earth.transform(*xy.T), -1))
    area, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(earth)
    assert plane_hectares(geometry) == pytest.approx(abs(area) / 1e4, rel=1e-3)


def test_long_edges_are_cut_before_they_are_bent_into_longitude_and_latitude(tmp_path):
    grid = Grid((3000, 10_000), Affine(10, 0, 4e5, 0, -10, 7.2e6), CRS.from_epsg(32633))
    corners = shapely.box(4e5, 7.17e6, 5e5, 7.2e6)
    given = features_of()
    one = replace(
        given, **{n: getattr(given, n)[:1] for n in given.__dataclass_fields__ if n != "zone"}
    )
    feature = replace(one, polygon=np.array([corners]))
    paths = [tmp_path / "features.geojson", tmp_path / "features.gpkg"]
    write_features([feature], VectorLayer(grid, CLASSES), paths)
    written = read(paths[0]).geometry[0]
    to_utm = pyproj.Transformer.from_crs(4326, 32633, always_xy=True)
    way = shapely.segmentize(written, 0.001)
    back = shapely.transform(way, lambda xy: np.stack(to_utm.transform(*xy.T), -1))
    assert shapely.hausdorff_distance(back.exterior, corners.exterior, 0.001) < 0.5
    assert shapely.get_num_coordinates(read(paths[1]).geometry[0]) == 5


@pytest.mark.parametrize("suffix", TABLES)
@pytest.mark.parametrize("kind", GRIDS)
def test_grids_that_are_turned_or_mirrored_keep_their_shapes(tmp_path, suffix, kind):
    grid = Grid(UTM.shape, GRIDS[kind], UTM.crs)
    given, path = features_of(grid), tmp_path / f"features{suffix}"
    write_features([given], VectorLayer(grid, CLASSES), [path])
    found = read(path)
    shapes = found.geometry.to_numpy()
    assert shapely.is_valid(shapes).all()
    if suffix in GEOJSONS:
        checked(path)
        back = found.to_crs(grid.crs.to_wkt()).geometry.to_numpy()
        assert np.allclose(shapely.area(back), shapely.area(given.polygon), rtol=1e-3)
        return
    expected = shapely.normalize(given.polygon)
    assert set(shapely.to_wkb(shapely.normalize(shapes))) == set(shapely.to_wkb(expected))
    if suffix in (".gpkg", ".parquet", ".fgb"):
        assert shapely.is_ccw(shapely.get_exterior_ring(shapes)).all()
    if suffix in (".shp", ".shp.zip"):
        # The shapefile's own rule is the other one, and GDAL turns them when it reads.
        assert (tmp_path / f"features{suffix}").stat().st_size > 0


@pytest.mark.parametrize("grid", [ACROSS, POLAR, UTM], ids=["antimeridian", "pole", "UTM"])
def test_pmtiles_hold_the_features_where_they_are(tmp_path, grid):
    path, mask = tmp_path / "features.pmtiles", np.ones(grid.shape, np.uint8)
    mask[:, : grid.shape[1] // 2] = 0
    given = features_of(grid, mask)
    write_features([given], VectorLayer(grid, CLASSES), [path])
    found = pyogrio.read_dataframe(path)
    assert found.crs == "EPSG:3857"
    assert set(found["class"]) == {c.name for c in CLASSES}
    assert set(found["n_px"]) == set(given.n_px)
    mercator = pyproj.Transformer.from_crs(3857, grid.crs.to_wkt(), always_xy=True)
    middle = shapely.point_on_surface(found.geometry.to_numpy())
    x, y = mercator.transform(shapely.get_x(middle), shapely.get_y(middle))
    inside = shapely.contains_xy(given.polygon[1], x, y)
    expected = (found["class_id"] == given.class_id[1]).to_numpy()
    # A tile's unit is half a pixel; and the pole has no place on the map.
    assert (inside == expected).mean() > 0.9
    info = pyogrio.read_info(path)["dataset_metadata"]
    assert (int(info["minzoom"]), int(info["maxzoom"])) == zooms(grid)


def test_zooms_reach_from_the_whole_scene_to_half_a_pixel():
    # 40,075 km: at zoom 11 a tile is 19.6 km, its unit 4.8 m; at zoom 16 the scene a tile.
    assert zooms(UTM) == (11, 11)
    assert zooms(Grid((10_980, 10_980), UTM.transform, UTM.crs)) == (6, 11)
    assert zooms(PAST_180) == (0, 0)


def test_shapefile_fields_have_names_of_ten_characters_and_their_types(tmp_path):
    path = tmp_path / "features.shp"
    write_features([replace(features_of(), zone=np.full(53, "a", object))], LAYER, [path])
    info = pyogrio.read_info(path)
    assert max(map(len, info["fields"])) <= 10
    kinds = dict(zip(info["fields"], info["ogr_types"], strict=True))
    assert kinds == {
        "class_id": "OFTInteger",
        "class": "OFTString",
        "area_ha": "OFTReal",
        "n_px": "OFTInteger64",
        "perim_m": "OFTReal",
        "confidence": "OFTReal",
        "conf_min": "OFTReal",
        "zone": "OFTString",
    }
    assert path.with_suffix(".cpg").read_text() == "UTF-8"


def test_a_zipped_shapefile_holds_all_of_its_parts_and_nothing_else(tmp_path):
    path = tmp_path / "flood.map.shp.zip"
    write_features([features_of()], LAYER, [path])
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = [f"flood.map{s}" for s in (".cpg", ".dbf", ".prj", ".shp", ".shx")]
        assert archive.namelist() == names
        assert {item.date_time[0] for item in archive.infolist()} == {1980}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["flood.map.qml", "flood.map.shp.zip"]
    assert len(pyogrio.read_dataframe(path)) == 53


def test_geoparquet_says_what_it_holds(tmp_path):
    path, given = tmp_path / "features.parquet", features_of()
    write_features([given], LAYER, [path])
    schema = pq.read_schema(path)
    assert dict(zip(schema.names, map(str, schema.types), strict=True)) == {
        "class_id": "int32",
        "class": "string",
        "area_ha": "double",
        "n_px": "int64",
        "perim_m": "double",
        "confidence": "double",
        "conf_min": "double",
        "geometry": "binary",
    }
    about = json.loads(schema.metadata[b"geo"])["columns"]["geometry"]
    assert about["bbox"] == shapely.total_bounds(given.polygon).tolist()
    assert pyproj.CRS.from_json_dict(about["crs"]) == pyproj.CRS(32633)
    assert shapely.equals_identical(read(path).geometry.to_numpy(), given.polygon).all()


def test_geoparquet_passes_the_tests_of_its_specification(tmp_path):
    """D11: the core class of geoparquet.org's own validator; no other is claimed."""
    path = tmp_path / "features.parquet"
    write_features([features_of()], LAYER, [path])
    found = geoparquet_validator.check(str(path))
    passed = [one["id"] for one in found["outcomes"] if one["status"] == "pass"]
    assert geoparquet_validator.failed(found, "core") == []
    assert len(passed) >= 10, found["outcomes"]


HOSTILE = (
    "'; DROP TABLE features; --",
    '"<script>alert(1)</script>&amp;"',
    "two\nlines\tand a\x00NUL, a \x1b[31mbell\x07",
    "=1+cmd|' /C calc'!A0",
    "\ud800 half a surrogate",
    "𝕎" * 80,
    '"n_px": 7, { "type": "Feature",',
)


@pytest.mark.parametrize("suffix", TABLES)
def test_names_of_any_kind_are_only_text(tmp_path, suffix):
    classes = tuple(MapClass(k, name, "#123456") for k, name in enumerate(HOSTILE))
    given = features_of()
    given = replace(given, class_id=np.arange(len(given)) % len(HOSTILE))
    path = tmp_path / f"features{suffix}"
    write_features([given], VectorLayer(UTM, classes), [path])
    expected = {printable(name) for name in HOSTILE}
    if suffix in (".shp", ".shp.zip"):
        # A .dbf holds 254 bytes; the cut falls between two letters.
        expected = {name.encode()[:254].decode(errors="ignore") for name in expected}
    assert set(read(path)["class"]) == expected


def test_class_values_without_a_class_are_named_by_their_number(tmp_path):
    given = replace(features_of(), class_id=np.full(53, -2_000_000_000))
    for suffix in (".gpkg", ".shp", ".fgb"):
        path = tmp_path / f"features{suffix}"
        write_features([given], LAYER, [path])
        assert set(read(path)["class"]) == {"-2000000000"}
        assert set(read(path)["class_id"]) == {-2_000_000_000}


def test_geoparquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "features.parquet"
    with pytest.raises(OutputError, match=r"needs pyarrow.*pip install 'geounet\[parquet\]'"):
        write_features([features_of()], LAYER, [path])
    others = [tmp_path / f"features{s}" for s in SUFFIXES if s != ".parquet"]
    assert write_features([features_of()], LAYER, others) == 53


def test_endings_are_told_from_names():
    assert ending_of(Path("a/b.c.SHP.ZIP")) == ".shp.zip"
    assert ending_of(Path("b.zip")) == ".zip"
    assert ending_of(Path("b")) == ""
    assert with_format(Path("a/b.c.shp.zip"), "gpkg") == Path("a/b.c.gpkg")
    assert with_format(Path("a/b.c.gpkg"), "shp.zip") == Path("a/b.c.shp.zip")
    with pytest.raises(OutputError, match=r"\.zip is no vector format.*\.shp\.zip"):
        check_target(Path("b.zip"), UTM)


def test_a_shapefile_that_would_be_too_large_is_refused():
    path, kinds = Path("features.shp"), [kind for _, kind in FIELDS]
    # 1 for the mark of what is deleted, then 9, 80, 24, 18 and three times 24.
    record = dbf_record(kinds, longest=20)
    assert record == 204
    assert dbf_record(kinds, longest=400) == 204 - 80 + 254
    # 10 records of 8 + 44 + 4 + 5 · 16 bytes and a header of 100; the .dbf has 204 a record.
    refuse_large(path, 10, 10, 50, record, limit=2040)
    with pytest.raises(OutputError, match=r"10 features would take .* write \.gpkg or \.fgb"):
        refuse_large(path, 10, 10, 50, record, limit=2039)
    with pytest.raises(OutputError, match=r"1 features would take 1\.5 GB"):
        refuse_large(path, 1, 1, 10**8, record, limit=10**9)


def test_a_geojson_that_breaks_off_has_no_features(tmp_path):
    for suffix in GEOJSONS:
        path, given = tmp_path / f"features{suffix}", features_of()
        count = write_features([given], LAYER, [path])
        assert geojson_totals(path) == (count, given.n_px.sum())
        path.write_bytes(path.read_bytes()[:-3])
        assert geojson_totals(path) == (0, 0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_lacks_something_is_noticed(tmp_path, suffix):
    path = tmp_path / f"features{suffix}"
    write_features([features_of()] if suffix != ".pmtiles" else [], LAYER, [path])
    pixels = int(features_of().n_px.sum())
    wrong = Staged(path, FIELDS, 53, pixels + 1)
    with pytest.raises(OutputError, match=r"holds \d+ of 53 features and \d+ of \d+ pixels"):
        vector._verify(wrong, path, path)
    if suffix != ".pmtiles":
        vector._verify(replace(wrong, pixels=pixels), path, path)


@pytest.mark.skipif(
    shutil.which("ogrinfo") is None,
    reason="NOT TESTED in another GDAL: ogrinfo is missing; run apt-get install -y gdal-bin",
)
@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".shp.zip", ".fgb", ".geojson"])
def test_another_gdal_finds_crs_count_and_fields(tmp_path, suffix):
    path, given = tmp_path / f"features{suffix}", features_of()
    write_features([given], LAYER, [path])
    # Without what Python's own GDAL was told: another program finds its own data.
    done = subprocess.run(
        ["ogrinfo", "-ro", "-so", str(path), "features"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Warning" not in done.stderr
    assert f"Feature Count: {len(given)}\n" in done.stdout
    assert "Geometry: Polygon\n" in done.stdout
    crs = 4326 if suffix == ".geojson" else 32633
    assert f'ID["EPSG",{crs}]' in done.stdout
    whole = "Integer" if suffix == ".geojson" else "Integer64"
    kinds = ("Integer", "String", "Real", whole, "Real", "Real", "Real")
    for (name, _), kind in zip(FIELDS, kinds, strict=True):
        assert f"\n{name}: {kind} (" in done.stdout
