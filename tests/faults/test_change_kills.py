"""Killed at random moments, a job that compares dates resumes to the bytes of one that was not."""

from __future__ import annotations

import pytest

from tests.faults.killed_jobs import drawn, whole
from tests.made_dates import dates, model_of_two
from tests.test_segment import outputs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def job(zygote, tmp_path_factory):
    folder = tmp_path_factory.mktemp("change")
    scenes = [str(path) for path in dates(folder / "dates", 3)]
    model = str(model_of_two(folder / "two.safetensors"))
    tokens = [
        "deforestation", *scenes, "{out}", "--model", model,
        "--target", "class 1", "--window", "64", "--min-area", "3px", "--score",
    ]  # fmt: skip
    return whole(zygote, tokens, folder, outputs)


@pytest.mark.long
def test_killed_at_random_moments_resume_gives_the_same_bytes(job, tmp_path):
    assert job.assert_survives(drawn(7, 6, 0.3, 1.0), tmp_path) >= 4


@pytest.mark.long
def test_killed_before_random_file_operations_resume_gives_the_same_bytes(job, tmp_path):
    job.assert_survives_operations(drawn(8, 6, 0.0, 1.0), tmp_path)
