"""Killed at random moments, a job that compares dates resumes to the bytes of one that was not."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import pytest

from tests.made_dates import dates, model_of_two
from tests.test_kills import names_that_claim_to_be_complete, start
from tests.test_segment import outputs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
KILLS = 4


def test_killed_at_random_moments_resume_gives_the_same_bytes(tmp_path):
    scenes = [str(path) for path in dates(tmp_path / "dates", 3)]
    model = str(model_of_two(tmp_path / "two.safetensors"))
    job = [
        sys.executable, "-m", "geounet.cli", "deforestation", *scenes, "{out}", "--model", model,
        "--target", "class 1", "--window", "64", "--min-area", "3px", "--score",
    ]  # fmt: skip
    began = time.monotonic()
    process = start(job, tmp_path / "whole")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    expected, seconds = outputs(tmp_path / "whole"), time.monotonic() - began
    draw = random.Random(7)
    for kill in range(KILLS):
        out = tmp_path / f"out{kill}"
        process = start(job, out)
        time.sleep(draw.uniform(0.4, 1.0) * seconds)
        finished = process.poll() is not None
        if not finished:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if out.exists() and not finished:
            for name in names_that_claim_to_be_complete(out) & expected.keys() - {"report.json"}:
                assert (out / name).read_bytes() == expected[name], name
        process = start(job, out, "--resume")
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        assert outputs(out) == expected
        assert not [path for path in out.iterdir() if path.name.startswith(".")]
