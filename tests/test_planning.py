"""What a job will take, said before it begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely

from geounet.grid import Plan
from geounet.planning import LARGEST_CACHE, SMALLEST_CACHE, blocks_touched, cut, make_plan
from geounet.scene import open_scene
from geounet.settings import SegmentSettings
from tests.made_scenes import UTM33, north_up, write
from tests.nets import architecture, card_of

CARD = card_of(architecture(depth=2, bands=1), bands=("band1",))


def scene(path, shape, **layout):
    write(path, np.ones((1, *shape), np.uint16), transform=north_up(10), crs=UTM33, **layout)
    return open_scene(path)


def test_the_window_asked_for_is_the_window_planned(tmp_path):
    opened = scene(tmp_path / "s.tif", (100, 200))
    planned = make_plan(opened, CARD, SegmentSettings(window=64), None)
    assert planned.plan == Plan((100, 200), 64, 24, 4)
    assert planned.computed_share == len(planned.tiles) * 64 * 64 / (100 * 200)
    assert planned.cache == SMALLEST_CACHE
    assert not planned.notes


def test_without_a_window_it_is_chosen_and_fits_the_stride(tmp_path):
    plan = make_plan(scene(tmp_path / "s.tif", (40, 30)), CARD, SegmentSettings(), None).plan
    assert plan.window % plan.stride == 0
    assert plan.window > 2 * plan.halo


def test_blocks_of_a_tiled_file_are_those_that_a_window_touches(tmp_path):
    opened = scene(tmp_path / "s.tif", (600, 900), tiled=True, blockxsize=128, blockysize=64)
    plan = Plan((600, 900), 256, 24, 4)
    assert blocks_touched(opened.bands[0].raster, plan) == (256 + 64) * (256 + 128) * 2


def test_blocks_of_a_striped_file_are_as_wide_as_the_file(tmp_path):
    opened = scene(tmp_path / "s.tif", (300, 2000), blockysize=1)
    plan = Plan((300, 2000), 128, 24, 4)
    assert blocks_touched(opened.bands[0].raster, plan) == (128 + 1) * 2000 * 2


def test_a_layout_that_is_slow_to_read_is_named_with_the_way_out(tmp_path):
    path = tmp_path / "wide.tif"
    opened = scene(path, (1100, 120_000), blockysize=1, SPARSE_OK="TRUE", compress="deflate")
    planned = make_plan(opened, CARD, SegmentSettings(window=1024), None)
    assert planned.cache == LARGEST_CACHE
    assert "gdal_translate -co TILED=YES" in planned.notes[0]


@pytest.mark.parametrize("word", ["tiles", "window", "memory", "disk"])
def test_a_plan_describes_itself(tmp_path, word):
    opened = scene(tmp_path / "s.tif", (100, 200))
    assert word in make_plan(opened, CARD, SegmentSettings(window=64), None).describe()


def test_ground_that_no_tile_covers_takes_no_disk(tmp_path):
    opened = scene(tmp_path / "s.tif", (40, 30))
    opened = replace(opened, grid=replace(opened.grid, shape=(9000, 9000)))
    corner = shapely.Polygon(opened.grid[slice(0, 50), slice(0, 50)].corners)
    whole, part = (make_plan(opened, CARD, SegmentSettings(), a) for a in (None, corner))
    assert len(part.tiles) == 1
    assert part.disk < whole.disk / 10


def test_eight_views_are_said_to_take_eight_times_the_computing(tmp_path):
    opened = scene(tmp_path / "s.tif", (100, 200))
    once, often = (
        make_plan(opened, CARD, SegmentSettings(window=64, tta=tta), None) for tta in (False, True)
    )
    assert often.computed_share == 8 * once.computed_share
    assert often.memory - once.memory == 64 * 64 * 3 * 4 * len(CARD.classes)


def test_a_margin_widens_the_halo_to_the_next_multiple_of_the_stride():
    plans = [cut((100, 200), CARD, SegmentSettings(window=96), margin) for margin in (0, 3, 5)]
    assert [plan.halo for plan in plans] == [24, 28, 32]
