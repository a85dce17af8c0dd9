"""Killed at random moments, a job resumes to the bytes of one that was never killed."""

from __future__ import annotations

import signal
import sys
import time

import pytest

from tests.jobs import make_model, make_scene
from tests.killed_jobs import assert_resumes, finished, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A scene of some 400 tiles, and the command that maps it, without its output."""
    folder = tmp_path_factory.mktemp("job")
    scene = make_scene(folder / "scene.tif", (310, 350))
    model = make_model(folder / "drawn.safetensors")
    return [
        sys.executable, "-m", "geounet.cli", "segment", str(scene), "{out}",
        "--model", str(model), "--window", "64", "--confidence",
        "--format", "gpkg", "--format", "geojson", "--format", "shp",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(job, tmp_path_factory):
    """An uninterrupted run: its outputs, and how long it took."""
    return finished(job, tmp_path_factory.mktemp("whole") / "out")


def test_killed_at_ten_random_moments_resume_gives_the_same_bytes(job, whole, tmp_path):
    assert_resumes(job, tmp_path, whole, earliest=0.25, kills=10)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_commits_what_runs_and_says_how_to_go_on(number, code, job, whole, tmp_path):
    expected, _ = whole
    process = start(job, tmp_path / "out")
    journal = tmp_path / "out" / ".geounet" / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 5):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code, errors
    assert "--resume to go on" in errors
    assert "Traceback" not in errors
    assert finished(job, tmp_path / "out", "--resume")[0] == expected
