"""What any GIS reads from the files: the features, their CRS, their style, and the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine
from pydantic import ValidationError
from rasterio.crs import CRS

from geounet import arrow_stream, vector_copies, vector_stage
from geounet.errors import InputError, OutputError
from geounet.grid import Grid
from geounet.polygon_array import PolygonArray, wkb_of
from geounet.vector import VectorLayer, write_features
from geounet.vector_settings import Amount, VectorSettings, area_amount, length_amount
from tests.made_features import CLASSES, LAYER, SUFFIXES, UTM, features_of, part_of

ALBERS = (
    'PROJCS["Brazil Data Cube",GEOGCS["GRS80 of its own",DATUM["unknown",SPHEROID["GRS80",6378137,'
    '298.257222101]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION['
    '"Albers_Conic_Equal_Area"],PARAMETER["latitude_of_center",-12],PARAMETER["longitude_of_center"'
    ',-54],PARAMETER["standard_parallel_1",-2],PARAMETER["standard_parallel_2",-22],PARAMETER['
    '"false_easting",5000000],PARAMETER["false_northing",10000000],UNIT["metre",1]]'
)
MARS = CRS.from_string("+proj=eqc +lat_ts=-10 +lon_0=180 +R=3395582 +units=m +no_defs")
TABLES = tuple(s for s in SUFFIXES if s != ".pmtiles")
SAME_BYTES = TABLES
NAMES = ["class_id", "class", "area_ha", "n_px", "perim_m", "confidence", "conf_min"]


def read(path: Path):
    if path.suffix == ".parquet":
        return gpd.read_parquet(path)
    return pyogrio.read_dataframe(path, layer="features")


def arrays_of(polygons: np.ndarray) -> PolygonArray:
    _, xy, (ring_at, polygon_at) = shapely.to_ragged_array(polygons)
    return PolygonArray(xy, ring_at, polygon_at)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.mark.parametrize("suffix", TABLES)
def test_what_is_written_is_read_again(tmp_path, suffix):
    path, given = tmp_path / f"features{suffix}", features_of()
    assert write_features([given], LAYER, [path]) == len(given)
    found = read(path)
    if suffix == ".fgb":
        # Its index sorts the features by place; a pixel's corner tells which is which.
        found = found.set_index(found.bounds.astype(str).agg(" ".join, axis=1))
        found = found.loc[[" ".join(map(str, b)) for b in shapely.bounds(given.polygon)]]
    assert [n for n in found.columns if n != "geometry"] == NAMES
    assert found["class_id"].tolist() == given.class_id.tolist()
    assert found["class"].tolist() == [CLASSES[v].name for v in given.class_id]
    assert found["n_px"].tolist() == given.n_px.tolist()
    for name, column in (
        ("area_ha", given.area_ha),
        ("perim_m", given.perimeter_m),
        ("confidence", given.confidence),
        ("conf_min", given.confidence_min),
    ):
        assert np.allclose(found[name], column, rtol=1e-12, atol=1e-9, equal_nan=True)
        assert np.isnan(found[name]).tolist() == np.isnan(column).tolist()
    assert (found.geometry.type == "Polygon").all()
    assert found.is_valid.all()
    if suffix in (".geojson", ".geojsonl"):
        assert found.crs == "EPSG:4326"
    else:
        assert found.crs == "EPSG:32633"
        assert shapely.area(found.geometry.to_numpy()).sum() == shapely.area(given.polygon).sum()


def test_polygons_as_arrays_give_the_same_bytes_as_shapely_s(tmp_path):
    given = features_of()
    arrays = replace(given, polygon=arrays_of(given.polygon))
    for name, features in (("objects", given), ("arrays", arrays)):
        paths = [tmp_path / name / f"features{s}" for s in SAME_BYTES]
        write_features([features], LAYER, paths)
    assert digests(tmp_path / "objects") == digests(tmp_path / "arrays")


@pytest.mark.parametrize("suffix", TABLES)
def test_zones_are_a_column_where_there_are_any(tmp_path, suffix):
    given = features_of()
    zones = np.array(["", "Ödland/7"], object)[np.arange(len(given)) % 2]
    path = tmp_path / f"features{suffix}"
    write_features([replace(given, zone=zones)], LAYER, [path])
    found = read(path)
    assert [n for n in found.columns if n != "geometry"] == [*NAMES, "zone"]
    # Some formats have no empty text, but missing ones.
    assert sorted(found["zone"].fillna("")) == sorted(zones)
    if suffix not in (".geojson", ".geojsonl"):
        write_features([], VectorLayer(UTM, CLASSES, zones=True), [path], overwrite=True)
        assert "zone" in read(path).columns


def test_the_order_of_features_and_their_vertices_are_kept_in_a_geopackage(tmp_path):
    given = features_of()
    write_features([given], LAYER, [tmp_path / "features.gpkg"])
    found = read(tmp_path / "features.gpkg").geometry.to_numpy()
    assert all(shapely.equals_identical(found, given.polygon))


def in_another_process(body: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run ``body`` with this module's features; ``folder`` is where it writes."""
    script = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from tests.test_vector import LAYER, SAME_BYTES, SUFFIXES, OutputError, features_of
