"""Killed at every tile and at random moments, a job resumes to the bytes of one that was not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from geounet.model_file import save_model
from tests.faults.killed_jobs import drawn, journalled, whole
from tests.jobs import make_scene
from tests.nets import architecture, card_of, random_net
from tests.test_segment import outputs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TILES = 25
APPEND = r"open a {out}/\.geounet/journal\.jsonl"


@pytest.fixture(scope="module")
def job(zygote, tmp_path_factory):
    """A job of 25 tiles, each long enough to have a line of the journal to itself."""
    folder = tmp_path_factory.mktemp("job")
    scene = make_scene(folder / "scene.tif", (230, 237))
    arch = architecture(depth=1, base_filters=56, bands=3, outputs=3)
    model = folder / "drawn.safetensors"
    save_model(model, random_net(arch, seed=2), card_of(arch), "float32")
    tokens = [
        "segment", str(scene), "{out}", "--model", str(model), "--window", "64",
        "--format", "gpkg", "--format", "geojson", "--format", "shp", "--format", "fgb",
        "--confidence", "--min-area", "40px",
    ]  # fmt: skip
    return whole(zygote, tokens, folder, outputs)


def test_the_zygotes_children_write_what_the_command_writes(job, tmp_path):
    tokens = [token.format(out=tmp_path / "out") for token in job.tokens]
    subprocess.run([sys.executable, "-m", "geounet.cli", *tokens], check=True, capture_output=True)
    assert outputs(tmp_path / "out") == job.files


@pytest.mark.parametrize("part", range(5))
def test_killed_at_every_tile_that_the_journal_has(part, job, tmp_path):
    """Before each line but the first; tiles that were done together have theirs at one stroke."""
    for tile in range(part, TILES, 5):
        out = tmp_path / f"{tile}"
        if job.killed_before(out, tile + 1, APPEND):
            assert journalled(out) >= tile
        job.assert_sound_and_resumes(out, tile)


def test_killed_when_every_tile_is_done(job, tmp_path):
    assert job.killed_before(tmp_path / "out", 1, r"os\.mkdir {out}/\.mask\..*")
    assert journalled(tmp_path / "out") == TILES
    job.assert_sound_and_resumes(tmp_path / "out", TILES)


@pytest.mark.parametrize("part", range(3))
def test_killed_at_thirty_random_moments(part, job, tmp_path):
    """Moments of the job's own CPU time, so that a busy machine does not move them."""
    moments = drawn(7, 30, 0.0, 1.0)[10 * part : 10 * (part + 1)]
    assert job.assert_survives(moments, tmp_path) >= 8


@pytest.mark.long
def test_killed_before_ten_random_file_operations(job, tmp_path):
    job.assert_survives_operations(drawn(8, 10, 0.0, 1.0), tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_commits_what_runs_and_says_how_to_go_on(number, code, job, tmp_path):
    out = tmp_path / "out"
    child = job.start(out)
    deadline = time.monotonic() + 120
    while journalled(out) < 5:
        assert time.monotonic() < deadline
        assert child.poll() is None, child.errors
        time.sleep(0.005)
    child.kill(number)
    assert child.wait() == code, child.errors
    assert "--resume to go on" in child.errors
    assert "Traceback" not in child.errors
    job.assert_sound_and_resumes(out, number)
