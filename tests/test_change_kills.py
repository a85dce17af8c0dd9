"""Killed at random moments, a job that compares dates resumes to the bytes of one that was not."""

from __future__ import annotations

import sys

import pytest

from tests.killed_jobs import assert_resumes, finished
from tests.made_dates import dates, model_of_two

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_killed_at_random_moments_resume_gives_the_same_bytes(tmp_path):
    scenes = [str(path) for path in dates(tmp_path / "dates", 3)]
    model = str(model_of_two(tmp_path / "two.safetensors"))
    job = [
        sys.executable, "-m", "geounet.cli", "deforestation", *scenes, "{out}", "--model", model,
        "--target", "class 1", "--window", "64", "--min-area", "3px", "--score",
    ]  # fmt: skip
    whole = finished(job, tmp_path / "whole")
    assert_resumes(job, tmp_path, whole, earliest=0.4, kills=4)