from tests.test_vector import write_features
folder, features = Path({str(folder)!r}), [features_of()]
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
    given = features_of()
    parts = [part_of(given, slice(k, k + 7)) for k in range(0, len(given), 7)]
    for suffix in SAME_BYTES:
        write_features([given], LAYER, [tmp_path / "now" / f"features{suffix}"])
    # A day and more apart on the clock, and in another order of formats.
    done = in_another_process(
        "write_features(features, LAYER, [folder / f'features{s}' for s in SAME_BYTES[::-1]])",
        tmp_path / "later",
        TZ="XXX+30",
    )
    assert done.returncode == 0, done.stderr
    write_features(parts, LAYER, [tmp_path / "parts" / f"features{s}" for s in SAME_BYTES])
    assert digests(tmp_path / "now") == digests(tmp_path / "later") == digests(tmp_path / "parts")


def test_features_cut_anywhere_are_cut_again_alike():
    given = features_of()
    for polygons in (given.polygon, arrays_of(given.polygon)):
        whole = replace(given, polygon=polygons)
        for step in (1, 3, 10, 11, 53, 60):
            parts = [part_of(whole, slice(k, k + step)) for k in range(0, len(whole), step)]
            again = list(vector_stage.recut(parts, 10))
            assert [len(batch) for batch in again] == [10, 10, 10, 10, 10, 3]
            n_px = np.concatenate([batch.n_px for batch in again])
            assert n_px.tolist() == given.n_px.tolist()
            data = [wkb_of(batch.polygon).data for batch in again]
            assert (np.concatenate(data) == wkb_of(given.polygon).data).all()


def test_pieces_of_the_writer_s_own_cannot_be_seen(tmp_path, monkeypatch):
    given = features_of()
    for name, size in (("large", 1000), ("small", 5)):
        monkeypatch.setattr(vector_stage, "_PIECE", size)
        monkeypatch.setattr(vector_copies, "_STREAM", size)
        write_features([given], LAYER, [tmp_path / name / f"features{s}" for s in SAME_BYTES])
    assert digests(tmp_path / "large") == digests(tmp_path / "small")


def test_all_formats_come_from_one_pass(tmp_path):
    paths = [tmp_path / f"features{suffix}" for suffix in SUFFIXES]
    count = write_features(iter([features_of()]), LAYER, paths)
    assert [len(read(path)) for path in paths if path.suffix != ".pmtiles"] == [count] * 7
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [f"features{s}" for s in (*SUFFIXES, ".shx", ".dbf", ".prj", ".cpg", ".qml")]
    )


