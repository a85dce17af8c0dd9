"""Where a command talks to: pipes that were closed, full disks, nothing at all, old terminals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs import make_scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
GEOUNET = [sys.executable, "-m", "geounet"]
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def started(tokens, where, **how):
    """The exit code of a command whose shell sends its output ``where``."""
    command = " ".join([*GEOUNET, *map(str, tokens), where])
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, **how)


@pytest.mark.parametrize("where", ["2> >(true)", "2>&-", pytest.param("2>/dev/full", marks=full)])
def test_a_job_to_which_nobody_listens_is_done(where, scene, model, tmp_path):
    out = tmp_path / "out"
    tokens = ["segment", scene, out, "--model", model, "--format", "none", "--progress", "json"]
    assert started(tokens, where).returncode == 0
    assert (out / "mask.tif").exists()
    assert (out / "report.json").exists()


def test_whoever_reads_the_data_may_go_away(scene):
    found = started(["inspect", scene], "> >(true)")
    assert found.returncode == 0
    assert found.stderr == ""


@full
def test_data_that_cannot_be_printed_is_an_output_problem(scene):
    """D1: where standard output is a file on a full disk."""
    found = started(["inspect", scene], ">/dev/full")
    assert found.returncode == 5
    assert found.stderr.startswith("geounet: standard output: cannot be written (No space left")
    assert found.stderr.count("\n") == 1


def test_a_locale_that_knows_ascii_only_is_told_of(tmp_path):
    scene = make_scene(tmp_path / "fleuve \u00e9t\u00e9.tif", (61, 83))
    plain = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [*GEOUNET, "inspect", str(scene)]
    found = subprocess.run(command, capture_output=True, env=plain)
    assert found.returncode == 3
    assert b"set a locale such as C.UTF-8" in found.stderr
    assert found.stderr.count(b"\n") == 1


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    name = os.fsencode(tmp_path) + b"/bad\xff.tif"
    Path(os.fsdecode(name)).write_bytes(b"II*\0")
    found = subprocess.run([*GEOUNET, "inspect", name], capture_output=True, text=True)
    assert found.returncode == 3
    assert "is no UTF-8 here" in found.stderr
    assert found.stderr.count("\n") == 1
