"""Killed at random moments, a job resumes to the bytes of one that was never killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.jobs import make_model, make_scene
from tests.test_segment import outputs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
KILLS = 10


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


def start(job, out, *flags):
    command = [part.format(out=out) for part in job] + list(flags)
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


@pytest.fixture(scope="module")
def whole(job, tmp_path_factory):
    """An uninterrupted run: its outputs, and how long it took."""
    out = tmp_path_factory.mktemp("whole") / "out"
    began = time.monotonic()
    process = start(job, out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return outputs(out), time.monotonic() - began


def names_that_claim_to_be_complete(out):
    return {p.name for p in out.iterdir() if p.is_file() and not p.name.startswith(".")}


def test_killed_at_ten_random_moments_resume_gives_the_same_bytes(job, whole, tmp_path):
    expected, seconds = whole
    draw = random.Random(7)
    for kill in range(KILLS):
        out = tmp_path / f"out{kill}"
        process = start(job, out)
        time.sleep(draw.uniform(0.25, 1.0) * seconds)
        finished = process.poll() is not None
        if not finished:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if out.exists() and not finished:
            # What has its final name is complete, even now.
            for name in names_that_claim_to_be_complete(out) & expected.keys():
                if name != "report.json":
                    assert (out / name).read_bytes() == expected[name], name
        process = start(job, out, "--resume")
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        assert outputs(out) == expected
        assert not [p for p in out.iterdir() if p.name.startswith(".")]


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
    process = start(job, tmp_path / "out", "--resume")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert outputs(tmp_path / "out") == expected
