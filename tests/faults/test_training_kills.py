"""Killed at every checkpoint and at random moments, a training resumes to the very same model."""

from __future__ import annotations

import json
import re

import pytest

from tests.faults.killed_jobs import drawn, hidden, whole
from tests.test_train import make_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CHECKPOINTS = 6
"""Two epochs of two batches: after every batch, between the epochs, and at the end."""
SAVING = r"(open|os)\b.* {out}/\.geounet/training/last/.*"
TIMES = ("seconds", "samples_per_second", "waited", "validation_seconds")


def outputs(out):
    """The bytes of what a training leaves; of its records and report, all but times."""
    found = {p.name: p.read_bytes() for p in sorted(out.iterdir()) if p.is_file()}
    records = [json.loads(line) for line in found.pop("metrics.jsonl").splitlines()]
    found["metrics.jsonl"] = [
        {key: value for key, value in record.items() if key not in TIMES} for record in records
    ]
    found["report.html"] = len(re.findall(b"</html>", found["report.html"]))
    return {name: name.endswith(".png") or value for name, value in found.items()}


@pytest.fixture(scope="module")
def job(zygote, tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    config = make_set(folder / "set", epochs=2, batch=16, checkpoint_minutes=0, augment={})
    tokens = ["train", str(config), "{out}"]
    return whole(zygote, tokens, folder, outputs)


@pytest.mark.parametrize("number", range(1, CHECKPOINTS + 1))
def test_killed_before_the_seal_of_each_checkpoint(number, job, tmp_path):
    """Orbax has written it whole; the SHA-256 that makes it count is not there."""
    seal = rf"os\.rename {{out}}/\.geounet/training/last/\.{number}\.\d+\.part\.sha256"
    out = tmp_path / "out"
    assert job.killed_before(out, 1, seal)
    job.assert_sound_and_resumes(out, number)


@pytest.mark.long
def test_killed_while_a_checkpoint_is_written(job, tmp_path):
    """E7: before one of some 45 file operations of orbax and of ours, of whichever checkpoint."""
    count = job.count(SAVING, tmp_path)
    for k, share in enumerate(drawn(9, 5, 0.0, 1.0)):
        number = 1 + int(share * count)
        assert job.killed_before(tmp_path / f"{k}", number, SAVING)
        job.assert_sound_and_resumes(tmp_path / f"{k}", number)


@pytest.mark.parametrize("part", range(3))
def test_killed_at_thirty_random_moments(part, job, tmp_path):
    """The first ten with each commit."""
    moments = drawn(10, 30, 0.0, 1.0)[10 * part : 10 * (part + 1)]
    assert job.assert_survives(moments, tmp_path) >= 8


@pytest.mark.parametrize("name", ["model", "learning", "report"])
@pytest.mark.long
def test_killed_before_a_file_takes_its_name(name, job, tmp_path):
    assert job.killed_before(tmp_path / "out", 1, rf"os\.rename {{out}}/\.{name}\..*")
    job.assert_sound_and_resumes(tmp_path / "out", name)


@pytest.mark.parametrize("where", [r"os\.rename {out}/\.geounet/training", "os.rmdir (last|best)"])
@pytest.mark.long
def test_killed_while_the_checkpoints_are_removed(where, job, tmp_path):
    """The model is there, and what it was made from half gone: nothing is learnt again."""
    out = tmp_path / "out"
    assert job.killed_before(out, 1, where)
    assert (out / "model.safetensors").exists()
    job.assert_sound(out, where)
    child = job.start(out, "--resume")
    assert child.wait() == 0, child.errors
    assert "first epoch" not in child.errors
    assert job.outputs(out) == job.files
    assert not hidden(out)
