"""The window is tried on the device before the first tile, and never changes after it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from geounet.cluster import cluster
from geounet.errors import LostItemError, SettingsError
from geounet.machine import this_machine
from geounet.map_job import _that_fits
from geounet.preparation import as_before, prepare
from geounet.segmentation import _recipe
from geounet.settings import SegmentSettings
from tests.jobs import make_scene


class SmallDevice:
    """A Dask client whose device has memory for windows of at most ``side`` pixels."""

    def __init__(self, side):
        self.side, self.tried = side, []

    def submit(self, task, forward, shape, dtype, pure):
        self.tried.append(shape[0])
        return self

    def result(self):
        if self.tried[-1] > self.side:
            raise LostItemError("takes more memory than there is")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Larger than the largest window."""
    return make_scene(tmp_path_factory.mktemp("scene") / "scene.tif", (150, 197))


@pytest.fixture
def recipe_after(scene, model):
    """Recipes for an accelerator that nobody asked for a window of."""

    def make(earlier, asked=None):
        settings = as_before(SegmentSettings(window=asked), {"window": 128} | earlier)
        recipe = _recipe(prepare(scene, model, settings))
        machine = replace(this_machine(), device="gpu of a test")
        return replace(recipe, plan=replace(recipe.plan, machine=machine))

    return make


def test_the_largest_window_that_fits_is_taken(recipe_after):
    device = SmallDevice(80)
    recipe = _that_fits(device, recipe_after({}), recipe_after, {})
    assert recipe.plan.plan.window == 64
    assert device.tried == [128, 64]


def test_the_window_of_an_earlier_run_is_not_tried_again(recipe_after):
    device = SmallDevice(16)
    recipe = _that_fits(device, recipe_after({"window": 128}), recipe_after, {"window": 128})
    assert (recipe.plan.plan.window, device.tried) == (128, [])


def test_a_window_that_was_asked_for_is_refused_and_not_changed(recipe_after):
    def asked(earlier):
        return recipe_after(earlier, asked=128)

    with pytest.raises(SettingsError, match="--window 128: takes more memory than gpu of a test"):
        _that_fits(SmallDevice(80), asked({}), asked, {})


def test_where_no_window_fits_the_smallest_is_named(recipe_after):
    with pytest.raises(SettingsError, match="does not fit this model"):
        _that_fits(SmallDevice(8), recipe_after({}), recipe_after, {})


def test_the_trial_runs_the_network_itself(recipe_after):
    with cluster() as client:
        assert _that_fits(client, recipe_after({}), recipe_after, {}).plan.plan.window == 128
