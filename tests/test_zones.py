"""A feature's zone is that of its largest part, whatever it comes with, however zones are cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from geounet import zones as zones_module
from geounet.aoi import read_aoi
from geounet.errors import InputError
from geounet.features import Features
from geounet.grid import Grid
from geounet.polygon_array import PolygonArray
from geounet.vector import VectorLayer, write_features
from geounet.zones import Zones
from tests.made_features import CLASSES, UTM, features_of, part_of

LEFT, BOTTOM, RIGHT, TOP = 399_960, 5_589_650, 400_490, 5_590_020
SCENE = shapely.box(LEFT, BOTTOM, RIGHT, TOP)


def voronoi(count: int = 9, seed: int = 1, grow: float = 300) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = shapely.MultiPoint(
        np.stack([rng.uniform(LEFT, RIGHT, count), rng.uniform(BOTTOM, TOP, count)], -1)
    )
    cells = shapely.voronoi_polygons(points, extend_to=SCENE.buffer(grow))
    return np.array(cells.geoms)


def file_of(tmp_path: Path, shapes, crs=32633, **fields) -> Path:
    fields = fields or {"name": [f"zone {k}" for k in range(len(shapes))]}
    path = tmp_path / "zones.gpkg"
    gpd.GeoDataFrame(fields, geometry=list(shapes), crs=crs).to_file(path, layer="districts")
    return path


def of_polygons(polygons: list[shapely.Geometry]) -> Features:
    ones = np.ones(len(polygons))
    return Features(np.array(polygons), ones.astype(int), ones.astype(int), *[ones] * 4)


def by_brute_force(shapes: np.ndarray, names: list[str], polygons: np.ndarray) -> list[str]:
    areas = shapely.area(shapely.intersection(polygons[:, None], shapes[None]))
    best = np.round(areas / shapely.area(polygons)[:, None], 9).argmax(axis=1)
    return [names[k] if areas[f, k] > 0 else "" for f, k in enumerate(best)]


@pytest.mark.parametrize("vertices", [8, 256])
def test_each_feature_has_the_zone_of_its_largest_part(tmp_path, monkeypatch, vertices):
    monkeypatch.setattr(zones_module, "_VERTICES", vertices)
    given = features_of()
    shapes = voronoi()[1:]
    names = [f"zone {k}" for k in range(len(shapes))]
    zones = Zones.read(file_of(tmp_path, shapes), UTM)
    joined = zones.join(given)
    assert joined.zone.tolist() == by_brute_force(shapes, names, given.polygon)
    assert "" in joined.zone.tolist()
    assert len(set(joined.zone)) > 5
    assert joined.polygon is given.polygon


def test_a_feature_s_zone_does_not_depend_on_what_it_comes_with(tmp_path):
    given = features_of()
    zones = Zones.read(file_of(tmp_path, voronoi()), UTM)
    whole = zones.join(given).zone.tolist()
    parts = [zones.join(part_of(given, slice(k, k + 3))).zone for k in range(0, len(given), 3)]
    assert np.concatenate(parts).tolist() == whole
    _, xy, (ring_at, polygon_at) = shapely.to_ragged_array(given.polygon)
    arrays = replace(given, polygon=PolygonArray(xy, ring_at, polygon_at))
    assert zones.join(arrays).zone.tolist() == whole
    assert zones.join(part_of(given, slice(0, 0))).zone.tolist() == []


def test_equal_parts_go_to_the_first_zone_of_the_file_and_touch_is_no_part(tmp_path):
    middle = 400_200
    west, east = (shapely.box(a, BOTTOM, b, TOP) for a, b in ((LEFT, middle), (middle, RIGHT)))
    across = shapely.box(middle - 20, BOTTOM + 10, middle + 20, BOTTOM + 30)
    beside = shapely.box(middle, BOTTOM + 10, middle + 20, BOTTOM + 30)
    given = of_polygons([across, beside])
    for shapes in ((west, east), (east, west)):
        zones = Zones.read(file_of(tmp_path, shapes, name=["first", "second"]), UTM)
        assert zones.join(given).zone.tolist()[0] == "first"
    zones = Zones.read(file_of(tmp_path, [west], name=["west"]), UTM)
    assert zones.join(given).zone.tolist() == ["west", ""]


def test_polygons_of_one_name_are_one_zone_and_those_without_a_name_none(tmp_path):
    strips = [shapely.box(LEFT + 30 * k, BOTTOM, LEFT + 30 * k + 30, TOP) for k in range(4)]
    zones = Zones.read(file_of(tmp_path, strips, name=["a", "b", "a", None]), UTM)
    assert zones.names == ("a", "b")
    # 20 m of the first, 30 of b, 15 of the third: 35 of a.
    given = of_polygons(
        [
            shapely.box(LEFT + 10, BOTTOM, LEFT + 75, BOTTOM + 10),
            shapely.box(LEFT + 95, BOTTOM, LEFT + 105, BOTTOM + 10),
        ]
    )
    assert zones.join(given).zone.tolist() == ["a", ""]


def test_a_zone_in_the_hole_of_another_takes_what_lies_in_it(tmp_path):
    town = shapely.box(LEFT + 100, BOTTOM + 100, LEFT + 200, BOTTOM + 200)
    land = SCENE.buffer(100).difference(town)
    zones = Zones.read(file_of(tmp_path, [land, town], name=["land", "town"]), UTM)
    given = of_polygons(
        [town.buffer(-20), town.buffer(60), shapely.box(LEFT, BOTTOM, LEFT + 9, TOP)]
    )
    assert zones.join(given).zone.tolist() == ["town", "land", "land"]


def test_a_straight_border_far_away_is_bent_as_on_earth(tmp_path):
    grid = Grid((2000, 12_000), Affine(10, 0, 3e5, 0, -10, 6.665e6), CRS.from_epsg(32633))
    # The 60th parallel, drawn as one edge, bows 2.5 km off the line between its ends.
    north, south = shapely.box(10, 60, 20, 65), shapely.box(10, 55, 20, 60)
    zones = Zones.read(file_of(tmp_path, [north, south], 4326, name=["N", "S"]), grid)
    to_utm = pyproj.Transformer.from_crs(4326, 32633, always_xy=True)
    points = [to_utm.transform(lon, lat) for lat in (60.0002, 59.9998) for lon in (12, 12.7, 13.4)]
    given = of_polygons([shapely.Point(point).buffer(5, 2) for point in points])
    assert zones.join(given).zone.tolist() == ["N"] * 3 + ["S"] * 3


def test_zones_on_both_sides_of_the_antimeridian_are_found(tmp_path):
    grid = Grid((40, 40), Affine(500, 0, 636_000, 0, -500, 7.1e6), CRS.from_epsg(32660))
    shapes = [shapely.box(170, 60, 180, 70), shapely.box(-180, 60, -170, 70)]
    path = file_of(tmp_path, shapes, 4326, name=["west", "east"])
    to_utm = pyproj.Transformer.from_crs(4326, 32660, always_xy=True)
    points = [to_utm.transform(lon, 63.9) for lon in (179.95, -179.95)]
    given = of_polygons([shapely.Point(point).buffer(50) for point in points])
    assert Zones.read(path, grid).join(given).zone.tolist() == ["west", "east"]
    assert shapely.contains_xy(read_aoi(path, grid), *np.transpose(points)).all()


def test_a_border_of_many_vertices_is_cut_into_pieces(tmp_path):
    turn = np.linspace(0, 2 * np.pi, 20_001)
    radius = 150 + 5 * np.sin(500 * turn)
    x, y = LEFT + 265 + radius * np.cos(turn), BOTTOM + 185 + radius * np.sin(turn)
    island = shapely.Polygon(np.stack([x, y], -1))
    zones = Zones.read(file_of(tmp_path, [island], name=["island"]), UTM)
    assert shapely.get_num_coordinates(zones.pieces).max() < 1000
    assert shapely.area(zones.pieces).sum() == pytest.approx(island.area, rel=1e-9)
    given = features_of()
    expected = by_brute_force(np.array([island]), ["island"], given.polygon)
    assert zones.join(given).zone.tolist() == expected


def test_the_field_of_names_is_found_or_asked_for(tmp_path):
    shapes, names = voronoi(3), ["a", "b", "c"]
    for fields in (
        {"district": names, "code": [1, 2, 3]},
        {"region": ["x"] * 3, "NAME": names},
        {"region": ["x"] * 3, "shapeName": names},
    ):
        assert Zones.read(file_of(tmp_path, shapes, **fields), UTM).names == ("a", "b", "c")
    path = file_of(tmp_path, shapes, region=names, district=["x"] * 3, code=[7, 8, 9])
    with pytest.raises(InputError, match="say it with --zone-field, one of: region, dist"):
        Zones.read(path, UTM)
    assert Zones.read(path, UTM, "region").names == ("a", "b", "c")
    assert Zones.read(path, UTM, "code").names == ("7", "8", "9")
    with pytest.raises(InputError, match=r"has no field 'county' for zones; its fields are region"):
        Zones.read(path, UTM, "county")


def test_features_of_ours_are_zones_too(tmp_path):
    path = tmp_path / "features.gpkg"
    write_features([features_of()], VectorLayer(UTM, CLASSES), [path])
    zones = Zones.read(path, UTM)
    assert set(zones.names) == {c.name for c in CLASSES}
    given = features_of()
    assert zones.join(given).zone.tolist() == [CLASSES[v].name for v in given.class_id]


def test_what_holds_no_zones_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        Zones.read(tmp_path / "none.gpkg", UTM)
    evil = tmp_path / "evil.gpkg"
    evil.write_text("<OGRVRTDataSource></OGRVRTDataSource>")
    with pytest.raises(InputError, match="whatever its name says"):
        Zones.read(evil, UTM)
    table = tmp_path / "names.gpkg"
    pyogrio.write_dataframe(pd.DataFrame({"name": ["x"]}), table)
    with pytest.raises(InputError, match="has no geometry, so it cannot be a file of zones"):
        Zones.read(table, UTM)
    with pytest.raises(InputError, match="no polygon with a name lies on the scene"):
        Zones.read(file_of(tmp_path, [shapely.box(0, 0, 1, 1)]), UTM)
    with pytest.raises(InputError, match="no polygon with a name lies on the scene"):
        Zones.read(file_of(tmp_path, [SCENE], name=[None]), UTM, "name")
    path = file_of(tmp_path, [SCENE])
    bare = tmp_path / "bare.shp"
    pyogrio.write_dataframe(pyogrio.read_dataframe(path), bare)
    bare.with_suffix(".prj").unlink()
    with pytest.raises(InputError, match="a file of zones has no CRS"):
        Zones.read(bare, UTM)


def test_numbers_that_name_zones_are_told_apart(tmp_path):
    halves = [shapely.box(LEFT, BOTTOM, 400_200, TOP), shapely.box(400_200, BOTTOM, RIGHT, TOP)]
    path = file_of(tmp_path, halves, code=[12_345_678.0, 12_345_679.0])
    zones = Zones.read(path, UTM, "code")
    assert zones.names == ("12345678", "12345679")


def test_a_zone_with_a_broken_vertex_is_refused(tmp_path):
    broken = shapely.Polygon([(LEFT, BOTTOM), (RIGHT, BOTTOM), (RIGHT, np.inf)])
    path = file_of(tmp_path, [SCENE, broken])
    with pytest.raises(InputError, match=r"zones\.gpkg: a polygon has a vertex that is no number"):
        Zones.read(path, UTM)


def test_a_field_called_geometry_names_no_zone(tmp_path):
    path = tmp_path / "zones.gpkg"
    columns = [np.array(["a"], object), np.array(["b"], object)]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array([SCENE])),
        columns,
        ("geometry", "label"),
        driver="GPKG",
        geometry_type="Polygon",
        crs="EPSG:32633",
    )
    assert Zones.read(path, UTM).names == ("b",)
    with pytest.raises(InputError, match=r"has no field 'geometry'"):
        Zones.read(path, UTM, "geometry")
