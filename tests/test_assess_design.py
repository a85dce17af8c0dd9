"""Which pixels a sample takes, and what its files show."""

from __future__ import annotations

import numpy as np
import pyogrio
import pytest
import rasterio
from rasterio.crs import CRS

from geounet.area import PixelArea
from geounet.assess.census import count, population_of
from geounet.assess.class_map import open_class_map
from geounet.assess.design import design_sample
from geounet.assess.design_file import design_path, read_design
from geounet.assess.draw import draw_ranks, find_pixels
from geounet.assess.settings import DesignSettings
from geounet.reporting import Silence
from tests.jobs import GRIDS
from tests.made_samples import (
    NAMES,
    SHAPE,
    drawn,
    map_values,
    write_map,
)


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
