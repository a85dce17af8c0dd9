"""Interpreted points read back: estimators, other maps, samples that are none of chance."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest

from geounet.area import PixelArea
from geounet.assess.class_map import open_class_map
from geounet.assess.design import design_sample
from geounet.assess.design_file import design_path, read_design
from geounet.assess.estimate import estimate_accuracy
from geounet.assess.settings import DesignSettings, EstimateSettings
from geounet.errors import InputError
from tests.made_samples import (
    NAMES,
    SHAPE,
    drawn,
    interpret,
    map_values,
    save,
    true_values,
    write_map,
)


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
    with pytest.raises(InputError, match=r"sample.gpkg: stratum forest has 1 interpreted points"):
        estimate_accuracy(points, source, EstimateSettings(allow_missing=True))
