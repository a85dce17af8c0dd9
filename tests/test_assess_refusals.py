"""What an assessment refuses, and how it says so."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from geounet.assess.census import count, population_of
from geounet.assess.class_map import class_names, open_class_map
from geounet.assess.design import design_sample
from geounet.assess.design_file import design_path, read_design
from geounet.assess.estimate import estimate_accuracy
from geounet.assess.sample_file import check_whole, read_points
from geounet.assess.settings import DesignSettings, EstimateSettings
from geounet.errors import InputError, OutputError, SettingsError
from geounet.grid import Grid
from geounet.reporting import Silence
from tests.jobs import GRIDS
from tests.made_samples import (
    SHAPE,
    drawn,
    interpret,
    map_values,
    save,
    true_values,
    write_map,
)


def test_an_id_that_comes_twice_and_a_point_off_the_map_are_refused(tmp_path):
    source, points, values = drawn(tmp_path)
    frame = interpret(points, true_values(values))
    save(points, frame.assign(id=[2, *frame["id"][1:]]))
    with pytest.raises(InputError, match="id 2 comes 2 times"):
        estimate_accuracy(points, source)
    far = frame.geometry.copy()
    far[4] = gpd.points_from_xy([0], [0])[0]
    save(points, frame.set_geometry(far))
    with pytest.raises(InputError, match="1 points lie off the map, the first with id 5"):
        estimate_accuracy(points, source)


def test_points_without_their_ids_are_refused(tmp_path):
    source, points, values = drawn(tmp_path)
    frame = interpret(points, true_values(values))
    save(points, frame[["class", "geometry"]])
    with pytest.raises(InputError, match="no point has an id of the design; keep the field `id`"):
        estimate_accuracy(points, source)


def test_points_in_a_file_whose_name_reads_as_an_address_are_read(tmp_path, monkeypatch):
    source, points, values = drawn(tmp_path)
    interpret(points, true_values(values))
    points.rename(tmp_path / "s3:points.gpkg")
    monkeypatch.chdir(tmp_path)
    grid = open_class_map(source).grid
    assert len(read_points(Path("s3:points.gpkg"), grid).text) == 300


def test_a_file_that_lacks_points_after_writing_is_an_output_error(tmp_path):
    _, points, _ = drawn(tmp_path)
    with pytest.raises(OutputError, match=r"final.gpkg: layer points holds 300 of 301 features"):
        check_whole(points, tmp_path / "final.gpkg", 301)


def test_words_that_are_no_class_are_refused_and_listed(tmp_path):
    source, points, values = drawn(tmp_path)
    frame = interpret(points, true_values(values))
    frame["class"] = ["wood", "wood", "see", *frame["class"][3:]]
    save(points, frame)
    with pytest.raises(
        InputError,
        match=r"gpkg: no class .*called 'wood' \(2 points\), 'see'.*: water, forest, bare",
    ):
        estimate_accuracy(points, source)


def test_files_that_are_no_points_are_refused(tmp_path):
    grid = Grid(SHAPE, *GRIDS["north-up"])
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_points(tmp_path / "none.gpkg", grid)
    text = tmp_path / "text.gpkg"
    text.write_text("<html>")
    with pytest.raises(InputError, match="is no GeoPackage"):
        read_points(text, grid)
    _, points, _ = drawn(tmp_path)
    text.write_bytes(points.read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"cannot be read: .*export it again"):
        read_points(text, grid)
    plain = gpd.GeoDataFrame({"name": ["a"]}, geometry=gpd.points_from_xy([1], [2]), crs=32633)
    save(tmp_path / "plain.gpkg", plain)
    with pytest.raises(InputError, match="has no points with a field `class`"):
        read_points(tmp_path / "plain.gpkg", grid)
    areas = plain.assign(**{"class": "a"}).set_geometry(plain.geometry.buffer(1))
    save(tmp_path / "areas.gpkg", areas)
    with pytest.raises(InputError, match="has features that are no points"):
        read_points(tmp_path / "areas.gpkg", grid)
    with pytest.warns(UserWarning, match="crs"):
        save(
            tmp_path / "bare.gpkg",
            plain.assign(**{"class": "a"}).set_crs(None, allow_override=True),
        )
    with pytest.raises(InputError, match="names no coordinate reference system"):
        read_points(tmp_path / "bare.gpkg", grid)


def test_designs_that_were_changed_or_are_none_are_refused(tmp_path):
    _, points, _ = drawn(tmp_path)
    path = design_path(points)
    content = json.loads(path.read_text())
    content["strata"][0]["pixels"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="was changed after the sample was drawn"):
        read_design(path)
    path.write_text("[]")
    with pytest.raises(InputError, match="is no design of a sample"):
        read_design(path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_design(tmp_path / "none.json")


def test_rasters_that_hold_no_classes_are_refused(tmp_path):
    def census(values, **profile):
        source = open_class_map(write_map(tmp_path / "map.tif", values, **profile))
        return count(population_of(source), Silence())

    with pytest.raises(InputError, match="holds fractions"):
        census(np.full((5, 6), 0.5, np.float32))
    with pytest.raises(InputError, match="holds values outside"):
        census(np.full((5, 6), 3e9))
    with pytest.raises(InputError, match="no pixel with a class"):
        census(np.full((5, 6), 255, np.uint8))
    with pytest.raises(InputError, match="more than 1024 different values"):
        census(np.arange(1200, dtype=np.int32).reshape(30, 40), nodata=None)
    spread = census(np.array([[5, -7, 2**30, 5]], np.int32), nodata=None)
    assert spread.values == (-7, 5, 2**30)
    floats = census(np.array([[1, np.nan, 2, 2]], np.float32), nodata=None)
    assert (floats.pixels, floats.outside_pixels) == ((1, 2), 1)
    with pytest.raises(InputError, match="holds complex64, and a class raster"):
        census(np.ones((5, 6), np.complex64), nodata=None)
    path = tmp_path / "two.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=4, height=4, count=2, dtype="uint8",
        crs=CRS.from_epsg(32633), transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(np.ones((2, 4, 4), np.uint8))
    with pytest.raises(InputError, match="has 2 bands"):
        open_class_map(path)


def test_a_damaged_map_is_refused(tmp_path):
    source = write_map(tmp_path / "map.tif", map_values((400, 500)), compress="deflate")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    found = open_class_map(source)
    with pytest.raises(
        InputError, match=r"map.tif: rows \d+ to \d+, columns \d+ to \d+ cannot be read"
    ):
        count(population_of(found), Silence())


def test_strata_on_another_grid_are_refused(tmp_path):
    write_map(tmp_path / "strata.tif", map_values((120, 160)))
    with pytest.raises(InputError, match=r"strata.tif: does not lie on the grid of .*map.tif"):
        drawn(tmp_path, strata=tmp_path / "strata.tif")


def test_settings_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="say how many points"):
        drawn(tmp_path, size=None)
    with pytest.raises(SettingsError, match="--expect tundra: there is no such class"):
        drawn(tmp_path, expect=("tundra=0.9",))
    with pytest.raises(ValueError, match="choose one: --size"):
        DesignSettings(size=10, target_se=0.1)
    with pytest.raises(ValueError, match="choose one: --strata"):
        DesignSettings(size=10, method="simple", strata=tmp_path)
    for text in ("forest", "forest=2", "forest=x"):
        with pytest.raises(ValueError, match=f"--expect {text}: write an accuracy"):
            DesignSettings(size=10, expect=(text,))
    with pytest.raises(OutputError, match=r"end its name in .gpkg"):
        design_sample(tmp_path / "map.tif", tmp_path / "points.shp", DesignSettings(size=10))


def test_nothing_is_overwritten_unasked(tmp_path):
    source, points, values = drawn(tmp_path)
    with pytest.raises(OutputError, match=r"sample.gpkg: exists"):
        design_sample(source, points, DesignSettings(size=300, at_least=20))
    points.unlink()
    with pytest.raises(OutputError, match=r"sample.design.json: exists"):
        design_sample(source, points, DesignSettings(size=300, at_least=20))
    design_sample(source, points, DesignSettings(size=300, at_least=20, overwrite=True))
    interpret(points, values)
    out = tmp_path / "accuracy.json"
    estimate_accuracy(points, source, EstimateSettings(out=out))
    with pytest.raises(OutputError, match=r"accuracy.json: exists"):
        estimate_accuracy(points, source, EstimateSettings(out=out))


def test_two_classes_of_one_name_are_told_apart(tmp_path):
    source = open_class_map(write_map(tmp_path / "map.tif", map_values(), names=("a", "a", "b")))
    assert class_names([source], (0, 1, 2, 9)) == ("a (0)", "a (1)", "b", "class 9")
