"""Several scenes in one call: on the same workers, each as if it were alone."""

from __future__ import annotations

import signal

import pytest

from geounet import cli, segmentation
from geounet.errors import BugError, GeounetError, InputError
from geounet.outputs import MapWithHolesError, Results
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


@pytest.fixture
def breaks(scenes, monkeypatch):
    """A function that makes another one of segmentation meet what nobody foresaw, for one scene."""

    def breaking(name):
        real = getattr(segmentation, name)

        def broken(scene, *others):
            if str(scene) == str(scenes[0]):
                raise KeyError("nobody thought of it")
            return real(scene, *others)

        monkeypatch.setattr(segmentation, name, broken)

    return breaking


@pytest.fixture
def two_with_a_bug(scenes, breaks):
    breaks("prepare")
    return [str(scenes[0]), str(scenes[2])]


def test_a_bug_that_one_scene_meets_does_not_stop_the_others(
    two_with_a_bug, model, tmp_path, capsys
):
    tokens = ["segment", *two_with_a_bug, str(tmp_path / "all"), "--model", str(model)]
    assert cli.run([*tokens, "--window", "64", "--progress", "none"]) == 4
    assert (tmp_path / "all" / "s2" / "mask.tif").exists()
    lines = capsys.readouterr().err.splitlines()
    first, last = (line for line in lines if line.startswith("geounet:"))
    assert "s0.tif: KeyError" in first
    assert "this is a bug in geounet" in first
    assert last == "geounet: 1 of 2 scenes failed, see above"
    assert cli.run([*tokens, "--overwrite", "--fail-fast"]) == 1


def test_a_bug_while_a_scene_is_opened_does_not_stop_the_others(scenes, model, tmp_path, breaks):
    breaks("open_scene")
    found = list(segment_all([scenes[0], scenes[2]], model, tmp_path / "all", SETTINGS))
    assert [isinstance(outcome, BugError) for _, outcome in found] == [True, False]


def test_with_debug_the_place_of_each_failure_is_shown(two_with_a_bug, model, tmp_path, capsys):
    tokens = ["segment", *two_with_a_bug, str(tmp_path / "all"), "--model", str(model), "--debug"]
    assert cli.run([*tokens, "--window", "64"]) == 4
    assert 'raise KeyError("nobody thought of it")' in capsys.readouterr().err


def test_scenes_that_all_fail_alike_end_with_their_own_code(scenes, model, tmp_path, capsys):
    bad = tmp_path / "bad.tif"
    bad.write_text("no image either")
    tokens = ["segment", str(scenes[1]), str(bad), str(tmp_path / "all"), "--model", str(model)]
    assert cli.run(tokens) == 3
    lines = capsys.readouterr().err.splitlines()
    named = zip(lines, [scenes[1], bad], strict=False)
    assert [line.count(f"{path}: ") for line, path in named] == [1, 1]
    assert lines[-1] == "geounet: all 2 scenes failed, see above"


def test_maps_that_all_have_holes_end_with_their_code(scenes, model, tmp_path, monkeypatch):
    def with_holes(scene, *others):
        raise MapWithHolesError(f"{scene}: 1 tile was lost", Results(tmp_path, (), (), 0.0, 0, 0))

    monkeypatch.setattr(segmentation, "segment", with_holes)
    tokens = ["segment", str(scenes[0]), str(scenes[2]), str(tmp_path / "all")]
    assert cli.run([*tokens, "--model", str(model)]) == 4
