"""Killed at random moments, the jobs of pipelines/ resume to the bytes of one that was not."""

from __future__ import annotations

import pytest

from tests.faults.killed_jobs import drawn, whole
from tests.made_dates import dates, model_of_two
from tests.test_segment import outputs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

JOBS = {
    "flood": ("--target", "class 1", "--min-area", "3px"),
    "deforestation": ("--target", "class 1", "--min-area", "3px", "--score"),
    "landcover": ("--confidence", "--min-area", "3px"),
}


@pytest.fixture(scope="module", params=JOBS)
def job(request, zygote, tmp_path_factory):
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    scenes = [str(path) for path in dates(folder / "dates", 2 if name == "flood" else 3)]
    model = str(model_of_two(folder / "two.safetensors"))
    tokens = [name, *scenes, "{out}", "--model", model, "--window", "64", *JOBS[name]]
    return whole(zygote, tokens, folder, outputs)


def test_killed_at_random_moments_resume_gives_the_same_bytes(job, tmp_path):
    assert job.assert_survives(drawn(7, 3, 0.3, 1.0), tmp_path) >= 2


def test_killed_before_random_file_operations_resume_gives_the_same_bytes(job, tmp_path):
    job.assert_survives_operations(drawn(8, 3, 0.0, 1.0), tmp_path)


@pytest.mark.long
def test_killed_at_more_random_moments_resume_gives_the_same_bytes(job, tmp_path):
    assert job.assert_survives(drawn(9, 6, 0.3, 1.0), tmp_path) >= 4
    job.assert_survives_operations(drawn(10, 6, 0.0, 1.0), tmp_path / "operations")
