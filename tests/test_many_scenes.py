"""Several scenes in one call: on the same workers, each as if it were alone."""

from __future__ import annotations

import signal

import pytest

from geounet import cli
from geounet.errors import GeounetError, InputError
from geounet.segmentation import segment, segment_all
from geounet.settings import SegmentSettings
from tests.jobs import make_scene
from tests.test_segment import StopsAfter, outputs

SETTINGS = SegmentSettings(window=64, formats=("gpkg", "shp"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Four scenes, of which the second is no image."""
    folder = tmp_path_factory.mktemp("scenes")
    paths = [make_scene(folder / f"s{k}.tif", (90, 120), seed=k) for k in range(4)]
    paths[1].write_text("no image")
    return paths


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_each_map_is_that_of_the_scene_alone(workers, scenes, model, tmp_path):
    settings = SETTINGS.model_copy(update={"workers": workers})
    found = list(segment_all(scenes, model, tmp_path / "all", settings))
    assert [scene for scene, _ in found] == [str(scene) for scene in scenes]
    assert [isinstance(outcome, InputError) for _, outcome in found] == [False, True, False, False]
    for scene in (scenes[0], scenes[2], scenes[3]):
        segment(scene, model, tmp_path / scene.stem, SETTINGS)
        assert outputs(tmp_path / "all" / scene.stem) == outputs(tmp_path / scene.stem)


def test_fail_fast_ends_at_the_first_that_fails_and_begins_no_other(scenes, model, tmp_path):
    settings = SETTINGS.model_copy(update={"fail_fast": True})
    done = segment_all(scenes, model, tmp_path / "all", settings)
    assert next(done)[0] == str(scenes[0])
    with pytest.raises(InputError, match=r"s1\.tif"):
        list(done)
    assert not (tmp_path / "all" / "s3").exists()
    tokens = ["segment", *map(str, scenes), str(tmp_path / "cli"), "--model", str(model)]
    assert cli.run([*tokens, "--window", "64", "--fail-fast"]) == 3


def test_a_stop_ends_all_and_a_resume_does_the_rest(scenes, model, tmp_path):
    good = [scenes[0], scenes[2], scenes[3]]
    with pytest.raises(GeounetError, match="stopped") as stopped:
        list(segment_all(good, model, tmp_path / "all", SETTINGS, StopsAfter(2, signal.SIGTERM)))
    assert stopped.value.exit_code == 143
    assert not (tmp_path / "all" / "s3").exists()
    segment(good[0], model, tmp_path / "all" / "s0", SETTINGS.model_copy(update={"resume": True}))
    segment(good[0], model, tmp_path / "s0", SETTINGS)
    assert outputs(tmp_path / "all" / "s0") == outputs(tmp_path / "s0")
