"""Samples drawn, interpreted and read back: files, refusals, cautions, the command line."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from geounet import cli
from geounet.area import PixelArea
from geounet.assess.accuracy_file import adjusted_areas
from geounet.assess.census import count, population_of
from geounet.assess.class_map import class_names, open_class_map
from geounet.assess.design import design_sample
from geounet.assess.design_file import design_path, read_design
from geounet.assess.draw import draw_ranks, find_pixels
from geounet.assess.estimate import estimate_accuracy
from geounet.assess.sample_file import read_points
from geounet.assess.settings import DesignSettings, EstimateSettings
from geounet.errors import InputError, OutputError, SettingsError
from geounet.grid import Grid
from geounet.outputs import ClassArea, Results, write_report
from geounet.reporting import Silence
from geounet.style import MapClass, pam_xml
from geounet.tables import print_results
from tests.jobs import GRIDS, smooth

NAMES = ("water", "forest", "bare")
SHAPE = (120, 161)


def write_map(path: Path, values, grid="north-up", names=NAMES, nodata=255, **profile) -> Path:
    transform, crs = GRIDS[grid] if isinstance(grid, str) else grid
    rows, cols = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=cols, height=rows, count=1, dtype=values.dtype,
        crs=crs, transform=transform, nodata=nodata, **profile,
    ) as file:  # fmt: skip
        file.write(values, 1)
    classes = [MapClass(value, name, "#000000") for value, name in enumerate(names)]
    Path(f"{path}.aux.xml").write_text(pam_xml(classes))
    return path


def map_values(shape=SHAPE, seed=3):
    values = np.digitize(smooth(shape, seed), [800, 2100]).astype(np.uint8)
    values[:7, :11] = 255
    return values


def true_values(values, seed=0, share=0.1):
    """What a perfect interpreter sees: other than the map on a tenth of the pixels."""
    rng = np.random.default_rng(seed)
    truth = values.copy()
    wrong = (rng.random(values.shape) < share) & (values != 255)
    truth[wrong] = rng.integers(0, 3, wrong.sum())
    return truth


def interpret(points: Path, truth, names=NAMES, skip=()) -> gpd.GeoDataFrame:
    """Fills in the field of every point but those to skip, and saves the layer as a GIS would."""
    at = {p.id: (p.row, p.col) for p in read_design(design_path(points)).points}
    frame = pyogrio.read_dataframe(points, layer="points")
    frame["class"] = [None if i in skip else names[truth[at[i]]] for i in frame["id"]]
    save(points, frame)
    return frame


def save(points: Path, frame) -> None:
    pyogrio.write_dataframe(frame, points, layer="points", driver="GPKG")


def drawn(tmp_path, values=None, grid="north-up", **settings) -> tuple[Path, Path, np.ndarray]:
    values = map_values() if values is None else values
    source = write_map(tmp_path / "map.tif", values, grid)
    settings = {"size": 300, "at_least": 20, **settings}
    design_sample(source, tmp_path / "sample.gpkg", DesignSettings(**settings))
    return source, tmp_path / "sample.gpkg", values


# What is drawn


@pytest.mark.parametrize("grid", list(GRIDS))
def test_the_census_is_that_of_the_whole_array(tmp_path, grid):
    values = map_values()
    source = open_class_map(write_map(tmp_path / "map.tif", values, grid))
    area = PixelArea(source.grid).window(source.grid.whole)
    for strip in (1, 161, 1000, 10**6):
        census = count(population_of(source), Silence(), strip)
        assert census.values == (0, 1, 2)
        assert census.pixels == tuple(int((values == v).sum()) for v in range(3))
        np.testing.assert_allclose(census.areas, [area[values == v].sum() for v in range(3)])
        assert census.outside_pixels == 77
        assert census.outside_area == pytest.approx(area[values == 255].sum())
        assert census == count(population_of(source), Silence(), 161)


@pytest.mark.parametrize("strip", [1, 161, 999, 10**6])
def test_ranks_are_found_whatever_the_strips(tmp_path, strip):
    values = map_values()
    source = open_class_map(write_map(tmp_path / "map.tif", values))
    ranks = draw_ranks([int((values == v).sum()) for v in range(3)], [5, 0, 40], seed=7)
    found = find_pixels(population_of(source), (0, 1, 2), ranks, Silence(), strip)
    for value, (wanted, (rows, cols)) in enumerate(zip(ranks, found, strict=True)):
        places = np.flatnonzero(values == value)[wanted]
        assert (rows * SHAPE[1] + cols).tolist() == places.tolist()


def test_every_pixel_of_a_stratum_has_the_same_chance():
    times = np.zeros(12)
    for seed in range(3000):
        (ranks,) = draw_ranks([12], [3], seed)
        assert len(set(ranks.tolist())) == 3
        times[ranks] += 1
    # 3000 · 3/12 = 750 times each; the standard deviation is 24.
    assert (abs(times - 750) < 100).all()


def test_a_sample_lies_on_its_strata_and_is_the_same_for_the_same_seed(tmp_path):
    source, points, values = drawn(tmp_path)
    design = read_design(design_path(points))
    assert [s.points for s in design.strata] == [
        sum(p.stratum == i for p in design.points) for i in range(3)
    ]
    assert all(values[p.row, p.col] == design.strata[p.stratum].value for p in design.points)
    assert len({(p.row, p.col) for p in design.points}) == 300
    again, other = (tmp_path / f"{name}.gpkg" for name in ("again", "other"))
    design_sample(source, again, DesignSettings(size=300, at_least=20))
    assert again.read_bytes() == points.read_bytes()
    assert design_path(again).read_bytes() == design_path(points).read_bytes()
    design_sample(source, other, DesignSettings(size=300, at_least=20, seed=1))
    assert read_design(design_path(other)).points != design.points


def test_a_class_has_no_place_of_its_own_in_the_order_of_the_points(tmp_path):
    _, points, _ = drawn(tmp_path, allocation="equal")
    strata = [p.stratum for p in read_design(design_path(points)).points]
    assert all(set(strata[start : start + 60]) == {0, 1, 2} for start in range(0, 300, 60))


@pytest.mark.parametrize("grid", list(GRIDS))
def test_points_lie_at_pixel_centres_and_do_not_show_the_map(tmp_path, grid):
    source, points, _ = drawn(tmp_path, grid=grid)
    frame = pyogrio.read_dataframe(points, layer="points")
    assert set(frame.columns) == {"id", "class", "confidence", "comment", "geometry"}
    assert frame["class"].isna().all()
    with rasterio.open(source) as file:
        assert CRS.from_wkt(frame.crs.to_wkt()) == file.crs
        cols, rows = ~file.transform @ (frame.geometry.x.to_numpy(), frame.geometry.y.to_numpy())
    np.testing.assert_allclose([rows % 1, cols % 1], 0.5, atol=1e-4)
    pixels = pyogrio.read_dataframe(points, layer="pixels")
    assert pixels["id"].tolist() == frame["id"].tolist()
    assert pixels.geometry.contains(frame.geometry).all()
    form = pyogrio.read_dataframe(points, layer="layer_styles", read_geometry=False)
    assert all(f'value="{name}"' in form["styleQML"][0] for name in NAMES)


def test_a_simple_random_sample_has_one_stratum(tmp_path):
    _, points, values = drawn(tmp_path, method="simple", size=200)
    design = read_design(design_path(points))
    assert [s.pixels for s in design.strata] == [int((values != 255).sum())]
    assert all(values[p.row, p.col] != 255 for p in design.points)


def test_the_size_follows_from_a_standard_error(tmp_path):
    _, points, _ = drawn(tmp_path, size=None, target_se=0.02, expect=("forest=0.9", "0.8"))
    design = read_design(design_path(points))
    assert len(design.points) == 239
    assert design.expected_se == pytest.approx(0.02, rel=0.15)


def test_strata_of_another_raster(tmp_path):
    strata = np.full(SHAPE, 1, np.uint8)
    strata[:, 80:] = 2
    strata[:, 150:] = 255
    write_map(tmp_path / "strata.tif", strata, names=("", "west", "east"))
    _, points, values = drawn(tmp_path, strata=tmp_path / "strata.tif", expect=("west=0.9",))
    design = read_design(design_path(points))
    assert [s.name for s in design.strata] == ["west", "east"]
    assert design.outside_pixels == ((values == 255) | (strata == 255)).sum()
    form = pyogrio.read_dataframe(points, layer="layer_styles", read_geometry=False)
    assert 'value="forest"' in form["styleQML"][0]
    assert "west" not in form["styleQML"][0]


# What is estimated


@pytest.mark.parametrize("grid", ["north-up", "geographic"])
@pytest.mark.parametrize("method", ["stratified", "simple"])
def test_a_sample_of_everything_gives_the_true_areas(tmp_path, method, grid):
    values = map_values((30, 41))
    truth = true_values(values)
    size = int((values != 255).sum())
    source, points, _ = drawn(tmp_path, values, grid, size=size, method=method)
    interpret(points, truth)
    found = estimate_accuracy(points, source).assessment
    area = PixelArea(open_class_map(source).grid).window((slice(0, 30), slice(0, 41)))
    inside = values != 255
    for k, share in enumerate(found.shares):
        assert share.value * found.total == pytest.approx(area[truth == k].sum())
        assert share.error == 0
    right = area[inside & (truth == values)].sum() / area[inside].sum()
    assert found.overall.value == pytest.approx(right)
    assert (found.overall.low, found.overall.high) == pytest.approx((right, right))


def test_estimates_enclose_the_truth_and_name_their_estimators(tmp_path):
    source, points, values = drawn(tmp_path, size=600)
    truth = true_values(values)
    interpret(points, truth)
    found = estimate_accuracy(points, source)
    assert found.assessment.source == "Olofsson et al. 2014"
    assert found.how == "stratified by map class"
    assert found.chance
    for k, share in enumerate(found.assessment.shares):
        true = (truth[values != 255] == k).mean()
        assert share.value == pytest.approx(true, abs=2 * share.margin)


def test_another_map_of_the_same_ground_takes_stehman(tmp_path):
    _, points, values = drawn(tmp_path)
    truth = true_values(values)
    interpret(points, truth)
    other = write_map(tmp_path / "other.tif", true_values(values, seed=5, share=0.3))
    found = estimate_accuracy(points, other)
    assert found.assessment.source == "Stehman 2014"
    assert found.how == "stratified by the classes of map.tif"
    perfect = estimate_accuracy(points, write_map(tmp_path / "truth.tif", truth)).assessment
    assert perfect.overall.value == 1
    assert perfect.overall.error == 0


def test_the_same_map_compressed_anew_is_the_same_map(tmp_path):
    _, points, values = drawn(tmp_path)
    interpret(points, true_values(values))
    again = write_map(tmp_path / "again.tif", values, compress="deflate", tiled=True)
    assert estimate_accuracy(points, again).assessment.source == "Olofsson et al. 2014"


def test_strata_of_another_raster_take_stehman_and_tell_of_other_ground(tmp_path):
    strata = np.where(np.arange(SHAPE[1]) < 80, 1, 2)[None].repeat(SHAPE[0], 0).astype(np.uint8)
    strata[:, 150:] = 255
    write_map(tmp_path / "strata.tif", strata, names=("", "west", "east"))
    source, points, values = drawn(tmp_path, strata=tmp_path / "strata.tif")
    interpret(points, true_values(values))
    found = estimate_accuracy(points, source)
    assert found.assessment.source == "Stehman 2014"
    assert found.outside[0] == ((values == 255) | (strata == 255)).sum()
    assert any("mapped and estimated areas are of different ground" in n for n in found.notes)


def test_classes_may_be_written_as_values_or_in_capitals_and_need_not_be_in_the_map(tmp_path):
    values = map_values()
    source = write_map(tmp_path / "map.tif", values, names=(*NAMES, "ice", "sand"))
    points = tmp_path / "sample.gpkg"
    design_sample(source, points, DesignSettings(size=300, at_least=20))
    frame = interpret(points, true_values(values))
    frame["class"] = ["3", " FOREST ", *frame["class"][2:]]
    save(points, frame)
    found = estimate_accuracy(points, source).assessment
    assert found.classes == (*NAMES, "ice")
    assert found.counts[:, 3].sum() == 1
    assert found.counts[3].sum() == 0
    frame["class"] = 1.0
    save(points, frame)
    assert estimate_accuracy(points, source).assessment.counts[:, 1].sum() == 300


def test_points_saved_in_another_crs_are_found_again(tmp_path):
    source, points, values = drawn(tmp_path)
    frame = interpret(points, true_values(values))
    before = estimate_accuracy(points, source)
    points.unlink()
    save(points, frame.to_crs(4326))
    assert estimate_accuracy(points, source).assessment.overall == before.assessment.overall


def test_rare_classes_that_chance_passed_over_are_taken_together(tmp_path):
    values = map_values()
    values[60, 60] = 3
    source = write_map(tmp_path / "map.tif", values, names=(*NAMES, "ice"))
    points = tmp_path / "sample.gpkg"
    design_sample(source, points, DesignSettings(size=150, method="simple"))
    interpret(points, values, names=(*NAMES, "ice"))
    found = estimate_accuracy(points, source)
    assert any("taken as one: ice" in note for note in found.notes)
    assert found.assessment.total == pytest.approx((values != 255).sum() * 100, rel=1e-3)


# Samples that are none


def test_points_without_a_class_are_refused_or_told_of(tmp_path):
    source, points, values = drawn(tmp_path)
    interpret(points, true_values(values), skip=range(1, 31))
    with pytest.raises(
        InputError, match=r"30 of 300 points \(10.0 %\) have no class.*--allow-miss"
    ):
        estimate_accuracy(points, source)
    found = estimate_accuracy(points, source, EstimateSettings(allow_missing=True))
    assert found.missing == 30
    assert any("30 of 300 points (10.0 %) have no class" in note for note in found.notes)
    interpret(points, values, skip=range(1, 301))
    with pytest.raises(InputError, match="300 of 300 points"):
        estimate_accuracy(points, source, EstimateSettings(allow_missing=True))


def test_points_that_are_gone_are_missing(tmp_path):
    source, points, values = drawn(tmp_path)
    frame = interpret(points, true_values(values))
    save(points, frame[10:])
    with pytest.raises(InputError, match=r"10 of 300 points.*have no class, or are gone"):
        estimate_accuracy(points, source)


def test_points_that_were_added_are_left_out(tmp_path):
    source, points, values = drawn(tmp_path)
    frame = interpret(points, true_values(values))
    before = estimate_accuracy(points, source)
    extra = frame[:3].assign(id=[900, 901, 902])
    save(points, gpd.GeoDataFrame(np.concatenate([frame, extra]), columns=frame.columns).set_crs(
        frame.crs
    ))  # fmt: skip
    found = estimate_accuracy(points, source)
    assert found.assessment.overall == before.assessment.overall
    assert "3 points are not of the design, and were left out" in found.notes
    assert found.chance


def test_points_that_were_moved_are_no_probability_sample(tmp_path):
    source, points, values = drawn(tmp_path)
    frame = interpret(points, true_values(values))
    moved = frame.geometry.copy()
    moved[:2] = [moved[10], moved[11]]
    save(points, frame.set_geometry(moved))
    found = estimate_accuracy(points, source)
    assert not found.chance
    assert any("2 points do not lie in the pixel that was drawn" in n for n in found.notes)
    nudged = frame.geometry.translate(3, -3)
    save(points, frame.set_geometry(nudged))
    assert estimate_accuracy(points, source).chance


def test_points_of_another_making_are_no_probability_sample(tmp_path):
    source, points, values = drawn(tmp_path)
    frame = interpret(points, true_values(values))
    design_path(points).unlink()
    save(points, frame[["class", "geometry"]])
    found = estimate_accuracy(points, source)
    assert not found.chance
    assert any("no probability sample: no design tells how" in note for note in found.notes)
    assert found.how == "points of unknown chances, taken as simple random"
    hole = frame.geometry.copy()
    hole[0] = gpd.points_from_xy([500_035], [5_700_065])[0]
    save(points, frame.set_geometry(hole)[["class", "geometry"]])
    found = estimate_accuracy(points, source)
    assert any("1 of 300 points lie where the map has no class" in note for note in found.notes)


def test_a_map_with_holes_under_the_sample_is_refused(tmp_path):
    _, points, values = drawn(tmp_path)
    interpret(points, true_values(values))
    values[:, :30] = 255
    other = write_map(tmp_path / "other.tif", values)
    with pytest.raises(InputError, match=r"other.tif: \d+ of 300 points lie where the map has no"):
        estimate_accuracy(points, other)


def test_a_map_on_another_grid_is_refused(tmp_path):
    _, points, values = drawn(tmp_path)
    interpret(points, true_values(values))
    for grid, part in (("south-up", values), ("north-up", values[1:])):
        other = write_map(tmp_path / "other.tif", part, grid)
        with pytest.raises(InputError, match=r"does not lie on the grid of map.tif"):
            estimate_accuracy(points, other)


def test_a_stratum_with_one_point_is_refused(tmp_path):
    source, points, values = drawn(tmp_path)
    design = read_design(design_path(points))
    last = [p.id for p in design.points if p.stratum == 1][1:]
    interpret(points, values, skip=last)
    with pytest.raises(InputError, match="stratum forest has 1 interpreted points"):
        estimate_accuracy(points, source, EstimateSettings(allow_missing=True))


# Refusals


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


def test_words_that_are_no_class_are_refused_and_listed(tmp_path):
    source, points, values = drawn(tmp_path)
    frame = interpret(points, true_values(values))
    frame["class"] = ["wood", "wood", "see", *frame["class"][3:]]
    save(points, frame)
    with pytest.raises(
        InputError, match=r"called 'wood' \(2 points\), 'see'.*: water, forest, bare"
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
    with pytest.raises(InputError, match="beyond 32 bits"):
        census(np.full((5, 6), 3e9))
    with pytest.raises(InputError, match="no pixel with a class"):
        census(np.full((5, 6), 255, np.uint8))
    with pytest.raises(InputError, match="more than 1024 different values"):
        census(np.arange(1200, dtype=np.int32).reshape(30, 40), nodata=None)
    spread = census(np.array([[5, -7, 2**30, 5]], np.int32), nodata=None)
    assert spread.values == (-7, 5, 2**30)
    floats = census(np.array([[1, np.nan, 2, 2]], np.float32), nodata=None)
    assert (floats.pixels, floats.outside_pixels) == ((1, 2), 1)
    with pytest.raises(InputError, match="complex64 is no type of classes"):
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
    with pytest.raises(InputError, match=r"map.tif: rows \d+ to \d+ cannot be read"):
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


# The job's report, and the command line


def a_job(folder: Path, values) -> Path:
    """What `geounet segment` leaves, as far as an assessment looks at it."""
    folder.mkdir()
    write_map(folder / "mask.tif", values)
    report = {"areas": "pixel count, no accuracy assessment", "classes": [], "hidden_ha": 0.25}
    (folder / "report.json").write_text(json.dumps(report))
    return folder / "mask.tif"


def test_the_report_of_a_job_takes_the_areas(tmp_path):
    values = map_values()
    mask, points = a_job(tmp_path / "job", values), tmp_path / "sample.gpkg"
    assert design_sample(mask, points, DesignSettings(size=300, at_least=20)).hidden_ha == 0.25
    interpret(points, true_values(values))
    found = estimate_accuracy(points, mask, EstimateSettings(out=mask.parent))
    assert found.out == mask.parent / "accuracy.json"
    assert found.reported
    report = json.loads((mask.parent / "report.json").read_text())
    assert report["areas"] == (
        "error-adjusted, from a probability sample of 300 points (accuracy.json)"
    )
    shares = found.assessment.shares
    hectares = [s.value * found.assessment.total / 1e4 for s in shares]
    assert [row["area_ha"] for row in report["adjusted_areas"]] == pytest.approx(hectares)
    assert report["hidden_ha"] == 0.25
    write_map(mask, np.where(values == 2, 1, values))
    assert adjusted_areas(mask.parent) is None


def test_a_job_that_is_made_again_keeps_areas_of_the_same_mask(tmp_path, capsys):
    values = map_values()
    mask, points = a_job(tmp_path / "job", values), tmp_path / "sample.gpkg"
    design_sample(mask, points, DesignSettings(size=300, at_least=20))
    interpret(points, true_values(values))
    estimate_accuracy(points, mask, EstimateSettings(out=mask.parent))
    results = Results(mask.parent, (mask,), (ClassArea(0, "water", 5, 0.05, 1.0),), 0.0, 0, 0)
    report = mask.parent / "report.json"
    write_report(report, results, {})
    assert json.loads(report.read_text())["adjusted_areas"][0]["name"] == "water"
    print_results(results)
    printed = capsys.readouterr().out
    assert "areas: error-adjusted, from a probability sample of 300 points" in printed
    assert "water: " in printed
    write_map(mask, np.where(values == 2, 1, values))
    write_report(report, results, {})
    assert json.loads(report.read_text())["areas"] == "pixel count, no accuracy assessment"


def test_the_report_keeps_its_pixel_counts_where_the_sample_is_none(tmp_path):
    values = map_values()
    mask, points = a_job(tmp_path / "job", values), tmp_path / "sample.gpkg"
    design_sample(mask, points, DesignSettings(size=300, at_least=20))
    interpret(points, true_values(values))
    design_path(points).unlink()
    found = estimate_accuracy(points, mask, EstimateSettings(out=mask.parent))
    assert not found.reported
    report = json.loads((mask.parent / "report.json").read_text())
    assert report["areas"] == "pixel count, no accuracy assessment"
    assert adjusted_areas(mask.parent) is None
    assert adjusted_areas(tmp_path) is None


def test_the_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    values = map_values()
    mask, points = a_job(tmp_path / "job", values), tmp_path / "sample.gpkg"
    call = ["assess", "design", str(mask), str(points), "--size", "300", "--at-least", "20"]
    assert cli.run(call) == 0
    printed = capsys.readouterr().out
    assert "expected standard error of overall accuracy: 0.02" in printed
    assert "77 pixels) without a class, of which a cloud mask hid 0.2 ha" in " ".join(
        printed.split()
    )
    interpret(points, true_values(values), skip=[4])
    call = ["assess", "estimate", str(points), "--map", str(mask), "--out", str(mask.parent)]
    assert cli.run(call) == 3
    assert "1 of 300 points (0.3 %)" in capsys.readouterr().err
    assert cli.run([*call, "--allow-missing"]) == 0
    printed = capsys.readouterr()
    assert "note: 1 of 300 points" in " ".join(printed.err.split())
    assert max(map(len, printed.out.splitlines()[:-1])) <= 80
    for word in (
        "user's accuracy",
        "estimated ha",
        "error matrix",
        "overall accuracy 0.9",
        "takes",
    ):
        assert word in printed.out
    content = json.loads((mask.parent / "accuracy.json").read_text())
    assert content["sample"] == {
        "how": "stratified by map class", "interpreted": 299, "missing": 1,
        "probability_sample": True,
    }  # fmt: skip
    assert cli.run(["assess", "design", str(mask), str(points)]) == 2
    assert "say how many points" in capsys.readouterr().err


def test_a_matrix_of_many_classes_is_left_to_the_file(tmp_path, capsys):
    values = np.repeat(np.arange(10, dtype=np.uint8), 30)[None].repeat(20, 0)
    source = write_map(tmp_path / "map.tif", values, names=[f"c{i}" for i in range(10)])
    points = tmp_path / "sample.gpkg"
    design_sample(source, points, DesignSettings(size=200, at_least=5))
    interpret(points, values, names=[f"c{i}" for i in range(10)])
    assert cli.run(["assess", "estimate", str(points), str(source)]) == 0
    assert "10 classes are too many to print" in capsys.readouterr().out