def test_what_stops_the_tracer_is_told_as_it_is_and_leaves_nothing(tmp_path):
    def batches():
        yield features_of()
        raise InputError("the mask breaks off")

    for suffix in SUFFIXES:
        with pytest.raises(InputError, match=r"^the mask breaks off$"):
            write_features(batches(), LAYER, [tmp_path / f"features{suffix}"])
    assert list(tmp_path.iterdir()) == []
    # Nor in memory.
    assert not arrow_stream._alive


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_features_still_have_schema_crs_and_type(tmp_path, suffix):
    path = tmp_path / f"features{suffix}"
    assert write_features([], LAYER, [path]) == 0
    if suffix == ".parquet":
        found = gpd.read_parquet(path)
        assert list(found.columns) == [*NAMES, "geometry"]
        assert found.crs == "EPSG:32633"
        about = json.loads(pq.read_schema(path).metadata[b"geo"])
        assert about["columns"]["geometry"]["geometry_types"] == ["Polygon"]
        return
    if suffix == ".geojsonl":
        # A line is a feature, so that without any the file is empty.
        assert path.read_bytes() == b""
        return
    info = pyogrio.read_info(path, layer="features", force_feature_count=True)
    assert info["features"] == 0
    if suffix == ".geojson":
        # A GeoJSON without features has no place for the others.
        return
    assert [n for n in info["fields"].tolist() if n != "mvt_id"] == NAMES
    if suffix != ".pmtiles":
        assert info["geometry_type"] == "Polygon"
        assert pyproj.CRS(info["crs"]).to_epsg() == 32633


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".shp.zip", ".fgb", ".parquet"])
@pytest.mark.parametrize("crs", [CRS.from_wkt(ALBERS), MARS], ids=["Albers", "Mars"])
def test_a_crs_without_a_number_is_kept(tmp_path, suffix, crs):
    grid = Grid((9, 7), Affine(10, 0, 5_880_157, 0, -10, 1_866_658), crs)
    path = tmp_path / f"features{suffix}"
    write_features([features_of(grid)], VectorLayer(grid, CLASSES), [path])
    found, expected = pyproj.CRS(read(path).crs), pyproj.CRS.from_wkt(crs.to_wkt())
    assert found.ellipsoid.semi_major_metre == expected.ellipsoid.semi_major_metre
    points = np.array([[5_880_157, 5_890_157], [1_866_658, 1_856_658]], float)
    there, here = (
        pyproj.Transformer.from_crs(c, c.geodetic_crs, always_xy=True).transform(*points)
        for c in (found, expected)
    )
    assert np.allclose(there, here, atol=1e-10)


@pytest.mark.parametrize("suffix", [".geojson", ".geojsonl", ".pmtiles"])
def test_other_bodies_are_refused_where_only_the_earth_has_a_place(tmp_path, suffix):
    grid = Grid((9, 7), Affine(10, 0, 0, 0, -10, 0), MARS)
    with pytest.raises(InputError, match=r"on Earth only.*another body; write \.gpkg, \.shp or"):
        write_features([], VectorLayer(grid, CLASSES), [tmp_path / f"features{suffix}"])


def test_a_grid_without_crs_is_refused(tmp_path):
    grid = Grid((9, 7), Affine(10, 0, 0, 0, -10, 0), CRS())
    with pytest.raises(InputError, match="would have no CRS"):
        write_features([], VectorLayer(grid, CLASSES), [tmp_path / "features.gpkg"])


def test_the_style_is_in_the_geopackage_and_beside_it(tmp_path):
    path = tmp_path / "features.gpkg"
    write_features([features_of()], LAYER, [path])
    with sqlite3.connect(path) as data:
        rows = data.execute(
            "SELECT f_table_name, f_geometry_column, styleQML, useAsDefault FROM layer_styles"
        ).fetchall()
    data.close()
    qml = path.with_suffix(".qml").read_text(encoding="utf-8")
    assert rows == [("features", "geom", qml, 1)]


def test_nothing_is_overwritten_unless_asked(tmp_path):
    path = tmp_path / "features.shp"
    write_features([features_of()], LAYER, [path])
    before = digests(tmp_path)
    with pytest.raises(OutputError, match="exists; give --overwrite"):
        write_features([], LAYER, [path])
    assert digests(tmp_path) == before
    (tmp_path / "features.qix").write_bytes(b"an index of what was there")
    assert write_features([], LAYER, [path], overwrite=True) == 0
    assert not (tmp_path / "features.qix").exists()


def test_changes_that_another_program_left_are_not_played_into_a_new_geopackage(tmp_path):
    path = tmp_path / "features.gpkg"
    write_features([features_of()], LAYER, [path])
    other = sqlite3.connect(path)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("DELETE FROM layer_styles")
    other.commit()
    assert (tmp_path / "features.gpkg-wal").stat().st_size > 0
    write_features([features_of()], LAYER, [path], overwrite=True)
    # It held the file open, as QGIS does, and only now lets go.
    other.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["features.gpkg", "features.qml"]
    with closing(sqlite3.connect(path)) as data:
        assert data.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert data.execute("SELECT COUNT(*) FROM layer_styles").fetchone() == (1,)


def test_a_name_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"\.txt is no vector format"):
        write_features([], LAYER, [tmp_path / "features.txt"])
    (tmp_path / "folder.gpkg").mkdir()
    with pytest.raises(OutputError, match="is a folder; give the name of a file"):
        write_features([], LAYER, [tmp_path / "folder.gpkg"], overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_features([], LAYER, [tmp_path / "file" / "features.gpkg"])


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    done = in_another_process(
        """
        for limit in (3_000, 150_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            for suffix in SUFFIXES:
                try:
                    write_features(features * 400, LAYER, [folder / f"features{suffix}"])
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
