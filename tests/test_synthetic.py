"""Made pairs: the same whatever the window, and known for what they are."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from geounet.pipelines.flood import NEW, flood
from hypothesis import given, settings
from hypothesis import strategies as st

from geounet.card import NODATA
from geounet.change_settings import FloodSettings
from geounet.errors import OutputError
from geounet.grid import Grid
from geounet.scene import open_scene
from geounet.synthetic import BANDS, CLOUD, FOREST, WATER, MadePair
from geounet.synthetic_files import write_pair
from geounet.synthetic_noise import normal, smooth, uniform
from tests.jobs import GRIDS, read

GRID = Grid((96, 117), *GRIDS["north-up"])
LARGE = Grid((128, 128), GRIDS["north-up"][0], GRIDS["north-up"][1])


@settings(max_examples=12)
@given(st.tuples(*[st.integers(0, 95)] * 2), st.tuples(*[st.integers(0, 116)] * 2))
def test_a_window_is_the_window_of_the_whole(rows, cols):
    window = tuple(slice(min(span), max(span) + 1) for span in (rows, cols))
    for event in ("flood", "clearing"):
        pair = MadePair(GRID, 4, event, clouds=0.3)
        for date in (0, 1):
            assert (pair.view(window, date) == pair.view(GRID.whole, date)[window]).all()
        assert (pair.changed(window) == pair.changed(GRID.whole)[window]).all()


def test_the_seed_alone_decides():
    one, same, other = (MadePair(GRID, seed).view(GRID.whole, 1) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).mean() > 0.5


def test_noise_is_even_and_of_the_spread_that_it_says():
    rows, cols = np.arange(-300, 400), np.arange(500)
    even = uniform(rows, cols, 0)
    assert (even.min(), even.max()) == (pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-4))
    assert np.corrcoef(even[1:].ravel(), even[:-1].ravel())[0, 1] == pytest.approx(0, abs=0.01)
    assert normal(rows, cols, 1).std() == pytest.approx(1, abs=0.01)
    assert smooth(rows, cols, 20, 2).std() == pytest.approx(1, abs=0.25)


def test_a_flood_only_adds_water_and_clearings_only_take_forest():
    before, after = (MadePair(GRID, 3, "flood").land(GRID.whole, date) for date in (0, 1))
    assert ((before == WATER) <= (after == WATER)).all()
    assert (after[before != after] == WATER).all()
    pair = MadePair(Grid((400, 400), GRID.transform, GRID.crs), 5, "clearing")
    before, after = (pair.land(pair.grid.whole, date) for date in (0, 1))
    assert (before[before != after] == FOREST).all()
    assert 0.005 < pair.changed(pair.grid.whole).mean() < 0.2


def test_files_say_that_they_were_made_and_open_as_scenes(tmp_path):
    files = write_pair(MadePair(GRID, 7, clouds=0.3), tmp_path)
    for path in files:
        assert path.name.startswith("made_flood_7_")
        with rasterio.open(path) as data:
            assert data.tags()["GEOUNET_MADE"] == "yes"
            assert (data.shape, data.transform, data.crs) == (GRID.shape, GRID.transform, GRID.crs)
    scene = open_scene(files.after)
    assert tuple(band.name for band in scene.bands) == BANDS
    assert scene.date == "2020-08-15"
    assert scene.notes == ("made_flood_7_after: is a drawn scene, not an observation of the Earth",)
    assert {(band.scale, band.offset, band.nodata) for band in scene.bands} == {(1e-4, 0.0, 0.0)}
    assert (scene.read(GRID.whole).bands == MadePair(GRID, 7, clouds=0.3).view(GRID.whole, 1)).all()
    assert CLOUD in read(files.clouds)
    with pytest.raises(OutputError, match="exists"):
        write_pair(MadePair(GRID, 7), tmp_path)


def test_the_flood_job_finds_the_flood_that_was_drawn(tmp_path):
    pair = MadePair(LARGE, 3, clouds=0.1)
    files = write_pair(pair, tmp_path)
    asked = FloodSettings(mask_after=(f"{files.clouds}:values=1,2",), formats=("none",))
    flood(files.before, files.after, tmp_path / "out", settings=asked)
    mask, truth = read(tmp_path / "out" / "mask.tif"), read(files.truth) > 0
    found, seen = mask == NEW, mask != NODATA
    assert truth[seen].mean() > 0.05
    print((found & truth)[seen].sum() / (found | truth)[seen].sum())
    assert (found & truth)[seen].sum() / (found | truth)[seen].sum() > 0.7
